"""The broadcast scenario end to end: real server, real sockets, real Locust, in each of the ways it can be run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.locust_run import free_port
from tests.load.rig import CASTS, MACHINE_REASONS, OWED, SHAPE, VIEWERS, Outcome, locust_command, outcome, server, start, wait


def assert_whole(run: Outcome) -> None:
    """Every cast was made and every delivery accounted for, whatever the machine was doing."""
    assert run.footer["reason"] == "completed", run.output
    assert sorted(n for record in run.of("casts") for n in record["n"]) == list(range(CASTS))
    assert {status for record in run.of("casts") for status in record["status"]} == {200}
    sums = {name: run.total(name) for name in ("expected", "delivered", "lost", "duplicated", "reordered", "misdirected")}
    assert sums == {"expected": OWED, "delivered": OWED, "lost": 0, "duplicated": 0, "reordered": 0, "misdirected": 0}
    assert run.footer["totals"]["delivered"] == OWED
    assert run.of("finding") == []
    assert run.of("unmatched") == []
    assert sum(record["opened"] for record in run.of("second")) == VIEWERS
    assert {record["stamped"] for record in run.of("second")} == {True}
    if run.code != 0:  # only a machine too busy to measure may keep a whole run from passing
        reasons = {reason["code"] for reason in run.verdicts()["reasons"]}
        assert (run.code, reasons <= MACHINE_REASONS) == (4, True), run.output


def locust_totals(file: Path) -> dict[str, int]:
    """Requests by name in Locust's own statistics."""
    return {entry["name"]: entry["num_requests"] for entry in json.loads(file.with_suffix(".json").read_text())}


def assert_locust_agrees(file: Path) -> None:
    totals = locust_totals(file)
    assert totals["VOTE_UPDATE"] == OWED
    assert totals["connect"] == VIEWERS
    assert totals["vote"] + totals.get("unvote", 0) == CASTS


def test_one_process_with_a_server_of_its_own_sees_the_known_truth(tmp_path: Path) -> None:
    words = [word for name, value in SHAPE.items() for word in (f"--{name.replace('users', 'viewers')}", str(value))]
    command = [sys.executable, "-m", "harness.cli", "bench", "broadcast", *words, "--reports", str(tmp_path / "reports")]
    log = tmp_path / "cli.log"
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=120, check=False).returncode
    done = outcome(code, log, tmp_path / "reports")
    assert_whole(done)
    assert done.folder is not None
    assert_locust_agrees(done.folder / "locust")
    assert f"report: {done.folder / 'index.html'}" in done.output
    assert len(done.page()) > 10_000


def test_a_master_and_workers_that_join_it_see_the_same(tmp_path: Path) -> None:
    reports, port = tmp_path / "reports", free_port()
    with server(tmp_path) as running:
        lead = ("--master", "--expect-workers", "2", "--master-bind-port", port, "--json-file", str(tmp_path / "stats"))
        master = start(locust_command(running.ready, reports, *lead), tmp_path / "master.log")
        workers = [
            start(
                locust_command(running.ready, reports, "--worker", "--master-port", port, headless=False), tmp_path / f"worker{number}.log"
            )
            for number in range(2)
        ]
        done = wait(master, tmp_path / "master.log", reports)
        codes = [wait(worker, tmp_path / f"worker{number}.log", reports).code for number, worker in enumerate(workers)]
    assert_whole(done)
    assert {record["worker"] for record in done.of("second")} == {0, 1}
    assert done.folder is not None
    assert (done.folder / "verdicts.json").is_file()
    assert not (done.folder / "index.html").exists(), "nobody asked for it"
    assert_locust_agrees(tmp_path / "stats")
    assert codes == [0, 0]
