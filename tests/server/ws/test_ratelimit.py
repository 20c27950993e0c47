"""The two rate machines against plain recounts of everything that was ever offered."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.ratelimit import RepeatOffence, SlidingWindow

LIMITS = load_contract().limits
LIMIT, WINDOW = LIMITS.rate_messages, LIMITS.rate_window
ABUSE, WINDOWS = LIMITS.persistent_factor * LIMIT, LIMITS.persistent_windows

# Quarter seconds are exact in binary, so that a boundary is a boundary.
gaps = st.lists(st.integers(0, 60).map(lambda quarter: quarter / 4), max_size=120)


@given(gaps, st.integers(1, 12), st.integers(1, 60).map(lambda quarter: quarter / 4))
def test_the_sliding_window_equals_a_recount(gaps: list[float], limit: int, window: float) -> None:
    machine, heard = SlidingWindow(limit, window), list[float]()
    for now in accumulate(gaps):
        expected = sum(1 for t in heard if now - window < t) < limit
        assert machine.offer(now) is expected
        if expected:
            heard.append(now)


def test_ten_are_heard_the_eleventh_is_not_and_after_the_window_all_is_forgiven() -> None:
    machine = SlidingWindow(LIMIT, WINDOW)
    assert [machine.offer(0.0) for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
    assert not machine.offer(WINDOW - 0.001)
    assert [machine.offer(WINDOW) for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]


def offences(times: list[float]) -> list[float]:
    machine = RepeatOffence(ABUSE, WINDOW, WINDOWS)
    return [now for now in times if machine.offer(now)]


@pytest.mark.parametrize("jitter", [0.0, 0.09])
@pytest.mark.parametrize("factor", [1.0, 2.0, 10.0])
def test_steady_abuse_is_an_offence_in_the_last_window_of_the_row_and_not_before(factor: float, jitter: float) -> None:
    gap = WINDOW / ABUSE / factor
    times = [n * gap + jitter * (n % 3) / 3 for n in range(int(ABUSE * factor * (WINDOWS + 2)))]
    first = offences(times)[0]
    assert (WINDOWS - 1) * WINDOW < first < (WINDOWS + 0.5) * WINDOW


def test_a_little_less_is_never_an_offence() -> None:
    gap = WINDOW / (ABUSE - 1)
    assert offences([n * gap for n in range((ABUSE - 1) * WINDOWS * 10)]) == []


def test_one_calm_or_silent_window_ends_the_row() -> None:
    burst = [0.0] * ABUSE
    row = [window * WINDOW for window in range(WINDOWS - 1)]
    abusive = [start + t for start in row for t in burst]
    again = [t + (WINDOWS - 1) * WINDOW for t in burst]
    assert offences(abusive + again) == [again[-1]]
    calm = [(WINDOWS - 1) * WINDOW]
    assert offences(abusive + calm + [t + WINDOW for t in again]) == []
    assert offences(abusive + [t + WINDOW for t in again]) == []


@given(gaps)
def test_whoever_keeps_to_the_limit_never_offends(gaps: list[float]) -> None:
    window = SlidingWindow(LIMIT, WINDOW)
    assert offences([now for now in accumulate(gaps) if window.offer(now)]) == []
