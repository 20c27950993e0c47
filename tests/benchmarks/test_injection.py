"""Mishaps can be told again from the seed, keep apart from each other, and delays never reorder what was not swapped on purpose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.truth.injection import Injection

_INJECTIONS = st.builds(
    Injection,
    seed=st.integers(0, 1000),
    period=st.floats(1.0, 20.0),
    occurrences=st.integers(1, 20),
    stall=st.tuples(st.floats(0.0, 20.0), st.just(0.2)),
)


@given(_INJECTIONS, st.integers(0, 200), st.integers(0, 20), st.floats(0.0, 40.0))
def test_a_delay_ends_before_the_features_next_vote_and_never_in_the_stall(
    injection: Injection, feature: int, occurrence: int, since: float
) -> None:
    delay = injection.delay(feature, occurrence, since)

    begin, length = injection.stall
    assert 0.0 < delay < injection.period
    assert not begin <= since + delay < begin + length - 1e-9
    assert delay == injection.delay(feature, occurrence, since)


@given(_INJECTIONS, st.integers(0, 200), st.integers(0, 20), st.integers(1, 30))
def test_a_mishap_is_told_again_and_hits_whom_it_may(injection: Injection, feature: int, occurrence: int, viewers: int) -> None:
    audience, own = range(viewers), (viewers,)

    mishap = injection.mishap(feature, occurrence, audience, own)

    assert mishap == injection.mishap(feature, occurrence, audience, own)
    if mishap is not None:
        allowed = set(own) if mishap.kind == "misdirected" else set(audience)
        assert mishap.sockets
        assert set(mishap.sockets) <= allowed
        assert len(set(mishap.sockets)) == len(mishap.sockets)
        assert 0.0 <= mishap.delay < injection.period
        if mishap.kind == "swapped":
            assert occurrence + 1 < injection.occurrences
            assert injection.mishap(feature, occurrence + 1, audience, own) is None
