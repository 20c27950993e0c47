"""heat.py: every delivery is in the grid, in the moment and at the latency where it was; a broadcast's reach is from its own arrivals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.heat import latency_grid, reach
from harness.analysis.run import load_run
from harness.analysis.summary import assess
from harness.measure.histogram import Histogram
from tests.analysis.builder import Recipe, Record, good, without, write

Floats = npt.NDArray[np.float64]
RECIPE = Recipe()


def stalled(n: int, rng: np.random.Generator, viewers: int) -> Floats:
    """Ten casts in the fourth second are slow."""
    return np.full(viewers, 0.4 if 60 <= n < 70 else 0.01)


def test_the_slow_second_is_found_where_it_was(tmp_path: Path) -> None:
    grid = latency_grid(load_run(write(tmp_path / "a", good(replace(RECIPE, latency=stalled)))))
    assert grid is not None
    assert grid.lines.loc[grid.lines["p99"] > 0.3, "at"].tolist() == [3.0]
    assert grid.lines["n"].sum() == grid.counts.sum() == 7200
    rows, columns = np.nonzero(grid.counts)
    for row, column in zip(rows, columns, strict=True):
        low, high = grid.edges[row], grid.edges[row + 1]
        assert low <= 0.01 * 1.001 < high * 1.01 or (low <= 0.4 * 1.001 < high * 1.01 and 2.5 <= grid.begin[column] <= 3.5)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_columns_cover_the_steady_phase_without_a_seam(tmp_path: Path, workers: int) -> None:
    recipe = replace(RECIPE, workers=workers)
    grid = latency_grid(load_run(write(tmp_path / "a", good(recipe))))
    assert grid is not None
    assert np.allclose(grid.begin[1:], grid.end[:-1])
    assert grid.begin[0] <= recipe.warmup + 0.5
    assert grid.end[-1] >= recipe.warmup + recipe.duration - 0.5


def test_a_long_run_has_no_more_columns_than_can_be_told_apart(tmp_path: Path) -> None:
    grid = latency_grid(load_run(write(tmp_path / "a", good(replace(RECIPE, viewers=3, rate=2.0, duration=700.0)))))
    assert grid is not None
    assert 60 < grid.counts.shape[1] <= 150
    assert grid.counts.sum() == 3 * 2 * 700


def test_where_nothing_was_timed_there_is_no_grid(tmp_path: Path) -> None:
    records: list[Record] = good(RECIPE)
    assert latency_grid(load_run(write(tmp_path / "a", without(records, "second")))) is None
    assert latency_grid(load_run(write(tmp_path / "b", [r for r in records if r["kind"] in ("header", "second")]))) is None


def test_reach_is_from_the_plan_to_the_first_and_the_last_viewer(tmp_path: Path) -> None:
    def fan(n: int, rng: np.random.Generator, viewers: int) -> Floats:
        return np.linspace(0.020, 0.050, viewers)

    run = load_run(write(tmp_path / "a", good(replace(RECIPE, latency=fan, workers=2))))
    reached = reach(run)
    assert len(reached) == 120
    for column, truth in (("first", 0.020), ("last", 0.050), ("spread", 0.030)):
        assert reached[column].to_numpy() == pytest.approx(truth, abs=1e-5)
    assert assess(run.folder).summary.latency.spread.p50 == pytest.approx(0.030, abs=1e-5)


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 4e9), max_size=60))
def test_cells_hold_every_sample_within_the_precision(values: list[float]) -> None:
    histogram = Histogram()
    histogram.record(values)
    upper, counts = histogram.cells()
    assert counts.sum() == len(values)
    assert (counts > 0).all()
    assert (np.diff(upper) > 0).all()
    samples = np.clip(np.rint(np.sort(np.array(values))), 1, 3_600_000_000)
    assert np.repeat(upper, counts) == pytest.approx(samples, rel=1.1e-3, abs=0.5)
