"""The scenario ramp end to end: everybody comes and goes, and a server without a leak is not accused.

That a leak of known size is stated to within its error is shown in tests/benchmarks/test_truth.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis.ramp import RampStudy
from harness.analysis.summary import Summary, assess
from harness.locust_run import scenario_file
from harness.verdict import Verdict
from tests.load.rig import MACHINE_REASONS, locust_command, processes_of, server, start, wait

_VIEWERS, _CYCLES = 80, 3


def _run(target: Path, folder: Path, *more: str, **changes: Any) -> Summary:
    options = {"users": _VIEWERS, "spawn-rate": 200, "steps": 2, "cycles": _CYCLES, "hold": 1, **changes}
    command = locust_command(target, folder / "reports", *more, file=scenario_file("ramp"), shape=False, **options)
    log = folder / "locust.log"
    done = wait(start(command, log, page=True), log, folder / "reports")
    assert done.folder is not None, done.output
    assert done.footer["reason"] == "completed", done.output
    assert 'id="ramp"' in done.page()
    summary = assess(done.folder).summary
    assert {reason.code for reason in summary.reasons} <= MACHINE_REASONS, done.output
    assert done.code == summary.exit_code
    return summary


def test_all_come_and_go_in_each_cycle_over_two_processes(tmp_path: Path) -> None:
    with server(tmp_path, ["--sessions", str(_VIEWERS)]) as running:
        summary = _run(running.ready, tmp_path, *processes_of(2))
    study = summary.study
    assert isinstance(study, RampStudy)
    assert study.peaks == (_VIEWERS,) * _CYCLES
    assert [(step.opened, step.count) for step in study.steps] == [(_VIEWERS // 2, _VIEWERS // 2)] * 2 * _CYCLES
    assert [plateau.open for plateau in study.plateaus if plateau.asked == 0] == [0] * (_CYCLES + 1)
    assert study.plateaus[-1].came == _VIEWERS * _CYCLES
    assert study.handshake.n == _VIEWERS * _CYCLES
    assert (study.refused, study.unexpected) == (0, 0)
    assert summary.benchmark("ramp_connections").verdict is Verdict.INFO
    assert summary.benchmark("ramp_connections").measured == _VIEWERS
    assert study.descriptors is not None
    assert abs(study.descriptors.each) < 0.05, "every descriptor came back"
    if not summary.reasons:
        assert summary.benchmark("ramp_leak").verdict is not Verdict.FAIL
