"""Thousands of handshakes at once: each socket is dialled without waiting, and the answer is read when it comes.

A client that comes back waits for nobody, so neither may the generator that plays a thousand of them: a pool of blocking dials would
spread the very herd that is to be measured. `step` never blocks and never raises for what a peer or this machine does; what our own
side could not do (no descriptor, no port) has an outcome of its own and is never the target's refusal.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.errors import TargetUnreachable
from harness.net.dial import Address
from harness.net.fleet import Poll

__all__ = ["LOCAL", "OPENED", "OUTCOMES", "REFUSED", "Dialer", "Dialled", "Route"]

OPENED, REFUSED, HTTP, CUT, TIMEOUT, INVALID, LOCAL = "opened", "refused", "http", "cut", "timeout", "invalid", "local"
OUTCOMES = {
    OPENED: "open",
    REFUSED: "refused by TCP: nobody listens",
    HTTP: "answered with a status other than 101",
    CUT: "cut before an answer",
    TIMEOUT: "no answer in time",
    INVALID: "an answer that is no handshake of RFC 6455",
    LOCAL: "not made: this machine had no descriptor or port left",
}
"""How a dial can end."""

_READABLE, _WRITABLE = 1, 4
_EVENTS = 4096
_HEAD_BYTES = 16_384
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.ENOBUFS, errno.ENOMEM})
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r]")
_ACCEPT = re.compile(rb"\r\nsec-websocket-accept:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Route:
    """Where to dial, and what to ask for there. The socket address may be a relay's while the request names the target."""

    family: int
    sockaddr: tuple[Any, ...]
    address: Address
    tls: ssl.SSLContext | None

    @classmethod
    def to(cls, url: str, tls: ssl.SSLContext | None, via: tuple[str, int] | None = None) -> Route:
        """To a WebSocket URL, directly or through host and port `via`. The name is looked up once. Raises TargetUnreachable."""
        address = Address.parse(url)
        host, port = via or (address.host, address.port)
        try:
            family, _, _, _, sockaddr = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise TargetUnreachable(f"the name {host} has no address ({error.strerror})", url, "check the profile's URL") from None
        return cls(family, sockaddr, address, tls if address.secure else None)

    def request(self, headers: list[str], origin: str) -> bytes:
        """The handshake up to the value of its last header, the key."""
        lines = [
            f"GET {self.address.resource} HTTP/1.1",
            f"Host: {self.address.authority}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Origin: {origin}",
            *headers,
            "Sec-WebSocket-Key: ",
        ]
        return "\r\n".join(lines).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Dialled:
    """The end of one dial. `sock` is the caller's, non-blocking, when the outcome is OPENED; times on the caller's clock, seconds."""

    tag: int
    outcome: str
    status: int | None
    started: float
    ended: float
    sock: Any = None
    leftover: bytes = b""


class _Dial:
    __slots__ = ("deadline", "head", "key", "out", "sock", "stage", "started", "tag")

    def __init__(self, tag: int, sock: Any, out: bytes, key: bytes, started: float, deadline: float) -> None:
        self.tag, self.sock, self.out, self.key, self.started, self.deadline = tag, sock, out, key, started, deadline
        self.stage = self.head = b""


class Dialer:
    """Dials along one route. `make` makes a plain socket of a family (gevent's own will not do: it waits).

    patience: seconds until a dial without an answer has failed.
    """

    def __init__(self, poll: Poll, route: Route, patience: float, make: Callable[[int], Any]) -> None:
        self._poll, self._route, self._patience, self._make = poll, route, patience, make
        self._dials: dict[int, _Dial] = {}
        self._ended: list[Dialled] = []

    def __len__(self) -> int:
        """Dials under way."""
        return len(self._dials) + len(self._ended)

    def fileno(self) -> int:
        return self._poll.fileno()

    def start(self, tag: int, request: bytes, now: float) -> None:
        """Dial. `request` is made by Route.request; the outcome carries `tag`."""
        key = base64.b64encode(os.urandom(16))
        sock = None
        try:
            sock = self._make(self._route.family)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(self._route.sockaddr)
        except OSError as error:
            code = error.errno or errno.ENOBUFS
        if sock is None or code not in (0, errno.EINPROGRESS):
            if sock is not None:
                sock.close()
            self._ended.append(Dialled(tag, _outcome(code), None, now, now))
            return
        self._dials[sock.fileno()] = _Dial(tag, sock, request + key + b"\r\n\r\n", key, now, now + self._patience)
        self._poll.register(sock.fileno(), _WRITABLE)

    def step(self, now: float) -> list[Dialled]:
        """Move on what can be moved on; returns what has ended since the last step."""
        for fd, _event in self._poll.poll(0, _EVENTS):
            dial = self._dials.get(fd)
            if dial is not None:
                try:
                    self._advance(fd, dial, now)
                except (BlockingIOError, ssl.SSLWantReadError):
                    self._poll.modify(fd, _READABLE)
                except ssl.SSLWantWriteError:
                    self._poll.modify(fd, _WRITABLE)
                except ssl.SSLError:
                    self._end(fd, INVALID, None, now)
                except OSError as error:
                    self._end(fd, _outcome(error.errno), None, now)
        ended, self._ended = self._ended, []
        return ended

    def expire(self, now: float) -> None:
        """Give up the dials whose patience is over; they end with the next `step`."""
        late = [fd for fd, dial in self._dials.items() if dial.deadline <= now]
        for fd in late:
            self._end(fd, TIMEOUT, None, now)

    def abandon(self) -> None:
        """Close everything under way; nothing is told of it."""
        for fd, dial in self._dials.items():
            with contextlib.suppress(OSError):
                self._poll.unregister(fd)
            dial.sock.close()
        self._dials.clear()
        self._ended.clear()

    def _advance(self, fd: int, dial: _Dial, now: float) -> None:
        if not dial.stage:
            code = dial.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            if self._route.tls is not None:
                host = self._route.address.host
                dial.sock = self._route.tls.wrap_socket(dial.sock, server_hostname=host, do_handshake_on_connect=False)
                dial.sock.setblocking(False)
            dial.stage = b"tls"
        if dial.stage == b"tls":
            if self._route.tls is not None:
                dial.sock.do_handshake()
            dial.stage = b"ask"
        if dial.stage == b"ask":
            while dial.out:
                dial.out = dial.out[dial.sock.send(dial.out) :]
            dial.stage = b"read"
            self._poll.modify(fd, _READABLE)
        self._read(fd, dial, now)

    def _read(self, fd: int, dial: _Dial, now: float) -> None:
        chunk = dial.sock.recv(4096)
        if not chunk:
            self._end(fd, CUT, None, now)
            return
        dial.head += chunk
        end = dial.head.find(b"\r\n\r\n")
        if end < 0:
            if len(dial.head) > _HEAD_BYTES or not b"HTTP/1.".startswith(dial.head[:7]):
                self._end(fd, INVALID, None, now)
            return
        line, accept = _STATUS.match(dial.head), _ACCEPT.search(dial.head[: end + 2])
        status = int(line[1]) if line else None
        if status is None:
            self._end(fd, INVALID, None, now)
        elif status != 101:
            self._end(fd, HTTP, status, now)
        elif accept is None or accept[1] != base64.b64encode(hashlib.sha1(dial.key + _GUID, usedforsecurity=False).digest()):
            self._end(fd, INVALID, status, now)
        else:
            self._end(fd, OPENED, status, now, leftover=dial.head[end + 4 :])

    def _end(self, fd: int, outcome: str, status: int | None, now: float, leftover: bytes = b"") -> None:
        dial = self._dials.pop(fd)
        self._poll.unregister(fd)
        if outcome != OPENED:
            dial.sock.close()
        self._ended.append(Dialled(dial.tag, outcome, status, dial.started, now, dial.sock if outcome == OPENED else None, leftover))


def _outcome(code: int | None) -> str:
    if code == errno.ECONNREFUSED:
        return REFUSED
    if code == errno.ETIMEDOUT:
        return TIMEOUT
    return LOCAL if code in _OURS else CUT
