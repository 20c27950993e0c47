"""The HTTP client against a server that keeps connections, ends them, hangs and babbles."""

from __future__ import annotations

import socket
import threading

import pytest

from harness.target.hook import PreparedRequest
from harness.target.http import HttpClient, NoAnswerError
from tests.net.peers import WAIT, free_port, peer, read_head, read_until_end
from tests.target.api import Reply, api


def get(url: str, method: str = "GET", body: bytes | None = None) -> PreparedRequest:
    return PreparedRequest(method, url, {"X-One": "1"}, body)


def test_one_connection_serves_many_requests_and_the_times_are_in_order() -> None:
    with api(lambda seen: Reply(201, seen.body, (("X-A", "1"), ("X-A", "2")))) as server:
        client = HttpClient(None, WAIT)
        for number in range(5):
            answer = client.send(get(f"{server.url}/a?b={number}", "POST", b"x" * number))
            assert (answer.status, answer.body, answer.headers.all("x-a")) == (201, b"x" * number, ["1", "2"])
            assert answer.called_at <= answer.answered_at
            assert answer.called_wall <= answer.answered_wall + 1
        client.close()
        assert len({seen.client for seen in server.seen}) == 1
        assert [seen.path for seen in server.seen] == [f"/a?b={number}" for number in range(5)]
        assert server.seen[0].headers["X-One"] == "1"


def test_each_thread_has_its_own_connection() -> None:
    with api(lambda seen: Reply()) as server:
        client = HttpClient(None, WAIT)
        threads = [threading.Thread(target=lambda: [client.send(get(server.url)) for _ in range(3)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        client.close()
        assert len(server.seen) == 12
        assert len({seen.client for seen in server.seen}) == 4


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_kept_connection_that_the_server_ended_is_not_used_again() -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(OK)

    with peer(script) as server:
        client = HttpClient(None, WAIT)
        url = f"http://127.0.0.1:{server.port}/"
        for _ in range(3):
            answer = client.send(get(url, "POST", b"vote"))
            assert answer.body == b"ok"
            for thread in server._threads:  # until the server's end has really gone
                thread.join(WAIT)
        client.close()
        assert len(server.heads) == 3


@pytest.mark.parametrize(("method", "requests"), [("GET", 3), ("POST", 2)])
def test_only_a_get_is_sent_again(method: str, requests: int) -> None:
    """The server takes the second request of the connection and ends it without an answer: was the vote counted?"""
    seen: list[bytes] = []

    def script(sock: socket.socket, head: bytes) -> None:
        seen.append(head)
        sock.sendall(OK)
        seen.append(read_head(sock))

    with peer(script) as server:
        client = HttpClient(None, WAIT)
        url = f"http://127.0.0.1:{server.port}/"
        client.send(get(url, method))
        if method == "GET":
            assert client.send(get(url, method)).body == b"ok"
        else:
            with pytest.raises(NoAnswerError, match="closed without an answer"):
                client.send(get(url, method))
        assert len([head for head in seen if head]) == requests
        client.close()


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (b"", "closed"),
        (b"SSH-2.0-OpenSSH\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "garbage"),
        (b"HTTP/1.1 abc\r\n\r\n", "garbage"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500, "garbage"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "garbage"),
    ],
)
def test_what_is_no_answer(answer: bytes, phase: str) -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        read_until_end(sock)

    with peer(script) as server:
        client = HttpClient(None, WAIT)
        with pytest.raises(NoAnswerError) as caught:
            client.send(get(f"http://127.0.0.1:{server.port}/", "POST"))
        assert caught.value.phase == phase, caught.value.problem
        client.close()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc"])
def test_an_answer_that_does_not_come_in_time(start: bytes) -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(start)
        read_until_end(sock)

    with peer(script) as server:
        client = HttpClient(None, 0.3)
        with pytest.raises(NoAnswerError, match=r"within 0\.3 s") as caught:
            client.send(get(f"http://127.0.0.1:{server.port}/"))
        assert caught.value.phase == "timeout"
        client.close()


def test_a_body_that_ends_with_the_connection() -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"z" * 100_000)

    with peer(script) as server:
        client = HttpClient(None, WAIT)
        assert client.send(get(f"http://127.0.0.1:{server.port}/")).body == b"z" * 100_000
        client.close()


def test_nobody_listens() -> None:
    client = HttpClient(None, WAIT)
    with pytest.raises(NoAnswerError, match="connection refused") as caught:
        client.send(get(f"http://127.0.0.1:{free_port()}/"))
    assert caught.value.phase == "connect"
