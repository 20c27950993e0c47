"""The bytes of one socket: many threads send, one receives, any may cut it off, and nobody waits for ever.

The socket never blocks: what the far end does not take at once waits here, in order. The rule: one lock guards the socket and what
waits, for TLS allows one caller at a time, and no answer of ours may fall into the middle of a frame.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from typing import Literal

__all__ = ["Cut", "SendError", "Wire"]

Cut = Literal["abort", "blackhole"]
"""How we ended it ourselves: with a reset, or by neither reading nor writing any more while TCP stays open."""

_NO_LINGER = struct.pack("ii", 1, 0)
_TCP_ENDED = frozenset({7, 8, 9})  # CLOSE, CLOSE_WAIT, LAST_ACK in the kernel's numbering: the peer is done
_CHUNK = 65_536
_LOOK = 0.5  # seconds between two looks whether the connection has ended, while a send waits
_REAPED_LOOK = 0.02  # seconds between two questions to the kernel
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SendError(Exception):
    """The bytes did not all go out: the connection has ended, or the server does not read."""


class Wire:
    """Takes over an open socket. `name` is the connection's, for what went wrong."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.settimeout(0)
        self._sock, self._name = sock, name
        self._lock = threading.Lock()
        self._unsent = bytearray()
        self._cut: Cut | None = None
        self._closed = False
        self._released = threading.Event()  # ends a black hole

    @property
    def cut(self) -> Cut | None:
        """Whether, and how, we have ended it ourselves."""
        return self._cut

    def refuse_when_over(self, size: int) -> None:
        """Raises SendError when it has ended, or was cut: `size` bytes cannot go."""
        if self._cut is not None or self._closed:
            raise SendError(f"the connection {self._name} has ended: {size} bytes were not sent")

    # ---- what goes

    def send(self, data: bytes, within: float) -> None:
        """All of the bytes, waiting at most `within` seconds for a server that does not read. Raises SendError."""
        deadline = time.monotonic() + within
        self.refuse_when_over(len(data))
        with self._lock:
            self._unsent += data
        while not self.flush():
            left = deadline - time.monotonic()
            if left <= 0:
                raise SendError(f"the server read nothing for {within:g} s: bytes are still unsent")
            self.refuse_when_over(len(data))
            self._poll(select.POLLOUT, min(left, _LOOK))

    def offer(self, data: bytes, most: int) -> bool:
        """Queue the bytes for the next `flush`, without waiting. False, and nothing is queued, when more than `most` bytes wait."""
        with self._lock:
            if len(self._unsent) > most:
                return False
            self._unsent += data
            return True

    def flush(self) -> bool:
        """Hand what waits to the kernel; True when nothing waits any more. Raises SendError when that fails."""
        with self._lock:
            self.refuse_when_over(len(self._unsent))
            try:
                while self._unsent:
                    sent = self._sock.send(self._unsent)
                    del self._unsent[:sent]
            except _NOT_NOW:
                return False
            except OSError as error:
                self._unsent.clear()
                raise SendError(f"the connection {self._name} broke while sending: {error.strerror or error}") from None
            return True

    # ---- what comes

    def receive(self, patience: float | None) -> bytes | None:
        """A chunk; empty at the end of the stream; None when there was nothing to read for `patience` seconds (None: for ever) or something
        has changed. Sends on what waits meanwhile. Raises OSError when the connection breaks. For one thread only.
        """
        with self._lock:
            if self._cut is not None:
                return None
            try:
                return self._sock.recv(_CHUNK)
            except _NOT_NOW:
                pass
            except ssl.SSLEOFError:
                return b""
        if self._unsent:
            with contextlib.suppress(SendError):
                self.flush()
        self._poll(select.POLLIN | (select.POLLOUT if self._unsent else 0), patience)
        return None

    def _poll(self, events: int, seconds: float | None) -> None:
        with contextlib.suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(self._sock, events)
            poll.poll(None if seconds is None else max(0.0, seconds * 1000))

    # ---- the end

    def stop(self, how: Cut) -> None:
        """From now on nothing is read or written; the receiving thread is woken, and does the rest."""
        # Shutting down the receiving half wakes the reader and puts nothing on the wire; the lock keeps TLS from seeing
        # an end of the stream, to which it would answer with an alert.
        with self._lock, contextlib.suppress(OSError):
            self._cut = how
            socket.socket.shutdown(self._sock, socket.SHUT_RD)
        if how == "abort":
            self._released.set()

    def wait_released(self) -> None:
        """Of a black hole: until `stop("abort")` ends it."""
        self._released.wait()

    def wait_reaped(self, timeout: float) -> float | None:
        """When (monotonic, to 0.02 s) the far end was seen to end TCP; None when it did not in `timeout` seconds.

        Asked of the kernel, for nothing need be read any more. Linux only.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            except OSError:
                return time.monotonic()
            now = time.monotonic()
            if state in _TCP_ENDED:
                return now
            if now >= deadline:
                return None
            time.sleep(_REAPED_LOOK)

    def close(self, *, reset: bool) -> None:
        """Give the descriptor back; with a reset, or in good order."""
        if reset:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        with self._lock, contextlib.suppress(OSError):
            self._closed = True
            self._sock.close()
