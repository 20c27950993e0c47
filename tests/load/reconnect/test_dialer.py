"""How a dial can end, each against a real peer: what the target did and what our own machine could not do are never the same word."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from harness.errors import TargetUnreachable
from harness.load.reconnect.dialer import OUTCOMES, Dialer, Dialled, Route
from tests.load.reconnect.door import plain_socket
from tests.net.peers import WAIT, accept_value, free_port, key_of, peer, read_until_end, sending, switching, upgraded

PATIENCE = 60.0


def dial(url: str, tls: ssl.SSLContext | None = None, make: Callable[[int], Any] = plain_socket, give_up: bool = False) -> Dialled:
    """One dial to its end. give_up: let its patience be over as soon as the peer has heard it."""
    poll = select.epoll()
    route = Route.to(url, tls)
    dialer = Dialer(poll, route, PATIENCE, make)
    dialer.start(7, route.request(["Cookie: name=secret"], "http://page"), 100.0)
    end = time.monotonic() + WAIT
    try:
        while True:
            assert time.monotonic() < end
            if give_up:
                dialer.expire(100.0 + PATIENCE / 2)
            ended = dialer.step(101.0)
            if ended:
                assert len(dialer) == 0
                return ended[0]
            poll.poll(0.02)
            if give_up:
                dialer.expire(101.0 + PATIENCE)
    finally:
        dialer.abandon()
        poll.close()


@pytest.fixture
def answered() -> Callable[[bytes | Callable[[bytes], bytes]], Dialled]:
    """Dial a peer that answers with this."""

    def ask(answer: bytes | Callable[[bytes], bytes]) -> Dialled:
        def script(sock: socket.socket, head: bytes) -> None:
            sock.sendall(answer(head) if callable(answer) else answer)
            if answer != b"":
                read_until_end(sock)

        with peer(script) as server:
            ended = dial(server.url)
            if ended.sock is not None:
                ended.sock.close()
            return ended

    return ask


def test_an_open_socket_comes_with_what_followed_the_answer(answered: Callable[..., Dialled]) -> None:
    ended = answered(lambda head: switching(head) + b"\x81\x02hi")
    assert (ended.outcome, ended.status, ended.tag, ended.leftover) == ("opened", 101, 7, b"\x81\x02hi")
    assert (ended.started, ended.ended) == (100.0, 101.0)


def test_the_request_is_a_handshake_that_names_the_target_and_carries_the_session() -> None:
    with peer(lambda sock, head: sock.sendall(switching(head))) as server:
        ended = dial(server.url)
        ended.sock.close()
    (head,) = server.heads
    lines = head.decode().split("\r\n")
    assert lines[0] == "GET /api/roadmap/ws HTTP/1.1"
    assert {f"Host: 127.0.0.1:{server.port}", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
            "Origin: http://page", "Cookie: name=secret"} <= set(lines)  # fmt: skip
    assert len(key_of(head)) == 24


def test_every_dial_has_a_key_of_its_own() -> None:
    with peer(lambda sock, head: sock.sendall(switching(head))) as server:
        for _ in range(2):
            dial(server.url).sock.close()
    assert len({key_of(head) for head in server.heads}) == 2


@pytest.mark.parametrize("status", [401, 503, 500, 302])
def test_another_status_is_told(answered: Callable[..., Dialled], status: int) -> None:
    ended = answered(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
    assert (ended.outcome, ended.status, ended.sock) == ("http", status, None)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 xyz\r\n\r\n",
        b"HTTP/1.1 200" + b"x" * 40_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        lambda head: switching(head).replace(accept_value(key_of(head)).encode(), accept_value("another").encode()),
    ],
    ids=["not HTTP", "no status", "endless", "no proof", "wrong proof"],
)
def test_what_is_no_handshake_is_invalid(answered: Callable[..., Dialled], answer: bytes) -> None:
    assert answered(answer).outcome == "invalid"


def test_an_end_without_an_answer_is_cut(answered: Callable[..., Dialled]) -> None:
    assert answered(b"").outcome == "cut"


def test_nobody_there_is_refused() -> None:
    assert dial(f"ws://127.0.0.1:{free_port()}/").outcome == "refused"


def test_no_answer_in_time_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert dial(f"ws://127.0.0.1:{listener.getsockname()[1]}/", give_up=True).outcome == "timeout"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS])
def test_what_this_machine_has_not_is_our_own(code: int) -> None:
    def exhausted(_family: int) -> Any:
        raise OSError(code, os.strerror(code))

    assert dial(f"ws://127.0.0.1:{free_port()}/", make=exhausted).outcome == "local"


def test_a_name_without_an_address_is_refused_before_the_first_dial() -> None:
    with pytest.raises(TargetUnreachable, match=r"nowhere\.invalid"):
        Route.to("ws://nowhere.invalid/", None)


def test_over_tls() -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    with upgraded(sending(), server_side) as server:
        ended = dial(server.url, client_side)
        assert ended.outcome == "opened"
        ended.sock.close()
        assert dial(server.url, ssl.create_default_context()).outcome == "invalid"


def test_every_outcome_has_its_words() -> None:
    assert set(OUTCOMES) == {"opened", "refused", "http", "cut", "timeout", "invalid", "local"}
