"""Sending a prepared HTTP request and reading the answer, with one kept connection a thread and the reason when none
came.

Nothing is sent twice unless it is a GET: a vote that may have been counted must not be cast again by the instrument.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import ssl
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from harness.net.dial import Address, OpeningError, Phase, dial, time_left
from harness.net.handshake import Headers
from harness.target.hook import PreparedRequest

__all__ = ["HttpAnswer", "HttpClient", "NoAnswerError"]

_BODY_BYTES = 8 * 1024 * 1024
_CHUNK = 65_536


class NoAnswerError(Exception):
    """No HTTP answer; `phase` says how far it went, `problem` why, in words without a full stop."""

    def __init__(self, phase: Phase, problem: str) -> None:
        super().__init__(phase, problem)
        self.phase: Phase = phase
        self.problem = problem


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Times are time.monotonic() and time.time(), before the first byte went out and after the last one came in."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)
    called_at: float
    called_wall: float
    answered_at: float
    answered_wall: float


class HttpClient:
    """timeout: seconds for a whole exchange. May be used from many threads; `close` ends the connections of all."""

    def __init__(self, tls: ssl.SSLContext | None, timeout: float) -> None:
        self._tls = tls
        self._timeout = timeout
        self._mine = threading.local()
        self._all: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()

    def send(self, request: PreparedRequest) -> HttpAnswer:
        """Raises NoAnswerError. Any status is an answer; redirects are not followed."""
        reused = self._kept(request.url) is not None
        try:
            return self._once(request)
        except NoAnswerError as error:
            if not reused or request.method != "GET" or error.phase != "closed":
                raise
            return self._once(request)

    def close(self) -> None:
        with self._lock:
            connections, self._all = self._all, set()
        for connection in connections:
            connection.close()

    def _once(self, request: PreparedRequest) -> HttpAnswer:
        parts = urlsplit(request.url)
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        deadline = time.monotonic() + self._timeout
        connection = self._kept(request.url) or self._connect(request.url, deadline)
        called_at, called_wall = time.monotonic(), time.time()
        done = False
        try:
            connection.sock.settimeout(time_left(deadline))
            connection.request(request.method, resource, request.body, dict(request.headers))
            response = connection.getresponse()
            body = self._body(response, connection, deadline)
            headers = Headers(response.getheaders())
            done = not response.will_close
            response.close()  # the connection stays: only now may the next request go out
        except TimeoutError:
            raise NoAnswerError("timeout", f"no answer within {self._timeout:g} s") from None
        except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError, ssl.SSLEOFError):
            raise NoAnswerError("closed", "the connection was closed without an answer") from None
        except http.client.HTTPException as error:
            kind = type(error).__name__
            raise NoAnswerError("garbage", f"the answer is not HTTP as it should be ({kind})") from None
        except (OSError, ValueError) as error:
            raise NoAnswerError("closed", f"the exchange failed ({type(error).__name__})") from None
        finally:
            if not done:
                self._drop(connection)
        return HttpAnswer(response.status, headers, body, called_at, called_wall, time.monotonic(), time.time())

    @staticmethod
    def _body(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, deadline: float) -> bytes:
        body = bytearray()
        while True:
            if connection.sock is not None:  # gone when the body is what comes until the end
                connection.sock.settimeout(time_left(deadline))
            chunk = response.read1(_CHUNK)
            if not chunk:
                if response.length:
                    raise NoAnswerError("garbage", f"the answer ended {response.length} bytes early")
                return bytes(body)
            body += chunk
            if len(body) > _BODY_BYTES:
                raise NoAnswerError("garbage", f"the answer is longer than {_BODY_BYTES} bytes")
            time_left(deadline)

    def _connect(self, url: str, deadline: float) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        address = Address(secure, parts.hostname or "", parts.port or (443 if secure else 80), "/")
        try:
            sock = dial(address, deadline, self._tls, ())
        except OpeningError as error:
            raise NoAnswerError(error.phase, error.problem) from None
        except TimeoutError:
            raise NoAnswerError("timeout", f"no connection within {self._timeout:g} s") from None
        connection = http.client.HTTPConnection(address.authority)
        connection.auto_open = 0
        connection.sock = sock
        self._mine.connection, self._mine.place = connection, _place(url)
        with self._lock:
            self._all.add(connection)
        return connection

    def _kept(self, url: str) -> http.client.HTTPConnection | None:
        """This thread's connection to the same place, if the server has not ended it meanwhile."""
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            return None
        if self._mine.place == _place(url) and connection.sock is not None:
            poll = select.poll()
            poll.register(connection.sock, select.POLLIN)
            if not poll.poll(0):
                return connection
        self._drop(connection)
        return None

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with contextlib.suppress(OSError):
            connection.close()
        with self._lock:
            self._all.discard(connection)
        if getattr(self._mine, "connection", None) is connection:
            self._mine.connection = None


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
