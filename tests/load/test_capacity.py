"""The scenario capacity end to end: a server that lets in 30 has its knee at the step before, and one that caps broadcasts at that cap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis.capacity import CapacityStudy
from harness.analysis.summary import assess
from harness.locust_run import scenario_file
from harness.verdict import Verdict
from tests.load.rig import RATE, run, server


def test_the_knees_of_a_server_that_lets_in_thirty_and_merges_past_twenty_five_a_second(tmp_path: Path) -> None:
    options: dict[str, Any] = {"users": 40, "steps": 2, "duration": 22, "warmup": 0.5, "spawn-rate": 200, "most-rate": 40, "at": 20}
    with server(tmp_path, ["--connections", "30", "--broadcasts-per-second", "25"]) as running:
        done = run(running.ready, tmp_path, file=scenario_file("capacity"), page=True, **options)
    assert done.folder is not None, done.output
    assert done.footer["reason"] == "completed", done.output
    assert 'id="capacity"' in done.page()
    summary = assess(done.folder).summary
    assert not summary.reasons, "a search for a limit is not made invalid by having found it"
    study = summary.study
    assert isinstance(study, CapacityStudy)
    steps, climbs = study.connections.steps, study.rates.steps
    assert [(step.asked, step.open) for step in steps] == [(20, 20), (40, 30)]
    assert not steps[1].held
    assert [(step.rate, step.asked, step.open) for step in climbs] == [(20.0, 20, 20), (40.0, 20, 20)]
    assert summary.throughput.whole.lost == 0, "who joins late is owed what comes after, and no voter its own vote"
    assert summary.throughput.whole.misdirected == 0
    assert {status for record in done.of("casts") for status in record["status"]} == {200}
    first = steps[0]
    assert study.connections.knee is (first if first.held else None)
    assert 0.5 * RATE * 19 < first.frames < 2 * RATE * 20
    if not first.unfit and not steps[1].unfit:
        assert summary.benchmark("capacity").verdict is Verdict.FAIL
        assert "only 30 were open" in summary.benchmark("capacity").detail
    assert climbs[1].merged > 0.1 * climbs[1].votes, "past its cap it merges"
    assert not climbs[1].held
    if not any(step.unfit for step in climbs):
        assert summary.benchmark("capacity_rate").verdict is Verdict.INFO
        assert "At 40 a second" in summary.benchmark("capacity_rate").detail
        assert "merged" in summary.benchmark("capacity_rate").detail
