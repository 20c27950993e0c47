"""Targets that are no good: tests of the tester. Each is a real listening socket on a free port, run in threads."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["flood", "garbage", "greet", "listening", "profile", "upgraded"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_GREETING = b'{"type":"WELCOME","since":"yesterday"}'


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept on a free port and hand each connection to `serve` in a thread of its own; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def one(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            serve(sock)

    def accept() -> None:
        while not over.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def upgraded(sock: socket.socket, then: Callable[[socket.socket], None]) -> None:
    """Answer plain requests with 404 and upgrade whoever asks, cookie or not; `then` has the socket after the 101."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(4096)
        if not chunk:
            return
        data += chunk
    lines = data.split(b"\r\n")
    key = next((line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(b"sec-websocket-key")), None)
    if key is None:
        sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    proof = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )
    then(sock)


def profile(folder: Path, port: int) -> Path:
    """A profile for whatever listens there, with three made-up users."""
    sessions = [
        {
            "name": "better-auth.session_token",
            "value": f"token{number}ofsomelength.c2lnbmF0dXJlLW9mLXNvcnRz",
            "role": "regular",
            "userId": f"u{number}",
        }
        for number in range(3)
    ]
    (folder / "sessions.json").write_text(json.dumps(sessions))
    path = folder / "target.toml"
    lines = ['name = "wrong"', f'base_url = "http://127.0.0.1:{port}"', "time_scale = 0.1", "[sessions]", 'source = "cookies-file"']
    path.write_text("\n".join([*lines, 'path = "sessions.json"', ""]))
    return path


# ---- what a target may do after the 101


def greet(sock: socket.socket) -> None:
    """Sends a message of no known type, answers each Ping frame, and leaves at a Close without one in return."""
    sock.sendall(bytes([0x81, len(_GREETING)]) + _GREETING)
    sock.settimeout(20)
    while data := sock.recv(4096):
        if len(data) >= 6 and data[0] & 0x0F == 9:  # a Ping: its payload, masked by the client, goes back unmasked
            mask, masked = data[2:6], data[6 : 6 + (data[1] & 0x7F)]
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
            sock.sendall(bytes([0x8A, len(payload)]) + payload)
        elif data[0] & 0x0F == 8:
            return


def flood(sock: socket.socket) -> None:
    """A hundred thousand messages a second, for 20 s or until nobody takes them any more."""
    frame = bytes([0x81, 20]) + b'{"type":"PING","x":1}'[:20]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        sock.sendall(frame * 500)
        time.sleep(0.005)


def garbage(sock: socket.socket) -> None:
    """Bytes that are no frames."""
    sock.sendall(bytes(range(256)) * 64)
