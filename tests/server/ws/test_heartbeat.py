"""The heartbeat machine over any times of waking and of PONGs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.heartbeat import Beat, Heartbeat

LIMITS = load_contract().limits
INTERVAL, TIMEOUT = LIMITS.heartbeat_interval, LIMITS.heartbeat_timeout


def heartbeat(opened: float = 0.0) -> Heartbeat:
    return Heartbeat(opened, INTERVAL, TIMEOUT)


def test_pings_on_the_grid_of_the_opening_as_long_as_each_is_answered() -> None:
    beat = heartbeat(5.0)
    for cycle in range(1, 20):
        due = 5.0 + cycle * INTERVAL
        assert beat.deadline == due
        assert beat.poll(due - 1e-6) is None
        assert beat.poll(due) is Beat.PING
        assert beat.awaiting
        beat.pong()
        assert not beat.awaiting


@pytest.mark.parametrize("lag", [0.0, 0.4, INTERVAL * 0.9])
def test_a_late_ping_does_not_shift_the_later_ones(lag: float) -> None:
    beat = heartbeat()
    for cycle in range(1, 50):
        assert beat.deadline == pytest.approx(cycle * INTERVAL)
        assert beat.poll(beat.deadline + lag) is Beat.PING
        beat.pong()


def test_an_unanswered_ping_is_dead_exactly_at_the_timeout() -> None:
    beat = heartbeat()
    assert beat.poll(INTERVAL + 0.25) is Beat.PING
    assert beat.deadline == INTERVAL + 0.25 + TIMEOUT, "the wait counts from the PING, not from when it was due"
    assert beat.poll(beat.deadline - 1e-6) is None
    assert beat.poll(beat.deadline) is Beat.DEAD


def test_a_pong_of_an_earlier_cycle_does_not_answer_the_next_ping() -> None:
    beat = heartbeat()
    beat.pong()
    assert beat.poll(INTERVAL) is Beat.PING
    assert beat.awaiting
    beat.pong()
    beat.pong()
    assert beat.poll(2 * INTERVAL) is Beat.PING
    assert beat.poll(2 * INTERVAL + TIMEOUT) is Beat.DEAD


@pytest.mark.parametrize("stall", [INTERVAL * 2, INTERVAL * 3.5, INTERVAL * 1e6])
def test_a_stalled_process_does_not_make_up_for_what_it_slept_through(stall: float) -> None:
    beat = heartbeat()
    assert beat.poll(stall) is Beat.PING
    beat.pong()
    assert stall < beat.deadline <= stall + INTERVAL
    assert beat.poll(stall) is None


@given(
    opened=st.floats(0, 1e6),
    late=st.lists(st.floats(0, 3.0), min_size=1, max_size=12),
    answers=st.lists(st.one_of(st.none(), st.floats(0, TIMEOUT * 1.5)), min_size=12, max_size=12),
)
def test_never_dead_before_the_timeout_and_always_by_then(opened: float, late: list[float], answers: list[float | None]) -> None:
    """Whoever answers within the timeout lives; whoever does not is dead when next looked at after it."""
    beat, now = heartbeat(opened), opened
    for lag, answer in zip(late, answers, strict=False):
        now = beat.deadline + lag
        assert beat.poll(now) is Beat.PING
        pinged = now
        assert beat.poll(pinged + TIMEOUT * 0.999) is None
        if answer is None or answer >= TIMEOUT:
            assert pinged + TIMEOUT * 0.999 <= beat.deadline <= pinged + TIMEOUT * 1.001
            assert beat.poll(beat.deadline) is Beat.DEAD
            return
        beat.pong()
        assert beat.poll(pinged + TIMEOUT * 1.001) is None


def test_with_a_timeout_longer_than_the_interval_the_first_open_ping_sets_the_deadline() -> None:
    beat = Heartbeat(0.0, 1.0, 2.5)
    assert [beat.poll(t) for t in (1.0, 2.0, 3.0)] == [Beat.PING] * 3
    assert beat.poll(3.5) is Beat.DEAD
