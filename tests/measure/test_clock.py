"""A step of the wall clock is told once, with its size; slow readings and honest time are not steps."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.clock import ClockReading, ClockWatch, read_clocks

TOLERANCE = 0.01
EPOCH = 1_795_000_000.0


def at(seconds: float, set_by: float = 0.0, uncertainty: float = 0.0) -> ClockReading:
    return ClockReading(EPOCH + seconds + set_by, 5.0 + seconds, uncertainty)


@given(st.lists(st.floats(0, 100_000), max_size=20), st.floats(-0.009, 0.009))
def test_time_passing_is_no_step(moments: list[float], wobble: float) -> None:
    watch = ClockWatch(at(0), TOLERANCE)
    assert all(watch.check(at(moment, wobble)) is None for moment in sorted(moments))


@given(st.floats(0.011, 1e6), st.sampled_from([-1, 1]), st.floats(0, 1000))
def test_a_step_is_told_once_with_its_size_and_sign(size: float, sign: int, when: float) -> None:
    watch = ClockWatch(at(0), TOLERANCE)
    assert watch.check(at(when, sign * size)) == pytest.approx(sign * size, abs=1e-6)
    assert watch.check(at(when + 1, sign * size)) is None
    assert watch.check(at(when + 2)) == pytest.approx(-sign * size, abs=1e-6)


def test_small_steps_add_up_until_they_matter() -> None:
    watch = ClockWatch(at(0), TOLERANCE)
    told = [watch.check(at(n, n * 0.004)) for n in range(1, 7)]
    assert [step is not None for step in told] == [False, False, True, False, False, True]


def test_an_uncertain_reading_is_given_the_benefit_of_the_doubt() -> None:
    watch = ClockWatch(at(0, uncertainty=0.005), TOLERANCE)
    assert watch.check(at(1, 0.03, uncertainty=0.02)) is None
    assert watch.check(at(1.5, 0.012)) is None
    assert watch.check(at(2, 0.03, uncertainty=0.001)) == pytest.approx(0.03, abs=1e-6)


def test_a_real_reading_lies_between_the_real_clocks() -> None:
    wall, monotonic = time.time(), time.monotonic()
    reading = read_clocks()
    assert monotonic <= reading.monotonic <= time.monotonic()
    assert reading.wall == pytest.approx(wall, abs=60)
    assert reading.uncertainty >= 0
    assert ClockWatch(reading, 60.0).check(read_clocks()) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        ClockWatch(at(0), 0.0)
    with pytest.raises(ValueError, match="attempts"):
        read_clocks(attempts=0)
