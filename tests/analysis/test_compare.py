"""compare.py: a difference that was put in is found, none is found where none is, and runs that differ in what was asked are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.compare import Comparison, compare
from harness.errors import RunInvalid, UsageError
from harness.report.compare_text import compare_text
from tests.analysis.builder import Recipe, Record, good, usual, write

RECIPE = Recipe(viewers=60, rate=10.0, duration=12.0)


def _run(folder: Path, seed: int, *, more: float = 0.0, slope: float = 9_000.0, recipe: Recipe = RECIPE) -> Path:
    """A run whose level drifts a little with its seed, as runs do; `more` seconds of latency on every delivery."""
    level = float(np.random.default_rng(seed).uniform(0.0, 0.002))
    made = replace(recipe, seed=seed, slope=slope, latency=lambda n, rng, viewers: usual(n, rng, viewers) + more + level)
    return write(folder / f"run-{len(list(folder.iterdir()))}", good(made))


def _answers(comparison: Comparison) -> dict[str, str]:
    return {row.name: row.answer for row in comparison.rows}


@pytest.mark.parametrize("repeats", [1, 3])
def test_what_became_slower_is_said_and_ends_in_1(tmp_path: Path, repeats: int) -> None:
    base = [_run(tmp_path, seed) for seed in range(repeats)]
    new = [_run(tmp_path, seed + 50, more=0.05) for seed in range(repeats)]
    found = compare(base, new)
    assert _answers(found)["latency p99"] == "worse"
    assert found.word == "slower"
    assert found.exit_code == 1
    row = next(row for row in found.rows if row.name == "latency p99")
    assert row.low is not None
    assert row.high is not None
    assert row.low < 0.05 < row.high + 0.005
    assert compare_text(found).startswith("slower: broadcast")
    assert compare(new, base).word == "faster"


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_same_build_is_never_called_slower_or_faster(tmp_path: Path, repeats: int) -> None:
    base = [_run(tmp_path, seed) for seed in range(repeats)]
    new = [_run(tmp_path, seed + 10) for seed in range(repeats)]
    found = compare(base, new)
    assert _answers(found)["latency p50"] in ("same", "cannot tell")
    assert _answers(found)["memory a connection"] in ("same", "cannot tell")


def test_memory_is_compared_by_its_slopes(tmp_path: Path) -> None:
    found = compare([_run(tmp_path, 1, slope=5_000.0)], [_run(tmp_path, 2, slope=9_000.0)])
    row = next(row for row in found.rows if row.name == "memory a connection")
    assert row.answer == "worse"
    assert row.low is not None
    assert row.high is not None
    assert row.low < 4_000.0 < row.high


def test_repeats_show_their_noise_and_one_run_asks_for_repeats(tmp_path: Path) -> None:
    runs = [_run(tmp_path, seed) for seed in range(4)]
    row = compare(runs[:2], runs[2:]).rows[0]
    assert row.spread[0] is not None
    assert 0.0 < row.spread[0] < 0.5
    assert compare([runs[0]], [runs[1]]).rows[0].spread == (None, None)
    assert "repeats" in compare_text(compare([runs[0]], [runs[1]]))


def test_runs_that_were_not_asked_the_same_are_not_compared(tmp_path: Path) -> None:
    other = _run(tmp_path, 2, recipe=replace(RECIPE, rate=20.0))
    with pytest.raises(UsageError, match="rate was"):
        compare([_run(tmp_path, 1)], [other])


def test_an_invalid_run_is_not_compared(tmp_path: Path) -> None:
    records: list[Record] = [record for record in good(RECIPE) if record["kind"] != "footer"]
    with pytest.raises(RunInvalid, match="INVALID"):
        compare([_run(tmp_path, 1)], [write(tmp_path / "broken", records)])
