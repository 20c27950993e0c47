"""The receive path: one epoll set for all sockets of a process, every byte checked once.

A broadcast is the same bytes on every socket. The first socket to deliver a chunk has it unpacked into messages, and each new
payload is handed to `digest`, which parses, validates and matches it; for every other socket the chunk is one dictionary look-up. The rule
here: reading never blocks, never raises for what a peer did, and keeps no more of a peer's bytes than `Bounds` allows.

The caller owns the waiting (`fileno` becomes readable) and calls `take` about once a second for what was read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.net.frames import CLOSE, TEXT, close_payload, encode
from harness.net.reads import Batch, Chunks, Reads
from harness.net.stream import PROTOCOL_ERROR, Stream

__all__ = ["Bounds", "Closed", "Fleet", "Poll"]

SO_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35)
_READABLE, _WRITABLE, _PEER_ENDED = 1, 4, 0x2000
_AGAIN = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_EVENTS = 64  # that one call takes: they are read in the order in which they came, and what comes meanwhile is not far behind
_ABNORMAL = 1006


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


class _Socket:
    """One viewer's descriptor and what is unfinished on it."""

    __slots__ = ("closing", "fd", "mask", "outbox", "receive", "send", "slot", "stream")

    def __init__(self, fd: int, slot: int, receive: Callable[..., Any], send: Callable[[bytes], int], stream: Stream) -> None:
        self.fd, self.slot, self.receive, self.send, self.stream = fd, slot, receive, send, stream
        self.outbox = b""
        self.mask = _READABLE
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
        self._chunks = Chunks()
        self._unfinished: set[int] = set()
        self._closed: list[Closed] = []
        self._parsed = 0
        self.stamped = True
        self._reads = Reads()

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
        self._sockets[fd] = _Socket(fd, slot, receive, send, Stream(self._digest, self._bounds.message))
        self._receive[fd] = (receive, slot)
        self._poll.register(fd, _READABLE)
        if early:
            self._reads.add(slot, self._learn(fd, early), len(early), self._clock())

    def remove(self, sock: Any) -> None:
        """Forget a socket that its owner is about to close."""
        self._drop(sock.fileno(), None)

    def stop_reading(self, sock: Any) -> None:
        """Read no more from this socket, as a client that hangs; what it is sent stays with the kernel, and then with the peer.

        Its end is still noticed where the kernel tells of it: a reset, or an end of stream for which there was room.
        """
        held = self._sockets.get(sock.fileno())
        if held is not None:
            held.mask = _PEER_ENDED
            self._receive[held.fd] = (_unread(getattr(sock, "_sock", sock)), held.slot)
            self._poll.modify(held.fd, held.mask | (_WRITABLE if held.outbox else 0))

    def send_text(self, sock: Any, text: bytes) -> None:
        """Queue one masked text frame; never blocks."""
        held = self._sockets.get(sock.fileno())
        if held is not None:
            self._send(held, encode(TEXT, text))

    def close(self, sock: Any, code: int, reason: str = "") -> None:
        """Send a Close frame on one socket; its end arrives as `Closed` with by="client"."""
        held = self._sockets.get(sock.fileno())
        if held is not None and held.closing is None:
            held.closing = (code, reason, "client")
            self._send(held, encode(CLOSE, close_payload(code, reason)))

    def close_all(self, code: int, reason: str = "") -> None:
        """The same on every socket."""
        frame = encode(CLOSE, close_payload(code, reason))
        for held in list(self._sockets.values()):
            if held.closing is None:
                held.closing = (code, reason, "client")
                self._send(held, frame)

    # -- reading

    def follow(self, seconds: float) -> bool:
        """Read until there is nothing left, for `seconds` at most. Returns whether something is."""
        until = time.monotonic() + seconds
        while self.drain():
            if time.monotonic() >= until:
                return True
        return False

    def drain(self) -> int:
        """Read those sockets once that have been ready for longest. Returns how many they were; 0: nothing was left to read."""
        receive, known, unfinished = self._receive, self._known, self._unfinished
        rows, now, size = self._reads, self._clock, self._bounds.read
        slots, reads, seen, sizes, stamps = rows.slot.append, rows.chunk.append, rows.seen.append, rows.size.append, rows.stamps
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
                rows.stamp(at)
        return len(ready)

    def _answer(self, fd: int, number: int) -> int:
        """A known chunk in which something wants an answer (stored as its complement)."""
        held = self._sockets[fd]
        for message in self._chunks.messages(~number):
            reply = self._replies.get(message)
            if reply is not None:
                self._send(held, reply)
        return ~number

    def _learn(self, fd: int, chunk: bytes) -> int:
        """Unpack a chunk that was not seen before; remember it when it stands for itself alone."""
        held = self._sockets[fd]
        self._parsed += 1
        said = held.stream.unpack(chunk)
        if held.stream.unfinished:
            self._unfinished.add(fd)
        else:
            self._unfinished.discard(fd)
        for frame in said.answers:
            self._send(held, frame)
        if said.goodbye is not None and held.closing is None:
            held.closing = (*said.closing, "server") if said.closing else (PROTOCOL_ERROR, said.trouble or "", "client")
            self._send(held, said.goodbye)
        if said.trouble is not None:
            self._violation(held.slot, said.trouble)
            self._receive[fd] = (_discard(held.receive), held.slot)
        number = self._chunks.add(said.messages)
        wants_answer = any(message in self._replies for message in said.messages)
        if said.plain and len(self._known) < self._bounds.known_chunks:
            self._known[chunk] = ~number if wants_answer else number
        if wants_answer:
            self._answer(fd, ~number)
        return number

    # -- ends

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
            self._poll.modify(held.fd, held.mask | _WRITABLE)

    def _flush(self, held: _Socket) -> None:
        frame, held.outbox = held.outbox, b""
        self._poll.modify(held.fd, held.mask)
        if frame:
            self._send(held, frame)

    # -- results

    def take(self) -> tuple[Batch, list[Closed]]:
        """Everything since the last call, as arrays; and the sockets that ended."""
        batch = self._reads.batch(self._chunks, parsed=self._parsed, stamped=self.stamped)
        closed, self._closed, self._parsed = self._closed, [], 0
        self._reads = Reads()
        if len(self._known) >= self._bounds.known_chunks or len(self._chunks) > 4 * self._bounds.known_chunks:
            self.forget()
        return batch, closed

    def forget(self) -> None:
        """Drop what is known of chunks, so that `digest` may renumber. Only between `take` and the next `drain`."""
        self._known.clear()
        self._chunks.clear()


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


def _unread(native: Any) -> Callable[..., Any]:
    """What stands for reading where nothing is read: it is asked only when the kernel has told of the peer's end."""

    def ended(_size: int, _ancillary: int) -> tuple[bytes, tuple[()], int, None]:
        number = native.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        return b"", (), 0, None

    return ended


def _discard(receive: Callable[..., Any]) -> Callable[..., Any]:
    """Read on only to learn of the end: what a peer says after it broke the framing means nothing."""

    def discarding(size: int, ancillary: int) -> Any:
        chunk, *_ = receive(size, ancillary)
        if chunk:
            raise BlockingIOError
        return b"", (), 0, None

    return discarding
