"""The scenario mixed end to end: a day on the bundled server is accounted for, and a server that tells the wrong people is convicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis.mixed import MixedStudy
from harness.analysis.summary import Summary, assess
from harness.locust_run import scenario_file
from harness.verdict import Verdict
from tests.load.rig import MACHINE_REASONS, VIEWERS, Outcome, processes_of, run, server

_PEOPLE = ["--users", "6", "--admins", "3", "--sessions", "45", "--rate-window", "2", "--features", "40"]
_DAY: dict[str, Any] = {
    "duration": 8, "warmup": 0.5, "rate": 15, "features": 40, "stay": 20, "idle": 0.3, "view": 3, "burst": 8, "edits": 120, "seed": 42,
}  # fmt: skip


def _run(folder: Path, *more: str, faults: tuple[str, ...] = (), page: bool = False) -> tuple[Outcome, Summary, MixedStudy]:
    with server(folder, [*_PEOPLE, *(word for name in faults for word in ("--fault", name))]) as running:
        done = run(running.ready, folder, *more, file=scenario_file("mixed"), page=page, **_DAY)
    assert done.folder is not None, done.output
    summary = assess(done.folder).summary
    assert done.footer["reason"] == "completed", done.output
    assert {reason.code for reason in summary.reasons} <= MACHINE_REASONS, done.output
    study = summary.study
    assert isinstance(study, MixedStudy)
    return done, summary, study


def test_every_delivery_of_a_day_is_accounted_for_on_two_workers(tmp_path: Path) -> None:
    done, summary, study = _run(tmp_path, *processes_of(2), page=True)
    visits, aside = study.visits, study.aside
    assert visits.come == visits.planned > 0
    assert visits.view > visits.back > 0
    assert visits.refused == 0
    assert summary.connections.peak <= VIEWERS
    assert summary.connections.unexpected == 0
    account = summary.throughput.whole
    assert account.expected > 1_000
    assert (account.lost, account.duplicated, account.reordered, account.misdirected) == (0, 0, 0, 0)
    assert (aside.own, aside.role, aside.other) == (0, 0, 0)
    assert min(aside.own_of, aside.role_of, aside.other_of, aside.back_of) > 0
    assert aside.back == aside.back_of, "the bundled server goes back to everything"
    for kind in study.kinds:
        assert kind.accepted == kind.calls > 0, kind
        assert kind.account.delivered == kind.account.expected > 0, kind
        assert kind.latency.n > 0
    assert summary.throughput.unmatched == 0
    assert {status for record in done.of("casts") for status in record["status"]} <= {200, 201}
    assert 'id="mixed"' in done.page()
    assert 'id="day"' in done.page()
    if not summary.reasons:
        verdicts = {benchmark.id: benchmark.verdict for benchmark in summary.benchmarks}
        assert set(verdicts.values()) <= {Verdict.PASS, Verdict.INFO}, verdicts
        assert done.code == 0


def test_a_server_that_tells_the_wrong_people_is_convicted(tmp_path: Path) -> None:
    done, summary, study = _run(tmp_path, faults=("edits-unfiltered", "regulars-told-of-created"))
    assert study.aside.other > 0
    assert study.aside.role > 0
    assert study.aside.own == 0
    assert summary.throughput.whole.lost == 0, "whoever is owed something has it"
    if not summary.reasons:
        verdicts = {benchmark.id: benchmark.verdict for benchmark in summary.benchmarks}
        assert verdicts["mixed_filter"] is Verdict.WARN
        assert verdicts["mixed_role"] is Verdict.FAIL
        assert verdicts["delivery"] is Verdict.PASS
        assert done.code == 1
