"""What a fleet read, as arrays: one row a read while it runs, one row a delivered message when it is taken.

`Reads` is appended to in the hot loop through its bound methods; `Batch` is what the ledger and the histograms are fed from.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Chunks", "Reads"]

_SECOND = 1_000_000_000
_timespec = struct.Struct("qq").pack


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read since the last `take`: one row a delivered message, in the order of reading.

    `slot` and `message` are int32, `arrived` is int64 ns since the epoch; `lag` is int64 ns, one a read (seen less arrived).
    `shared` counts messages that were not the last of their read: their stamp is that of the last, so they may be read late by
    at most the lag. `stamped` says whether arrivals are the kernel's.
    """

    slot: NDArray[np.int32]
    message: NDArray[np.int32]
    arrived: NDArray[np.int64]
    lag: NDArray[np.int64]
    reads: int
    bytes: int
    shared: int
    parsed: int
    stamped: bool


class Chunks:
    """The message numbers that each known chunk holds, end to end, so that a second's reads are expanded by look-ups alone."""

    __slots__ = ("_flat", "_length", "_start")

    def __init__(self) -> None:
        self._flat, self._start, self._length = array("i"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self._start)

    def add(self, messages: Sequence[int]) -> int:
        """Returns the chunk's number."""
        number = len(self._start)
        self._start.append(len(self._flat))
        self._length.append(len(messages))
        self._flat.extend(messages)
        return number

    def messages(self, number: int) -> Sequence[int]:
        """Of one chunk."""
        start = self._start[number]
        return self._flat[start : start + self._length[number]]

    def clear(self) -> None:
        """Forget them all, and number from 0 again."""
        for column in (self._flat, self._start, self._length):
            del column[:]

    def expand(self, reads: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Of reads (numbers of chunks): how many messages each brought, and all of them, one after the other."""
        # Copies, not views: an array that is looked at cannot grow.
        lengths, starts, flat = np.array(self._length, np.int64), np.array(self._start, np.int64), np.array(self._flat, np.int32)
        if not len(reads):
            return np.empty(0, np.int64), np.empty(0, np.int32)
        each = lengths[reads]
        last = np.cumsum(each)
        within = np.arange(int(last[-1]), dtype=np.int64) - np.repeat(last - each, each)
        return each, flat[np.repeat(starts[reads], each) + within]


class Reads:
    """Columns, one entry a read: slot, number of the chunk, size in bytes, ns at which Python saw it; `stamps` are the kernel's
    timespecs as they came (two native longs each).
    """

    __slots__ = ("chunk", "seen", "size", "slot", "stamps")

    def __init__(self) -> None:
        self.slot, self.chunk, self.size = array("i"), array("i"), array("i")
        self.seen, self.stamps = array("q"), bytearray()

    def add(self, slot: int, chunk: int, size: int, at: int) -> None:
        """A read that the kernel did not stamp; `at` is ns since the epoch."""
        self.slot.append(slot)
        self.chunk.append(chunk)
        self.size.append(size)
        self.seen.append(at)
        self.stamp(at)

    def stamp(self, at: int) -> None:
        """Python's own clock in place of the kernel's stamp, ns since the epoch."""
        self.stamps += _timespec(*divmod(at, _SECOND))

    def batch(self, chunks: Chunks, *, parsed: int, stamped: bool) -> Batch:
        """One row a message."""
        slots, reads = np.frombuffer(self.slot, np.int32), np.frombuffer(self.chunk, np.int32)
        stamps = np.frombuffer(bytes(self.stamps), np.int64).reshape(-1, 2)
        arrived = stamps[:, 0] * _SECOND + stamps[:, 1]
        each, messages = chunks.expand(reads)
        return Batch(
            slot=np.repeat(slots, each),
            message=messages,
            arrived=np.repeat(arrived, each),
            lag=np.frombuffer(self.seen, np.int64) - arrived,
            reads=len(reads),
            bytes=int(np.frombuffer(self.size, np.int32).sum()) if len(reads) else 0,
            shared=int(np.maximum(each - 1, 0).sum()),
            parsed=parsed,
            stamped=stamped,
        )
