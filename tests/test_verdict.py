"""verdict.py: nothing passes on an empty sample, and the exit code says what the verdicts say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode
from harness.verdict import Benchmark, Overall, Validity, Verdict, exit_code, overall, room_below

verdicts = st.lists(st.sampled_from(list(Verdict)))


def benchmark(verdict: Verdict, samples: int, measured: float | None = 1.0) -> Benchmark:
    return Benchmark("x", "X", "X-01", "X", 2.0, measured, "s", 0.5, verdict, samples, "seen", "")


@settings(deadline=None)
@given(verdicts)
def test_an_invalid_run_is_4_whatever_else_was_seen(seen: list[Verdict]) -> None:
    assert overall(seen, Validity.INVALID) is Overall.INVALID
    assert exit_code(overall(seen, Validity.INVALID)) == ExitCode.INVALID


@settings(deadline=None)
@given(verdicts)
def test_a_fail_anywhere_is_1_in_a_valid_run_and_only_a_fail_is(seen: list[Verdict]) -> None:
    assert exit_code(overall([*seen, Verdict.FAIL], Validity.VALID)) == ExitCode.FAIL
    assert (exit_code(overall(seen, Validity.VALID)) == ExitCode.FAIL) == (Verdict.FAIL in seen)


@settings(deadline=None)
@given(verdicts)
def test_0_needs_something_that_was_judged(seen: list[Verdict]) -> None:
    code = exit_code(overall(seen, Validity.VALID))
    judged = Verdict.PASS in seen or Verdict.WARN in seen
    assert (code == ExitCode.PASS) == (judged and Verdict.FAIL not in seen)
    if not set(seen) & {Verdict.PASS, Verdict.WARN, Verdict.FAIL}:
        assert code == ExitCode.INVALID
        assert overall(seen, Validity.VALID) is Overall.UNTESTED


@settings(deadline=None)
@given(verdicts, verdicts)
def test_what_was_required_and_not_told_never_ends_in_0(seen: list[Verdict], required: list[Verdict]) -> None:
    told = overall([*seen, *required], Validity.VALID, required)
    untold = set(required) & {Verdict.INCONCLUSIVE, Verdict.NOT_TESTABLE, Verdict.INFO}
    assert told is (Overall.UNTESTED if untold and Verdict.FAIL not in [*seen, *required] else overall([*seen, *required], Validity.VALID))


def test_pass_cannot_be_built_on_no_samples_or_on_no_number() -> None:
    assert benchmark(Verdict.PASS, 1).verdict is Verdict.PASS
    with pytest.raises(ValueError, match="no samples"):
        benchmark(Verdict.PASS, 0)
    for measured in (None, math.nan, math.inf):
        with pytest.raises(ValueError, match="INCONCLUSIVE"):
            benchmark(Verdict.PASS, 1, measured)
    with pytest.raises(ValueError, match="negative"):
        benchmark(Verdict.FAIL, -1)


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PASS])
def test_every_other_verdict_may_rest_on_nothing(verdict: Verdict) -> None:
    assert benchmark(verdict, 0, None).samples == 0


def test_room_below_a_limit() -> None:
    assert room_below(4.0, 1.0) == 0.75
    assert room_below(4.0, 5.0) == -0.25
    assert room_below(4.0, None) is None
    assert room_below(0.0, 1.0) is None
