"""The silent path for real: bytes pass, then nobody hears anything, then whoever speaks on an old connection is reset."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import RunInvalid
from harness.load.reconnect.silence import SilentPath

WAIT = 20.0
QUIET = 0.3


class Echo:
    """A server that says back what it hears, and can speak first."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.inside: list[socket.socket] = []
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        while not self._over:
            for fd, _ in poll.poll(50):
                if fd == self.listener.fileno():
                    sock, _ = self.listener.accept()
                    self.inside.append(sock)
                    poll.register(sock, select.POLLIN)
                    continue
                (held,) = (each for each in self.inside if each.fileno() == fd)
                try:
                    data = held.recv(65536)
                    held.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    poll.unregister(held)

    def close(self) -> None:
        self._over = True
        self._thread.join(WAIT)
        self.listener.close()
        for sock in self.inside:
            sock.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def path(echo: Echo, tmp_path: Path) -> Iterator[SilentPath]:
    with SilentPath("127.0.0.1", echo.port, tmp_path / "log") as path:
        yield path


def connect(path: SilentPath) -> socket.socket:
    return socket.create_connection(path.address, timeout=WAIT)


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (chunk := sock.recv(size - len(data))):
        data += chunk
    return data


def says(sock: socket.socket, text: bytes) -> bytes:
    sock.sendall(text)
    return receive(sock, len(text))


def hears_nothing(sock: socket.socket) -> bool:
    return select.select([sock], [], [], QUIET) == ([], [], [])


def test_bytes_pass_both_ways_also_many(path: SilentPath) -> None:
    with connect(path) as sock:
        assert says(sock, b"hello") == b"hello"
        assert says(sock, b"x" * 300_000) == b"x" * 300_000


def test_in_the_silence_nothing_passes_and_nobody_is_told(path: SilentPath) -> None:
    with connect(path) as old:
        assert says(old, b"before") == b"before"
        path.order("silent")
        old.sendall(b"lost")
        assert hears_nothing(old)
        with connect(path) as new:
            new.sendall(b"waits")
            assert hears_nothing(new)
            path.order("healed")
            assert receive(new, 5) == b"waits"
        with pytest.raises(ConnectionResetError):
            old.recv(1)


def test_afterwards_an_old_connection_lives_until_somebody_speaks(path: SilentPath, echo: Echo) -> None:
    with connect(path) as old:
        assert says(old, b"before") == b"before"
        path.order("silent")
        path.order("healed")
        assert hears_nothing(old)
        old.sendall(b"anybody?")
        with pytest.raises(ConnectionResetError):
            old.recv(1)
        # The server's half is forgotten too, and it finds out the same way.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            speak_until_it_fails(echo.inside[0])


def speak_until_it_fails(sock: socket.socket) -> None:
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        sock.sendall(b"anybody?")
        time.sleep(0.05)


def test_a_path_without_a_server_resets(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with SilentPath("127.0.0.1", port, tmp_path / "log") as path, connect(path) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_a_relay_that_is_gone_is_our_own_failure(path: SilentPath) -> None:
    assert path._process is not None
    path._process.kill()
    path._process.wait(WAIT)
    with pytest.raises(RunInvalid, match="relay"):
        path.order("silent")
