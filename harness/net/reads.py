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

__all__ = ["Batch", "Reads"]

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

    def batch(self, chunks: Sequence[Sequence[int]], *, parsed: int, stamped: bool) -> Batch:
        """One row a message; `chunks` gives the message numbers that each chunk holds."""
        slots, reads = np.frombuffer(self.slot, np.int32), np.frombuffer(self.chunk, np.int32)
        stamps = np.frombuffer(bytes(self.stamps), np.int64).reshape(-1, 2)
        arrived = stamps[:, 0] * _SECOND + stamps[:, 1]
        lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
        repeat = lengths[reads] if len(reads) else np.empty(0, np.int64)
        return Batch(
            slot=np.repeat(slots, repeat),
            message=_expand(chunks, lengths, reads, repeat),
            arrived=np.repeat(arrived, repeat),
            lag=np.frombuffer(self.seen, np.int64) - arrived,
            reads=len(reads),
            bytes=int(np.frombuffer(self.size, np.int32).sum()) if len(reads) else 0,
            shared=int(np.maximum(repeat - 1, 0).sum()),
            parsed=parsed,
            stamped=stamped,
        )


def _expand(
    chunks: Sequence[Sequence[int]], lengths: NDArray[np.int64], reads: NDArray[np.int32], repeat: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The message numbers of every read, one after the other."""
    total = int(lengths.sum()) if len(chunks) else 0
    flat = np.fromiter((message for chunk in chunks for message in chunk), np.int32, total)
    if not len(reads):
        return np.empty(0, np.int32)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    first = np.cumsum(repeat) - repeat
    within = np.arange(int(repeat.sum()), dtype=np.int64) - np.repeat(first, repeat)
    return flat[np.repeat(starts[reads], repeat) + within]
