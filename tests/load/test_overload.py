"""The scenario overload end to end: the bundled server keeps its cap and the counts; one that merges nothing falls behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis.overload import OverloadStudy
from harness.analysis.summary import Summary, assess
from harness.locust_run import scenario_file
from harness.verdict import Verdict
from tests.load.rig import MACHINE_REASONS, Outcome, run, server

_CAP, _RATE = 20, 80


def _run(folder: Path, *arguments: str, **changes: Any) -> tuple[Outcome, Summary, OverloadStudy]:
    options: dict[str, Any] = {"users": 12, "rate": _RATE, "duration": 5, "warmup": 1, "features": 10, "voters": 8, "drain": 6, **changes}
    with server(folder, ["--broadcasts-per-second", str(_CAP), *arguments]) as running:
        done = run(running.ready, folder, file=scenario_file("overload"), **options)
    assert done.folder is not None, done.output
    summary = assess(done.folder).summary
    assert done.footer["reason"] == "completed", done.output
    assert {reason.code for reason in summary.reasons} <= MACHINE_REASONS, done.output
    assert isinstance(summary.study, OverloadStudy)
    return done, summary, summary.study


def test_the_cap_is_kept_and_every_viewer_ends_with_the_true_counts(tmp_path: Path) -> None:
    done, summary, study = _run(tmp_path, page=True)
    assert 'id="overload-section"' in done.page()
    assert study.counts is not None
    assert study.counts.pairs >= 10 * (12 - 1)
    assert (study.counts.wrong, study.counts.unseen) == (0, 0)
    assert summary.throughput.whole.lost == 0, "a vote that a later broadcast carries is not lost"
    assert study.mean is not None
    assert 0 < study.mean < 1.5 * _CAP
    assert summary.throughput.coalesced > 0
    if not summary.reasons:
        verdicts = {name: summary.benchmark(name).verdict for name in ("overload_cap", "overload_counts", "delivery", "latency")}
        assert set(verdicts.values()) == {Verdict.PASS}, verdicts


def test_a_server_that_merges_nothing_falls_behind_and_is_convicted(tmp_path: Path) -> None:
    done, summary, study = _run(tmp_path, "--fault", "nothing-is-batched", drain=1)
    assert study.counts is not None
    assert study.counts.wrong > 0, "its backlog is far from out"
    if not summary.reasons:
        assert summary.benchmark("overload_counts").verdict is Verdict.FAIL
        assert done.code == 1
