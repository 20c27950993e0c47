"""benchmarks/report.py: the folder that it times is one that the analysis takes for a whole run, and the timing is of a real command."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report import Setting, time_report, write_run
from harness.analysis.summary import assess
from harness.verdict import Overall


@pytest.mark.parametrize("workers", [1, 2])
def test_the_run_is_whole_and_tells_every_delivery(tmp_path: Path, workers: int) -> None:
    setting = Setting(viewers=60, rate=10.0, duration=6.0, workers=workers)
    deliveries = write_run(tmp_path / "run", setting)
    found = assess(tmp_path / "run")
    assert found.summary.verdict is Overall.PASS, found.summary.sentence
    assert found.summary.throughput.whole.delivered == deliveries == 60 * 10 * 11
    assert found.summary.latency.headline.n == 60 * 10 * 6
    assert found.run.problems == ()


def test_it_times_the_command_and_looks_at_the_page(tmp_path: Path) -> None:
    setting = Setting(viewers=20, rate=5.0, duration=3.0, workers=1)
    deliveries = write_run(tmp_path / "run", setting)
    timing = time_report(tmp_path / "run", deliveries)
    assert timing.cpu > 0.1
    assert timing.seconds > 0.1
    assert timing.page_bytes == (tmp_path / "run" / "index.html").stat().st_size
    with pytest.raises(RuntimeError, match=f"{deliveries:,} of {deliveries + 1:,}"):
        time_report(tmp_path / "run", deliveries + 1)
