"""capacity.py and judge_capacity.py: the knee is the last step that kept everything, and a generator that is not fit convicts nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.capacity import CapacityStudy
from harness.analysis.summary import Summary, assess
from harness.measure.histogram import Histogram
from harness.verdict import Verdict
from tests.analysis.builder import Floats, Recipe, Record, events, good, of, usual, write

_STEP = 8.0
RECIPE = Recipe(viewers=40, rate=10.0, warmup=0.0, duration=3 * _STEP)


def _records(asked: tuple[int, ...], slow_from: int = 99) -> list[Record]:
    """Steps of 8 s; from step `slow_from` on every delivery takes 4 s longer."""

    def latency(n: int, rng: np.random.Generator, viewers: int) -> Floats:
        return usual(n, rng, viewers) + (4.0 if n >= slow_from * _STEP * RECIPE.rate else 0.0)

    records = good(replace(RECIPE, latency=latency))
    records[0] |= {"scenario": "capacity", "judged": ["capacity"], "fit_by_step": True}
    records[0]["parameters"]["spawn_rate"] = 10_000.0
    for step, viewers in enumerate(asked):
        at = RECIPE.steady_from + step * _STEP - (0.5 if step == 0 else 0.0)
        records = events(records, "step", at, number=step + 1, count=viewers, viewers=viewers)
    for record in of(records, "second"):
        step = int(min(max(record["t"] - RECIPE.steady_from, 0.0) // _STEP, len(asked) - 1))
        record["open"] = asked[step]
    return records


def _judged(folder: Path, records: list[Record]) -> Summary:
    return assess(write(folder / f"run-{len(list(folder.iterdir()))}", records)).summary


@pytest.mark.parametrize(
    ("asked", "slow_from", "knee", "verdict"),
    [
        ((500, 1000, 1500), 99, 1500, Verdict.PASS),
        ((500, 1000, 1500), 2, 1000, Verdict.PASS),
        ((500, 1000, 1500), 1, 500, Verdict.FAIL),
        ((400, 800, 1200), 2, 800, Verdict.INCONCLUSIVE),  # 1000 lies between
        ((10, 20, 30), 99, 30, Verdict.INFO),
    ],
)
def test_the_knee_and_its_verdict(tmp_path: Path, asked: tuple[int, ...], slow_from: int, knee: int, verdict: Verdict) -> None:
    summary = _judged(tmp_path, _records(asked, slow_from))
    study = summary.study
    assert isinstance(study, CapacityStudy)
    search = study.connections
    assert [step.asked for step in search.steps] == list(asked)
    assert search.knee is not None
    assert search.knee.asked == knee
    assert summary.benchmark("capacity").verdict is verdict, summary.benchmark("capacity").detail


def test_a_generator_that_reads_late_ends_the_search_and_convicts_nobody(tmp_path: Path) -> None:
    records = _records((300, 600, 900))
    late = Histogram()
    late.record([400_000] * 500)
    for record in of(records, "second"):
        if record["t"] > RECIPE.steady_from + _STEP:
            record["lag"] = late.encode()
    summary = _judged(tmp_path, records)
    assert not summary.reasons
    search = summary.study.connections
    assert search.knee.asked == 300
    assert "read 4" in search.steps[1].unfit
    assert summary.benchmark("capacity").verdict is Verdict.INCONCLUSIVE
    assert "At 600 connections the instrument reached its own limit: it read 4" in summary.benchmark("capacity").detail


def test_a_step_with_losses_is_not_held(tmp_path: Path) -> None:
    records = _records((500, 1000, 1500))
    (row,) = of(records, "broadcasts")
    n = round((_STEP + 5.0) * RECIPE.rate)
    row["lost"][n] += 1
    row["delivered"][n] -= 1
    summary = _judged(tmp_path, records)
    assert summary.study.connections.knee.asked == 500
    assert "lost" in summary.benchmark("capacity").detail


def _climbing(rates: tuple[float, ...], viewers: int, slow_from: int = 99) -> list[Record]:
    """Steps of 8 s by rate, said in events; the journal's own rate is another."""
    records = [record for record in _records((viewers,) * len(rates), slow_from) if record.get("name") != "step"]
    records[0]["judged"] = ["capacity_rate"]
    for number, rate in enumerate(rates):
        records = events(records, "rate_step", RECIPE.steady_from + number * _STEP, number=number + 1, rate=rate, viewers=viewers)
    return records


@pytest.mark.parametrize(
    ("rates", "viewers", "slow_from", "knee", "verdict"),
    [
        ((50.0, 100.0, 150.0), 1000, 99, 150.0, Verdict.PASS),
        ((50.0, 100.0, 150.0), 1000, 2, 100.0, Verdict.PASS),
        ((50.0, 100.0, 150.0), 1000, 1, 50.0, Verdict.FAIL),
        ((40.0, 80.0, 120.0), 1000, 2, 80.0, Verdict.INCONCLUSIVE),  # 100 lies between
        ((50.0, 100.0, 150.0), 40, 1, 50.0, Verdict.INFO),  # and nobody knows what a thousand would say
        ((5.0, 10.0, 15.0), 1000, 99, 15.0, Verdict.INFO),
    ],
)
def test_the_knee_of_the_rate(
    tmp_path: Path, rates: tuple[float, ...], viewers: int, slow_from: int, knee: float, verdict: Verdict
) -> None:  # fmt: skip
    summary = _judged(tmp_path, _climbing(rates, viewers, slow_from))
    search = summary.study.rates
    assert [step.rate for step in search.steps] == list(rates)
    assert search.knee.rate == knee
    assert not summary.study.connections.steps
    assert summary.benchmark("capacity_rate").verdict is verdict, summary.benchmark("capacity_rate").detail


def test_a_rate_at_which_votes_are_merged_is_not_held(tmp_path: Path) -> None:
    records = _climbing((50.0, 100.0, 150.0), 1000)
    first = round(2 * _STEP * RECIPE.rate) + 30
    carried = {"kind": "coalesced", "worker": 0, "n": [first, first + 1, first + 2], "into": [first + 10, first + 11, first + 12]}
    summary = _judged(tmp_path, [*records[:-1], carried, records[-1]])
    assert summary.study.rates.knee.rate == 100.0
    assert "3 of 60 votes were merged" in summary.benchmark("capacity_rate").detail
