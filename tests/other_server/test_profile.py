"""The profile as a whole: signing in at the pace that the server allows, the doctor, a stop and a start, and what differs by flags."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.errors import LoginRefused
from harness.net.handshake import Refused
from harness.target import HookCaller, Target, doctor, load_profile, reach
from tests.other_server.play import CONTRACT, WAIT, Play, code_of
from tests.other_server.profile import PASSWORD, SETS, profile, target_of
from tests.other_server.running import running


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    flags = ("--people", "3", "--staff", "1", "--limit", "connections=3", *SETS["register"])
    with running(tmp_path_factory.mktemp("login"), *flags) as ready:
        yield ready


@pytest.fixture(scope="module")
def target(ready: Path) -> Target:
    return target_of(ready, per_user=2)


def test_signing_in_and_every_hook(target: Target) -> None:
    regular = target.sessions(6, "regular")
    assert len({session.user_id for session in regular}) == 3
    assert all(session.session_id and session.user_name and "%3A" in session.value.get_secret_value() for session in regular)
    assert reach(target, WAIT).http_status == 404

    def board() -> object:
        with HookCaller(target, WAIT) as caller:
            return caller.call("list", regular[0]).answer.items

    before = board()
    findings = {finding.part: finding for finding in doctor(target, WAIT, destructive=True)}
    assert {part: finding.detail for part, finding in findings.items() if not finding.ok} == {}
    assert {part for part, finding in findings.items() if finding.state == "not tried"} == {"stop", "start"}
    assert board() == before


def test_faster_than_the_pace_is_put_off_and_a_wrong_password_refused(ready: Path, target: Target) -> None:
    facts = json.loads(ready.read_text())
    file = ready.with_name("hasty.toml")
    file.write_text(profile(ready).replace("attempts = 3", "attempts = 100").replace("window = 1.0", "window = 0.0"))
    assert len(load_profile(file, {PASSWORD: facts["password"]}).sessions(5)) == 5
    with pytest.raises(LoginRefused, match="HTTP 401"):
        load_profile(file, {PASSWORD: "wrong"}).sessions(1)


def test_more_sign_ins_than_the_window_allows_are_put_off(target: Target) -> None:
    address = urlsplit(target.base_url)
    body = b'{"user":"member-1","pass":"wrong"}'
    request = b"POST /v2/session HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_connection((address.hostname, address.port), WAIT) as sock:
        sock.sendall(request * 20)
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 20:
            answers += sock.recv(65536)
    assert b"HTTP/1.1 429 " in answers
    assert b"Retry-After: 1\r\n" in answers


def test_one_more_than_the_limit_is_turned_away_and_a_place_is_free_again(target: Target) -> None:
    with Play(target) as play:
        sockets = [play.connect(play.user(0)) for _ in range(3)]
        play.knock(None)
        refused = play.knock(play.user(0))
        assert isinstance(refused, Refused)
        assert refused.status == 503
        sockets[0].close()
        sockets[1].abort()
        for _ in range(2):
            while isinstance(opened := play.knock(play.user(0)), Refused):
                assert opened.status == 503
        assert sockets[2].closed is None


def test_requests_that_are_none(target: Target) -> None:
    address = urlsplit(target.base_url)
    for request, status in (
        (b"GET /v2/items\r\n\r\n", 400),
        (b"POST /v2/session HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v2/session HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /v2/session HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET /v2/items HTTP/1.1\r\nConnection: close\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
    ):
        with socket.create_connection((address.hostname, address.port), WAIT) as sock:
            sock.sendall(request)
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_stopped_by_its_hook_and_started_again(tmp_path: Path) -> None:
    with running(tmp_path, "--people", "2", "--staff", "1", "--mint", "1", "--full", "close1013", "--limit", "connections=2") as ready:
        target = target_of(ready, sessions="cookies-file")
        with Play(target) as play, HookCaller(target, 60.0) as caller:
            viewers = [play.connect(play.user(k)) for k in range(2)]
            assert code_of(play.knock(play.user(0))) == 1013
            before = play.call("list", play.user(0)).items
            play.call("vote", play.user(0), featureId=before[0].id)
            old = target.resources.find_pid()
            play.call("stop", play.admin())
            assert [code_of(viewer) for viewer in viewers] == [CONTRACT.close.going_away] * 2
            assert isinstance(play.knock(play.user(0)), Refused)
            assert caller.call("start").answer.ok
            assert target.resources.find_pid() not in (None, old)
            play.connect(play.user(0))
            after = play.call("list", play.user(0)).items
            assert [item.id for item in after] == [item.id for item in before]
            assert after[0].count == (before[0].count or 0) + 1


@pytest.mark.parametrize("name", ["sealed", "awkward"])
def test_what_signing_in_may_leave_open(tmp_path: Path, name: str) -> None:
    """A sign-in that only sets the cookie, so that another request has to tell who that is, and a server that asks for a header of its
    own: the hooks work all the same.
    """
    with running(tmp_path, "--people", "2", "--staff", "1", *SETS[name]) as ready:
        target = target_of(ready, declare=False)
        findings = doctor(target, WAIT)
        assert not [finding for finding in findings if finding.state in ("missing", "fails")]
        assert not target.readings
        sessions = target.sessions(4, "regular")
        assert len({session.user_id for session in sessions}) == 2
        assert all(session.user_id and session.session_id for session in sessions)


def test_the_flags_are_checked() -> None:
    from schemas import load_readings
    from tests.other_server.options import HABITS, READINGS, parse_options

    permitted = {reading.key: set(reading.permitted) for reading in load_readings().values()}
    assert all(set(words) <= permitted[key] for key, words in READINGS.items())
    for name, flags in SETS.items():
        options = parse_options(["--ready", "r", *flags])
        assert set(options.choices) == READINGS.keys() | HABITS.keys(), name
    for wrong in (["--limit", "nothing=1"], ["--exclusion", "nobody"], ["--limit", "connections=x"]):
        with pytest.raises(SystemExit):
            parse_options(["--ready", "r", *wrong])
