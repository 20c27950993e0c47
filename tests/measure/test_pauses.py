"""Pauses are told by the longest of an interval, never more often than allowed, and a real collection is heard."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from harness.measure.pauses import Pauses

WORTH = 0.005


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def played(pauses: Pauses, clock: Clock, seconds: float, generation: int = 2) -> None:
    pauses.heard("start", {"generation": generation})
    clock.now += seconds
    pauses.heard("stop", {"generation": generation})


@given(st.lists(st.floats(0.0, 0.1), max_size=12))
def test_the_longest_stands_for_its_interval(lengths: list[float]) -> None:
    clock = Clock()
    pauses = Pauses(WORTH, 5, clock, clock)
    told = []
    for length in lengths:
        before = clock.now
        played(pauses, clock, length)
        told.append(clock.now - before)
    felt = [length for length in told if length >= WORTH]
    pause = pauses.take()
    assert (pause.seconds, pause.times) == (max(felt), len(felt)) if pause else not felt
    assert pauses.take() is None


def test_a_long_run_is_told_of_no_more_than_so_many() -> None:
    clock = Clock()
    pauses = Pauses(WORTH, 3, clock, clock)
    told = []
    for _ in range(10):
        played(pauses, clock, 0.02, generation=1)
        told.append(pauses.take())
    assert [pause.generation for pause in told if pause] == [1, 1, 1]


def test_a_collection_of_this_process_is_heard_while_it_is_watched_and_not_after() -> None:
    pauses = Pauses(worth=0.0)
    pauses.watch()
    pauses.watch()
    gc.collect()
    pauses.ignore()
    heard = pauses.take()
    assert heard is not None
    record = heard.record()
    assert (record["name"], record["detail"]["generation"]) == ("gc", heard.generation)
    assert record["t"] <= heard.t
    gc.collect()
    assert pauses.take() is None
    assert pauses.heard not in gc.callbacks
