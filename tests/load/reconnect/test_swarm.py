"""Real sockets, a clock that jumps: what a swarm measures is exactly what its clients' models foretell, leaks and surrender included."""

from __future__ import annotations

import random
import socket
import ssl
from collections import Counter
from collections.abc import Iterator

import pytest
import trustme

from harness.load.reconnect.dialer import Route
from harness.load.reconnect.sitting import Sitter
from harness.load.reconnect.swarm import Page
from harness.measure.backoff import CLIENT_MODELS, Fate, client_model, foretell, rng_of
from harness.net.frames import CLOSE, TEXT, close_payload, encode
from schemas import load_contract
from tests.load.reconnect.door import Door, Pen
from tests.net.peers import Peer, upgraded

RULES, CODES = load_contract().client, load_contract().close
DROPPED = 1006
CLIENTS = 12


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as door:
        yield door


def crowd(model: str, count: int = CLIENTS) -> list:  # type: ignore[type-arg]
    return [client_model(model, RULES, CODES.normal, rng_of(1, 2, n)) for n in range(count)]


def fates(model: str, lost: float, back: float, code: int = DROPPED, count: int = CLIENTS) -> list[Fate]:
    return [foretell(client, lost=lost, failed=code == DROPPED, code=code, dropped=DROPPED, back=back) for client in crowd(model, count)]


def outage(pen: Pen, length: float, code: int | None = None) -> tuple[float, float]:
    """The door goes now and is there again after `length` seconds. Returns when the clients lost it, and when it was back."""
    pen.enter()
    pen.now += 10.0
    lost = pen.now
    pen.door.go(code)
    pen.settle(lambda: pen.swarm.bereft, "every client to lose its socket")
    pen.run(lost + length)
    pen.door.open()
    pen.run(lost + 200.0)
    return lost, lost + length


@pytest.mark.parametrize("length", [0.5, 4.0, 10.0, 40.0])
@pytest.mark.parametrize("model", CLIENT_MODELS)
def test_what_is_measured_is_what_the_model_foretells(door: Door, model: str, length: float) -> None:
    with Pen(door, crowd(model)) as pen:
        lost, back = outage(pen, length)
        expected = fates(model, lost, back)
        made = [row for row in pen.attempts if row["started"] > lost]
        for client, fate in enumerate(expected):
            mine = [row for row in made if row["client"] == client]
            assert sorted(row["started"] for row in mine) == pytest.approx(fate.attempts, abs=1e-6)
            assert sorted(row["ended"] for row in mine if row["outcome"] == "opened") == pytest.approx(fate.opened, abs=1e-6)
            assert {row["outcome"] for row in mine} <= {"opened", "refused"}
        assert all(row["started"] == pytest.approx(row["planned"], abs=1e-6) for row in made)
        assert pen.swarm.holding == sum(fate.back is not None for fate in expected)
        assert pen.swarm.sockets == len(door.inside) == sum(len(fate.opened) for fate in expected)
        assert pen.swarm.resolved


def test_the_sample_class_doubles_its_attempts_leaks_and_gives_up(door: Door) -> None:
    with Pen(door, crowd("sample")) as pen:
        lost, _ = outage(pen, 4.0)
        waves = Counter(round(row["started"] - lost, 3) for row in pen.attempts if row["started"] > lost)
        assert waves == {1.0: 2 * CLIENTS, 5.0: 4 * CLIENTS}
        assert (pen.swarm.holding, pen.swarm.sockets) == (CLIENTS, 4 * CLIENTS)
    with Pen(door, crowd("sample")) as pen:
        door.send_away(CODES.normal)
        outage(pen, 10.0)
        assert (pen.swarm.holding, pen.swarm.sockets) == (0, 0)
        assert pen.swarm.resolved


def test_leaked_sockets_take_the_places_of_others(door: Door) -> None:
    door.limit = CLIENTS
    with Pen(door, crowd("sample")) as pen:
        outage(pen, 4.0)
        assert pen.swarm.sockets == CLIENTS
        assert pen.swarm.holding < CLIENTS
        assert any(row["status"] == 503 for row in pen.attempts)


@pytest.mark.parametrize("code", [CODES.going_away, CODES.session_invalid])
def test_a_close_frame_is_one_event_and_its_code_is_kept(door: Door, code: int) -> None:
    with Pen(door, crowd("sample")) as pen:
        lost, back = outage(pen, 10.0, code)
        assert {(row["code"], row["by"]) for row in pen.losses} == {(code, "server")}
        first = [row for row in pen.attempts if row["started"] == pytest.approx(lost + RULES.reconnect_base, abs=1e-6)]
        assert len(first) == CLIENTS  # not two each: a clean close fires no error
        assert pen.swarm.sockets == sum(len(fate.opened) for fate in fates("sample", lost, back, code))


def test_a_refusal_by_status_is_told_and_counts_as_a_failure(door: Door) -> None:
    with Pen(door, crowd("contract", 3)) as pen:
        pen.enter()
        door.answer = lambda head: b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
        door.send_away(CODES.session_invalid)
        pen.settle(lambda: pen.swarm.bereft, "every client to lose its socket")
        pen.run(pen.now + 100.0)
        refused = [row for row in pen.attempts if row["outcome"] == "http"]
        assert {row["status"] for row in refused} == {401}
        assert len(refused) == 3 * RULES.reconnect_attempts
        assert all(client.given_up for client in pen.clients)


def test_pongs_that_nobody_asked_for_are_sent_on_time(door: Door) -> None:
    with Pen(door, [Sitter()], Page(pong_every=30.0, patience=10.0)) as pen:
        pen.enter()
        began = pen.now
        pen.run(began + 29.0)
        assert not door.said
        pen.run(began + 91.0)
        pen.settle(lambda: len(door.said) >= 3 * 21, "three PONGs")  # 6 bytes of header and mask, 15 of text
        assert len(door.said) == 3 * 21


def test_a_sitter_takes_a_place_and_does_not_come_back(door: Door) -> None:
    with Pen(door, [Sitter()] * 5) as pen:
        pen.enter()
        assert len(door.inside) == 5
        pen.swarm.part(CODES.normal)
        door.go()
        pen.settle(lambda: pen.swarm.sockets == 0, "all to be gone")
        assert pen.swarm.idle


def test_sockets_of_one_moment_are_opened_in_an_order_that_favours_nobody(door: Door) -> None:
    with Pen(door, crowd("contract", 40)) as pen:
        lost, _ = outage(pen, 0.5)
        order = [row["client"] for row in pen.attempts if row["started"] > lost]
        assert sorted(order) == list(range(40))
        assert order != sorted(order)


def test_a_late_round_is_written_down_as_our_own_lateness(door: Door) -> None:
    with Pen(door, [client_model("contract", RULES, CODES.normal, random.Random(1))]) as pen:
        pen.enter()
        lost = pen.now
        door.send_away(CODES.going_away)
        pen.settle(lambda: pen.swarm.bereft, "the client to lose its socket")
        pen.now = lost + RULES.reconnect_base + 0.25
        pen.settle(lambda: pen.swarm.holding == 1, "the client to be back")
        row = pen.attempts[-1]
        assert row["started"] - row["planned"] == pytest.approx(0.25, abs=1e-6)


def route(peer: Peer, tls: ssl.SSLContext) -> Route:
    return Route.to(peer.url, tls)


def test_over_tls_a_client_answers_pings_and_is_told_of_its_loss() -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    heard: list[bytes] = []

    def script(sock: socket.socket) -> None:
        sock.sendall(encode(TEXT, b'{"type":"PING"}', masked=False))
        heard.append(sock.recv(1024))
        sock.sendall(encode(CLOSE, close_payload(CODES.going_away), masked=False))

    with upgraded(script, server_side) as peer, Door() as door, Pen(door, crowd("contract", 1), route=route(peer, client_side)) as pen:
        pen.swarm.arrive([pen.now])
        pen.swarm.loyal = True
        pen.settle(lambda: pen.swarm.bereft, "the loss")
        assert [row["outcome"] for row in pen.attempts] == ["opened"]
        assert [row["code"] for row in pen.losses] == [CODES.going_away]
    assert len(heard[0]) == 6 + len(b'{"type":"PONG"}')
