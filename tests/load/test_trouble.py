"""What can go wrong ends in one clear sentence, the documented exit code, and everything seen so far in the run folder."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.load.rig import RATE, VIEWERS, casting, locust_command, outcome, processes_of, run, server, start, until, wait

_LONG = 60


def test_killing_the_server_in_mid_run_fails_the_target(tmp_path: Path) -> None:
    reports, log = tmp_path / "reports", tmp_path / "locust.log"
    with server(tmp_path) as running:
        process = start(locust_command(running.ready, reports, duration=_LONG), log)
        until(casting(reports), "votes to be cast")
        os.kill(running.pid, signal.SIGKILL)
        done = wait(process, log, reports)
    assert done.footer["reason"] == "target_lost"
    assert "target_lost" in done.events()
    assert len(done.of("closed")) == VIEWERS
    assert {record["code"] for record in done.of("closed")} == {1006}
    assert done.total("delivered") > 0
    assert done.code == 1, done.output
    assert done.output.count("Traceback") == 0


def test_interrupting_keeps_what_was_measured_and_judges_nothing(tmp_path: Path) -> None:
    reports, log = tmp_path / "reports", tmp_path / "locust.log"
    with server(tmp_path) as running:
        process = start(locust_command(running.ready, reports, duration=_LONG), log)
        until(casting(reports), "votes to be cast")
        os.killpg(process.pid, signal.SIGINT)
        done = wait(process, log, reports)
    assert done.code == 4, done.output
    assert done.footer["reason"] == "stopped"
    assert done.total("delivered") > 0
    delivery = next(benchmark for benchmark in done.verdicts()["benchmarks"] if benchmark["id"] == "delivery")
    assert delivery["measured"] == 1.0, "votes that were never cast are not losses"
    assert done.output.count("Traceback") == 0


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_makes_the_run_invalid_not_the_target_guilty(tmp_path: Path, victim: int) -> None:
    reports, log = tmp_path / "reports", tmp_path / "locust.log"
    with server(tmp_path) as running:
        process = start(locust_command(running.ready, reports, *processes_of(2), duration=_LONG), log)
        until(casting(reports), "votes to be cast")
        workers = sorted(psutil.Process(process.pid).children(), key=lambda child: child.pid)
        workers[victim].kill()
        done = wait(process, log, reports)
    assert done.code == 4, done.output
    assert "worker_lost" in done.events()
    assert done.footer["reason"] == "worker_lost"


def test_a_receive_path_that_dies_is_our_fault_and_judges_nobody(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        done = run(running.ready, tmp_path, file=Path(__file__).with_name("dead_reader.py"), duration=_LONG)
    assert done.code == 4, done.output
    assert done.footer["reason"] == "problem"
    assert "ZeroDivisionError" in done.output
    assert {benchmark["verdict"] for benchmark in done.verdicts()["benchmarks"]}.isdisjoint({"PASS", "FAIL", "WARN"})


def _ready(folder: Path, **changes: object) -> Path:
    ready = folder / "ready.json"
    sessions = folder / "sessions.json"
    sessions.write_text(
        json.dumps(
            [{"name": "better-auth.session_token", "value": f"t{n}.c2ln", "role": "regular", "userId": f"u{n}"} for n in range(VIEWERS)]
        )
    )
    facts = {
        "base_url": "http://127.0.0.1:9",
        "ws_url": "ws://127.0.0.1:9/api/roadmap/ws",
        "pid": os.getpid(),
        "metrics_url": "http://127.0.0.1:9/metrics",
        "sessions_file": str(sessions),
    }
    ready.write_text(json.dumps({**facts, **changes}))
    return ready


def test_a_wrong_address_is_unreachable(tmp_path: Path) -> None:
    done = run(_ready(tmp_path), tmp_path)
    assert done.code == 3, done.output
    assert "127.0.0.1:9" in done.output
    assert "refused" in done.output
    assert done.output.count("Traceback") == 0


def test_sessions_that_the_target_does_not_know_are_a_refused_log_in(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        facts = json.loads(running.ready.read_text())
        strangers = json.loads(_ready(tmp_path).read_text())["sessions_file"]
        done = run(_ready(tmp_path, **{**facts, "sessions_file": strangers}), tmp_path)
    assert done.code == 3, done.output
    assert "401" in done.output
    assert "c2ln" not in done.output, "a session's value was shown"
    assert done.output.count("Traceback") == 0


def test_too_few_descriptors_are_refused_with_the_number(tmp_path: Path) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    with server(tmp_path) as running:
        done = run(running.ready, tmp_path, before=few)
    assert done.code == 2, done.output
    assert "ulimit -n" in done.output
    assert "200" in done.output


def test_a_full_disk_ends_the_run_and_keeps_the_journal_readable(tmp_path: Path) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    with server(tmp_path) as running:
        done = run(running.ready, tmp_path, before=small, duration=_LONG)
    assert done.code == 4, done.output
    assert "journal cannot grow" in done.output
    assert done.of("casts")
    assert done.of("footer") == []


def test_a_plan_that_cannot_work_is_refused_before_the_first_socket(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        done = run(running.ready, tmp_path, features=RATE // 10)
        many = run(running.ready, tmp_path, voters=10_000)
    assert (done.code, many.code) == (2, 2), done.output
    assert "features" in done.output
    assert "--voters" in many.output


def test_no_target_is_a_usage_error(tmp_path: Path) -> None:
    done = run("", tmp_path)
    assert done.code == 2, done.output
    assert "ROADMAP_TARGET" in done.output


def _bench(folder: Path) -> tuple[subprocess.Popen[bytes], Path, Path]:
    reports, log = folder / "reports", folder / "bench.log"
    shape = {"viewers": VIEWERS, "rate": RATE, "duration": _LONG, "warmup": 1, "features": 20, "voters": 5, "reports": reports}
    words = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    return start([sys.executable, "-m", "harness.cli", "bench", "broadcast", *words], log), log, reports


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command_ends_run_and_server_in_order(tmp_path: Path, number: signal.Signals) -> None:
    process, log, reports = _bench(tmp_path)
    until(casting(reports), "votes to be cast")
    children = _children(process.pid)
    process.send_signal(number)
    done = wait(process, log, reports)
    assert done.code == 4, done.output
    assert done.footer["reason"] == "stopped"
    assert done.output.count("INVALID") >= 1
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_when_locust_is_killed_the_command_says_where_the_evidence_is(tmp_path: Path) -> None:
    process, log, reports = _bench(tmp_path)
    until(casting(reports), "votes to be cast")
    next(child for child in _children(process.pid) if "locust" in child.cmdline()).kill()
    done = wait(process, log, reports)
    assert done.code == 4, done.output
    assert "SIGKILL" in done.output
    assert f"roadmap-harness report {done.folder}" in done.output
    assert done.of("footer") == []
    assert done.of("broadcasts")


def test_when_the_command_itself_is_killed_nothing_is_left_running(tmp_path: Path) -> None:
    process, log, reports = _bench(tmp_path)
    until(casting(reports), "votes to be cast")
    children = _children(process.pid)
    assert len(children) >= 2
    process.kill()
    process.wait()
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), "the children to end")
    assert outcome(0, log, reports).footer["reason"] == "stopped"


@pytest.mark.parametrize("right", [False, True])
def test_a_wrong_password_is_a_refused_log_in_and_is_never_shown(tmp_path: Path, right: bool) -> None:
    with server(tmp_path, ["--sign-in-attempts", "1000"]) as running:
        facts = json.loads(running.ready.read_text())
        account = json.loads((running.ready.parent / "accounts.json").read_text())[0]
        secret = account["password"] if right else "not-the-password"
        profile = tmp_path / "profile.toml"
        profile.write_text(
            f'name = "by login"\nbase_url = "{facts["base_url"]}"\n[sessions]\nsource = "login"\nattempts = 100\nwindow = 1.0\n'
            '[[sessions.users]]\nemail = "user{n}@roadmap.test"\nfirst = 1\n'
            f'count = {VIEWERS}\nrole = "regular"\npassword_env = "LOAD_PASSWORD"\n'
        )
        done = run(profile, tmp_path, environment={"LOAD_PASSWORD": secret})
    assert secret not in done.output
    if right:
        assert done.footer["totals"]["lost"] == 0, done.output
        assert secret not in (done.folder / "journal.jsonl").read_text() if done.folder else True
    else:
        assert done.code == 3, done.output
        assert "401" in done.output
        assert done.folder is None
