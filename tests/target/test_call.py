"""Calling hooks that are commands, and what a call says when nothing answers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from harness.errors import UsageError
from harness.target import HookCaller, Session, Target, load_profile
from tests.net.peers import WAIT, free_port

SESSION = Session("c", SecretStr("v4lue"), "regular", "u1")


def target(tmp_path: Path, code: str, hook: str = "vote", extra: str = "") -> Target:
    script = tmp_path / "hook.py"
    script.write_text(code)
    command = orjson.dumps([sys.executable, str(script), "{featureId}"] if hook == "vote" else [sys.executable, str(script)])
    file = tmp_path / "target.toml"
    file.write_text(
        f'name="t"\nbase_url="http://127.0.0.1:{free_port()}"\n[sessions]\nsource="cookies-file"\npath="c.json"\n'
        f'[hooks.{hook}]\ncommand = {command.decode()}\ncount = "n"\n{extra}\n'
    )
    return load_profile(file, {})


def test_a_command_is_run_with_its_arguments_and_its_output_is_read(tmp_path: Path) -> None:
    code = "import sys, os, json; print(json.dumps({'n': len(sys.argv[1]), 'c': os.environ['ROADMAP_COOKIE']}))"
    with HookCaller(target(tmp_path, code)) as caller:
        called = caller.call("vote", SESSION, featureId="a b; $HOME")
    assert (called.answer.ok, called.answer.count) == (True, 10)
    assert called.called_at < called.answered_at


@pytest.mark.parametrize(
    ("code", "extra", "problem"),
    [
        ("import sys; sys.exit(4)", "", "vote answered exit status 4 where 0 is expected"),
        ("import time; time.sleep(60)", "timeout = 0.3", "did not end within 0.3 s"),
    ],
)
def test_a_command_that_fails_is_an_answer(tmp_path: Path, code: str, extra: str, problem: str) -> None:
    with HookCaller(target(tmp_path, code, extra=extra)) as caller:
        answer = caller.call("vote", SESSION, featureId="f").answer
    assert not answer.ok
    assert problem in (answer.problem or "")


def test_a_start_command_may_leave_a_daemon_behind(tmp_path: Path) -> None:
    """The daemon holds the standard output open; waiting for its end would take half a minute."""
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])"
    began = time.monotonic()
    with HookCaller(target(tmp_path, code, "start", "timeout = 60")) as caller:
        assert caller.call("start").answer.ok
    assert time.monotonic() - began < 30


def test_a_target_that_is_gone_is_an_answer_and_a_missing_hook_is_not(tmp_path: Path) -> None:
    with HookCaller(target(tmp_path, ""), WAIT) as caller:
        answer = caller.call("unvote", SESSION, featureId="f").answer
        assert (answer.ok, answer.status) == (False, 0)
        assert "connection refused" in (answer.problem or "")
        with pytest.raises(UsageError, match=r"hooks\.stop: the target has no such hook"):
            caller.call("stop")
