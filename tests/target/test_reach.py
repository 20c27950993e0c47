"""The pre-flight: each way in which a target is not there, as one sentence with what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from harness.errors import HarnessError, LoginRefused, TargetUnreachable
from harness.net.frames import close_payload, encode
from harness.target import Reached, Target, load_profile, reach
from tests.net.peers import WAIT, Peer, Script, free_port, peer, read_until_end, switching

TOKEN = "t0ken.s%2Fg"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def target(tmp_path: Path, url: str, extra: str = "") -> Target:
    (tmp_path / "c.json").write_text(f'[{{"value": "{TOKEN}"}}]')
    file = tmp_path / "target.toml"
    file.write_text(f'name="t"\nbase_url="{url}"\n{extra}\n[sessions]\nsource="cookies-file"\npath="c.json"\n')
    return load_profile(file, {})


def answering(upgrade: Callable[[bytes], bytes], page: bytes = NOT_FOUND) -> Script:
    """Answers a handshake with `upgrade(head)` and everything else with `page`."""

    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(upgrade(head) if b"Upgrade: websocket" in head else page)
        read_until_end(sock)

    return script


def base(server: Peer) -> str:
    return f"http{'s' if server.tls else ''}://127.0.0.1:{server.port}"


def failing(tmp_path: Path, script: Script, kind: type[HarnessError], extra: str = "", timeout: float = WAIT) -> str:
    with peer(script) as server, pytest.raises(kind) as caught:
        reach(target(tmp_path, base(server), extra), timeout)
    text = str(caught.value)
    assert TOKEN not in text
    assert str(tmp_path / "target.toml") in text or "server is full" in text
    return text


def test_a_target_that_is_there(tmp_path: Path) -> None:
    with peer(answering(switching)) as server:
        reached = reach(target(tmp_path, base(server)), WAIT)
        assert isinstance(reached, Reached)
        assert reached.http_status == 404
        assert 0 < reached.handshake_seconds < WAIT
        (handshake,) = [head.decode() for head in server.heads if b"Upgrade" in head]
    assert f"Cookie: better-auth.session_token={TOKEN}\r\n" in handshake
    assert f"Origin: http://127.0.0.1:{server.port}\r\n" in handshake


def test_nobody_listens(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TargetUnreachable) as caught:
        reach(target(tmp_path, url), WAIT)
    assert str(caught.value) == (
        f"{url}: no TCP connection to {url.removeprefix('http://')}: connection refused; "
        f"is the server running? check base_url in {tmp_path / 'target.toml'}."
    )


def test_a_name_without_an_address(tmp_path: Path) -> None:
    with pytest.raises(TargetUnreachable, match=r"nobody\.invalid has no address .*check base_url in"):
        reach(target(tmp_path, "http://nobody.invalid"), WAIT)


def test_what_listens_does_not_speak_http(tmp_path: Path) -> None:
    text = failing(tmp_path, answering(switching, b"220 mail.example ESMTP\r\n"), TargetUnreachable)
    assert "not HTTP" in text
    assert "something else listens there" in text


def test_what_listens_says_nothing(tmp_path: Path) -> None:
    text = failing(tmp_path, lambda sock, _: (read_until_end(sock), None)[1], TargetUnreachable, timeout=0.3)
    assert "no answer within 0.3 s" in text


def test_https_where_there_is_none_and_an_unknown_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with peer(answering(switching), context) as server:
        with pytest.raises(TargetUnreachable, match=r"certificate was not accepted.*check tls\.ca_file"):
            reach(target(tmp_path, base(server)), WAIT)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        assert reach(target(tmp_path, base(server), 'tls = { ca_file = "ca.pem" }'), WAIT).http_status == 404


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, LoginRefused, "the handshake was answered with HTTP 401; the cookie better-auth.session_token was not taken"),
        (403, LoginRefused, "check cookie and origin there"),
        (404, TargetUnreachable, "there is no WebSocket at this path: check ws_url or ws_path"),
        (302, TargetUnreachable, "redirects are not followed"),
        (200, TargetUnreachable, "this is no WebSocket of the contract"),
        (503, TargetUnreachable, "the server is full or shutting down"),
    ],
)
def test_a_handshake_that_is_refused(tmp_path: Path, status: int, kind: type[HarnessError], says: str) -> None:
    refusal = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    assert says in failing(tmp_path, answering(lambda _: refusal), kind)


def test_a_session_that_is_closed_right_after_the_upgrade(tmp_path: Path) -> None:
    close = encode(8, close_payload(4401, "session expired"), masked=False)
    text = failing(tmp_path, answering(lambda head: switching(head) + close), LoginRefused)
    assert "closed at once with code 4401" in text


def test_a_101_that_is_wrong(tmp_path: Path) -> None:
    text = failing(tmp_path, answering(lambda head: switching(head).replace(b"Accept: ", b"Accept: x")), TargetUnreachable)
    assert "Sec-WebSocket-Accept" in text
