"""The opening of a WebSocket: dial, ask for the upgrade, and say exactly what was answered. A refusal is a value,
never an exception.

Two ways lead in. `open_websocket` lets websocket-client ask, behind a guard that takes away what a measuring client
must not have: redirects (they would carry the session elsewhere), a cookie jar shared by all connections, proxies from
the environment, unbounded reads. `raw_handshake` writes any request at all, for the checks. Both read the answer here,
bounded in bytes and by one deadline.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import websocket

from harness.net.dial import Address, OpeningError, Phase, SocketOption, dial, reason, time_left, tls_context

__all__ = ["NOT_SENT", "Headers", "Opened", "Phase", "Refused", "open_websocket", "raw_handshake", "tls_context"]

NOT_SENT = "the handshake could not be sent in time"
"""The problem of a Refused that the far end had no part in: a connected socket takes a request at once, so it was we who were late."""

_HEAD_BYTES = 65_536  # the longest answer head that we read
_BODY_BYTES = 4_096  # how much of a refusal's body is kept
_BODY_SECONDS = 1.0  # how long we wait for a body of unknown length
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: .*)?$")


class Headers:
    """Header lines in their order; names match in any case, and a name that came twice is kept twice."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[tuple[str, str]] = ()) -> None:
        self._items = tuple(items)

    def get(self, name: str) -> str | None:
        """The first value of `name`."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        return [value for key, value in self._items if key.lower() == name.lower()]

    def tokens(self, name: str) -> list[str]:
        """The comma-separated parts of all values of `name`, lower case."""
        return [part.strip().lower() for value in self.all(name) for part in value.split(",") if part.strip()]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        # Set-Cookie carries a session: names are enough to read a log by.
        return f"Headers({', '.join(key for key, _ in self._items)})"


@dataclass(frozen=True, slots=True)
class Opened:
    """An open WebSocket. `sock` is the caller's to close; `leftover` are bytes of frames that came with the answer."""

    sock: socket.socket
    leftover: bytes
    status: int
    headers: Headers

    def close(self) -> None:
        self.sock.close()


@dataclass(frozen=True, slots=True)
class Refused:
    """No WebSocket. `status` is None when no HTTP answer came; `body_start` are at most 4096 bytes of what followed
    the head.
    """

    status: int | None
    headers: Headers
    body_start: bytes
    phase: Phase
    problem: str


class _HeadReadError(Exception):
    """Tells websocket-client to stop: it wants the body of a refusal, which is ours to bound."""


class _Guard:
    """The socket as websocket-client gets to see it: one request out, one bounded head in, nothing else."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self.sent = b""
        self.head: bytes | None = None
        self.leftover = b""
        self._give = b""

    def send(self, data: bytes) -> int:
        self.sock.settimeout(time_left(self.deadline))
        self.sock.sendall(data)
        self.sent += data
        return len(data)

    def recv(self, size: int) -> bytes:
        if self.head is None:
            self.read_head()
            # Set-Cookie is kept from the library: it would give it to every later connection of this process.
            lines = (self.head or b"").split(b"\r\n")
            self._give = b"\r\n".join(line for line in lines if not line.lower().startswith(b"set-cookie"))
        given, self._give = self._give[:size], self._give[size:]
        if not given:
            raise _HeadReadError
        return given

    def read_head(self) -> None:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _HEAD_BYTES:
                raise OpeningError("garbage", f"the answer's head is longer than {_HEAD_BYTES} bytes")
            self.sock.settimeout(time_left(self.deadline))
            chunk = self.sock.recv(4096)
            if not chunk:
                what = f"after {len(data)} bytes that are no HTTP head" if data else "without an answer"
                raise OpeningError("garbage" if data else "closed", f"the server closed the connection {what}")
            data += chunk
            if not b"HTTP/".startswith(bytes(data[:5])):
                raise OpeningError("garbage", f"the answer is not HTTP: it begins with {bytes(data[:20])!r}")
        self.head, self.leftover = bytes(data[: end + 4]), bytes(data[end + 4 :])

    def gettimeout(self) -> float:
        return time_left(self.deadline)

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        """Not the library's to close: the body of a refusal is still to be read."""


def open_websocket(
    url: str,
    *,
    headers: Sequence[str] = (),
    origin: str | None = None,
    timeout: float,
    tls: ssl.SSLContext | None = None,
    sockopt: Sequence[SocketOption] = (),
) -> Opened | Refused:
    """Open `url` as websocket-client does, in at most `timeout` seconds.

    headers: whole lines such as "Cookie: name=value". origin: None sends the target's own, as a page of it would. tls:
    for wss://; None trusts the system's authorities. Raises ValueError when `url` or a header is malformed; everything
    else is a value.
    """

    def ask(guard: _Guard, address: Address) -> str:
        client = websocket.WebSocket(enable_multithread=False)
        try:
            client.connect(
                url,
                socket=guard,
                header=list(headers),
                origin=origin or address.origin,
                host=address.authority,
                redirect_limit=0,
            )
        except (OpeningError, OSError):
            raise
        except Exception:
            # What the library makes of an answer is not asked: the head is read again below. It must only have come.
            if not guard.sent:
                raise
            if guard.head is None:
                guard.read_head()
        finally:
            client.sock = None
        return Headers(_header_lines(guard.sent)).get("Sec-WebSocket-Key") or ""

    _refuse_line_breaks(headers)
    return _open(url, timeout, tls, sockopt, ask, offered=frozenset())


def raw_handshake(
    url: str,
    *,
    headers: Sequence[str] = (),
    cookies: Sequence[str] = (),
    origin: str | None = None,
    resource: str | None = None,
    method: str = "GET",
    upgrade: bool = True,
    key: str | None = None,
    version: str = "13",
    request: bytes | None = None,
    timeout: float,
    tls: ssl.SSLContext | None = None,
) -> Opened | Refused:
    """Ask `url` for the upgrade with exactly these headers, right or wrong, and read the answer in at most `timeout`
    seconds.

    cookies: "name=value" each, sent in one Cookie line in this order. origin: None sends none. resource: another path
    and query than the URL's. upgrade=False leaves out every WebSocket header: a plain request. key: the
    Sec-WebSocket-Key, random by default. request: these bytes instead of all of that; then give `key` too, to have the
    answer's Sec-WebSocket-Accept verified.
    """
    nonce = key if key is not None else base64.b64encode(os.urandom(16)).decode()
    offered = {name for line in headers for name in ("sec-websocket-extensions", "sec-websocket-protocol") if line.lower().startswith(name)}

    def ask(guard: _Guard, address: Address) -> str:
        lines = [f"{method} {resource or address.resource} HTTP/1.1", f"Host: {address.authority}"]
        if upgrade:
            lines += ["Upgrade: websocket", "Connection: Upgrade"]
            lines += [f"Sec-WebSocket-Key: {nonce}", f"Sec-WebSocket-Version: {version}"]
        if origin is not None:
            lines.append(f"Origin: {origin}")
        if cookies:
            lines.append(f"Cookie: {'; '.join(cookies)}")
        text = "\r\n".join([*lines, *headers, "", ""])
        guard.send(request if request is not None else text.encode("utf-8", "surrogateescape"))
        guard.read_head()
        return nonce

    return _open(url, timeout, tls, (), ask, offered=frozenset(offered))


def _open(
    url: str,
    timeout: float,
    tls: ssl.SSLContext | None,
    sockopt: Sequence[SocketOption],
    ask: Callable[[_Guard, Address], str],
    offered: frozenset[str],
) -> Opened | Refused:
    address = Address.parse(url)
    deadline = time.monotonic() + timeout
    sock: socket.socket | None = None
    nothing = Headers()
    try:
        sock = dial(address, deadline, tls, sockopt)
        guard = _Guard(sock, deadline)
        answer = _judge(guard, ask(guard, address), offered)
    except OpeningError as failed:
        answer = Refused(None, nothing, b"", failed.phase, failed.problem)
    except websocket.WebSocketTimeoutException:
        answer = Refused(None, nothing, b"", "timeout", NOT_SENT)
    except TimeoutError:
        answer = Refused(None, nothing, b"", "timeout", f"no answer to the handshake within {timeout:g} s")
    except OSError as error:
        answer = Refused(None, nothing, b"", "closed", f"the connection broke during the handshake: {reason(error)}")
    if isinstance(answer, Refused) and sock is not None:
        sock.close()
    return answer


def _judge(guard: _Guard, key: str, offered: frozenset[str]) -> Opened | Refused:
    """What the head says. `key` is what we sent; `offered` are the lower-case names of the headers by which we
    offered something.
    """
    first, _, rest = (guard.head or b"").partition(b"\r\n")
    line = _STATUS_LINE.match(first)
    headers = Headers(_header_lines(rest))
    if line is None:
        return Refused(None, headers, b"", "garbage", f"the answer is not HTTP: it begins with {first[:40]!r}")
    status = int(line[1])
    if status != 101:
        return Refused(status, headers, _body_start(guard, headers), "http", f"the server answered HTTP {status}")
    problem = _upgrade_problem(headers, key, offered)
    if problem is None:
        return Opened(guard.sock, guard.leftover, status, headers)
    return Refused(status, headers, guard.leftover[:_BODY_BYTES], "invalid", problem)


def _upgrade_problem(headers: Headers, key: str, offered: frozenset[str]) -> str | None:
    """The first rule of RFC 6455 section 4.1 that a 101 breaks, or None."""
    expected = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    accept = headers.all("Sec-WebSocket-Accept")
    if headers.tokens("Upgrade") != ["websocket"]:
        return f"the 101 says Upgrade: {headers.get('Upgrade')} where websocket is due"
    if "upgrade" not in headers.tokens("Connection"):
        return f"the 101 says Connection: {headers.get('Connection')} where Upgrade is due"
    if accept != [expected]:
        return f"the 101 says Sec-WebSocket-Accept: {', '.join(accept) or 'nothing'} where {expected} is due"
    for name in ("Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"):
        if headers.get(name) is not None and name.lower() not in offered:
            return f"the 101 says {name}: {headers.get(name)} though we offered none"
    return None


def _header_lines(head: bytes) -> list[tuple[str, str]]:
    """Name and value of each line that has both; anything else in `head` is passed over."""
    pairs = (line.decode("latin-1").partition(":") for line in head.split(b"\r\n"))
    return [(name.strip(), value.strip()) for name, colon, value in pairs if colon]


def _body_start(guard: _Guard, headers: Headers) -> bytes:
    """What follows a refusal's head: until its declared end, the connection's end, or our bounds."""
    declared = headers.get("Content-Length") or ""
    wanted = min(int(declared), _BODY_BYTES) if re.fullmatch(r"\d{1,9}", declared) else _BODY_BYTES
    deadline = min(guard.deadline, time.monotonic() + _BODY_SECONDS)
    body = bytearray(guard.leftover)
    try:
        while len(body) < wanted:
            guard.sock.settimeout(time_left(deadline))
            chunk = guard.sock.recv(wanted - len(body))
            if not chunk:
                break
            body += chunk
    except OSError:
        pass  # the status is known; a body that does not come is not worth an error
    return bytes(body[:_BODY_BYTES])


def _refuse_line_breaks(headers: Sequence[str]) -> None:
    for line in headers:
        name, colon, _ = line.partition(":")
        if not colon or not name.strip() or "\r" in line or "\n" in line:
            raise ValueError(f"the header {name[:40]!r} must be one line of the form Name: value")
