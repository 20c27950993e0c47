"""shift.py: a difference that was put in is found inside its interval, none is found where none is, and few seconds say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.shift import shift_of
from harness.measure.histogram import Histogram


def _stretch(seconds: int, rng: np.random.Generator, shift: float = 0.0, each: int = 400) -> list[Histogram]:
    """Seconds of log-normal latencies around 20 ms, each second with a level of its own; `shift` in seconds."""
    found = []
    for _ in range(seconds):
        histogram = Histogram()
        histogram.record((0.02 * rng.lognormal(0.0, 0.3, each) * rng.uniform(0.9, 1.1) + shift) * 1e6)
        found.append(histogram)
    return found


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(0.05, 1.0))
def test_a_shift_larger_than_the_noise_is_found(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    found = shift_of(_stretch(20, rng), _stretch(30, rng, shift), 0.99)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.difference == pytest.approx(shift, abs=0.02)
    assert 0.0 < found.low <= found.difference <= found.high
    assert found.after - found.before == pytest.approx(found.difference)


def test_the_interval_holds_nothing_where_nothing_moved_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    holds = 0
    for _ in range(60):
        found = shift_of(_stretch(20, rng), _stretch(20, rng), 0.5)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        holds += found.low <= 0.0 <= found.high
    assert 48 <= holds <= 60  # 95 % of 60 is 57


def test_too_few_seconds_give_no_interval_and_none_give_nothing() -> None:
    rng = np.random.default_rng(1)
    few = shift_of(_stretch(2, rng), _stretch(30, rng), 0.99)
    assert few is not None
    assert (few.low, few.high) == (None, None)
    assert shift_of([], _stretch(3, rng), 0.99) is None
    assert shift_of([Histogram()], _stretch(3, rng), 0.99) is None


def test_the_same_seconds_give_the_same_answer() -> None:
    rng = np.random.default_rng(2)
    one, other = _stretch(12, rng), _stretch(12, rng, 0.01)
    assert shift_of(one, other, 0.99) == shift_of(one, other, 0.99)
