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

from tests.load.rig import RATE, VIEWERS, casting, locust_command, outcome, run, server, start, until, wait

_LONG = 60


def test_killing_the_server_in_mid_run_fails_the_target_and_shows_no_password(tmp_path: Path) -> None:
    reports, log = tmp_path / "reports", tmp_path / "locust.log"
    with server(tmp_path, ["--sign-in-attempts", "1000"]) as running:
        secret = json.loads((running.ready.parent / "accounts.json").read_text())[0]["password"]
        profile = tmp_path / "profile.toml"
        profile.write_text(
            f'name = "by login"\nbase_url = "{running.base_url}"\n[sessions]\nsource = "login"\nattempts = 100\nwindow = 1.0\n'
            '[[sessions.users]]\nemail = "user{n}@roadmap.test"\nfirst = 1\n'
            f'count = {VIEWERS}\nrole = "regular"\npassword_env = "LOAD_PASSWORD"\n'
        )
        process = start(locust_command(profile, reports, duration=_LONG), log, environment={"LOAD_PASSWORD": secret})
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
    assert done.folder is not None
    assert all(secret not in file.read_text("utf-8", "replace") for file in (log, *done.folder.iterdir()))


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


def test_a_full_disk_ends_the_run_and_keeps_the_journal_readable(tmp_path: Path) -> None:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    with server(tmp_path) as running:
        done = run(running.ready, tmp_path, before=small, duration=_LONG)
    assert done.code == 4, done.output
    assert "journal cannot grow" in done.output
    assert done.of("casts")
    assert done.of("footer") == []


def _bench(folder: Path) -> tuple[subprocess.Popen[bytes], Path, Path]:
    reports, log = folder / "reports", folder / "bench.log"
    shape = {"viewers": VIEWERS, "rate": RATE, "duration": _LONG, "warmup": 1, "features": 20, "voters": 5, "reports": reports}
    words = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    return start([sys.executable, "-m", "harness.cli", "bench", "broadcast", *words], log), log, reports


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_interrupting_the_command_keeps_what_was_measured_and_ends_run_and_server_in_order(tmp_path: Path) -> None:
    process, log, reports = _bench(tmp_path)
    until(casting(reports), "votes to be cast")
    children = _children(process.pid)
    process.send_signal(signal.SIGINT)
    done = wait(process, log, reports)
    assert done.code == 4, done.output
    assert done.footer["reason"] == "stopped"
    assert done.total("delivered") > 0
    delivery = next(benchmark for benchmark in done.verdicts()["benchmarks"] if benchmark["id"] == "delivery")
    assert delivery["measured"] == 1.0, "votes that were never cast are not losses"
    assert done.output.count("INVALID") >= 1
    assert done.output.count("Traceback") == 0
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
