"""What one connection saw: its frames in order, on both clocks, and how it ended; with a way to wait for what should
come next.

Written by the connection's threads, read by any. The rule here: memory is bounded, and what had to go is counted in
`dropped`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from harness.net.frames import TEXT, Assembler, WireFrame

__all__ = ["Closed", "Direction", "Frame", "Party", "Transcript"]

Direction = Literal["in", "out"]
Party = Literal["server", "client"]

_ERRORS_KEPT = 100


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `at` is time.monotonic() and `wall` time.time(), taken as it arrived, or before it went to the
    kernel.
    """

    index: int
    at: float
    wall: float
    direction: Direction
    opcode: int
    fin: bool
    rsv: int
    masked: bool
    payload: bytes
    message: bytes | None
    """The whole message, on the frame that completes one; None on a control frame and on a fragment."""
    message_opcode: int | None
    problems: tuple[str, ...]
    """The rules of RFC 6455 that it breaks."""

    def text(self) -> str | None:
        """The text message that this frame completes; None when it completes none or is not UTF-8."""
        if self.message is None or self.message_opcode != TEXT:
            return None
        try:
            return self.message.decode("utf-8")
        except UnicodeDecodeError:
            return None

    def json(self) -> Any:
        """The JSON value of the text message that this frame completes; None when there is none or it is not JSON."""
        if self.message is None or self.message_opcode != TEXT:
            return None
        try:
            return orjson.loads(self.message)
        except orjson.JSONDecodeError:
            return None

    @property
    def type(self) -> str | None:
        """The `type` of the JSON object that this frame completes, when it has one that is a string."""
        value = self.json()
        kind = value.get("type") if isinstance(value, dict) else None
        return kind if isinstance(kind, str) else None


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended. code and reason are of the first Close frame that the server sent, else 1006 and empty."""

    code: int
    reason: str
    clean: bool
    """Close frames went both ways before TCP ended."""
    by: Party
    """Who began: sent the first Close frame, or cut the connection without one."""
    at: float
    """When the server's Close frame came, else when TCP ended; monotonic."""
    wall: float
    ended_at: float
    """When TCP ended; monotonic."""
    ended_by: Party
    problem: str | None
    """What broke, when it was not a closing handshake or a plain end."""


class Transcript:
    """At most `frames` frames and `size` payload bytes; past that the oldest go. message_bytes bounds a message in
    fragments.
    """

    def __init__(self, frames: int, size: int, message_bytes: int) -> None:
        self.closed: Closed | None = None
        self.dropped = 0
        self.observer_errors: list[Exception] = []
        self._limit, self._size_limit = frames, size
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._next = 0
        self._size = 0
        self._observers: list[Callable[[Frame], None]] = []
        self._incoming = Assembler(message_bytes)
        self._outgoing = Assembler(message_bytes)

    def observe(self, callback: Callable[[Frame], None]) -> None:
        with self._changed:
            self._observers.append(callback)

    def record(self, direction: Direction, wire: WireFrame, at: float, wall: float) -> Frame:
        """Append a frame, wake who waits, and show it to the observers, whose exceptions stay in `observer_errors`."""
        with self._changed:
            whole = (self._incoming if direction == "in" else self._outgoing).add(wire)
            frame = Frame(
                index=self._next,
                at=at,
                wall=wall,
                direction=direction,
                opcode=wire.opcode,
                fin=wire.fin,
                rsv=wire.rsv,
                masked=wire.masked,
                payload=wire.payload,
                message=whole[1] if whole else None,
                message_opcode=whole[0] if whole else None,
                problems=wire.problems,
            )
            self._next += 1
            self._frames.append(frame)
            self._size += len(frame.payload)
            while len(self._frames) > self._limit or self._size > self._size_limit:
                self._size -= len(self._frames.popleft().payload)
                self.dropped += 1
            observers = tuple(self._observers)
            self._changed.notify_all()
        for observer in observers:
            try:
                observer(frame)
            except Exception as error:
                if len(self.observer_errors) < _ERRORS_KEPT:
                    self.observer_errors.append(error)
        return frame

    def end(self, closed: Closed) -> None:
        with self._changed:
            self.closed = closed
            self._changed.notify_all()

    def mark(self) -> int:
        with self._changed:
            return self._next

    def frames(self, start: int = 0) -> list[Frame]:
        with self._changed:
            return self._since(start)

    def wait_for(self, predicate: Callable[[Frame], bool], timeout: float, start: int = 0) -> Frame | None:
        """See Connection.wait_for."""
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                while self._next <= start and self.closed is None and (left := deadline - time.monotonic()) > 0:
                    self._changed.wait(left)
                batch, start, over = self._since(start), max(start, self._next), self.closed is not None
            for frame in batch:
                if frame.direction == "in" and predicate(frame):
                    return frame
            if not batch and (over or time.monotonic() >= deadline):
                return None

    def wait_closed(self, timeout: float) -> Closed | None:
        with self._changed:
            self._changed.wait_for(lambda: self.closed is not None, timeout)
            return self.closed

    def _since(self, start: int) -> list[Frame]:
        wanted = min(self._next - start, len(self._frames))
        return [self._frames[-i] for i in range(wanted, 0, -1)]
