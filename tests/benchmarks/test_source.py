"""The broadcast source, in C and in Python: every socket gets every message, whole and in order, however slowly it reads."""

from __future__ import annotations

import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from benchmarks.source import MARK, Sent, Source, compile_source, make_plan, texts
from harness.net.frames import CLOSE, FrameDecoder, encode, parse_close
from harness.net.handshake import Opened, open_websocket
from schemas import load_contract, parse, validate_server

_PATIENCE = 20.0
_SOCKETS = 3


@pytest.fixture(params=["C", "Python"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    if request.param == "Python":
        return [sys.executable, "-m", "benchmarks.slow_source"]
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler here")
    return compile_source(tmp_path)


class Reader:
    """One socket: its texts in order and the code of its Close."""

    def __init__(self, port: int) -> None:
        opened = open_websocket(f"ws://127.0.0.1:{port}/", timeout=_PATIENCE, sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)])
        assert isinstance(opened, Opened), opened
        self.opened = opened
        self.texts: list[bytes] = []
        self.code: int | None = None

    def read(self) -> None:
        sock, decoder = self.opened.sock, FrameDecoder(65_536)
        sock.settimeout(_PATIENCE)
        data = self.opened.leftover
        while True:
            for frame in decoder.feed(data):
                if frame.opcode == CLOSE:
                    self.code = parse_close(frame.payload)[0]
                    sock.sendall(encode(CLOSE, frame.payload))
                    sock.close()
                    return
                self.texts.append(frame.payload)
            data = sock.recv(65_536)
            if not data:
                return


def run(command: list[str], rate: float, seconds: float, before_last: Callable[[list[Reader]], None]) -> tuple[list[Reader], Sent]:
    """All of one source; the last socket is not read before `before_last` has returned."""
    with Source(command, sockets=_SOCKETS, rate=rate, seconds=seconds, drain=_PATIENCE) as source:
        readers = [Reader(source.port) for _ in range(_SOCKETS)]
        source.wait_start()
        threads = [threading.Thread(target=reader.read) for reader in readers]
        for thread in threads[:-1]:
            thread.start()
        before_last(readers[:-1])
        threads[-1].start()
        for thread in threads:
            thread.join(_PATIENCE)
        return readers, source.wait_end()


def test_every_socket_gets_every_message_with_its_time(command: list[str]) -> None:
    rate, seconds = 50.0, 0.3
    expected = texts(make_plan(rate, seconds))

    readers, sent = run(command, rate, seconds, lambda _: None)

    assert sent.complete
    assert len(sent.began) == len(expected)
    for reader in readers:
        assert reader.code == load_contract().close.normal
        assert len(reader.texts) == len(expected)
        for text, meant, began in zip(reader.texts, expected, sent.began, strict=True):
            message = parse(text)
            assert not validate_server(message, strict=True)
            assert isinstance(message, dict)
            stamp = message["timestamp"]
            assert text.decode() == meant.replace(MARK, stamp)
            assert 0 <= began / 1e6 - datetime.fromisoformat(stamp).timestamp() * 1e3 < 1.001
    due = sent.start + 1e9 / rate * (len(expected) - 1)
    assert sent.began[-1] >= due, "sent ahead of its plan"


def test_a_slow_socket_misses_nothing_and_holds_nobody_up(command: list[str]) -> None:
    rate, seconds = 20_000.0, 0.4
    count = make_plan(rate, seconds).count

    def others_have_everything(others: list[Reader]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while any(len(reader.texts) < count for reader in others):
            assert time.monotonic() < deadline, "the slow socket holds the others up"
            time.sleep(0.01)

    readers, sent = run(command, rate, seconds, others_have_everything)

    assert sent.complete
    assert sent.refusals > 0
    assert sent.most_behind > 100_000
    counted = [[orjson.loads(text)["voteCount"] for text in reader.texts] for reader in readers]
    assert counted == [list(range(count))] * _SOCKETS
