"""The hooks that stop the bundled server and start it again, for real: as it was found, and never longer than whoever started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.net.connection import Connection
from harness.target import HookCaller, bundled_profile
from schemas import load_contract
from tests.server.conftest import Launcher, Running, command, poll

WAIT = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with Launcher(tmp_path) as launch:
        yield launch(heartbeat_interval=17.5, users=3, admins=1, features=2, allowed_origin="https://a.example,https://b.example")


def facts(ready: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ready.read_text())
    return found


def test_after_a_stop_and_a_start_it_is_as_it_was(server: Running) -> None:
    ready = server.state_dir / "ready.json"
    before, target = facts(ready), bundled_profile(ready)
    session = target.sessions(1)[0]
    with HookCaller(target, WAIT) as caller:
        feature = caller.call("list", session).answer.items[0]
        assert caller.call("vote", session, featureId=feature.id).answer.ok
        for _ in range(2):
            viewer = Connection.open(target.ws_url, headers=target.handshake_headers(session), origin=target.origin, timeout=WAIT)
            assert isinstance(viewer, Connection)
            with viewer:
                assert caller.call("stop").answer.ok
                closed = viewer.wait_closed(WAIT)
            assert closed is not None
            assert closed.code == load_contract().close.going_away
            started = caller.call("start").answer
            assert started.ok, started.problem
        after = facts(ready)
        assert {key: after[key] for key in before if key not in ("pid", "parent", "started", "command")} == {
            key: before[key] for key in before if key not in ("pid", "parent", "started", "command")
        }
        assert after["pid"] not in (before["pid"], server.pid)
        assert server.process.wait(WAIT) == 0
        assert [word for word in after["command"] if not word.startswith("--end-with")] == before["command"]
        assert caller.call("read", session, featureId=feature.id).answer.count == (feature.count or 0) + 1
        assert not (server.state_dir / "stopped.json").exists()


def test_it_ends_with_whoever_started_the_first_one(tmp_path: Path) -> None:
    """A parent of its own starts the server; its successor, which is nobody's child, ends when that parent does."""
    state = tmp_path / "state"
    code = f"import subprocess, sys; subprocess.Popen({command(state, {'users': 2, 'admins': 1})!r}); sys.stdin.read()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ready = state / "ready.json"
    try:
        poll(lambda: ready.exists() or None, WAIT, "ready.json")
        first = facts(ready)
        target = bundled_profile(ready)
        with HookCaller(target, WAIT) as caller:
            assert caller.call("stop").answer.ok
            assert caller.call("start").answer.ok
        heir = psutil.Process(facts(ready)["pid"])
        assert heir.pid != first["pid"]
        assert f"--end-with={parent.pid}" in heir.cmdline()
    finally:
        parent.communicate(timeout=WAIT)
    poll(lambda: not heir.is_running() or heir.status() == psutil.STATUS_ZOMBIE or None, WAIT, "the end of the heir")
    assert not ready.exists()


def test_a_server_that_is_gone_is_no_stop(server: Running) -> None:
    ready = server.state_dir / "ready.json"
    target = bundled_profile(ready)
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(WAIT)
    with HookCaller(target, WAIT) as caller:
        answer = caller.call("stop").answer
    assert not answer.ok
    assert "exit status 1" in (answer.problem or "")
