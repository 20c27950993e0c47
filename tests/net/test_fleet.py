"""The receive path over real TCP and TLS sockets: nothing is lost however bytes are cut, and no peer can hurt the reader."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.net import fleet as fleet_module
from harness.net.fleet import Bounds, Closed, Fleet
from harness.net.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameDecoder, WireFrame, close_payload, encode

_PATIENCE = 10.0
_PING_TEXT = b'{"type":"PING"}'
_PONG_TEXT = b'{"type":"PONG"}'


class Book:
    """A digest that numbers payloads in the order of first sight; PING is 0."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = [_PING_TEXT]
        self.asked = 0

    def __call__(self, payload: bytes) -> int:
        self.asked += 1
        if payload not in self.payloads:
            self.payloads.append(payload)
        return self.payloads.index(payload)


class Rig:
    """A fleet with server ends of its sockets in hand."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.book = Book()
        self.violations: list[tuple[int, str]] = []
        self.fleet = Fleet(
            select.epoll(),
            digest=self.book,
            replies={0: _PONG_TEXT},
            violation=lambda slot, text: self.violations.append((slot, text)),
            bounds=bounds,
        )
        self.servers: list[socket.socket] = []
        self.clients: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    def connect(self, early: bytes = b"") -> socket.socket:
        client = socket.create_connection(self._listener.getsockname())
        server, _ = self._listener.accept()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.settimeout(_PATIENCE)
        client.setblocking(False)
        self.fleet.add(client, len(self.clients), early)
        self.servers.append(server)
        self.clients.append(client)
        return server

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not done():
            assert time.monotonic() < deadline, "the fleet did not get there in time"
            self.fleet.drain()

    def read(self, count: int) -> tuple[list[tuple[int, bytes]], list[Closed]]:
        """(slot, payload) of the next `count` messages."""
        seen: list[tuple[int, bytes]] = []
        ends: list[Closed] = []

        def done() -> bool:
            batch, closed = self.fleet.take()
            seen.extend((int(slot), self.book.payloads[message]) for slot, message in zip(batch.slot, batch.message, strict=True))
            ends.extend(closed)
            return len(seen) >= count

        self.until(done)
        return seen, ends

    def ends(self, count: int) -> list[Closed]:
        ends: list[Closed] = []

        def done() -> bool:
            ends.extend(self.fleet.take()[1])
            return len(ends) >= count

        self.until(done)
        return ends

    def close(self) -> None:
        for sock in (*self.clients, *self.servers, self._listener):
            sock.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with closing(Rig()) as made:
        yield made


def server_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    return encode(opcode, payload, masked=False, fin=fin, rsv=rsv)


def text(payload: bytes) -> bytes:
    return server_frame(TEXT, payload)


def answers(server: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """The next `count` frames that the fleet sent."""
    decoder = FrameDecoder(1 << 20)
    frames: list[WireFrame] = []
    while len(frames) < count:
        frames += decoder.feed(server.recv(4096))
    return [(frame.opcode, frame.payload) for frame in frames]


def test_one_parse_serves_every_socket(rig: Rig) -> None:
    for _ in range(50):
        rig.connect()
    for server in rig.servers:
        server.sendall(text(b'{"n":1}'))
    seen, _ = rig.read(50)
    assert sorted(slot for slot, _ in seen) == list(range(50))
    assert {payload for _, payload in seen} == {b'{"n":1}'}
    assert rig.book.asked == 1


def test_the_kernel_stamps_the_arrival_before_python_sees_it(rig: Rig) -> None:
    server = rig.connect()
    before = time.time_ns()
    server.sendall(text(b"{}"))
    sent = time.time_ns()
    time.sleep(0.05)  # the reader is away: the stamp must not be
    rig.until(lambda: rig.fleet.drain() > 0)
    batch, _ = rig.fleet.take()
    assert batch.stamped
    assert before <= batch.arrived[0] <= sent + 20_000_000
    assert batch.lag[0] >= 30_000_000
    assert batch.lag[0] == pytest.approx(time.time_ns() - batch.arrived[0], abs=5e9)


def test_frames_of_one_read_are_counted_as_sharing_its_stamp(rig: Rig) -> None:
    server = rig.connect()
    server.sendall(text(b"1") + text(b"2") + text(b"3"))
    time.sleep(0.02)
    rig.until(lambda: rig.fleet.drain() > 0)
    batch, _ = rig.fleet.take()
    assert (batch.reads, batch.shared, len(batch.message)) == (1, 2, 3)
    assert len(set(batch.arrived.tolist())) == 1


_messages = st.lists(st.binary(max_size=300), min_size=1, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(payloads=_messages, cuts=st.lists(st.integers(1, 40), min_size=1, max_size=200), pings=st.booleans(), pieces=st.integers(1, 4))
def test_nothing_is_lost_however_the_bytes_are_cut(payloads: list[bytes], cuts: list[int], pings: bool, pieces: int) -> None:
    stream = b""
    for payload in payloads:
        size = -(-len(payload) // pieces) or 1
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts):
            stream += server_frame(CONTINUATION if number else TEXT, part, fin=number == len(parts) - 1)
            if pings:
                stream += server_frame(PING, b"?")
    with closing(Rig()) as rig:
        server = rig.connect()
        position = 0
        for cut in cuts:
            server.sendall(stream[position : position + cut])
            position += cut
            rig.fleet.drain()
        server.sendall(stream[position:])
        seen, _ = rig.read(len(payloads))
        assert [payload for _, payload in seen] == payloads
        assert rig.violations == []


def test_bytes_that_came_with_the_handshake_are_read(rig: Rig) -> None:
    whole = text(b"first") + text(b"second")
    server = rig.connect(early=whole[:9])
    server.sendall(whole[9:])
    seen, _ = rig.read(2)
    assert [payload for _, payload in seen] == [b"first", b"second"]


def test_each_ping_is_answered_on_its_own_socket(rig: Rig) -> None:
    for _ in range(5):
        rig.connect()
    for _ in range(3):
        for server in rig.servers:
            server.sendall(text(_PING_TEXT))
        rig.read(5)
        for server in rig.servers:
            assert answers(server, 1) == [(TEXT, _PONG_TEXT)]


def test_a_ping_within_a_longer_read_is_answered_too(rig: Rig) -> None:
    server = rig.connect()
    for _ in range(2):  # the second time the chunk is known
        server.sendall(text(b"a") + text(_PING_TEXT) + text(b"b"))
        rig.read(3)
        assert answers(server, 1) == [(TEXT, _PONG_TEXT)]


def test_control_pings_get_their_payload_back(rig: Rig) -> None:
    server = rig.connect()
    server.sendall(server_frame(PING, b"payload"))
    rig.until(lambda: rig.fleet.drain() > 0)
    assert answers(server, 1) == [(PONG, b"payload")]


@pytest.mark.parametrize("code", [1000, 1001, 1008, 4401])
def test_a_close_frame_is_recorded_and_answered(rig: Rig, code: int) -> None:
    server = rig.connect()
    server.sendall(server_frame(CLOSE, close_payload(code, "bye")))
    rig.until(lambda: rig.fleet.drain() > 0)
    assert answers(server, 1) == [(CLOSE, close_payload(code))]
    server.close()
    (end,) = rig.ends(1)
    assert (end.slot, end.code, end.reason, end.by) == (0, code, "bye", "server")
    assert len(rig.fleet) == 0


def test_an_end_without_a_close_frame_is_1006(rig: Rig) -> None:
    rig.connect().close()
    reset = rig.connect()
    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset.close()
    ends = rig.ends(2)
    assert {(end.slot, end.code, end.by) for end in ends} == {(0, 1006, "server"), (1, 1006, "server")}


def test_closing_all_sends_1000_and_waits_for_the_answers(rig: Rig) -> None:
    for _ in range(3):
        rig.connect()
    rig.fleet.close_all(1000, "done")
    for server in rig.servers:
        assert answers(server, 1) == [(CLOSE, close_payload(1000, "done"))]
        server.sendall(server_frame(CLOSE, close_payload(1000)))
        server.close()
    assert {(end.code, end.by) for end in rig.ends(3)} == {(1000, "client")}


_BROKEN = {
    "masked": encode(TEXT, b"{}", masked=True),
    "reserved bit": server_frame(TEXT, b"{}", rsv=4),
    "continuation": server_frame(CONTINUATION, b"{}"),
    "opcode 2": server_frame(BINARY, b"{}"),
    "control frame": server_frame(PING, b"x" * 125, fin=False),
    "opcode 3": server_frame(3, b""),
    "more than": b"\x81\x7f" + (1 << 40).to_bytes(8, "big"),
}


@pytest.mark.parametrize("wrong", _BROKEN)
def test_broken_framing_is_named_and_ends_only_its_own_socket(rig: Rig, wrong: str) -> None:
    bad, good = rig.connect(), rig.connect()
    bad.sendall(_BROKEN[wrong] + text(b"ignored"))
    rig.until(lambda: bool(rig.violations))
    ((slot, said),) = rig.violations
    assert slot == 0
    assert wrong in said
    assert answers(bad, 1) == [(CLOSE, close_payload(1002))]
    good.sendall(text(b"fine"))
    seen, _ = rig.read(1)
    assert (1, b"fine") in seen
    bad.close()
    assert [(end.slot, end.code, end.by) for end in rig.ends(1)] == [(0, 1002, "client")]


def test_a_peer_that_never_ends_its_message_is_cut_off_at_the_bound() -> None:
    with closing(Rig(Bounds(message=1000))) as rig:
        server = rig.connect()
        server.sendall(server_frame(TEXT, b"x" * 400, fin=False) + 3 * server_frame(CONTINUATION, b"x" * 400, fin=False))
        rig.until(lambda: bool(rig.violations))
        assert "more than 1000 bytes" in rig.violations[0][1]


def test_distinct_chunks_do_not_grow_what_is_kept() -> None:
    with closing(Rig(Bounds(known_chunks=10))) as rig:
        server = rig.connect()
        for number in range(100):
            server.sendall(text(b"%d" % number))
            assert rig.read(1)[0] == [(0, b"%d" % number)]
        assert len(rig.fleet._known) <= 10
        assert len(rig.fleet._chunks) <= 40


def test_a_peer_that_does_not_read_never_blocks_the_fleet() -> None:
    with closing(Rig(Bounds(outbox=2_000))) as rig:
        server = rig.connect()
        for sock, option in ((server, socket.SO_RCVBUF), (rig.clients[0], socket.SO_SNDBUF)):
            sock.setsockopt(socket.SOL_SOCKET, option, 4096)
        server.settimeout(0.2)
        flood = server_frame(PING, b"x" * 100) * 500
        began = time.monotonic()
        for _ in range(40):
            try:
                server.sendall(flood)
            except TimeoutError:
                break
            rig.fleet.drain()
        assert time.monotonic() - began < _PATIENCE
        (held,) = rig.fleet._sockets.values()
        assert len(held.outbox) <= 2_000 + 200
        held_before = len(held.outbox)
        assert held_before > 0, "the flood was meant to fill the socket"
        server.settimeout(_PATIENCE)
        drained = 0

        def read_on() -> bool:
            nonlocal drained
            drained += len(server.recv(65536))
            rig.fleet.drain()
            return not held.outbox

        rig.until(read_on)


def test_a_removed_socket_is_forgotten(rig: Rig) -> None:
    server = rig.connect()
    rig.fleet.remove(rig.clients[0])
    server.sendall(text(b"late"))
    time.sleep(0.02)
    assert rig.fleet.drain() == 0
    assert len(rig.fleet) == 0


def test_nothing_read_is_an_empty_batch(rig: Rig) -> None:
    batch, ends = rig.fleet.take()
    assert (len(batch.slot), len(batch.message), len(batch.arrived), len(batch.lag), batch.reads, batch.bytes) == (0, 0, 0, 0, 0, 0)
    assert ends == []
    assert batch.arrived.dtype == np.int64


def test_over_tls_nothing_is_left_behind_and_no_kernel_stamp_is_claimed() -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    with closing(Rig()) as rig, socket.create_server(("127.0.0.1", 0)) as listener:
        plain_client = socket.create_connection(listener.getsockname())
        plain_server, _ = listener.accept()
        client = client_side.wrap_socket(plain_client, server_hostname="localhost", do_handshake_on_connect=False)
        server = server_side.wrap_socket(plain_server, server_side=True, do_handshake_on_connect=False)
        _shake(client, server)
        client.setblocking(False)
        server.setblocking(True)
        rig.clients.append(client)
        rig.servers.append(server)
        rig.fleet.add(client, 0)
        payloads = [b"%d" % number + b"x" * 5000 for number in range(30)]
        for payload in payloads:
            server.sendall(text(payload))
        server.sendall(text(_PING_TEXT))
        seen, _ = rig.read(31)
        assert [payload for _, payload in seen[:30]] == payloads
        assert not rig.fleet.stamped
        assert answers(server, 1) == [(TEXT, _PONG_TEXT)]
        server.close()
        assert [end.code for end in rig.ends(1)] == [1006]


def _shake(client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
    client.setblocking(False)
    server.setblocking(False)
    waiting = [client, server]
    deadline = time.monotonic() + _PATIENCE
    while waiting:
        assert time.monotonic() < deadline
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass


def test_following_ends_when_nothing_is_left_and_in_time_when_there_is_always_more(rig: Rig) -> None:
    servers = [rig.connect() for _ in range(3 * fleet_module._EVENTS)]
    for server in servers:
        server.sendall(text(b"{}"))
    assert rig.fleet.follow(_PATIENCE) is False
    batch, _ = rig.fleet.take()
    assert sorted(batch.slot.tolist()) == list(range(len(servers))), "each was read, though one call takes a part of them"
    assert batch.slot.tolist() == list(range(len(servers))), "and in the order in which they came"
    servers[0].sendall(text(b"{}"))
    assert rig.fleet.follow(0.0) is True, "the time was up before it was known that nothing is left"
