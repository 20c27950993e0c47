"""The matrix on real servers: one fault all the way, checks that hang, servers that do not start, and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.errors import ExitCode, RunInvalid
from harness.faults.known import Fault, Faults, known_faults
from harness.faults.plan import Plan
from harness.faults.run import run_matrix
from harness.faults.servers import Servers
from harness.verdict import Verdict

COMMAND = str(Path(sys.executable).with_name("roadmap-harness"))


@pytest.fixture(scope="module")
def known() -> Faults:
    return known_faults()


def plan(*faults: Fault, patience: float = 120.0) -> Plan:
    return Plan(faults, True, 0.1, 4, 4, patience, second_look=0)


def test_a_fault_is_tried_on_a_real_server_and_nothing_is_left_behind(known: Faults, tmp_path: Path) -> None:
    faults = known.chosen(("voter-unnamed", "slot-kept-after-reset"), ())
    told: list[tuple[int, int, str]] = []
    matrix = run_matrix(plan(*faults), tmp_path, lambda done, total, text: told.append((done, total, text)))
    assert matrix.exit_code is ExitCode.PASS, matrix.reason
    assert {each.fault.name: each.own.verdict for each in matrix.rows} == dict.fromkeys((each.name for each in faults), Verdict.WARN)
    assert {row.rigs for row in matrix.sound} == {each.row.rigs for each in matrix.rows}
    assert [done for done, _, _ in told] == [1, 2, 3, 4]
    assert any("voter-unnamed: VOTE-05 WARN" in text for _, _, text in told)
    assert not list((tmp_path / "servers").rglob("ready.json"))


def test_checks_that_hang_are_said_to_and_judge_nothing(known: Faults, tmp_path: Path) -> None:
    matrix = run_matrix(plan(*known.chosen(("first-ping-late",), ()), patience=0.5), tmp_path)
    assert matrix.exit_code is ExitCode.INVALID
    (row,) = matrix.rows
    assert not row.caught
    assert "did not end in time" in row.row.problem
    assert row.own.verdict in (None, Verdict.INCONCLUSIVE)


def test_a_server_that_does_not_start_is_the_problem_of_its_row_alone(known: Faults, tmp_path: Path) -> None:
    (good,) = known.chosen(("voter-unnamed",), ())
    matrix = run_matrix(plan(good, replace(good, name="no-such-fault")), tmp_path)
    assert matrix.rows[0].right, matrix.rows[0].told
    assert "there is no fault 'no-such-fault'" in matrix.rows[1].row.problem
    assert str(tmp_path) not in matrix.rows[1].told
    assert matrix.exit_code is ExitCode.FAIL


def test_a_server_that_is_gone_before_it_is_looked_at_did_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork = Servers._fork

    def fork_and_linger(self: Servers, words: Sequence[str]) -> int:
        pid, deadline = fork(self, words), time.monotonic() + 60
        while psutil.pid_exists(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        return pid

    monkeypatch.setattr(Servers, "_fork", fork_and_linger)
    with Servers(tmp_path / "servers") as servers, pytest.raises(RunInvalid, match=r"did not start: .*no-such-option"):
        servers.seed(["--no-such-option"])


def test_the_command_writes_its_files_and_ends_with_the_code_of_the_verdict(tmp_path: Path) -> None:
    command = [COMMAND, "faults", "--own", "--fault", "voter-unnamed", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "PASS: 1 of 1 faults are caught by their own clause." in done.stdout
    assert json.loads((tmp_path / "out" / "faults.json").read_text())["counts"]["caught"] == 1
    assert "voter-unnamed" in (tmp_path / "out" / "faults.md").read_text()
    assert "voter-unnamed" in (tmp_path / "out" / "faults.html").read_text()


def test_a_name_that_is_no_fault_is_a_usage_error() -> None:
    command = [COMMAND, "faults", "--fault", "no-such-fault"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == ExitCode.USAGE
    assert "'no-such-fault' matches no fault" in done.stderr


def test_an_interrupt_ends_it_at_once_and_leaves_no_server(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [COMMAND, "faults", "--own", "--clause", "SEC-03", "--out", str(out)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it, and hands that down
    )
    deadline = time.monotonic() + 120

    def servers() -> list[int]:
        return [int(json.loads(ready.read_text())["pid"]) for ready in tmp_path.rglob("ready.json") if ready.exists()]

    try:
        while not (running := servers()) or not list(tmp_path.rglob("pytest-all.log")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=90)  # the checks alone would take half a minute at least, and then a second look
    finally:
        process.kill()
        process.wait()
    assert process.returncode == ExitCode.INVALID
    assert "interrupted" in said
    assert not (out / "faults.json").exists()
    assert not [pid for pid in running if psutil.pid_exists(pid)]
