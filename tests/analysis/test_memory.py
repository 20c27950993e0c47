"""memory.py: the slope that was put in comes out, within an interval that is neither too narrow nor boastful."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.memory import slope_of, student
from harness.analysis.summary import assess
from harness.verdict import Verdict
from tests.analysis.builder import Recipe, Record, good, of, without, write
from tests.analysis.conftest import Judge

RECIPE = Recipe(viewers=400, rate=10.0, duration=2.0)


@pytest.mark.parametrize("slope", [2_000.0, 10_000.0, 45_000.0])
def test_a_known_slope_is_found_within_its_interval(tmp_path: Path, slope: float) -> None:
    summary = assess(write(tmp_path / "a", good(replace(RECIPE, slope=slope)))).summary
    line = summary.memory.line
    assert line is not None
    assert line.low <= slope <= line.high
    assert line.high - line.low < 0.1 * slope
    assert line.n == len(summary.memory.points) > 30
    verdict = summary.benchmark("memory").verdict
    assert verdict is (Verdict.WARN if slope > 10_000 else Verdict.PASS)


def test_memory_outside_the_ramp_does_not_count(judge: Judge) -> None:
    records = good(RECIPE)
    plain = judge(records).summary.memory.line
    for record in of(records, "target"):
        if record["t"] > RECIPE.epoch:
            record["rss"] += 500_000_000
    assert judge(records).summary.memory.line == plain


def test_two_workers_are_added_up(tmp_path: Path) -> None:
    line = assess(write(tmp_path / "a", good(replace(RECIPE, workers=2)))).summary.memory.line
    assert line is not None
    assert line.slope == pytest.approx(RECIPE.slope, rel=0.05)


@pytest.mark.parametrize(
    ("change", "verdict", "word"),
    [
        (lambda records: without(records, "target"), Verdict.NOT_TESTABLE, "not read"),
        (lambda records: without(records, "event", name="ramp_done"), Verdict.INCONCLUSIVE, "did not complete"),
        (lambda records: [r for r in records if r["kind"] != "target" or r["t"] % 4 == 0], Verdict.INCONCLUSIVE, "too few"),
    ],
)
def test_without_enough_readings_nothing_is_said(judge: Judge, change: object, verdict: Verdict, word: str) -> None:
    summary = judge(change(good(RECIPE))).summary  # type: ignore[operator]
    benchmark = summary.benchmark("memory")
    assert (benchmark.verdict, benchmark.measured, benchmark.samples) == (verdict, None, 0)
    assert word in benchmark.detail


def test_a_handful_of_connections_bears_no_slope(tmp_path: Path) -> None:
    benchmark = assess(write(tmp_path / "a", good(replace(RECIPE, viewers=20)))).summary.benchmark("memory")
    assert benchmark.verdict is Verdict.INCONCLUSIVE


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_interval_covers_the_truth_of_correlated_readings(seed: int) -> None:
    """Over 40 series at a time: a 95 % interval that ignored the correlation would miss far more often than this allows."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 1000.0, 60)
    missed = 0
    for _ in range(40):
        noise = np.zeros(60)
        for i in range(1, 60):
            noise[i] = 0.5 * noise[i - 1] + rng.normal(0.0, 1e5)
        line = slope_of(x, 5e7 + 9_000.0 * x + noise)
        missed += not line.low <= 9_000.0 <= line.high
    assert missed <= 14


def test_a_perfect_line_has_no_error() -> None:
    x = np.linspace(0.0, 100.0, 20)
    line = slope_of(x, 7.0 + 3.0 * x)
    assert line.slope == pytest.approx(3.0)
    assert line.intercept == pytest.approx(7.0)
    assert line.high - line.low < 1e-6


def test_students_t_against_the_table() -> None:
    for freedom, quantile in ((1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)):
        assert student(freedom) == pytest.approx(quantile, rel=0.01)


def test_records_are_not_needed_in_order(judge: Judge) -> None:
    records = good(RECIPE)
    plain = judge(records).summary.memory
    rest: list[Record] = without(records, "target")
    shuffled = [*rest[:-1], *reversed(of(records, "target")), rest[-1]]
    assert judge(shuffled).summary.memory == plain
