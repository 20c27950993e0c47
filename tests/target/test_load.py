"""Loading profiles: each mistake is named with file, key and what is allowed, and no error shows what is secret."""

from __future__ import annotations

import re
import tomllib
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ExitCode, UsageError
from harness.target import Target, bundled_profile, load_profile
from schemas import load_contract

TOP = 'name = "t"\nbase_url = "http://h:1"\n'
SESSIONS = '[sessions]\nsource = "cookies-file"\npath = "c.json"\n'
LOGIN = '[sessions]\nsource = "login"\n'
USER = '[[sessions.users]]\nemail = "a@b.c"\npassword_env = "PW"\n'
ENVIRONMENT = {"PW": "correct-horse", "KEY": "sesame-open", "HOST": "staging.example", "EMPTY": ""}


def load(tmp_path: Path, text: str) -> Target:
    file = tmp_path / "target.toml"
    file.write_text(text)
    return load_profile(file, ENVIRONMENT)


def top(*lines: str) -> str:
    return TOP + "\n".join(lines) + "\n" + SESSIONS


WRONG = {
    "not TOML": ("name = ", "", "not TOML"),
    "name missing": ('base_url = "http://h"\n' + SESSIONS, "name", "the key is missing"),
    "base_url missing": ('name = "t"\n' + SESSIONS, "base_url", "the key is missing"),
    "sessions missing": (TOP, "sessions", "allowed here: name, base_url, ws_path"),
    "unknown key": (top('nmae = "x"'), "nmae", "there is no such key"),
    "name is a number": ('name = 5\nbase_url = "http://h"\n' + SESSIONS, "name", "must be a text"),
    "name is empty": ('name = ""\nbase_url = "http://h"\n' + SESSIONS, "name", "must not be empty"),
    "base_url is no URL": ('name = "t"\nbase_url = "h:1"\n' + SESSIONS, "base_url", "http:// or https://"),
    "base_url port": ('name = "t"\nbase_url = "http://h:x"\n' + SESSIONS, "base_url", "not a URL"),
    "base_url with password": ('name = "t"\nbase_url = "http://u:p@h"\n' + SESSIONS, "base_url", "a user name or a password"),
    "base_url with query": ('name = "t"\nbase_url = "http://h?x"\n' + SESSIONS, "base_url", "http:// or https://"),
    "extended without codes": (top('readings = { error_codes = "extended" }'), "extra_error_codes", "are not listed"),
    "codes of a closed table": (
        top('extra_error_codes = ["X"]\nreadings = { error_codes = "closed" }'),
        "extra_error_codes",
        "the reading says that there are none",
    ),
    "level of no clause": (top('levels = { XX-01 = "MUST" }'), "levels.XX-01", "there is no such clause"),
    "no level": (top('levels = { HB-05 = "MAY" }'), "levels.HB-05", "allowed: MUST, SHOULD, INFO"),
    "levels that are not given": (top('readings = { levels = "project" }'), "levels", "do not fit together"),
    "codes that are none": (top("extra_error_codes = [5]"), "extra_error_codes.0", "must be a text"),
    "ws_path without slash": (top('ws_path = "ws"'), "ws_path", "does not begin with /"),
    "ws_url is http": (top('ws_url = "http://h"'), "ws_url", "not a WebSocket URL"),
    "both addresses": (top('ws_url = "ws://h/"', 'ws_path = "/"'), "ws_path", "both given"),
    "cookie name": (top('cookie = "a b"'), "cookie", "cannot be a cookie's name"),
    "origin with path": (top('origin = "https://h/x"'), "origin", "scheme and host only"),
    "time_scale 0": (top("time_scale = 0"), "time_scale", "it must be greater than 0"),
    "time_scale nan": (top("time_scale = nan"), "time_scale", "must be a finite number"),
    "time_scale text": (top('time_scale = "fast"'), "time_scale", "must be a number"),
    "header with break": (top('headers = { X = "a\\nb" }'), "headers.X", "line break"),
    "header Cookie": (top('headers = { Cookie = "a=b" }'), "headers.Cookie", "sessions bring it"),
    "header name": (top('headers = { "a b" = "c" }'), "headers.a b", "not a header's name"),
    "header is number": (top("headers = { X = 1 }"), "headers.X", "must be a text"),
    "tls unknown": (top("tls = { insecure = true }"), "tls.insecure", "allowed here: ca_file, verify"),
    "tls verify text": (top('tls = { verify = "no" }'), "tls.verify", "must be true or false"),
    "tls file missing": (
        TOP.replace("http:", "https:") + 'tls = { ca_file = "none.pem" }\n' + SESSIONS, "tls.ca_file", "cannot be read",
    ),
    "limit unknown": (top("limits = { heartbeats = 1 }"), "limits.heartbeats", "allowed: connections, heartbeat_interval"),
    "limit is 0": (top("limits = { connections = 0 }"), "limits.connections", "a whole number greater than 0"),
    "limit is half": (top("limits = { connections = 1.5 }"), "limits.connections", "a whole number greater than 0"),
    "limit is true": (top("limits = { rate_window = true }"), "limits.rate_window", "a number of seconds greater than 0"),
    "limit is endless": (top("limits = { rate_window = inf }"), "limits.rate_window", "a number of seconds"),
    "tolerance unknown": (top("tolerance = { ms = 5 }"), "tolerance.ms", "allowed here: seconds, scale, clock_skew"),
    "tolerance negative": (top("tolerance = { seconds = -1 }"), "tolerance.seconds", "it must be at least 0"),
    "reading unknown": (top('readings = { exclude = "user" }'), "readings.exclude", "exclusion"),
    "reading value": (top('readings = { exclusion = "nobody-here" }'), "readings.exclusion", "session, user"),
    "reading number": (top("readings = { exclusion = 1 }"), "readings.exclusion", "this is not a reading of it"),
    "resources unknown": (top("resources = { port = 1 }"), "resources.port", "pid, pid_file, metrics_url, command"),
    "resources pid": (top("resources = { pid = 0 }"), "resources.pid", "it must be at least 1"),
    "resources url": (top('resources = { metrics_url = "/metrics" }'), "resources.metrics_url", "http:// or https://"),
    "source missing": (TOP + "[sessions]\n", "sessions.source", "allowed: login, cookies-file, command"),
    "source unknown": (TOP + '[sessions]\nsource = "oauth"\n', "sessions.source", "allowed: login, cookies-file, command"),
    "file without path": (TOP + '[sessions]\nsource = "cookies-file"\n', "sessions.path", "the key is missing"),
    "file with users": (TOP + SESSIONS + "users = []\n", "sessions.users", "allowed here: source, path"),
    "command empty": (TOP + '[sessions]\nsource = "command"\ncommand = []\n', "sessions.command", "must not be empty"),
    "command text": (TOP + '[sessions]\nsource = "command"\ncommand = "ls"\n', "sessions.command", "must be an array"),
    "login without users": (TOP + LOGIN, "sessions.users", "the key is missing"),
    "login no users": (TOP + LOGIN + "users = []\n", "sessions.users", "must not be empty"),
    "login path": (TOP + LOGIN + 'path = "x"\n' + USER, "sessions.path", "must begin with /"),
    "login body": (TOP + LOGIN + 'body = { e = "{mail}" }\n' + USER, "sessions.body", "{mail} is not a placeholder here"),
    "login attempts": (TOP + LOGIN + "attempts = 0\n" + USER, "sessions.attempts", "it must be at least 1"),
    "login status": (TOP + LOGIN + "expect = [99]\n" + USER, "sessions.expect.0", "it must be at least 100"),
    "login window": (TOP + LOGIN + "window = -1\n" + USER, "sessions.window", "it must be at least 0"),
    "user role": (TOP + LOGIN + USER + 'role = "boss"\n', "sessions.users.0.role", "'regular' or 'admin'"),
    "user unknown": (TOP + LOGIN + USER + "age = 1\n", "sessions.users.0.age", "allowed here: email, password"),
    "user no password": (TOP + LOGIN + '[[sessions.users]]\nemail = "a"\n', "sessions.users.0.password_env", "is missing"),
    "user two passwords": (
        TOP + LOGIN + USER + 'password = "${ENV:PW}"\n', "sessions.users.0.password_env", "given twice",
    ),
    "user password in the file": (
        TOP + LOGIN + '[[sessions.users]]\nemail = "a"\npassword = "hunter2-hunter2"\n',
        "sessions.users.0.password", "put it into a variable",
    ),
    "user variable not set": (
        TOP + LOGIN + USER.replace("PW", "NOBODY"), "sessions.users.0.password_env", "variable NOBODY is not set",
    ),
    "user variable empty": (TOP + LOGIN + USER.replace("PW", "EMPTY"), "sessions.users.0.password_env", "EMPTY is empty"),
    "user count": (TOP + LOGIN + USER + "count = 3\n", "sessions.users.0.email", "the e-mail has no {n}"),
    "hook unknown": (top("hooks = { votes = false }"), "hooks.votes", "allowed: vote, unvote, create"),
    "hook is true": (top("hooks = { vote = true }"), "hooks.vote", "a hook is a table, or false"),
    "hook key": (top('hooks = { vote = { url = "/" } }'), "hooks.vote.url", "allowed here: method, path"),
    "hook method": (top('hooks = { vote = { method = "VOTE" } }'), "hooks.vote.method", "'GET', 'POST'"),
    "hook path": (top('hooks = { vote = { path = "x/{featureId}" } }'), "hooks.vote.path", "must begin with /"),
    "hook session": (top('hooks = { vote = { session = "me" } }'), "hooks.vote.session", "'voter', 'admin', 'owner'"),
    "hook hole": (top('hooks = { vote = { path = "/{feature}" } }'), "hooks.vote", "possible: {featureId}"),
    "hook brace": (top('hooks = { vote = { path = "/{featureId" } }'), "hooks.vote", "lone {"),
    "hook without feature": (top('hooks = { vote = { path = "/v" } }'), "hooks.vote", "never says {featureId}"),
    "hook token in a path": (top('hooks = { revoke = { path = "/{sessionToken}" } }'), "hooks.revoke", "not a placeholder"),
    "hook expects": (top('hooks = { vote = { expect = ["200"] } }'), "hooks.vote.expect.0", "must be a whole number"),
    "hook stop without path": (top('hooks = { stop = { method = "POST" } }'), "hooks.stop.path", "the key is missing"),
    "command hook key": (top('hooks = { stop = { command = ["x"], path = "/" } }'), "hooks.stop.path", "no such key"),
    "command hook hole": (top('hooks = { vote = { command = ["x"] } }'), "hooks.vote.command", "never says {featureId}"),
    "secret in a path": (
        top('hooks = { vote = { path = "/{featureId}?k=${ENV:KEY}" } }'), "hooks.vote.path", "is not taken here",
    ),
    "secret in a command": (top('hooks = { stop = { command = ["${ENV:KEY}"] } }'), "hooks.stop.command.0", "its own environment"),
    "variable not set": (top('headers = { X = "${ENV:NOBODY}" }'), "headers.X", "export NOBODY=..."),
    "variable cut off": (top('origin = "${ENV:HOST"'), "origin", "is not written out"),
    "variable misspelt": (top('origin = "${ENVIRONMENT}"'), "origin", "is not written out"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    text, key, says = WRONG[case]
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    error = caught.value
    assert error.exit_code == ExitCode.USAGE
    assert error.where == f"{tmp_path / 'target.toml'}" + (f": {key}" if key else "")
    assert says in str(error)
    assert error.do
    whole = "".join(traceback.format_exception(error))
    assert "pydantic" not in whole
    for secret in ("correct-horse", "sesame-open", "hunter2"):
        assert secret not in whole.replace(text, "")


def test_more_than_one_mistake_in_a_table_is_counted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"and 2 more of its keys are wrong"):
        load(tmp_path, top("a = 1", "b = 2", "c = 3"))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: the profile cannot be read: No such file.*init URL"):
        load_profile(tmp_path / "none.toml", {})
    file = tmp_path / "bytes.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_profile(file, {})


def test_four_lines_are_enough(tmp_path: Path) -> None:
    target = load(tmp_path, TOP + SESSIONS)
    contract = load_contract()
    assert (target.name, target.base_url, target.ws_url) == ("t", "http://h:1", f"ws://h:1{contract.path}")
    assert (target.cookie, target.origin, target.limits) == (contract.cookie, "http://h:1", contract.limits)
    assert (target.time_scale, target.readings, target.resources.known) == (1.0, {}, False)
    assert target.tls_context() is None
    assert target.tolerance.slack == target.tolerance.seconds * target.tolerance.scale


def test_everything_may_be_given(tmp_path: Path) -> None:
    target = load(
        tmp_path,
        """
        name = "${ENV:HOST}"
        base_url = "https://${ENV:HOST}/app/"
        ws_url = "wss://sockets.example/ws?v=1"
        cookie = "__Secure-better-auth.session_token"
        origin = "https://pages.example"
        time_scale = 0.1
        [headers]
        Authorization = "Bearer ${ENV:KEY}"
        [tls]
        verify = false
        [sessions]
        source = "command"
        command = ["true"]
        [readings]
        exclusion = "user"
        [limits]
        heartbeat_interval = 5
        connections = 20
        [tolerance]
        seconds = 0.5
        scale = 4
        [resources]
        pid_file = "run/pid"
        """,
    )
    assert (target.name, target.base_url) == ("staging.example", "https://staging.example/app")
    assert (target.ws_url, target.origin) == ("wss://sockets.example/ws?v=1", "https://pages.example")
    limits = load_contract().limits
    assert (target.limits.heartbeat_interval, target.limits.connections) == (5.0, 20)
    assert target.limits.heartbeat_timeout == pytest.approx(limits.heartbeat_timeout * 0.1)
    assert target.tolerance.slack == 2.0
    assert target.readings == {"exclusion": "user"}
    assert target.resources.pid_file == tmp_path / "run" / "pid"
    assert target.tls_context() is not None
    assert target.handshake_headers(None) == ["Authorization: Bearer sesame-open"]
    assert target.http_headers(None) == {"Origin": "https://pages.example", "Authorization": "Bearer sesame-open"}
    assert "sesame" not in repr(target) + str(target)


def test_the_process_id_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    target = load(tmp_path, top('resources = { pid_file = "pid" }'))
    assert target.resources.find_pid() is None
    for text, pid in (("123\n", 123), ("", None), ("x", None), ("-5", None), ("7 8", 7)):
        (tmp_path / "pid").write_text(text)
        assert target.resources.find_pid() == pid


def test_levels_of_its_own_take_the_place_of_the_catalogues(tmp_path: Path) -> None:
    assert load(tmp_path, top("")).levels == {}
    target = load(tmp_path, top('levels = { VOTE-05 = "MUST", HB-05 = "INFO" }'))
    assert {id_: str(level) for id_, level in target.levels.items()} == {"VOTE-05": "MUST", "HB-05": "INFO"}
    assert target.readings == {"levels": "project"}


def test_error_codes_of_its_own_extend_the_table(tmp_path: Path) -> None:
    assert load(tmp_path, top("")).error_codes == frozenset()
    target = load(tmp_path, top('extra_error_codes = ["MAINTENANCE", "TOO_LARGE"]'))
    assert target.error_codes == {"MAINTENANCE", "TOO_LARGE"}
    assert target.readings == {"error_codes": "extended"}


@given(secret=st.text(alphabet="abcdefgh0123456789%./+=", min_size=12, max_size=40), data=st.data())
def test_no_error_ever_shows_a_variable(tmp_path_factory: pytest.TempPathFactory, secret: str, data: st.DataObject) -> None:
    """Any profile of the table, with a variable put into every header and password it could stand in."""
    text, key, _ = data.draw(st.sampled_from(sorted(WRONG.values())))
    file = tmp_path_factory.mktemp("p") / "target.toml"
    file.write_text(text + '\n[hooks.list]\nheaders = { X-Key = "${ENV:KEY}" }\n' if "hooks" not in text else text)
    try:
        shown = repr(load_profile(file, {**ENVIRONMENT, "KEY": secret, "PW": secret, "HOST": secret}))
    except UsageError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error)
        assert key or "not TOML" in shown
    assert secret not in shown


def test_a_bundled_server_is_a_target(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text(
        '{"base_url":"https://127.0.0.1:5","ws_url":"wss://127.0.0.1:5/api/roadmap/ws","pid":77,'
        '"metrics_url":"https://127.0.0.1:5/metrics","sessions_file":"/x/sessions.json","new":1}'
    )
    target = bundled_profile(ready, time_scale=0.5, limits={"heartbeat_interval": 4.0, "connections": 30})
    assert target.cookie == f"__Secure-{load_contract().cookie}"
    assert (target.resources.pid, target.resources.metrics_url) == (77, "https://127.0.0.1:5/metrics")
    assert (target.limits.heartbeat_interval, target.limits.connections) == (2.0, 30)
    stop = target.hook("stop")
    assert stop is not None
    assert stop.command(None)[-2:] == ["stop", str(ready)]
    assert target.hook("start") is None, "a server that does not say how it was started cannot be started"
    assert target.readings == {"subscription_limit": "declared", "cookie_name": "secure_prefix"}


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"base_url":5}'])
def test_a_ready_file_that_is_not_whole(tmp_path: Path, text: str | None) -> None:
    ready = tmp_path / "ready.json"
    if text is not None:
        ready.write_text(text)
    with pytest.raises(UsageError, match=re.escape(str(ready)) + r".*start the bundled server"):
        bundled_profile(ready)


def test_the_table_of_mistakes_is_about_what_it_says() -> None:
    """Every entry but the first is TOML, so that it is our own checks that find the mistake."""
    assert len(WRONG) >= 25
    for case, (text, _, _) in WRONG.items():
        if case != "not TOML":
            tomllib.loads(text)
