"""Everything together against the bundled server, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from harness.errors import LoginRefused
from harness.net.connection import Connection
from harness.target import HookCaller, Target, bundled_profile, doctor, load_profile, reach
from schemas import load_clauses

WAIT = 20.0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("bundled") / "state"
    log = state.with_name("log").open("wb")
    command = [sys.executable, "-m", "server_under_test", "--port", "0", "--state-dir", str(state), "--users", "4"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not (state / "ready.json").exists():
            assert process.poll() is None, state.with_name("log").read_text()
            assert time.monotonic() < deadline, "the server did not become ready"
            time.sleep(0.02)
        yield state
    finally:
        process.terminate()
        process.wait(30)
        log.close()


@pytest.fixture(scope="module")
def target(state: Path) -> Target:
    return bundled_profile(state / "ready.json")


def test_it_can_be_reached(target: Target) -> None:
    assert reach(target, WAIT).handshake_seconds < WAIT


def test_a_vote_is_cast_counted_and_broadcast(target: Target) -> None:
    voter, viewer = target.sessions(2, "regular")
    connection = Connection.open(target.ws_url, headers=target.handshake_headers(viewer), origin=target.origin, timeout=WAIT)
    assert isinstance(connection, Connection)
    with HookCaller(target, WAIT) as caller, connection:
        feature = caller.call("list", voter).answer.items[-1]
        assert feature.count is not None
        start = connection.mark()
        called = caller.call("vote", voter, featureId=feature.id)
        assert (called.answer.ok, called.answer.count) == (True, feature.count + 1)
        frame = connection.wait_type("VOTE_UPDATE", WAIT, start)
        assert frame is not None
        assert frame.json()["voterId"] == voter.user_id
        assert called.called_at < frame.at
        assert caller.call("read", viewer, featureId=feature.id).answer.count == feature.count + 1
        assert caller.call("vote", voter, featureId=feature.id).answer.status == 409
        assert caller.call("unvote", voter, featureId=feature.id).answer.count == feature.count


def test_the_doctor_finds_it_well_and_leaves_it_as_it_was(target: Target) -> None:
    def roadmap() -> object:
        with HookCaller(target, WAIT) as caller:
            return caller.call("list", target.sessions(1)[0]).answer.items

    before = roadmap()
    findings = {finding.part: finding for finding in doctor(target, WAIT)}
    assert {part for part, finding in findings.items() if not finding.ok} == set()
    assert findings["revoke"].state == "not tried"
    assert findings["vote"].costs == ()
    assert roadmap() == before


def test_what_a_missing_hook_costs(state: Path, tmp_path: Path, target: Target) -> None:
    file = tmp_path / "target.toml"
    file.write_text(
        f'name="t"\nbase_url="{target.base_url}"\n[sessions]\nsource="cookies-file"\npath="{state}/sessions.json"\n'
        '[hooks]\nvote=false\nrevoke={path="/nowhere"}\ncreate={path="/nowhere"}\n'
    )
    findings = {finding.part: finding for finding in doctor(load_profile(file, {}), WAIT, destructive=True)}
    assert findings["vote"].state == "missing"
    assert "VOTE-01" in findings["vote"].costs
    assert findings["create"].state == findings["update"].state == findings["delete"].state == "fails"
    assert "FCRE-01" in findings["create"].costs
    assert findings["revoke"].detail == "revoke answered HTTP 404 where 200 is expected"
    assert findings["resources"].state == findings["start"].state == "missing"
    assert set(findings["start"].costs) == {clause.id for clause in load_clauses().values() if "SH" in clause.needs}
    assert "HS-01" not in findings["vote"].costs


def test_signing_in_for_real(state: Path, tmp_path: Path, target: Target) -> None:
    accounts = orjson.loads((state / "accounts.json").read_bytes())
    account = next(each for each in accounts if each["role"] == "regular")
    file = tmp_path / "target.toml"
    file.write_text(
        f'name="t"\nbase_url="{target.base_url}"\n[sessions]\nsource="login"\n'
        f'[[sessions.users]]\nemail="{account["email"]}"\npassword_env="PW"\n'
    )
    mine = load_profile(file, {"PW": account["password"]})
    (session,) = mine.sessions(1)
    assert (session.user_id, session.user_name) == (account["userId"], account["userName"])
    assert session.session_id
    assert reach(mine, WAIT).handshake_seconds < WAIT
    with HookCaller(mine, WAIT) as caller:
        admin = target.sessions(1, "admin")[0]
        assert caller.call("revoke", admin, subject=session).answer.ok
    with pytest.raises(LoginRefused, match="HTTP 401"):
        reach(mine, WAIT)
    with pytest.raises(LoginRefused, match="answered with HTTP 401 where 200"):
        load_profile(file, {"PW": "wrong" + account["password"]}).sessions(1)
