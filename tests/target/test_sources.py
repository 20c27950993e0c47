"""Sessions from files, commands and real sign-ins: verbatim, distinct, no faster than allowed, and secret throughout."""

from __future__ import annotations

import base64
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError, LoginRefused, TargetUnreachable, UsageError
from harness.target import Session, Target, load_profile
from harness.target.login import LoginPace
from harness.target.session import cookie_problem
from harness.target.sources import parse_sessions
from tests.target.api import Api, Reply, Seen, api

COOKIE = "better-auth.session_token"
SIGNED = "r4nd0mT0ken.kZ%2Bq%2FabcDEF0123456789%3D"


def listed(count: int, role: str = "regular") -> list[dict[str, str]]:
    return [{"name": COOKIE, "value": f"{role}{n}.{SIGNED}", "role": role, "userId": f"u{n}", "sessionId": f"s{n}"} for n in range(count)]


def from_file(tmp_path: Path, content: Any) -> Target:
    (tmp_path / "cookies.json").write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    file = tmp_path / "target.toml"
    file.write_text('name="t"\nbase_url="http://h"\n[sessions]\nsource="cookies-file"\npath="cookies.json"\n')
    return load_profile(file, {})


def test_a_file_of_cookies_in_its_order_and_by_role(tmp_path: Path) -> None:
    target = from_file(tmp_path, [*listed(2), *listed(1, "admin"), {"value": "bare", "extra": [1]}])
    first, second, admin, bare = target.sessions(4)
    assert first.cookie_header() == f"{COOKIE}=regular0.{SIGNED}"
    assert (first.user_id, first.session_id, first.user_name) == ("u0", "s0", None)
    assert (bare.name, bare.role, bare.user_id) == (COOKIE, "regular", None)
    assert target.sessions(1, "admin") == [admin]
    assert target.sessions(2, "regular") == [first, second]
    assert f"Cookie: {COOKIE}=regular0.{SIGNED}" in target.handshake_headers(first)


def test_the_same_cookie_twice_is_one_session(tmp_path: Path) -> None:
    target = from_file(tmp_path, [*listed(2), *listed(2)])
    with pytest.raises(UsageError) as caught:
        target.sessions(3)
    assert str(caught.value) == (
        f"{tmp_path / 'target.toml'}: sessions: the profile gives 2 sessions, and 3 are needed; add entries to "
        f"{tmp_path / 'cookies.json'} (the bundled server writes as many as its --sessions says)."
    )


def test_too_few_of_a_role_and_roles_that_do_not_exist(tmp_path: Path) -> None:
    target = from_file(tmp_path, listed(2))
    with pytest.raises(UsageError, match="gives 0 admin sessions, and 1 are needed"):
        target.sessions(1, "admin")
    with pytest.raises(UsageError, match="no role 'boss'"):
        target.sessions(1, "boss")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON at line 1, column 1"),
        (b'[{"value": "abc"},\n  oops]', "not JSON at line 2"),
        ({}, "not a list of sessions"),
        (["x"], "entry 1: the entry is not an object"),
        ([{"value": "a"}, {"name": "n"}], "entry 2: value is missing"),
        ([{"value": 5}], "entry 1: value is not a text"),
        ([{"value": "a", "userId": 7}], "entry 1: userId is not a text"),
        ([{"value": "a", "role": "boss"}], "entry 1: role is 'boss'; allowed: regular, admin"),
        ([{"value": ""}], "entry 1: the cookie's value is empty"),
        ([{"value": "hunter2 hunter2"}], "entry 1: the cookie's value holds a blank"),
        ([{"value": "hunter2;x=1"}], "entry 1: the cookie's value holds a blank, a comma, a semicolon"),
        ([{"value": "hunter2\r\nX: y"}], "entry 1"),
        ([{"value": "hunter2é"}], "entry 1"),
        ([{"name": "a b", "value": "x"}], "entry 1: the cookie's name"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_file(tmp_path, content).sessions(1)
    assert says in str(caught.value)
    assert str(tmp_path / "cookies.json") in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    target = from_file(tmp_path, [])
    (tmp_path / "cookies.json").unlink()
    with pytest.raises(UsageError, match=r"target\.toml: sessions\.path: .*cookies\.json cannot be read: No such file"):
        target.sessions(1)


@given(token=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), signature=st.binary(max_size=40))
def test_a_signed_cookie_goes_out_as_it_came_in(token: str, signature: bytes) -> None:
    value = quote(f"{token}.{base64.b64encode(signature).decode()}", safe="-_.!~*'()")
    (session,) = parse_sessions(orjson.dumps([{"value": value}]), "f", COOKIE)
    assert session.cookie_header() == f"{COOKIE}={value}"
    assert session.token() == token


@given(value=st.text(max_size=20))
def test_no_cookie_can_break_a_header(value: str) -> None:
    if cookie_problem("n", value) is None:
        assert value.isascii()
        assert not set(value) & set(" ;,\r\n\t\\\x00")


def by_command(tmp_path: Path, code: str, timeout: float = 20) -> Target:
    (tmp_path / "print.py").write_text(code)
    file = tmp_path / "target.toml"
    command = orjson.dumps([sys.executable, "print.py"]).decode()
    file.write_text(f'name="t"\nbase_url="http://h"\n[sessions]\nsource="command"\ncommand={command}\ntimeout={timeout}\n')
    return load_profile(file, {})


def test_a_command_prints_the_sessions_once(tmp_path: Path) -> None:
    code = f"open('ran', 'a').write('x')\nprint({orjson.dumps(listed(3)).decode()!r})"
    target = by_command(tmp_path, code)
    assert [session.user_id for session in target.sessions(3)] == ["u0", "u1", "u2"]
    assert len(target.sessions(1)) == 1
    assert (tmp_path / "ran").read_text() == "x"
    with pytest.raises(UsageError, match="print more of them"):
        target.sessions(4)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; print('hunter2'); print('hunter2', file=sys.stderr); sys.exit(3)", "exit status 3"),
        ("print('hunter2')", "not JSON at line 1"),
        ('print(\'[{"value": "hunter2 x"}]\')', "entry 1"),
    ],
)
def test_a_command_that_fails_shows_nothing_of_what_it_wrote(tmp_path: Path, code: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        by_command(tmp_path, code).sessions(1)
    assert says in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_command_that_does_not_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did not end within 0\.3 s; .*allow more with timeout"):
        by_command(tmp_path, "import time; time.sleep(60)", 0.3).sessions(1)


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "target.toml"
    file.write_text('name="t"\nbase_url="http://h"\n[sessions]\nsource="command"\ncommand=["./nobody"]\n')
    with pytest.raises(UsageError, match=r"sessions\.command: \./nobody cannot be run: No such file"):
        load_profile(file, {}).sessions(1)


PASSWORD = "correct-horse-battery"


def better_auth(limit: Callable[[], bool] = lambda: False, cookie: str = COOKIE) -> Callable[[Seen], Reply]:
    """Signs in whoever knows the password, as better-auth answers."""

    def answer(seen: Seen) -> Reply:
        if seen.path == "/api/auth/get-session":
            session = seen.headers["Cookie"].partition("=")[2].partition(".")[0]
            return Reply(200, orjson.dumps({"session": {"id": f"session-of-{session}"}}))
        if limit():
            return Reply(429, b"{}", (("X-Retry-After", "0"),))
        body = orjson.loads(seen.body)
        if body["password"] != PASSWORD:
            return Reply(401, orjson.dumps({"error": body}))
        name = body["email"].partition("@")[0]
        user = {"user": {"id": f"id-{name}", "name": name.title(), "email": body["email"]}}
        value = f"{name}{len(seen.body)}{seen.client[1]}.{SIGNED}"
        headers = (
            ("Set-Cookie", "other=1; Path=/"),
            ("Set-Cookie", f"{cookie}={value}; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"),
        )
        return Reply(200, orjson.dumps(user), headers)

    return answer


USERS = """
[[sessions.users]]
email = "load-{n}@b.c"
count = 4
password_env = "PW"
[[sessions.users]]
email = "boss@b.c"
role = "admin"
password = "${ENV:PW}"
"""


def by_login(tmp_path: Path, url: str, extra: str = "window = 0", password: str = PASSWORD) -> Target:
    file = tmp_path / "target.toml"
    file.write_text(f'name="t"\nbase_url="{url}"\n[sessions]\nsource="login"\n{extra}\n{USERS}')
    return load_profile(file, {"PW": password})


def sign_ins(server: Api) -> list[str]:
    return [orjson.loads(seen.body)["email"] for seen in server.seen if seen.method == "POST"]


def test_signing_in_keeps_the_cookie_verbatim_and_knows_who_it_is(tmp_path: Path) -> None:
    with api(better_auth()) as server:
        target = by_login(tmp_path, server.url)
        first, second = target.sessions(2)
        (admin,) = target.sessions(1, "admin")
        assert target.sessions(2) == [first, second]
        assert sign_ins(server) == ["load-1@b.c", "load-2@b.c", "boss@b.c"]
        assert server.seen[0].headers["Origin"] == server.url
    assert first.cookie_header().endswith("." + SIGNED)
    assert (first.user_id, first.user_name, first.role) == ("id-load-1", "Load-1", "regular")
    assert first.session_id is not None
    assert first.session_id.startswith("session-of-load-1")
    assert admin.role == "admin"


def test_a_sign_in_that_only_sets_the_cookie_leaves_it_to_the_lookup_to_tell_who_that_is(tmp_path: Path) -> None:
    def mute(seen: Seen) -> Reply:
        if seen.method == "POST":
            cookie = f"{COOKIE}=of-{orjson.loads(seen.body)['email'].partition('@')[0]}.{SIGNED}; Path=/"
            return Reply(204, b"", (("Set-Cookie", cookie),))
        who = seen.headers["Cookie"].partition("=of-")[2].partition(".")[0]
        told = {"data": {"id": f"s-{who}", "me": {"uid": f"id-{who}", "label": who.title()}}}
        return Reply(200, orjson.dumps(told))

    paths = 'expect = [204]\nsession_id = "data.id"\nlookup_user_id = "data.me.uid"\nlookup_user_name = "data.me.label"'
    with api(mute) as server:
        first, second = by_login(tmp_path, server.url, f"window = 0\n{paths}").sessions(2)
    assert (first.user_id, first.user_name, first.session_id) == ("id-load-1", "Load-1", "s-load-1")
    assert second.user_id == "id-load-2"


def test_over_https_the_cookie_has_a_prefix(tmp_path: Path) -> None:
    with api(better_auth(cookie=f"__Secure-{COOKIE}")) as server:
        assert by_login(tmp_path, server.url).sessions(1)[0].name == f"__Secure-{COOKIE}"


def test_threads_that_ask_at_once_sign_in_once(tmp_path: Path) -> None:
    with api(better_auth()) as server:
        target = by_login(tmp_path, server.url)
        got: list[list[Session]] = []
        threads = [threading.Thread(target=lambda: got.append(target.sessions(3))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(sign_ins(server)) == 3
    assert got == [got[0]] * 4


def test_a_user_may_sign_in_several_times(tmp_path: Path) -> None:
    with api(better_auth()) as server:
        target = by_login(tmp_path, server.url, "window = 0\nper_user = 2")
        with pytest.raises(UsageError, match=r"gives \d+ sessions, and 11 are needed; add accounts to sessions\.users"):
            target.sessions(11)
        assert sign_ins(server).count("load-1@b.c") == 2


def test_a_target_that_puts_a_sign_in_off_is_asked_again(tmp_path: Path) -> None:
    answers = iter([True, True, False])
    with api(better_auth(limit=lambda: next(answers))) as server:
        by_login(tmp_path, server.url).sessions(1)
        assert sign_ins(server) == ["load-1@b.c"] * 3


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(401, b'{"password":"correct-horse-battery"}'), "answered with HTTP 401 where 200 is expected; check the e-mail"),
        (Reply(404), "HTTP 404 where 200 is expected; check sessions.path"),
        (Reply(500), "HTTP 500 where 200 is expected; look into the target's log"),
        (Reply(429, b"", (("Retry-After", "0"),)), "HTTP 429 where 200 is expected; lower sessions.attempts"),
        (Reply(302, b"", (("Location", "http://127.0.0.1:1/"),)), "HTTP 302"),
        (Reply(200), f"set no cookie {COOKIE}; give the cookie's name with cookie"),
        (Reply(200, b"{}", (("Set-Cookie", f"{COOKIE}=; Max-Age=0"),)), "set no cookie"),
        (Reply(200, b"{}", (("Set-Cookie", f"{COOKIE}=a b; Path=/"),)), "holds a blank"),
    ],
)
def test_a_sign_in_that_is_refused(tmp_path: Path, reply: Reply, says: str) -> None:
    with api(lambda seen: reply) as server, pytest.raises(LoginRefused) as caught:
        by_login(tmp_path, server.url).sessions(1)
    assert says in str(caught.value)
    assert "load-1@b.c" in str(caught.value)
    assert caught.value.where == f"{tmp_path / 'target.toml'}: sessions"
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_nobody_answers_the_sign_in(tmp_path: Path) -> None:
    with api(lambda seen: Reply()) as server:
        url = server.url
    with pytest.raises(TargetUnreachable, match="is the server running") as caught:
        by_login(tmp_path, url).sessions(1)
    assert "connection refused" in str(caught.value)


def test_no_trace_of_a_failed_sign_in_holds_the_password(tmp_path: Path) -> None:
    with api(lambda seen: Reply(200, b"not json", (("Set-Cookie", f"{COOKIE}=tok.sig"),))) as server:
        target = by_login(tmp_path, server.url)
        (session,) = target.sessions(1)
        assert (session.user_id, session.session_id) == (None, None)
    shown = repr(target) + repr(session) + str(session)
    assert PASSWORD not in shown
    assert "tok.sig" not in shown


@given(
    attempts=st.integers(1, 5),
    window=st.floats(0.1, 20),
    lasts=st.lists(st.floats(0, 3), min_size=1, max_size=30),
)
def test_no_window_ever_holds_more_sign_ins_than_allowed(attempts: int, window: float, lasts: list[float]) -> None:
    pace, now, begun = LoginPace(attempts, window), 100.0, []
    for last in lasts:
        now += pace.wait(now)
        assert pace.wait(now) <= 1e-9
        begun.append(now)
        now += last
        pace.ended(now)
    for earlier, later in zip(begun, begun[attempts:], strict=False):
        assert later - earlier >= window - 1e-6


def test_the_pace_heeds_the_patience_that_the_target_asks_for() -> None:
    pace = LoginPace(3, 10)
    assert pace.wait(5.0) == 0
    pace.ended(5.0, retry_after=2.5)
    assert pace.wait(6.0) == pytest.approx(1.5)
    assert pace.wait(8.0) == 0


def test_signing_in_waits_for_its_pace(tmp_path: Path) -> None:
    with api(better_auth()) as server:
        target = by_login(tmp_path, server.url, "attempts = 1\nwindow = 0.2\nlookup = ''")
        began = time.monotonic()
        target.sessions(3)
        assert 0.4 <= time.monotonic() - began < 20
        assert [seen.method for seen in server.seen] == ["POST"] * 3


def test_every_error_of_this_room_is_for_the_person_who_must_act() -> None:
    assert issubclass(LoginRefused, HarnessError)
    assert LoginRefused.exit_code == TargetUnreachable.exit_code == 3
