"""Real peers for the client side: a server that speaks from a script over a plain or TLS socket, in a thread of its own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

Script = Callable[[socket.socket, bytes], None]

WAIT = 20.0  # seconds; generous, for the machine may be busy. Nothing waits that long when all is well


def accept_value(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def read_head(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        if not chunk:
            break
        data += chunk
        if data.startswith(b"\x16\x03"):  # a TLS client hello: no head will come
            break
    return data


def key_of(head: bytes) -> str:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "sec-websocket-key":
            return value.strip()
    return ""


def switching(head: bytes, *extra: str) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_value(key_of(head))}",
        *extra,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def read_until_end(sock: socket.socket) -> bytes:
    """Everything until the client ends TCP; b"RST" at the end of it when that was a reset."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        data += b"RST"
    return data


class Peer:
    """Runs `script(sock, request_head)` for each connection. Errors that a script raises are kept for the test."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.heads: list[bytes] = []
        self.errors: list[BaseException] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        return f"ws{'s' if self.tls else ''}://127.0.0.1:{self.port}/api/roadmap/ws"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self._socks.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(WAIT)
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            head = read_head(sock)
            self.heads.append(head)
            self.script(sock, head)
        except TimeoutError as error:
            self.errors.append(error)
        except OSError:
            pass  # the client left, which is its right
        except BaseException as error:
            self.errors.append(error)
        finally:
            sock.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._acceptor.join(WAIT)
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT)
        for sock in self._socks:
            sock.close()


@contextlib.contextmanager
def peer(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    server = Peer(script, tls)
    try:
        yield server
    finally:
        server.close()
    assert server.errors == []


@contextlib.contextmanager
def upgraded(script: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """A peer that opens the WebSocket properly before the script runs."""

    def run(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switching(head))
        script(sock)

    with peer(run, tls) as server:
        yield server


def sending(*chunks: bytes) -> Callable[[socket.socket], None]:
    """A script that sends these and then reads until the client ends."""

    def script(sock: socket.socket) -> None:
        for chunk in chunks:
            sock.sendall(chunk)
        read_until_end(sock)

    return script


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
