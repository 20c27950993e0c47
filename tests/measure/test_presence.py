"""The past of who watches what, against a model that keeps everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.presence import ABSENT, Presence

_SLOTS = 4
changes = st.lists(st.tuples(st.integers(0, _SLOTS - 1), st.integers(-3, 5), st.integers(0, 20)), max_size=60)


def _states(told: list[tuple[int, int, int]], at: int) -> list[int]:
    states = [ABSENT] * _SLOTS
    for slot, state, t in told:
        if t <= at:
            states[slot] = state
    return states


@given(changes, st.integers(-5, 250), st.integers(0, 120), st.integers(-5, 250))
def test_any_stretch_of_the_past_can_be_asked_about(drawn: list[tuple[int, int, int]], begin: int, length: int, forgotten: int) -> None:
    at, told = 0, []
    for slot, state, step in drawn:
        at += step
        told.append((slot, state, at))
    presence = Presence(_SLOTS)
    for slot, state, t in told:
        presence.change(slot, state, t)
    presence.forget(min(forgotten, begin))
    states, moved = presence.between(begin, begin + length)
    assert states.tolist() == _states(told, begin)
    assert np.flatnonzero(moved).tolist() == sorted({slot for slot, _, t in told if begin < t <= begin + length})


def test_a_clock_that_steps_back_does_not_mix_up_the_order() -> None:
    presence = Presence(1)
    presence.change(0, 3, 100)
    presence.change(0, 4, 90)
    assert presence.between(95, 99)[0].tolist() == [ABSENT]
    assert presence.between(100, 100)[0].tolist() == [4]


def test_it_keeps_no_more_than_it_is_asked_about() -> None:
    presence = Presence(2)
    for t in range(5_000):
        presence.change(t % 2, t, t)
        presence.forget(t - 10)
    assert len(presence._at) == 1024
    assert presence.between(4_999, 5_010)[0].tolist() == [4_998, 4_999]
