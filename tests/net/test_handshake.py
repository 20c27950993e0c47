"""Opening a WebSocket against peers that open it, refuse it in every way, or are no WebSocket at all."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.server import serve

from harness.net.dial import Address
from harness.net.handshake import NOT_SENT, Headers, Opened, Refused, open_websocket, raw_handshake, tls_context
from tests.net.peers import WAIT, Script, free_port, peer, read_until_end, switching

TOKEN = "abc.d%2Bf%2F0%3D"


def answering(*chunks: bytes) -> Script:
    def script(sock: socket.socket, _head: bytes) -> None:
        for chunk in chunks:
            sock.sendall(chunk)
        sock.shutdown(socket.SHUT_WR)
        read_until_end(sock)

    return script


def opening(*extra: str, after: bytes = b"") -> Script:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switching(head, *extra) + after)
        read_until_end(sock)

    return script


def header_lines(head: bytes) -> list[str]:
    return head.decode().split("\r\n")


def test_a_server_of_another_make_is_opened_both_ways() -> None:
    with serve(lambda connection: connection.send("hello"), "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        for opened in (open_websocket(url, timeout=WAIT), raw_handshake(url, timeout=WAIT)):
            assert isinstance(opened, Opened)
            assert opened.status == 101
            assert opened.headers.get("sec-websocket-ACCEPT")
            opened.close()
        server.shutdown()
        thread.join(WAIT)


def test_frames_that_come_with_the_answer_are_not_lost() -> None:
    with peer(opening(after=b"\x81\x02hi")) as server:
        opened = open_websocket(server.url, timeout=WAIT)
        assert isinstance(opened, Opened)
        data = opened.leftover
        opened.sock.settimeout(WAIT)
        while len(data) < 4:
            data += opened.sock.recv(10)
        assert data == b"\x81\x02hi"
        opened.close()


def test_what_websocket_client_asks() -> None:
    with peer(opening()) as server:
        headers = [f"Cookie: better-auth.session_token={TOKEN}", "X-Extra: 1"]
        opened = open_websocket(server.url, headers=headers, timeout=WAIT)
        assert isinstance(opened, Opened)
        opened.close()
        lines = header_lines(server.heads[0])
    assert lines[0] == "GET /api/roadmap/ws HTTP/1.1"
    assert f"Cookie: better-auth.session_token={TOKEN}" in lines
    assert "X-Extra: 1" in lines
    assert f"Origin: http://127.0.0.1:{server.port}" in lines
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert sum(line.lower().startswith("origin:") for line in lines) == 1


def test_an_origin_of_ones_own() -> None:
    with peer(opening()) as server:
        opened = open_websocket(server.url, origin="https://elsewhere.example", timeout=WAIT)
        assert isinstance(opened, Opened)
        opened.close()
        assert "Origin: https://elsewhere.example" in header_lines(server.heads[0])


def test_a_cookie_that_the_server_sets_is_never_sent_by_the_next_connection() -> None:
    sticky = "Set-Cookie: better-auth.session_token=stolen; Domain=127.0.0.1"
    with peer(opening(sticky)) as server:
        for _ in range(2):
            opened = open_websocket(server.url, timeout=WAIT)
            assert isinstance(opened, Opened)
            assert (
                opened.headers.get(
                    "Set-Cookie",
                )
                is not None
            )
            opened.close()
        assert b"cookie" not in server.heads[1].lower()


def test_redirects_are_not_followed() -> None:
    with peer(answering(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")) as server:
        refused = open_websocket(server.url, headers=["Cookie: a=b"], timeout=WAIT)
        assert isinstance(refused, Refused)
        assert (refused.status, refused.phase) == (302, "http")
        assert refused.headers.get("location") == "ws://127.0.0.1:1/"
        assert len(server.heads) == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with peer(opening()) as server:
        opened = open_websocket(server.url, timeout=WAIT)
        assert isinstance(opened, Opened)
        opened.close()


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 426, 429, 500, 503])
@pytest.mark.parametrize("way", [open_websocket, raw_handshake])
def test_a_refusal_is_a_value(status: int, way: object) -> None:
    body = b'{"error":{"code":"NO"}}'
    head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nX-Why: a\r\nX-Why: b\r\n\r\n".encode()
    with peer(answering(head, body)) as server:
        refused = way(server.url, timeout=WAIT)  # type: ignore[operator]
        assert isinstance(refused, Refused)
        assert (refused.status, refused.phase, refused.body_start) == (status, "http", body)
        assert refused.headers.all("x-why") == ["a", "b"]
        assert refused.problem == f"the server answered HTTP {status}"


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (b"", "closed"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "garbage"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "garbage"),
        (b"HTTP/1.1\r\n\r\n", "garbage"),
        (b"HTTP/1.1 abc No\r\n\r\n", "garbage"),
        (b"HTTP/3.7 101 Yes\r\n\r\n", "garbage"),
        (b"HTTP/1.1 101 Switching", "garbage"),
        (b"HTTP/1.1 101 Yes\r\n" + b"X: y\r\n" * 20_000, "garbage"),
        (b"HTTP/1.1 401 No\r\nContent-Length: nonsense\r\n\r\nx", "http"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 99999999999999999999\r\n\r\nx", "http"),
        (b"HTTP/1.1 401 No\r\n\xff\xfe: \xff\r\n\r\n", "http"),
    ],
)
@pytest.mark.parametrize("way", [open_websocket, raw_handshake])
def test_answers_that_are_not_what_they_should_be(answer: bytes, phase: str, way: object) -> None:
    with peer(answering(answer)) as server:
        refused = way(server.url, timeout=WAIT)  # type: ignore[operator]
        assert isinstance(refused, Refused)
        assert refused.phase == phase, refused.problem
        assert refused.status == (401 if phase == "http" else None)


@given(answer=st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"HTTP/1.1 101 " + tail + b"\r\n\r\n"))
def test_no_answer_at_all_raises(answer: bytes) -> None:
    with peer(answering(answer)) as server:
        for way in (open_websocket, raw_handshake):
            assert isinstance(way(server.url, timeout=WAIT), Refused)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ((b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"), "Sec-WebSocket-Accept: x"),
        ((b"Sec-WebSocket-Accept: ", b"X-Nothing: "), "Sec-WebSocket-Accept: nothing"),
        ((b"Upgrade: websocket", b"Upgrade: h2c"), "Upgrade: h2c"),
        ((b"Connection: Upgrade", b"Connection: close"), "Connection: close"),
        ((b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), "though we offered none"),
        ((b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"), "though we offered none"),
    ],
)
@pytest.mark.parametrize("way", [open_websocket, raw_handshake])
def test_a_101_against_the_rules_is_refused(change: tuple[bytes, bytes], named: str, way: object) -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(switching(head).replace(*change, 1))
        read_until_end(sock)

    with peer(script) as server:
        refused = way(server.url, timeout=WAIT)  # type: ignore[operator]
        assert isinstance(refused, Refused)
        assert (refused.status, refused.phase) == (101, "invalid")
        assert named in refused.problem


@pytest.mark.parametrize("way", [open_websocket, raw_handshake])
def test_an_accept_value_in_other_letters_is_wrong(way: object) -> None:
    """Base64 knows upper and lower case; websocket-client does not."""

    def script(sock: socket.socket, head: bytes) -> None:
        answer = switching(head)
        start = answer.index(b"Accept: ") + 8
        sock.sendall(answer[:start] + answer[start:].swapcase())
        read_until_end(sock)

    with peer(script) as server:
        refused = way(server.url, timeout=WAIT)  # type: ignore[operator]
        assert isinstance(refused, Refused)
        assert refused.phase == "invalid"


def test_an_extension_that_was_offered_may_be_taken() -> None:
    with peer(opening("Sec-WebSocket-Extensions: permessage-deflate")) as server:
        opened = raw_handshake(server.url, headers=["Sec-WebSocket-Extensions: permessage-deflate"], timeout=WAIT)
        assert isinstance(opened, Opened)
        assert opened.headers.tokens("sec-websocket-extensions") == ["permessage-deflate"]
        opened.close()


def test_a_raw_request_is_sent_as_asked() -> None:
    with peer(answering(b"HTTP/1.1 400 No\r\n\r\n")) as server:
        raw_handshake(server.url, cookies=["a=1", f"b={TOKEN}"], headers=["Cookie: c=3"], resource="/x?y", timeout=WAIT)
        raw_handshake(server.url, upgrade=False, method="POST", origin="http://o", timeout=WAIT)
        raw_handshake(server.url, request=b"BREW / HTTP/1.1\r\n\r\n", timeout=WAIT)
        raw_handshake(server.url, version="12", key="short", timeout=WAIT)
        first, second, third, fourth = map(header_lines, server.heads)
    assert first[0] == "GET /x?y HTTP/1.1"
    assert [line for line in first if line.startswith("Cookie")] == [f"Cookie: a=1; b={TOKEN}", "Cookie: c=3"]
    assert second[0] == "POST /api/roadmap/ws HTTP/1.1"
    assert "Origin: http://o" in second
    assert not any(line.lower().startswith(("upgrade", "connection", "sec-")) for line in second)
    assert third == ["BREW / HTTP/1.1", "", ""]
    assert {"Sec-WebSocket-Version: 12", "Sec-WebSocket-Key: short"} <= set(fourth)


def test_nobody_listens() -> None:
    refused = open_websocket(f"ws://127.0.0.1:{free_port()}/", timeout=WAIT)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.phase) == (None, "connect")
    assert "connection refused" in refused.problem


def test_a_name_without_an_address() -> None:
    refused = open_websocket("ws://nobody.invalid/", timeout=WAIT)
    assert isinstance(refused, Refused)
    assert refused.phase == "dns"
    assert "nobody.invalid" in refused.problem


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 101 Yes\r\n"])
def test_a_server_that_says_no_more_is_given_up_in_time(start: bytes) -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(start)
        read_until_end(sock)

    with peer(script) as server:
        began = time.monotonic()
        refused = open_websocket(server.url, timeout=0.3)
        assert isinstance(refused, Refused)
        assert refused.phase == "timeout"
        assert 0.29 < time.monotonic() - began < WAIT


def test_a_body_that_never_comes_does_not_hold_up_the_refusal() -> None:
    def script(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(b"HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\nabc")
        read_until_end(sock)

    with peer(script) as server:
        refused = open_websocket(server.url, timeout=0.4)
        assert isinstance(refused, Refused)
        assert (refused.status, refused.body_start) == (401, b"abc")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_tls_with_an_authority_of_ones_own(authority: trustme.CA, server_tls: ssl.SSLContext, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    with peer(opening(), server_tls) as server:
        opened = open_websocket(server.url, timeout=WAIT, tls=tls_context(file, verify=True))
        assert isinstance(opened, Opened)
        opened.close()
        opened = raw_handshake(server.url, timeout=WAIT, tls=tls_context(None, verify=False))
        assert isinstance(opened, Opened)
        opened.close()
        assert f"Origin: https://127.0.0.1:{server.port}" in header_lines(server.heads[0])


def test_a_certificate_of_an_unknown_authority(server_tls: ssl.SSLContext) -> None:
    with peer(opening(), server_tls) as server:
        refused = open_websocket(server.url, timeout=WAIT)
        assert isinstance(refused, Refused)
        assert refused.phase == "tls"
        assert "certificate was not accepted" in refused.problem


def test_tls_where_there_is_none() -> None:
    with peer(answering(b"HTTP/1.1 400 No\r\n\r\n")) as server:
        refused = open_websocket(server.url.replace("ws:", "wss:"), timeout=WAIT)
        assert isinstance(refused, Refused)
        assert refused.phase in ("tls", "timeout")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws://", "127.0.0.1:80", "ws:///path"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="WebSocket URL"):
        open_websocket(url, timeout=1)


@pytest.mark.parametrize("line", ["X: a\r\nCookie: b", "no colon", ": no name", "X: a\n"])
def test_a_header_that_is_none(line: str) -> None:
    with pytest.raises(ValueError, match="must be one line"):
        open_websocket("ws://127.0.0.1:1/", headers=[line], timeout=1)


@pytest.mark.parametrize(
    ("url", "authority", "origin"),
    [
        ("ws://h/", "h", "http://h"),
        ("wss://h/", "h", "https://h"),
        ("ws://h:443/", "h:443", "http://h:443"),
        ("wss://h:80/", "h:80", "https://h:80"),
        ("ws://[::1]:5/", "[::1]:5", "http://[::1]:5"),
    ],
)
def test_authority_and_origin(url: str, authority: str, origin: str) -> None:
    address = Address.parse(url)
    assert (address.authority, address.origin) == (authority, origin)


def test_the_repr_of_headers_shows_no_value() -> None:
    assert repr(Headers([("Set-Cookie", f"a={TOKEN}"), ("Date", "x")])) == "Headers(Set-Cookie, Date)"


def test_a_request_that_we_could_not_send_in_time_is_not_put_down_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr("harness.net.handshake.dial", lambda *_: ours)
    with theirs:
        outcome = open_websocket("ws://127.0.0.1:1/", timeout=1e-9)
    assert isinstance(outcome, Refused)
    assert (outcome.phase, outcome.problem) == ("timeout", NOT_SENT)
    assert ours.fileno() < 0, "the socket was left open"
