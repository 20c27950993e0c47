"""soak.py and judge_soak.py: a drift that was put in comes out within its interval, and is judged by what a day of it would add."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.soak import DAY, SoakStudy
from harness.analysis.summary import Summary, assess
from harness.verdict import Verdict
from tests.analysis.builder import Recipe, good, of, usual, write

RECIPE = Recipe(viewers=20, rate=5.0, duration=60.0)
_JUDGED = ["soak_latency", "soak_memory", "soak_descriptors", "delivery"]


def _soaked(folder: Path, *, latency: float = 0.0, memory: float = 0.0, descriptors: float = 0.0, readings: bool = True) -> Summary:
    """Drifts a second: seconds of latency, bytes, descriptors."""
    recipe = replace(RECIPE, latency=lambda n, rng, viewers: usual(n, rng, viewers) + latency * n / RECIPE.rate)
    records = good(recipe)
    records[0] |= {"scenario": "soak", "judged": _JUDGED}
    rng = np.random.default_rng(3)
    for record in of(records, "target"):
        since = record["t"] - recipe.steady_from
        record["rss"] = 60e6 + memory * since + rng.normal(0.0, 10.0)
        record["descriptors"] = 40 + descriptors * since
    kept = records if readings else [record for record in records if record["kind"] != "target"]
    return assess(write(folder / f"run-{len(list(folder.iterdir()))}", kept)).summary


@settings(max_examples=8, deadline=None)
@given(memory=st.floats(-2_000.0, 50_000.0), latency=st.floats(0.0, 0.01))
def test_a_drift_that_was_put_in_comes_out(tmp_path_factory: pytest.TempPathFactory, memory: float, latency: float) -> None:
    study = _soaked(tmp_path_factory.mktemp("soak"), memory=memory, latency=latency).study
    assert isinstance(study, SoakStudy)
    assert study.memory is not None
    assert study.p50 is not None
    assert study.memory.slope.slope == pytest.approx(memory, abs=20.0)
    assert study.memory.slope.low - 5.0 <= memory <= study.memory.slope.high + 5.0
    assert study.p50.slope.slope == pytest.approx(latency, abs=3e-4)
    assert study.memory.after(DAY)[0] == pytest.approx(study.memory.slope.slope * DAY)


@pytest.mark.parametrize(
    ("drift", "name", "verdict"),
    [
        ({"memory": -100.0}, "soak_memory", Verdict.PASS),
        ({"memory": 1_000.0}, "soak_memory", Verdict.FAIL),  # 86 MB a day for 20 viewers
        ({"descriptors": 0.0}, "soak_descriptors", Verdict.PASS),
        ({"descriptors": 0.1}, "soak_descriptors", Verdict.FAIL),
        ({"latency": 0.01}, "soak_latency", Verdict.FAIL),
        ({}, "soak_latency", Verdict.INCONCLUSIVE),  # a minute says nothing of a day
        ({"readings": False}, "soak_memory", Verdict.NOT_TESTABLE),
    ],
)
def test_each_drift_has_its_verdict(tmp_path: Path, drift: dict[str, float], name: str, verdict: Verdict) -> None:
    benchmark = _soaked(tmp_path, **drift).benchmark(name)  # type: ignore[arg-type]
    assert benchmark.verdict is verdict, benchmark.detail
    assert bool(benchmark.remedy) == (verdict is Verdict.FAIL)
