"""Each way in which the instrument itself can be unfit, provoked: the run is INVALID, says why and what to do, and judges nobody."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.load.rig import Outcome, locust_command, processes_of, run, server, start, until, wait

_TROUBLED = Path(__file__).with_name("troubled.py")
_STEP_MS = 400
_RIVALS, _STARVED = 40, 4
_UNSHARE = ["unshare", "--map-root-user", "--net"]
_RIVAL = (  # as many processes as are asked for want all of one core, for as many seconds; each of a session of its own: Linux shares
    # a core among sessions first
    "import os,signal,sys\nos.sched_setaffinity(0,{int(sys.argv[1])})\n"
    "for _ in range(int(sys.argv[2])):\n    if not os.fork(): os.setsid(); break\n"
    "signal.alarm(int(sys.argv[3]))\nwhile True: pass"
)


def _invalid(done: Outcome) -> dict[str, Any]:
    """The reasons by code. Nothing was passed or failed on such evidence, and each reason says what to do."""
    assert done.code == 4, done.output
    verdicts = done.verdicts()
    assert (verdicts["validity"], verdicts["verdict"]) == ("INVALID", "INVALID")
    assert {benchmark["verdict"] for benchmark in verdicts["benchmarks"]}.isdisjoint({"PASS", "FAIL", "WARN"})
    reasons = {reason["code"]: reason for reason in verdicts["reasons"]}
    assert all(reason["sentence"] and reason["remedy"] for reason in reasons.values())
    return reasons


def _told(reports: Path, word: bytes) -> Callable[[], bool]:
    """Does the journal of the run speak of it?"""
    return lambda: any(word in journal.read_bytes() for journal in reports.glob("*/journal.jsonl"))


@pytest.mark.alone
def test_a_starved_generator_is_not_the_targets_fault(tmp_path: Path) -> None:
    reports, log = tmp_path / "reports", tmp_path / "locust.log"
    core = max(os.sched_getaffinity(0))
    with server(tmp_path) as running:
        process = start(locust_command(running.ready, reports, duration=3, rate=60), log)
        until(_told(reports, b'"cast_started"'), "the plan's start")
        generator = psutil.Process(process.pid)
        everywhere, usual = generator.cpu_affinity(), generator.nice()
        generator.cpu_affinity([core])
        generator.nice(19)
        subprocess.run([sys.executable, "-c", _RIVAL, str(core), str(_RIVALS), str(_STARVED)], check=False)
        generator.cpu_affinity(everywhere)
        with contextlib.suppress(psutil.AccessDenied):  # only an administrator may take it back; then the rest takes longer
            generator.nice(usual)
        done = wait(process, log, reports)
    assert set(_invalid(done)) & {"slip", "lag", "host_cpu", "stall", "casts_missed"}, done.output
    assert done.footer["reason"] == "completed"


def test_a_loop_that_stands_still_a_clock_that_is_set_and_a_reader_that_dies_are_all_told(tmp_path: Path) -> None:
    environment = {"TROUBLE": "loop"}
    compiler = shutil.which("cc")
    if compiler is not None:
        library, source = tmp_path / "clock_step.so", Path(__file__).with_name("clock_step.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        environment |= {"LD_PRELOAD": str(library), "STEP_FILE": str(tmp_path / "step"), "STEP_MS": str(_STEP_MS)}
    reports, log = tmp_path / "reports", tmp_path / "locust.log"
    with server(tmp_path) as running:
        process = start(locust_command(running.ready, reports, file=_TROUBLED, duration=60), log, environment=environment)
        until(_told(reports, b'"cast_started"'), "the plan's start")
        (tmp_path / "step").touch()
        done = wait(process, log, reports)
    reasons = _invalid(done)
    assert "stood still" in reasons["stall"]["sentence"]
    assert "receive path has died" in reasons["generator_failed"]["sentence"]
    assert "ZeroDivisionError" in done.output
    assert done.footer["reason"] == "problem"
    if compiler is not None:
        (step,) = (event["detail"]["seconds"] for event in done.of("event") if event["name"] == "clock_step")
        assert abs(step - _STEP_MS / 1e3) < 0.05
        assert "clock jumped" in reasons["clock_step"]["sentence"]


def test_descriptors_that_run_out_are_our_own_limit(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        done = run(running.ready, tmp_path, file=_TROUBLED, duration=60, environment={"TROUBLE": "descriptors"})
    assert "open files" in _invalid(done)["generator_failed"]["sentence"], done.output
    assert "target_exited" not in done.events()
    assert sum(record["refused"] for record in done.of("second")) == 0, "the target refused nobody"


def test_ports_that_all_wait_are_our_own_limit(tmp_path: Path) -> None:
    """What becomes of an own limit in a run is shown with descriptors; a network of one's own is needed to be out of ports."""
    if shutil.which("unshare") is None or subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system gives no network of one's own (unshare)")
    command = [*_UNSHARE, sys.executable, "-m", "tests.load.narrow", str(tmp_path)]
    used, refused, limit = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()
    assert int(used.partition(" ")[2]) > 100
    assert "50 sockets need as many local ports, and 0 are free" in refused
    assert "wait a minute" in refused
    assert "cannot assign requested address" in limit.lower()
    assert limit.endswith("(own limit)")


_EVENTS = {"connect": b'"ramp_started"', "steady": b'"broadcasts"', "flush": b'"drained"'}


def _worker_killed(folder: Path, phase: str, victim: int) -> None:
    """Kill one of two workers in a phase: the run must notice, whoever it was and whenever it happened."""
    reports, log = folder / "reports", folder / "locust.log"
    # The ramp is drawn out so that it can be hit, and so is the flush: its Close frames are answered, and TCP is left open.
    changes = {
        "connect": {"spawn_rate": 5, "duration": 60},
        "steady": {"duration": 60},
        "flush": {"duration": 1},
    }[phase]
    arguments = ["--fault", "tcp-left-open-after-close"] if phase == "flush" else None
    with server(folder, arguments) as running:
        process = start(locust_command(running.ready, reports, *processes_of(2), **changes), log)  # type: ignore[arg-type]
        until(_told(reports, _EVENTS[phase]), phase)
        workers = sorted(psutil.Process(process.pid).children(), key=lambda child: child.pid)
        workers[victim].kill()
        done = wait(process, log, reports)
    assert "worker_lost" in _invalid(done), done.output
    assert "worker_lost" in done.events()


@pytest.mark.parametrize(("phase", "victim"), [("connect", 0), ("steady", 1), ("flush", 0)])
def test_a_killed_worker_is_noticed_in_each_phase(tmp_path: Path, phase: str, victim: int) -> None:
    _worker_killed(tmp_path, phase, victim)


@pytest.mark.long
@pytest.mark.parametrize("time", range(10))
@pytest.mark.parametrize("phase", _EVENTS)
def test_a_killed_worker_is_noticed_ten_times_of_ten(tmp_path: Path, phase: str, time: int) -> None:
    _worker_killed(tmp_path, phase, time % 2)
