"""The scenario ramp end to end: a leak of known size is stated to within its error, and a server without one is not accused."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.analysis.ramp import RampStudy
from harness.analysis.summary import Summary, assess
from harness.locust_run import scenario_file
from harness.verdict import Verdict
from tests.load.rig import MACHINE_REASONS, locust_command, processes_of, server, start, until, wait

_VIEWERS, _CYCLES = 80, 3
_LEAK = 8_000


@contextlib.contextmanager
def _leaky(folder: Path, bytes_each: int) -> Iterator[Path]:
    """The ready.json of a server that keeps so many bytes of each connection."""
    state = folder / "state"
    words = [str(bytes_each), "--port", "0", "--state-dir", str(state), "--sessions", str(_VIEWERS), "--users", "20"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "tests.load.leaky_server", *words], stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: (state / "ready.json").exists() or process.poll() is not None, "the leaky server")
        yield state / "ready.json"
    finally:
        process.terminate()
        process.wait(30)


def _run(target: Path, folder: Path, *more: str, **changes: Any) -> Summary:
    options = {"users": _VIEWERS, "spawn-rate": 200, "steps": 2, "cycles": _CYCLES, "hold": 1, **changes}
    command = locust_command(target, folder / "reports", *more, file=scenario_file("ramp"), shape=False, **options)
    log = folder / "locust.log"
    done = wait(start(command, log), log, folder / "reports")
    assert done.folder is not None, done.output
    assert done.footer["reason"] == "completed", done.output
    assert (done.folder / "index.html").stat().st_size > 10_000
    summary = assess(done.folder).summary
    assert {reason.code for reason in summary.reasons} <= MACHINE_REASONS, done.output
    assert done.code == summary.exit_code
    return summary


def test_a_leak_of_known_size_is_stated_to_within_its_error(tmp_path: Path) -> None:
    with _leaky(tmp_path, _LEAK) as ready:
        summary = _run(ready, tmp_path)
    study = summary.study
    assert isinstance(study, RampStudy)
    leak = study.leak
    assert leak is not None
    # The server's own allocator moves by some hundred bytes a connection in its first cycles.
    assert leak.low - 600 < _LEAK < leak.high + 600
    assert abs(leak.each - _LEAK) < 0.15 * _LEAK
    if not summary.reasons:
        assert summary.benchmark("ramp_leak").verdict is not Verdict.PASS
    assert summary.benchmark("ramp_leak").limit is not None
    assert leak.each > (summary.benchmark("ramp_leak").limit or 0.0)


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
