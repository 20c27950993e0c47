"""The cap on broadcasts: never more in any second, the cap in the long run, and no noticeable delay at exactly the cap."""

from __future__ import annotations

import math
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.allowance import DEPTH, Allowance

CAP = load_contract().limits.broadcasts_per_second


def sent(arrivals: list[float], cap: int) -> list[float]:
    """When each leaves, first come first served, if each is tried exactly when the allowance says."""
    allowance, now, out = Allowance(cap), 0.0, []
    for arrival in arrivals:
        now = max(now, arrival, allowance.ready_at)
        assert allowance.take(now)
        out.append(now)
    return out


@given(st.integers(1, 30), st.lists(st.floats(0, 0.4), max_size=200))
def test_no_second_exceeds_the_bound_and_no_span_the_rate(cap: int, gaps: list[float]) -> None:
    out = sent(list(accumulate(gaps)), cap)
    bound = Allowance.most_in_a_second(cap)
    assert bound <= cap * 1.05 + 1
    for index, start in enumerate(out):
        assert sum(1 for t in out[index:] if t < start + 1.0) <= bound
        for count, end in enumerate(out[index:], 1):
            assert count <= (end - start) * cap + max(1, round(cap * DEPTH)) + 1e-6


@given(st.integers(1, 200), st.floats(0, 1e6))
def test_nothing_leaves_before_it_is_ready(cap: int, start: float) -> None:
    allowance = Allowance(cap)
    while allowance.ready_at <= start:
        assert allowance.take(start)
    ready = allowance.ready_at
    assert not allowance.take(math.nextafter(ready, -math.inf))
    assert allowance.take(ready)


def test_an_overload_leaves_at_the_cap() -> None:
    out = sent([n / (3 * CAP) for n in range(3 * CAP * 20)], CAP)
    settled = [t for t in out if 15 <= t < 20]
    assert len(settled) == pytest.approx(5 * CAP, abs=2)


@pytest.mark.parametrize("jitter", [0.0, 0.002, 0.02])
def test_at_exactly_the_cap_jitter_delays_nothing(jitter: float) -> None:
    rng = random.Random(7)
    arrivals = sorted(n / CAP + rng.uniform(0, jitter) for n in range(CAP * 60))
    delays = [out - arrival for arrival, out in zip(arrivals, sent(arrivals, CAP), strict=True)]
    assert max(delays) == 0.0


def test_a_hiccup_of_a_source_at_exactly_the_cap_heals_within_seconds() -> None:
    hiccup = (10.0, 10.4)
    arrivals = [max(n / CAP, hiccup[1]) if n / CAP >= hiccup[0] else n / CAP for n in range(CAP * 30)]
    out = sent(arrivals, CAP)
    delays = [(arrival, out - arrival) for arrival, out in zip(arrivals, out, strict=True)]
    assert max(delay for arrival, delay in delays) <= hiccup[1] - hiccup[0]
    assert max(delay for arrival, delay in delays if arrival > hiccup[1] + 10) == 0.0
