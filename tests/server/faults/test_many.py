"""Many servers from one process: each is a whole server of its own, ends by itself when told, and with its parent in any case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from tests.server.conftest import START_DEADLINE, STOP_DEADLINE, environment_of, poll


class Stable:
    """The process that forks them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "server_under_test.faults.many"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment_of(), text=True, start_new_session=True
        )

    def start(self, name: str, *more: str) -> psutil.Process:
        state = self.folder / name
        words = [str(self.folder / f"{name}.log"), "--port=0", f"--state-dir={state}", "--users=1", "--admins=1", *more]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return psutil.Process(int(self.process.stdout.readline()))

    def ready(self, name: str) -> dict[str, Any]:
        path = self.folder / name / "ready.json"
        return cast(dict[str, Any], poll(lambda: json.loads(path.read_text()) if path.exists() else None, START_DEADLINE, "ready.json"))


@pytest.fixture
def stable(tmp_path: Path) -> Iterator[Stable]:
    made = Stable(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


def gone(process: psutil.Process) -> bool | None:
    return True if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE else None


def test_each_is_a_server_of_its_own_with_its_own_fault(stable: Stable) -> None:
    processes = {"sound": stable.start("sound"), "late": stable.start("late", "--fault=first-ping-late", "--log-level=ERROR")}
    facts = {name: stable.ready(name) for name in processes}
    assert {name: each["pid"] for name, each in facts.items()} == {name: process.pid for name, process in processes.items()}
    assert facts["sound"]["base_url"] != facts["late"]["base_url"]
    assert facts["late"]["faults"] == ["first-ping-late"]
    assert "faults" not in facts["sound"]
    processes["sound"].send_signal(signal.SIGTERM)
    poll(lambda: gone(processes["sound"]), STOP_DEADLINE, "the end of the first")
    assert not (stable.folder / "sound" / "ready.json").exists()
    assert os.getsid(processes["late"].pid) == processes["late"].pid
    assert "FAULT first-ping-late" in (stable.folder / "late.log").read_text()


def test_they_end_when_the_input_ends_and_when_the_parent_is_killed(stable: Stable, tmp_path: Path) -> None:
    served = stable.start("one")
    stable.ready("one")
    assert stable.process.stdin is not None
    stable.process.stdin.close()
    assert stable.process.wait(STOP_DEADLINE) == 0
    poll(lambda: gone(served), STOP_DEADLINE, "the end of the server")
    stable.process.stdin = None
    other = Stable(tmp_path)
    served = other.start("two")
    other.ready("two")
    other.process.kill()
    other.process.communicate()
    poll(lambda: gone(served), STOP_DEADLINE, "the end of the server whose parent was killed")


def test_what_cannot_start_says_so_in_its_log_and_leaves_the_others(stable: Stable) -> None:
    wrong = stable.start("wrong", "--fault=no-such-fault")
    poll(lambda: gone(wrong), START_DEADLINE, "its end")
    assert "there is no fault 'no-such-fault'" in (stable.folder / "wrong.log").read_text()
    stable.start("right")
    assert stable.ready("right")["pid"]


def test_the_list_of_faults_is_for_machines() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server_under_test", "--list-faults"],
        capture_output=True,
        text=True,
        timeout=START_DEADLINE,
        env=environment_of(),
    )
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert {"name", "clause", "summary", "follows", "needs"} == set(listed["faults"][0])
