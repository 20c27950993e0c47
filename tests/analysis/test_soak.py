"""soak.py and judge_soak.py: a drift that was put in comes out within its interval, and is judged by what a day of it would add."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.soak import DAY, Drift, SoakStudy, drift_of
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


def _convicted(drift: Drift | None, limit: float) -> bool:
    assert drift is not None
    return drift.after(DAY)[1] > limit and drift.goes_on(limit / DAY)


def _settling(t: npt.NDArray[np.float64], added: float, share: float) -> npt.NDArray[np.float64]:
    return np.asarray(added * (1.0 - np.exp(-t / (share * t[-1]))), float)


@settings(max_examples=30, deadline=None)
@given(
    length=st.floats(120.0, 86_400.0),
    added=st.floats(0.0, 1e8),
    share=st.floats(0.01, 0.8),
    late=st.floats(0.0, 1.0),
    step=st.floats(0.0, 1e5),
)
def test_what_settles_is_not_convicted_nor_is_one_step_of_an_allocator(
    length: float, added: float, share: float, late: float, step: float
) -> None:
    t = np.linspace(0.0, length, 500)
    for values in (_settling(t, added, share), np.where(t > late * length, step, 0.0)):
        assert not _convicted(drift_of(t, 50e6 + values, length, 131_072.0), 5e6)


@settings(max_examples=30, deadline=None)
@given(length=st.floats(120.0, 86_400.0), added=st.floats(0.0, 1e7), a_day=st.floats(1.2, 1e3))
def test_what_goes_on_is_convicted_whatever_settled_before(length: float, added: float, a_day: float) -> None:
    t, limit = np.linspace(0.0, length, 500), 5e6
    leak = limit * a_day / DAY + 3 * 131_072.0 / length
    assert _convicted(drift_of(t, 50e6 + _settling(t, added, 0.03) + leak * t, length, 131_072.0), limit)


@pytest.mark.parametrize(
    ("drift", "name", "verdict"),
    [
        ({"memory": -5_000.0}, "soak_memory", Verdict.PASS),
        ({"memory": 0.0}, "soak_memory", Verdict.INCONCLUSIVE),  # one step of an allocator in a minute would be 189 MB a day
        ({"memory": 10_000.0}, "soak_memory", Verdict.FAIL),  # 864 MB a day for 20 viewers
        ({"descriptors": -0.1}, "soak_descriptors", Verdict.PASS),
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
