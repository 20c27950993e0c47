"""The scenario soak end to end, in a form of seconds: it is a casting run with slopes, and says how little seconds say of a day."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.soak import SoakStudy
from harness.analysis.summary import assess
from harness.locust_run import scenario_file
from tests.load.rig import MACHINE_REASONS, run, server


def test_a_short_soak_ends_with_slopes_and_their_intervals(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        done = run(running.ready, tmp_path, file=scenario_file("soak"), page=True, users=10, duration=9, warmup=0, rate=10)
    assert done.folder is not None, done.output
    summary = assess(done.folder).summary
    assert done.footer["reason"] == "completed", done.output
    assert {reason.code for reason in summary.reasons} <= MACHINE_REASONS, done.output
    study = summary.study
    assert isinstance(study, SoakStudy)
    for drift in (study.memory, study.descriptors):
        assert drift is not None
        assert drift.slope.low <= drift.slope.slope <= drift.slope.high
    assert study.memory is not None
    assert study.memory.level > 1e6
    assert summary.throughput.whole.lost == 0
    assert 'id="soak"' in done.page()
