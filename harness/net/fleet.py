"""The receive path: one epoll set for all sockets of a process, every byte checked once.

A broadcast is the same bytes on every socket. The first socket to deliver a chunk has it split into frames, and each new payload
is handed to `digest`, which parses, validates and matches it; for every other socket the chunk is one dictionary look-up. The rule
here: `drain` never blocks, never raises for what a peer did, and keeps no more of a peer's bytes than `Bounds` allows.

The caller owns the waiting (`fileno` becomes readable) and calls `take` about once a second for what was read.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.net.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, encode, parse_close

__all__ = ["Batch", "Bounds", "Closed", "Fleet", "Poll"]

SO_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35)
_READABLE, _WRITABLE = 1, 4
_AGAIN = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_EVENTS = 4096
_SECOND = 1_000_000_000
_ABNORMAL = 1006
_PROTOCOL_ERROR = 1002


class Poll(Protocol):
    """What the fleet needs of an epoll object: gevent removes `select.epoll`, so the caller passes the original in."""

    def register(self, fd: int, eventmask: int) -> None: ...
    def modify(self, fd: int, eventmask: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the fleet keeps at most of what peers send. Bytes and counts."""

    read: int = 16_384
    known_chunks: int = 4_096
    message: int = 1 << 20
    outbox: int = 65_536


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of one socket. `at` is ns since the epoch; `code` 1006 means that no Close frame came."""

    slot: int
    code: int
    reason: str
    at: int
    by: str


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


class _Socket:
    """One viewer's descriptor and what is unfinished on it."""

    __slots__ = ("closing", "fd", "fragments", "outbox", "partial", "receive", "send", "slot")

    def __init__(self, fd: int, slot: int, receive: Callable[..., Any], send: Callable[[bytes], int]) -> None:
        self.fd, self.slot, self.receive, self.send = fd, slot, receive, send
        self.partial = b""
        self.fragments: list[bytes] | None = None
        self.outbox = b""
        self.closing: tuple[int, str, str] | None = None


class Fleet:
    """All sockets of one process.

    `digest(payload)` is called once for each new text payload and returns its message number (>= 0); `replies` maps a message
    number to the text to send back wherever that message arrives (PING -> PONG). `violation(slot, text)` is told of broken framing.
    """

    def __init__(
        self,
        poll: Poll,
        *,
        digest: Callable[[bytes], int],
        replies: Mapping[int, bytes],
        violation: Callable[[int, str], None],
        bounds: Bounds | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._poll, self._digest, self._violation = poll, digest, violation
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._replies = {number: encode(TEXT, text) for number, text in replies.items()}
        self._sockets: dict[int, _Socket] = {}
        self._receive: dict[int, tuple[Callable[..., Any], int]] = {}
        self._known: dict[bytes, int] = {}
        self._chunks: list[tuple[int, ...]] = []
        self._unfinished: set[int] = set()
        self._closed: list[Closed] = []
        self._parsed = 0
        self.stamped = True
        self._new_rows()

    def _new_rows(self) -> None:
        self._slots, self._reads, self._stamps, self._seen, self._sizes = (
            array("i"),
            array("i"),
            bytearray(),
            array("q"),
            array("i"),
        )

    # -- membership

    def __len__(self) -> int:
        return len(self._sockets)

    def fileno(self) -> int:
        return self._poll.fileno()

    def add(self, sock: Any, slot: int, early: bytes = b"") -> None:
        """Take over the reading of a connected, non-blocking socket (gevent's, the standard library's, or TLS over either).

        `early` are bytes of frames that came with the answer to the handshake.
        """
        fd = sock.fileno()
        tls = getattr(sock, "_sslobj", None)
        if tls is not None:
            self.stamped = False
            receive, send = _tls_receive(tls), tls.write
        else:
            native = getattr(sock, "_sock", sock)
            try:
                native.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            except OSError:
                self.stamped = False
            receive, send = native.recvmsg, native.send
        self._sockets[fd] = _Socket(fd, slot, receive, send)
        self._receive[fd] = (receive, slot)
        self._poll.register(fd, _READABLE)
        if early:
            self._row(slot, self._learn(fd, early), len(early), self._clock())

    def remove(self, sock: Any) -> None:
        """Forget a socket that its owner is about to close."""
        self._drop(sock.fileno(), None)

    def send_text(self, sock: Any, text: bytes) -> None:
        """Queue one masked text frame; never blocks."""
        held = self._sockets.get(sock.fileno())
        if held is not None:
            self._send(held, encode(TEXT, text))

    def close_all(self, code: int, reason: str = "") -> None:
        """Send a Close frame on every socket; their ends arrive as `Closed` with by="client"."""
        frame = encode(CLOSE, close_payload(code, reason))
        for held in list(self._sockets.values()):
            if held.closing is None:
                held.closing = (code, reason, "client")
                self._send(held, frame)

    # -- reading

    def drain(self) -> int:
        """Read every ready socket once. Returns how many were ready."""
        receive, known, unfinished = self._receive, self._known, self._unfinished
        slots, reads, seen, sizes = self._slots.append, self._reads.append, self._seen.append, self._sizes.append
        stamps, now, size = self._stamps, self._clock, self._bounds.read
        ready = self._poll.poll(0, _EVENTS)
        for fd, event in ready:
            if event & _WRITABLE:
                self._flush(self._sockets[fd])
                if not event & ~_WRITABLE:
                    continue
            read, slot = receive[fd]
            try:
                chunk, ancillary, _flags, _address = read(size, 64)
            except _AGAIN:
                continue
            except OSError as error:
                self._end(fd, _ABNORMAL, type(error).__name__)
                continue
            if not chunk:
                self._end(fd, _ABNORMAL, "")
                continue
            number = None if fd in unfinished else known.get(chunk)
            if number is None:
                number = self._learn(fd, chunk)
            elif number < 0:
                number = self._answer(fd, number)
            slots(slot)
            reads(number)
            sizes(len(chunk))
            at = now()
            seen(at)
            if ancillary:
                stamps += ancillary[0][2]
            else:
                stamps += _timespec(*divmod(at, _SECOND))
        return len(ready)

    def _row(self, slot: int, number: int, size: int, at: int) -> None:
        self._slots.append(slot)
        self._reads.append(number)
        self._sizes.append(size)
        self._seen.append(at)
        self._stamps += _timespec(*divmod(at, _SECOND))

    def _answer(self, fd: int, number: int) -> int:
        """A known chunk in which something wants an answer (stored as its complement)."""
        held = self._sockets[fd]
        for message in self._chunks[~number]:
            reply = self._replies.get(message)
            if reply is not None:
                self._send(held, reply)
        return ~number

    def _learn(self, fd: int, chunk: bytes) -> int:
        """Split a chunk that was not seen before; remember it when it stands for itself alone."""
        held = self._sockets[fd]
        self._parsed += 1
        alone = not held.partial and held.fragments is None
        messages, plain = self._split(held, held.partial + chunk)
        if held.partial or held.fragments is not None:
            self._unfinished.add(fd)
            alone = False
        else:
            self._unfinished.discard(fd)
        number = len(self._chunks)
        self._chunks.append(messages)
        wants_answer = any(message in self._replies for message in messages)
        if alone and plain and len(self._known) < self._bounds.known_chunks:
            self._known[chunk] = ~number if wants_answer else number
        if wants_answer:
            self._answer(fd, ~number)
        return number

    def _split(self, held: _Socket, data: bytes) -> tuple[tuple[int, ...], bool]:
        """Frames of `data` as message numbers; what is incomplete stays on the socket. False: it had more than text in it."""
        messages: list[int] = []
        position, size, plain = 0, len(data), True
        while size - position >= 2:
            first, length, header = data[position], data[position + 1], 2
            if length & 0x80:
                return self._broken(held, messages, "a masked frame from the server (RFC 6455 section 5.1)")
            if length >= 126:
                header = 4 if length == 126 else 10
                if size - position < header:
                    break
                length = int.from_bytes(data[position + 2 : position + header], "big")
            if length > self._bounds.message:
                return self._broken(held, messages, f"a frame of {length} bytes, more than the {self._bounds.message} we read")
            if size - position < header + length:
                break
            payload = data[position + header : position + header + length]
            position += header + length
            if first == 0x81 and held.fragments is None:
                messages.append(self._digest(payload))
            else:
                plain = False
                trouble = self._rare(held, first, payload, messages)
                if trouble:
                    return self._broken(held, messages, trouble)
        held.partial = data[position:]
        return tuple(messages), plain

    def _rare(self, held: _Socket, first: int, payload: bytes, messages: list[int]) -> str | None:
        """Fragments, control frames, binary frames. Returns what is wrong with it, if anything."""
        opcode, final = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            return "a reserved bit is set though no extension was agreed (RFC 6455 section 5.2)"
        if opcode >= CLOSE and (not final or len(payload) > 125):
            return "a control frame that is fragmented or longer than 125 bytes (RFC 6455 section 5.5)"
        if opcode == PING:
            self._send(held, encode(PONG, payload))
        elif opcode == CLOSE:
            self._on_close(held, payload)
        elif opcode == CONTINUATION:
            if held.fragments is None:
                return "a continuation frame without a beginning (RFC 6455 section 5.4)"
            held.fragments.append(payload)
            if sum(map(len, held.fragments)) > self._bounds.message:
                return f"a fragmented message of more than {self._bounds.message} bytes"
            if final:
                messages.append(self._digest(b"".join(held.fragments)))
                held.fragments = None
        elif opcode == TEXT and held.fragments is None:
            held.fragments = [payload]
        elif opcode != PONG:
            return f"an unexpected frame with opcode {opcode} (the contract has text messages only)"
        return None

    def _broken(self, held: _Socket, messages: list[int], text: str) -> tuple[tuple[int, ...], bool]:
        self._violation(held.slot, text)
        held.partial, held.fragments = b"", None
        if held.closing is None:
            held.closing = (_PROTOCOL_ERROR, text, "client")
            self._send(held, encode(CLOSE, close_payload(_PROTOCOL_ERROR)))
        self._receive[held.fd] = (_discard(held.receive), held.slot)
        return tuple(messages), False

    # -- ends

    def _on_close(self, held: _Socket, payload: bytes) -> None:
        if held.closing is None:
            held.closing = (*parse_close(payload), "server")
            self._send(held, encode(CLOSE, payload[:2]))

    def _end(self, fd: int, code: int, reason: str) -> None:
        held = self._sockets[fd]
        if held.closing is not None:
            self._drop(fd, Closed(held.slot, *held.closing[:2], self._clock(), held.closing[2]))
        else:
            self._drop(fd, Closed(held.slot, code, reason, self._clock(), "server"))

    def _drop(self, fd: int, closed: Closed | None) -> None:
        if self._sockets.pop(fd, None) is None:
            return
        del self._receive[fd]
        self._unfinished.discard(fd)
        with contextlib.suppress(OSError):  # its owner may have closed it: then the kernel has removed it from the set
            self._poll.unregister(fd)
        if closed is not None:
            self._closed.append(closed)

    # -- writing

    def _send(self, held: _Socket, frame: bytes) -> None:
        if held.outbox:
            if len(held.outbox) < self._bounds.outbox:
                held.outbox += frame
            return
        try:
            sent = held.send(frame)
        except _AGAIN:
            sent = 0
        except OSError:
            return  # the read side will see the end and record it
        if sent < len(frame):
            held.outbox = frame[sent:]
            self._poll.modify(held.fd, _READABLE | _WRITABLE)

    def _flush(self, held: _Socket) -> None:
        frame, held.outbox = held.outbox, b""
        self._poll.modify(held.fd, _READABLE)
        if frame:
            self._send(held, frame)

    # -- results

    def take(self) -> tuple[Batch, list[Closed]]:
        """Everything since the last call, as arrays; and the sockets that ended."""
        slots, reads = np.frombuffer(self._slots, np.int32), np.frombuffer(self._reads, np.int32)
        stamps = np.frombuffer(bytes(self._stamps), np.int64).reshape(-1, 2)
        arrived = stamps[:, 0] * _SECOND + stamps[:, 1]
        lag = np.frombuffer(self._seen, np.int64) - arrived
        lengths = np.fromiter(map(len, self._chunks), np.int64, len(self._chunks))
        repeat = lengths[reads] if len(reads) else np.empty(0, np.int64)
        message = _expand(self._chunks, lengths, reads, repeat)
        batch = Batch(
            slot=np.repeat(slots, repeat),
            message=message,
            arrived=np.repeat(arrived, repeat),
            lag=lag,
            reads=len(reads),
            bytes=int(np.frombuffer(self._sizes, np.int32).sum()) if len(reads) else 0,
            shared=int(np.maximum(repeat - 1, 0).sum()),
            parsed=self._parsed,
            stamped=self.stamped,
        )
        closed, self._closed, self._parsed = self._closed, [], 0
        self._new_rows()
        if len(self._known) >= self._bounds.known_chunks or len(self._chunks) > 4 * self._bounds.known_chunks:
            self.forget()
        return batch, closed

    def forget(self) -> None:
        """Drop what is known of chunks, so that `digest` may renumber. Only between `take` and the next `drain`."""
        self._known.clear()
        self._chunks.clear()


_timespec = struct.Struct("qq").pack


def _expand(
    chunks: list[tuple[int, ...]], lengths: NDArray[np.int64], reads: NDArray[np.int32], repeat: NDArray[np.int64]
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


def _tls_receive(tls: Any) -> Callable[..., Any]:
    """recvmsg's shape over a TLS object, without a kernel stamp.

    One record at a time and nothing is left behind: OpenSSL takes no more from the socket than the record it decrypts, and `pending`
    tells what of that is still to be read; so epoll goes on reporting what has not been read.
    """

    def receive(size: int, _ancillary: int) -> tuple[bytes, tuple[()], int, None]:
        chunk = tls.read(size)
        while tls.pending():
            chunk += tls.read(size)
        return chunk, (), 0, None

    return receive


def _discard(receive: Callable[..., Any]) -> Callable[..., Any]:
    """Read on only to learn of the end: what a peer says after it broke the framing means nothing."""

    def discarding(size: int, ancillary: int) -> Any:
        chunk, *_ = receive(size, ancillary)
        if chunk:
            raise BlockingIOError
        return b"", (), 0, None

    return discarding
