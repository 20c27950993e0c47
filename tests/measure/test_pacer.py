"""The pacer hands out each number once, never early, and never forgets that it was late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.measure.pacer import Pacer, share

RATES = st.sampled_from([0.1, 1.0, 3.0, 33.3, 100.0, 1000.0])
STARTS = st.sampled_from([0.0, 12.5, 1_795_000_000.123456])


@given(RATES, STARTS, st.integers(0, 60), st.lists(st.floats(0, 2), max_size=40))
def test_whenever_it_is_asked_it_gives_exactly_what_has_fallen_due(rate: float, start: float, count: int, waits: list[float]) -> None:
    pacer = Pacer(rate, start, range(count))
    now = start - 1.0
    given_out: list[int] = []
    for wait in waits:
        now += wait
        expected = [n for n in range(len(given_out), count) if start + n / rate <= now]
        deadline = pacer.next_deadline()
        assert (deadline is None) == (len(given_out) == count)
        got = pacer.due(now)
        assert got == expected
        assert bool(got) == (deadline is not None and deadline <= now)
        given_out += got
        assert pacer.remaining == count - len(given_out)
    assert given_out == list(range(len(given_out)))


@given(RATES, STARTS, st.integers(0, 60))
def test_obeying_its_deadlines_gives_one_at_a_time_on_time(rate: float, start: float, count: int) -> None:
    pacer = Pacer(rate, start, range(count))
    seen = []
    while (deadline := pacer.next_deadline()) is not None:
        assert not pacer.done
        due = pacer.due(deadline)
        assert due
        assert all(pacer.planned(n) == deadline for n in due)
        seen += due
    assert pacer.done
    assert seen == list(range(count))
    assert pacer.due(start + 1e9) == []


def test_after_a_stall_all_that_was_missed_comes_at_once_with_its_planned_time() -> None:
    pacer = Pacer(100.0, 50.0, range(1000))
    assert pacer.due(50.0) == [0]
    late = pacer.due(53.0)
    assert late == list(range(1, 301))
    assert [pacer.planned(n) for n in late[:3]] == [50.01, 50.02, 50.03]
    assert pacer.next_deadline() == 53.01


@given(st.integers(0, 200), st.integers(1, 9))
def test_workers_share_every_number_once(count: int, workers: int) -> None:
    parts = [share(count, worker, workers) for worker in range(workers)]
    assert sorted(n for part in parts for n in part) == list(range(count))
    assert all(n % workers == worker for worker, part in enumerate(parts) for n in part)
    planned = {n: Pacer(7.0, 3.0, part).planned(n) for part in parts for n in part}
    assert planned == {n: 3.0 + n / 7.0 for n in range(count)}


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="rate"):
        Pacer(rate, 0.0, range(3))


@pytest.mark.parametrize(("worker", "workers"), [(2, 2), (-1, 2), (0, 0)])
def test_a_worker_that_does_not_exist_is_refused(worker: int, workers: int) -> None:
    with pytest.raises(ValueError, match="workers"):
        share(10, worker, workers)
