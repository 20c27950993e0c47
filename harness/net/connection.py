"""One WebSocket with a transcript: every frame that came or went, stamped on both clocks, and the means to misbehave.

A thread reads, so a frame is stamped when it arrives and not when somebody asks. The rule here: nothing that a server
does (a flood, garbage, silence, a cut) raises in that thread, blocks it for good or grows memory past `Bounds`; it
becomes part of the record.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from harness.net.frames import CLOSE, PING, PONG, TEXT, FrameDecoder, WireFrame, close_payload, encode, parse_close
from harness.net.handshake import Headers, Opened, Refused, open_websocket
from harness.net.transcript import Closed, Direction, Frame, Party, Transcript
from harness.net.wire import Cut, SendError, Wire

__all__ = ["Bounds", "Closed", "Connection", "Frame", "Policy", "SendError", "may_be_ping"]

_PONG = b'{"type":"PONG"}'
_PING_BYTES = 1024  # a PING is looked for in shorter messages only: parsing a flood is not the reader's work
_ABNORMAL = 1006  # RFC 6455 section 7.1.5: the connection ended without a Close frame


@dataclass(frozen=True, slots=True)
class Policy:
    """What a connection answers by itself."""

    answer_ping: bool = True
    """{"type": "PONG"} to {"type": "PING"}."""
    answer_control_ping: bool = True
    """A Pong frame to a Ping frame, with its payload."""
    answer_close: bool = True
    """A Close frame with the same code to a Close frame."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may keep, and for how long. Bytes, counts and seconds; ours, not the contract's."""

    payload: int = 16 * 1024 * 1024
    """The largest frame or message that is read."""
    frames: int = 20_000
    """Frames in the transcript; past that the oldest go, and are counted in `dropped`."""
    transcript: int = 32 * 1024 * 1024
    """Payload bytes in the transcript."""
    unsent: int = 1024 * 1024
    """Bytes waiting for a server that does not read; past that our own answers are left out."""
    send_within: float = 10.0
    """Seconds that a send waits for such a server."""
    linger: float = 10.0
    """Seconds from the end of the closing handshake until we cut a TCP connection that the server leaves open."""


class Connection:
    """Made by `open`. Its methods may be called from any thread."""

    def __init__(self, opened: Opened, policy: Policy, bounds: Bounds, name: str) -> None:
        self.name = name
        self.policy = policy
        self.bounds = bounds
        self.status = opened.status
        self.headers: Headers = opened.headers
        self.opened_at = time.monotonic()
        self.opened_wall = time.time()
        self.unanswered = 0
        """Answers that were left out because the server does not read."""
        self._transcript = Transcript(bounds.frames, bounds.transcript, bounds.payload)
        self._wire = Wire(opened.sock, name)
        self._answering = threading.Lock()  # taken before the wire's own, never after it
        self._held: list[tuple[int, bytes]] | None = None
        self._decoder = FrameDecoder(bounds.payload)
        self._sent_close_at: float | None = None
        self._received_close: Frame | None = None
        self._reader = threading.Thread(target=self._read, args=(opened.leftover,), name=f"reader {name}", daemon=True)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        headers: Sequence[str] = (),
        origin: str | None = None,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        policy: Policy | None = None,
        bounds: Bounds | None = None,
        observers: Sequence[Callable[[Frame], None]] = (),
        name: str = "",
    ) -> Connection | Refused:
        """Open `url` within `timeout` seconds, as `handshake.open_websocket` does. Observers given here miss no frame.

        Raises ValueError for a malformed url or header; a refusal of any kind is a value.
        """
        opened = open_websocket(url, headers=headers, origin=origin, timeout=timeout, tls=tls)
        if isinstance(opened, Refused):
            return opened
        return cls.over(opened, policy=policy, bounds=bounds, observers=observers, name=name)

    @classmethod
    def over(
        cls,
        opened: Opened,
        *,
        policy: Policy | None = None,
        bounds: Bounds | None = None,
        observers: Sequence[Callable[[Frame], None]] = (),
        name: str = "",
    ) -> Connection:
        """Take over a WebSocket that is open already, from `raw_handshake` say."""
        connection = cls(opened, policy or Policy(), bounds or Bounds(), name)
        for observer in observers:
            connection.observe(observer)
        connection._reader.start()
        return connection

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave at once; a closing handshake that matters is awaited by the caller."""
        self.close()
        self.abort()

    # ---- what came

    @property
    def closed(self) -> Closed | None:
        """How the connection ended; None while it is open."""
        return self._transcript.closed

    @property
    def dropped(self) -> int:
        """Frames that the transcript no longer holds: evidence of absence is incomplete when it is not 0."""
        return self._transcript.dropped

    @property
    def observer_errors(self) -> list[Exception]:
        """The first exceptions that observers raised."""
        return self._transcript.observer_errors

    def mark(self) -> int:
        """The index that the next frame will have: pass it as `start` to look at later frames only."""
        return self._transcript.mark()

    def frames(self, start: int = 0) -> list[Frame]:
        """The frames from index `start` on, in both directions, that the transcript still holds."""
        return self._transcript.frames(start)

    def observe(self, callback: Callable[[Frame], None]) -> None:
        """Call `callback` with every frame from now on, in the reader's or the sender's thread. It must be quick."""
        self._transcript.observe(callback)

    def wait_for(self, predicate: Callable[[Frame], bool], timeout: float, start: int = 0) -> Frame | None:
        """The first frame from the server, from index `start` on, for which `predicate` holds.

        Waits at most `timeout` seconds; returns None then, or as soon as the connection has ended without such a frame.
        """
        return self._transcript.wait_for(predicate, timeout, start)

    def wait_type(self, kind: str, timeout: float, start: int = 0) -> Frame | None:
        """The first message from the server whose JSON `type` is `kind`; otherwise as `wait_for`."""
        return self.wait_for(lambda frame: frame.type == kind, timeout, start)

    def wait_closed(self, timeout: float) -> Closed | None:
        """How the connection ended (TCP too), waiting at most `timeout` seconds for it; None when it has not."""
        return self._transcript.wait_closed(timeout)

    def wait_close_frame(self, timeout: float) -> Frame | None:
        """The server's first Close frame, waiting at most `timeout` seconds; None when none came."""
        return self.wait_for(lambda frame: frame.opcode == CLOSE, timeout)

    def wait_reaped(self, timeout: float) -> float | None:
        """Of a black hole: when (monotonic, to 0.02 s) the server was seen to end TCP; None when it did not in `timeout`
        seconds. Linux only.
        """
        return self._wire.wait_reaped(timeout)

    # ---- what goes

    def send_json(self, value: Any) -> Frame:
        """One text frame with the JSON of `value`. Raises SendError, as every send does."""
        return self.send_frame(TEXT, orjson.dumps(value))

    def send_text(self, text: str) -> Frame:
        """One text frame. Lone surrogates go out as they are, which is not UTF-8."""
        return self.send_frame(TEXT, text.encode("utf-8", "surrogatepass"))

    def ping(self, payload: bytes = b"") -> Frame:
        """A Ping control frame."""
        return self.send_frame(PING, payload)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake. Does nothing when the connection has ended."""
        with contextlib.suppress(SendError):
            self.send_frame(CLOSE, close_payload(code, reason))

    def send_frame(self, opcode: int, payload: bytes = b"", **broken: Any) -> Frame:
        """One frame, returned as recorded; `broken` are the arguments of `frames.encode` that make it wrong on
        purpose.
        """
        data = encode(opcode, payload, **broken)
        fin, rsv, masked = broken.get("fin", True), broken.get("rsv", 0), broken.get("masked", True)
        self._wire.refuse_when_over(len(data))
        frame = self._note("out", WireFrame(opcode, fin, rsv, masked, payload))
        if opcode == CLOSE and self._sent_close_at is None:
            self._sent_close_at = frame.at
        self._wire.send(data, self.bounds.send_within)
        return frame

    def send_raw(self, data: bytes) -> None:
        """These bytes as they are, and no entry in the transcript: they need not be frames."""
        self._wire.send(data, self.bounds.send_within)

    @contextlib.contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """For a message or a frame sent in parts: what we answer by ourselves waits until the block has ended.

        A PONG between two fragments would break RFC 6455 section 5.4, and a server that says so would be in the right.
        """
        with self._answering:
            self._held = []
        try:
            yield
        finally:
            with self._answering:
                held, self._held = self._held, None
            for opcode, payload in held:
                self._answer(opcode, payload)

    def abort(self) -> None:
        """End the TCP connection with a reset, as a crashed client does. Returns when that is done."""
        self._stop("abort")
        if threading.current_thread() is not self._reader:
            self._reader.join(self.bounds.send_within)

    def blackhole(self) -> None:
        """Read and write nothing any more and leave TCP open, as a client that hangs. `abort` ends it."""
        self._stop("blackhole")

    def _stop(self, how: Cut) -> None:
        if self.closed is None:
            self._wire.stop(how)

    def _note(self, direction: Direction, wire: WireFrame) -> Frame:
        return self._transcript.record(direction, wire, time.monotonic(), time.time())

    def _answer(self, opcode: int, payload: bytes) -> None:
        """Send without waiting: a server that does not read must not stop the reader."""
        with self._answering:
            if self._held is not None:
                self._held.append((opcode, payload))
                return
            if not self._wire.offer(encode(opcode, payload), self.bounds.unsent):
                self.unanswered += 1
                return
        self._note("out", WireFrame(opcode, True, 0, True, payload))
        with contextlib.suppress(SendError):
            self._wire.flush()

    # ---- the reader's thread

    def _read(self, leftover: bytes) -> None:
        problem: str | None = None
        ended_by: Party = "server"
        try:
            chunk: bytes | None = leftover or None
            while self._wire.cut is None:
                if chunk is not None:
                    self._take(chunk)
                problem = self._decoder.failed or self._lingered()
                if problem is not None:
                    ended_by = "client"
                    break
                chunk = self._wire.receive(self._linger_left())
                if chunk == b"":
                    break
        except OSError as error:
            problem = f"the connection broke: {error.strerror or error}"
        except Exception as error:  # the record must say so: a dead reader would look like a silent server
            problem, ended_by = f"the reader failed: {type(error).__name__}: {error}", "client"
        if self._wire.cut == "blackhole":
            self._wire.wait_released()
        if self._wire.cut is not None:
            problem, ended_by = None, "client"
        self._end(ended_by, problem)

    def _linger_left(self) -> float | None:
        """Seconds until we end TCP ourselves; None while the closing handshake is not complete."""
        if self._received_close is None or (self._sent_close_at is None and self.policy.answer_close):
            return None
        since = max(self._received_close.at, self._sent_close_at or 0.0)
        return since + self.bounds.linger - time.monotonic()

    def _lingered(self) -> str | None:
        left = self._linger_left()
        if left is None or left > 0:
            return None
        return f"TCP was still open {self.bounds.linger:g} s after the Close frames"

    def _take(self, chunk: bytes) -> None:
        at, wall = time.monotonic(), time.time()
        for wire in self._decoder.feed(chunk):
            frame = self._transcript.record("in", wire, at, wall)
            if wire.opcode == PING and self.policy.answer_control_ping:
                self._answer(PONG, wire.payload[:125])
            elif wire.opcode == CLOSE and self._received_close is None:
                self._received_close = frame
                if self.policy.answer_close and self._sent_close_at is None:
                    self._sent_close_at = time.monotonic()
                    self._answer(CLOSE, wire.payload[:2])
            elif self.policy.answer_ping and _is_ping(frame):
                self._answer(TEXT, _PONG)

    def _end(self, ended_by: Party, problem: str | None) -> None:
        now, wall = time.monotonic(), time.time()
        self._wire.close(reset=ended_by == "client")
        frame, sent = self._received_close, self._sent_close_at
        code, reason = parse_close(frame.payload) if frame else (_ABNORMAL, "")
        server_first = frame is not None and (sent is None or frame.at <= sent)
        self._transcript.end(
            Closed(
                code=code,
                reason=reason,
                clean=frame is not None and sent is not None,
                by="server" if server_first else "client" if sent is not None else ended_by,
                at=frame.at if frame else now,
                wall=frame.wall if frame else wall,
                ended_at=now,
                ended_by=ended_by,
                problem=problem,
            )
        )


def may_be_ping(message: bytes) -> bool:
    """Whether the application's PING can stand in these bytes; in JSON any letter of it may also be written as an escape."""
    return b"PING" in message or b"\\u" in message


def _is_ping(frame: Frame) -> bool:
    message = frame.message
    return message is not None and len(message) <= _PING_BYTES and may_be_ping(message) and frame.type == "PING"
