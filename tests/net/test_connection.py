"""A connection against peers that behave, and against peers that flood, babble, hang, cut and never read."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme
from websockets.sync.server import ServerConnection, serve

from harness.net.connection import Bounds, Connection, Frame, Policy, SendError
from harness.net.frames import FrameDecoder, Opcode, close_payload, encode
from harness.net.handshake import Refused, raw_handshake, tls_context
from tests.net.peers import WAIT, Peer, free_port, peer, read_until_end, sending, switching, upgraded


def text(value: Any) -> bytes:
    """A server's text frame with the JSON of `value`."""
    return encode(Opcode.TEXT, orjson.dumps(value), masked=False)


def close_frame(code: int | None, reason: str = "") -> bytes:
    return encode(Opcode.CLOSE, close_payload(code, reason), masked=False)


@contextlib.contextmanager
def connected(server: Peer, **options: Any) -> Iterator[Connection]:
    connection = Connection.open(server.url, timeout=WAIT, name="probe", **options)
    assert isinstance(connection, Connection), connection
    try:
        yield connection
    finally:
        connection.abort()
    assert connection.closed is not None, "the reader must have ended"


def client_frames(sock: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """The next `count` frames of the client, as (opcode, payload); fewer when it ends before."""
    decoder = FrameDecoder(1 << 24)
    frames: list[tuple[int, bytes]] = []
    while len(frames) < count:
        chunk = sock.recv(65536)
        if not chunk:
            break
        frames += [(frame.opcode, frame.payload) for frame in decoder.feed(chunk)]
    return frames


@contextlib.contextmanager
def websockets_server(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    with serve(handler, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join(WAIT)


def test_a_conversation_with_a_server_of_another_make() -> None:
    seen: list[object] = []

    def handler(server: ServerConnection) -> None:
        for message in server:
            seen.append(message)
            server.send(message)

    with websockets_server(handler) as url:
        connection = Connection.open(url, timeout=WAIT)
        assert isinstance(connection, Connection)
        start = connection.mark()
        before = time.monotonic(), time.time()
        sent = connection.send_json({"type": "SUBSCRIBE", "featureIds": ["a"]})
        echo = connection.wait_type("SUBSCRIBE", WAIT, start)
        assert echo is not None
        assert echo.json() == {"type": "SUBSCRIBE", "featureIds": ["a"]}
        assert before[0] <= sent.at <= echo.at <= time.monotonic()
        assert before[1] - 1 <= echo.wall <= time.time() + 1
        connection.send_text("über")
        assert connection.wait_for(lambda frame: frame.text() == "über", WAIT) is not None
        connection.send_frame(Opcode.BINARY, bytes(100_000))
        big = connection.wait_for(lambda frame: frame.opcode == Opcode.BINARY, WAIT)
        assert big is not None
        assert len(big.payload) == 100_000
        connection.ping(b"payload")
        pong = connection.wait_for(lambda frame: frame.opcode == Opcode.PONG, WAIT)
        assert pong is not None
        assert pong.payload == b"payload"
        connection.close(1000, "bye")
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.clean, closed.by, closed.ended_by) == (1000, True, "client", "server")
        assert closed.problem is None
    assert [type(message) for message in seen] == [str, str, bytes]
    assert [frame.direction for frame in connection.frames()].count("out") == 5


def test_a_refusal_is_a_value() -> None:
    refused = Connection.open(f"ws://127.0.0.1:{free_port()}/", timeout=WAIT)
    assert isinstance(refused, Refused)
    assert refused.phase == "connect"


def test_a_frame_that_came_with_the_handshake_is_the_first_of_the_transcript() -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switching(head) + text({"type": "HELLO"}))
        read_until_end(sock)

    with peer(script) as server, connected(server) as connection:
        frame = connection.wait_type("HELLO", WAIT)
        assert frame is not None
        assert frame.index == 0


def test_a_connection_over_a_raw_handshake() -> None:
    with upgraded(sending(text({"type": "X"}))) as server:
        opened = raw_handshake(server.url, timeout=WAIT)
        assert not isinstance(opened, Refused)
        connection = Connection.over(opened)
        assert connection.wait_type("X", WAIT) is not None
        connection.abort()


def test_an_application_ping_is_answered_when_the_policy_says_so() -> None:
    answers: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        sock.sendall(text({"type": "PING"}))
        answers.extend(client_frames(sock, 1))
        sock.sendall(text({"type": "FENCE"}))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:
        assert connection.wait_type("FENCE", WAIT) is not None
    assert [(opcode, orjson.loads(payload)) for opcode, payload in answers] == [(Opcode.TEXT, {"type": "PONG"})]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(answer_ping=False), [(Opcode.PONG, b"p"), (Opcode.TEXT, b"fence")]),
        (Policy(answer_control_ping=False), [(Opcode.TEXT, b'{"type":"PONG"}'), (Opcode.TEXT, b"fence")]),
        (Policy(answer_ping=False, answer_control_ping=False), [(Opcode.TEXT, b"fence")]),
    ],
)
def test_what_is_not_to_be_answered_is_not(policy: Policy, expected: list[tuple[int, bytes]]) -> None:
    got: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        sock.sendall(text({"type": "PING"}) + encode(Opcode.PING, b"p", masked=False) + text({"type": "FENCE"}))
        got.extend(client_frames(sock, len(expected)))
        sock.sendall(text({"type": "DONE"}))
        read_until_end(sock)

    with upgraded(script) as server, connected(server, policy=policy) as connection:
        assert connection.wait_type("FENCE", WAIT) is not None
        connection.send_text("fence")
        assert connection.wait_type("DONE", WAIT) is not None
    assert got == expected


def test_no_answer_of_ours_goes_between_the_parts_of_a_message() -> None:
    got: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        got.extend(client_frames(sock, 1))
        sock.sendall(text({"type": "PING"}) + encode(Opcode.PING, b"p", masked=False) + text({"type": "FENCE"}))
        got.extend(client_frames(sock, 3))
        sock.sendall(text({"type": "DONE"}))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:
        with connection.in_one_piece():
            connection.send_frame(Opcode.TEXT, b"half", fin=False)
            assert connection.wait_type("FENCE", WAIT) is not None
            connection.send_frame(Opcode.CONTINUATION, b" and half")
        assert [frame.opcode for frame in connection.frames() if frame.direction == "out"] == [1, 0, 1, 10]
        assert connection.wait_type("DONE", WAIT) is not None
    assert got == [(1, b"half"), (0, b" and half"), (1, b'{"type":"PONG"}'), (10, b"p")]


def test_the_policy_may_change_while_the_connection_lives() -> None:
    got: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        got.extend(client_frames(sock, 1))
        sock.sendall(text({"type": "PING"}) + text({"type": "FENCE"}))
        got.extend(client_frames(sock, 1))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:
        connection.policy = Policy(answer_ping=False)
        connection.send_text("go")
        assert connection.wait_type("FENCE", WAIT) is not None
        connection.send_text("end")
    assert got == [(1, b"go"), (1, b"end")]


def test_a_close_of_the_server_is_answered_and_recorded() -> None:
    got: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        sock.sendall(close_frame(4401, "session expired") + text({"type": "TOO_LATE"}))
        got.extend(client_frames(sock, 1))

    with upgraded(script) as server, connected(server) as connection:
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.reason, closed.clean, closed.by) == (4401, "session expired", True, "server")
        late = connection.wait_type("TOO_LATE", WAIT)
        close = connection.wait_close_frame(0)
        assert late is not None
        assert close is not None
        assert late.index > close.index
        assert closed.at == close.at <= closed.ended_at
    assert got == [(Opcode.CLOSE, (4401).to_bytes(2, "big"))]


def test_a_close_frame_without_a_code() -> None:
    def script(sock: socket.socket) -> None:
        sock.sendall(close_frame(None))
        client_frames(sock, 1)

    with upgraded(script) as server, connected(server) as connection:
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.clean) == (1005, True)


def test_tcp_that_ends_without_a_close_frame_is_1006() -> None:
    with upgraded(lambda sock: None) as server, connected(server) as connection:
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.clean, closed.by, closed.ended_by) == (1006, False, "server", "server")


def test_a_reset_by_the_server_is_a_broken_connection() -> None:
    def script(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with upgraded(script) as server, connected(server) as connection:
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.by) == (1006, "server")
        assert closed.problem is not None
        assert "reset" in closed.problem


def test_tcp_that_a_server_leaves_open_after_the_close_frames_is_cut() -> None:
    def script(sock: socket.socket) -> None:
        sock.sendall(close_frame(1001))
        read_until_end(sock)

    with upgraded(script) as server, connected(server, bounds=Bounds(linger=0.2)) as connection:
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.clean, closed.by, closed.ended_by) == (1001, True, "server", "client")
        assert closed.problem is not None
        assert "still open 0.2 s" in closed.problem
        assert 0.19 < closed.ended_at - closed.at < WAIT


def test_abort_is_a_reset_and_no_close_frame() -> None:
    got: list[bytes] = []
    with upgraded(lambda sock: got.append(read_until_end(sock))) as server:
        with connected(server) as connection:
            connection.abort()
            closed = connection.closed
            assert closed is not None
            assert (closed.code, closed.by, closed.ended_by, closed.problem) == (1006, "client", "client", None)
            with pytest.raises(SendError, match="has ended"):
                connection.send_text("x")
            connection.close()  # harmless
        deadline = time.monotonic() + WAIT
        while not got and time.monotonic() < deadline:
            time.sleep(0.01)
    assert got == [b"RST"]


def test_a_black_hole_reads_and_writes_nothing_and_keeps_tcp_open() -> None:
    go, got, sent = threading.Event(), [], []

    def script(sock: socket.socket) -> None:
        sock.sendall(text({"type": "BEFORE"}))
        go.wait(WAIT)
        for _ in range(20):
            sock.sendall(text({"type": "PING"}) + encode(Opcode.PING, b"", masked=False))
        sent.append(True)
        sock.settimeout(0.3)
        try:
            got.append(sock.recv(100))
        except TimeoutError:
            got.append(b"nothing")

    with upgraded(script) as server, connected(server) as connection:
        assert connection.wait_type("BEFORE", WAIT) is not None
        connection.blackhole()
        with pytest.raises(SendError):
            connection.send_text("x")
        assert connection.wait_reaped(0) is None
        go.set()
        reaped = connection.wait_reaped(WAIT)  # the script ends, and with it the server's side
        assert reaped is not None
        assert connection.closed is None
        assert [frame.type for frame in connection.frames()] == ["BEFORE"]
    assert (sent, got) == ([True], [b"nothing"])
    assert connection.closed is not None


def test_waiting_begins_where_it_is_told_to() -> None:
    def script(sock: socket.socket) -> None:
        for number in range(3):
            sock.sendall(text({"type": "N", "n": number}))
        read_until_end(sock)

    def number(frame: Frame | None) -> int:
        assert frame is not None
        n: int = frame.json()["n"]
        return n

    with upgraded(script) as server, connected(server) as connection:
        last = connection.wait_for(lambda frame: frame.json() == {"type": "N", "n": 2}, WAIT)
        assert number(last) == 2
        assert number(connection.wait_type("N", 0)) == 0
        assert number(connection.wait_type("N", 0, start=1)) == 1
        assert connection.wait_type("N", 0.05, start=connection.mark()) is None


def test_waiting_ends_with_the_connection() -> None:
    with upgraded(lambda sock: sock.sendall(text({"type": "A"}))) as server, connected(server) as connection:
        assert connection.wait_type("NEVER", 10 * WAIT) is None
        assert connection.wait_type("A", 0) is not None


def test_our_own_frames_satisfy_no_wait() -> None:
    with upgraded(sending()) as server, connected(server) as connection:
        connection.send_json({"type": "MINE"})
        assert connection.wait_type("MINE", 0.05) is None


def test_a_fragmented_message_is_whole_on_its_last_frame() -> None:
    def script(sock: socket.socket) -> None:
        body = orjson.dumps({"type": "SPLIT", "text": "é" * 10})
        sock.sendall(encode(1, body[:20], fin=False, masked=False) + encode(9, b"", masked=False))
        sock.sendall(encode(0, body[20:], masked=False))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:
        frame = connection.wait_type("SPLIT", WAIT)
        assert frame is not None
        assert frame.opcode == Opcode.CONTINUATION
        assert frame.message_opcode == Opcode.TEXT
        incoming = [each for each in connection.frames() if each.direction == "in"]
        assert [each.message is None for each in incoming] == [True, True, False]


def test_a_flood_is_bounded_and_counted() -> None:
    count = 30_000
    filler = encode(2, b"x" * 10, masked=False)

    def script(sock: socket.socket) -> None:
        sock.sendall(filler * count + text({"type": "END"}))
        read_until_end(sock)

    bounds = Bounds(frames=100)
    with upgraded(script) as server, connected(server, bounds=bounds) as connection:
        end = connection.wait_type("END", WAIT)
        assert end is not None
        assert end.index == count
        assert len(connection.frames()) == 100
        assert connection.dropped == count + 1 - 100
        assert connection.frames(count - 2)[0].index == count - 2


def test_large_payloads_are_bounded_too() -> None:
    def script(sock: socket.socket) -> None:
        for _ in range(20):
            sock.sendall(encode(2, bytes(1000), masked=False))
        sock.sendall(text({"type": "END"}))
        read_until_end(sock)

    with upgraded(script) as server, connected(server, bounds=Bounds(transcript=5000)) as connection:
        assert connection.wait_type("END", WAIT) is not None
        assert sum(len(frame.payload) for frame in connection.frames()) <= 5000


def test_garbage_ends_the_connection_and_says_why() -> None:
    with upgraded(sending(b"\x82\x7f" + b"\xff" * 100)) as server, connected(server) as connection:
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.ended_by) == (1006, "client")
        assert closed.problem is not None
        assert "we read at most" in closed.problem


def test_broken_frames_of_the_server_are_recorded_with_their_problems() -> None:
    def script(sock: socket.socket) -> None:
        sock.sendall(encode(3, b"?", rsv=4) + text({"type": "AFTER"}))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:
        assert connection.wait_type("AFTER", WAIT) is not None
        first = connection.frames()[0]
        assert (first.opcode, first.rsv, first.masked) == (3, 4, True)
        assert len(first.problems) == 3


def test_text_that_is_not_utf8_or_not_json() -> None:
    def script(sock: socket.socket) -> None:
        sock.sendall(encode(1, b"\xff\xfe", masked=False) + encode(1, b"[1", masked=False) + text(5))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:
        assert connection.wait_for(lambda frame: frame.json() == 5, WAIT) is not None
        first, second, third = connection.frames()
        assert (first.text(), first.json(), first.type) == (None, None, None)
        assert (second.text(), second.json()) == ("[1", None)
        assert (third.text(), third.type) == ("5", None)


def test_a_server_that_never_reads_stops_neither_sender_nor_reader() -> None:
    go = threading.Event()

    def script(sock: socket.socket) -> None:
        for _ in range(3000):
            sock.sendall(encode(Opcode.PING, bytes(125), masked=False))
        sock.sendall(text({"type": "STILL_HERE"}))
        go.wait(WAIT)

    bounds = Bounds(send_within=0.2, unsent=1000)
    with upgraded(script) as server, connected(server, bounds=bounds) as connection:
        # More than any kernel buffers for a socket whose other end does not read.
        with pytest.raises(SendError, match=r"read nothing for 0\.2 s"):
            connection.send_frame(Opcode.BINARY, bytes(64 * 1024 * 1024))
        assert connection.wait_type("STILL_HERE", WAIT) is not None
        assert connection.unanswered > 0
        go.set()


def test_bytes_that_could_not_go_at_once_go_later_and_in_order() -> None:
    size = 8 * 1024 * 1024
    got: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        time.sleep(0.1)
        got.extend(client_frames(sock, 2))
        sock.sendall(text({"type": "GOT"}))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:
        connection.send_frame(Opcode.BINARY, bytes(range(256)) * (size // 256))
        connection.send_text("after")
        assert connection.wait_type("GOT", WAIT) is not None
    assert got[0] == (Opcode.BINARY, bytes(range(256)) * (size // 256))
    assert got[1] == (Opcode.TEXT, b"after")


def test_raw_bytes_and_broken_frames_go_out_as_they_are() -> None:
    got: list[bytes] = []

    def script(sock: socket.socket) -> None:
        data = b""
        while len(data) < 12:
            data += sock.recv(100)
        got.append(data)
        sock.sendall(text({"type": "GOT"}))

    with upgraded(script) as server, connected(server) as connection:
        connection.send_raw(b"\x00\x01raw")
        sent = connection.send_frame(5, b"abcde", masked=False, rsv=2)
        assert (sent.opcode, sent.rsv, sent.masked) == (5, 2, False)
        assert connection.wait_type("GOT", WAIT) is not None
    assert got == [b"\x00\x01raw" + bytes([0b10100101, 5]) + b"abcde"]


def test_observers_see_every_frame_and_their_errors_hurt_nobody() -> None:
    seen: list[tuple[str, str | None]] = []

    def failing(_frame: Frame) -> None:
        raise RuntimeError("an observer's own trouble")

    def script(sock: socket.socket) -> None:
        sock.sendall(text({"type": "PING"}))
        client_frames(sock, 1)
        sock.sendall(text({"type": "END"}))
        read_until_end(sock)

    observers = [failing, lambda frame: seen.append((frame.direction, frame.type))]
    with upgraded(script) as server, connected(server, observers=observers) as connection:
        assert connection.wait_type("END", WAIT) is not None
        assert [str(error) for error in connection.observer_errors][:1] == ["an observer's own trouble"]
    assert seen == [("in", "PING"), ("out", "PONG"), ("in", "END")]


def test_many_threads_may_send_at_once_and_no_frame_is_torn() -> None:
    got: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        got.extend(client_frames(sock, 80))
        sock.sendall(text({"type": "GOT"}))
        read_until_end(sock)

    with upgraded(script) as server, connected(server) as connection:

        def send(mark: int) -> None:
            for _ in range(10):
                connection.send_frame(Opcode.BINARY, bytes([mark]) * 5000)

        threads = [threading.Thread(target=send, args=(mark,)) for mark in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert connection.wait_type("GOT", WAIT) is not None
    assert sorted(payload for _, payload in got) == sorted(bytes([mark]) * 5000 for mark in range(8) for _ in range(10))


def test_the_same_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    got: list[tuple[int, bytes]] = []

    def script(sock: socket.socket) -> None:
        sock.sendall(encode(2, bytes(300_000), masked=False) + text({"type": "PING"}))
        got.extend(client_frames(sock, 2))
        sock.sendall(close_frame(1001))
        client_frames(sock, 1)

    with upgraded(script, context) as server, connected(server, tls=tls_context(file, verify=True)) as connection:
        assert connection.wait_type("PING", WAIT) is not None
        connection.send_frame(Opcode.BINARY, bytes(300_000))
        closed = connection.wait_closed(WAIT)
        assert closed is not None
        assert (closed.code, closed.clean) == (1001, True)
    assert sorted(len(payload) for _, payload in got) == [15, 300_000]


def test_a_black_hole_over_tls_can_be_ended() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = tls_context(None, verify=False)
    with (
        upgraded(sending(text({"type": "A"})), context) as server,
        connected(server, tls=trusting) as connection,
    ):
        assert connection.wait_type("A", WAIT) is not None
        connection.blackhole()
        assert connection.wait_reaped(0.05) is None


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys, time
import gevent
from harness.net.connection import Connection, SendError
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)
gevent.spawn(tick)
opened = [Connection.open(sys.argv[1], timeout=20) for _ in range(5)]
for each in opened:
    each.send_json({"type": "GO"})
for each in opened:
    assert each.wait_type("PING", 20) is not None
assert opened[0].wait_type("NEVER", 0.3) is None
assert len(ticks) > 5, "waiting held up every greenlet"
opened[0].close(1000)
closed = opened[0].wait_closed(20)
assert closed is not None and closed.clean, closed
opened[1].blackhole()
assert opened[1].wait_reaped(0.05) is None
for each in opened[1:]:
    each.abort()
    assert each.closed is not None and each.closed.ended_by == "client", each.closed
print("done")
"""


def test_the_same_under_gevents_monkey_patch() -> None:
    def script(sock: socket.socket) -> None:
        client_frames(sock, 1)
        sock.sendall(text({"type": "PING"}))
        if any(opcode == Opcode.CLOSE for opcode, _ in client_frames(sock, 2)):
            sock.sendall(close_frame(1000))
        else:
            read_until_end(sock)

    with upgraded(script) as server:
        command = [sys.executable, "-c", UNDER_GEVENT, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
