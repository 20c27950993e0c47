"""The ledger against a model that keeps every delivery in plain lists: the two must agree exactly."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.ledger import Audience, Ledger, Settled

_SLOTS, _FEATURES, _CASTS = 4, 3, 9
_SECOND = 1_000_000_000
_PATIENCE, _LINGER, _HORIZON = 3 * _SECOND, 2 * _SECOND, 30 * _SECOND


def due(n: int) -> int:
    return (n + 1) * _SECOND


def ledger(audience: Audience | None = None, merges_every: int = 0, slots: int = _SLOTS) -> Ledger:
    made = Ledger(
        slots=slots,
        features=_FEATURES,
        due=due,
        audience=lambda n: audience or Audience(),
        patience=_PATIENCE,
        linger=_LINGER,
        horizon=_HORIZON,
        merges_every=merges_every,
    )
    for slot in range(slots):
        made.join(slot, 0)
    return made


def deliver(made: Ledger, *rows: tuple[int, int], at: int = 5 * _SECOND) -> None:
    """(slot, message) pairs in the order of reading."""
    slots, messages = np.array(rows, np.int32).reshape(-1, 2).T
    made.deliver(slots, messages, np.arange(at, at + len(rows), dtype=np.int64))


def books(made: Ledger, now: int = 100 * _SECOND) -> dict[int, Settled]:
    settled, _ = made.settle(now, final=True)
    return {row.n: row for row in settled}


# (slot, message) deliveries in order; message m is the broadcast of cast m % _CASTS, so several payloads may stand for one cast
_deliveries = st.lists(st.tuples(st.integers(0, _SLOTS - 1), st.integers(0, _CASTS + 2)), max_size=60)
_stamps = st.lists(st.integers(1, 6), min_size=_CASTS + 3, max_size=_CASTS + 3)


@given(rows=_deliveries, stamps=_stamps, cuts=st.lists(st.integers(1, 10), max_size=20), excluded=st.sets(st.integers(0, _SLOTS - 1)))
def test_every_delivery_is_accounted_for_as_the_model_says(
    rows: list[tuple[int, int]], stamps: list[int], cuts: list[int], excluded: set[int]
) -> None:
    made = ledger(Audience(excluded=np.array(sorted(excluded), np.int32)))
    for message, stamp in enumerate(stamps):
        assert made.message(message if message < _CASTS else None, message % _FEATURES, stamp) == message
    made.open(_CASTS)

    # the model: plain counting, one delivery after the other
    got: Counter[tuple[int, int]] = Counter()
    newest: dict[tuple[int, int], int] = {}
    reordered: Counter[int] = Counter()
    for slot, message in rows:
        key = (slot, message % _FEATURES)
        if stamps[message] < newest.get(key, 0):
            reordered[message] += 1
        newest[key] = max(newest.get(key, 0), stamps[message])
        if message < _CASTS:
            got[message, slot] += 1

    position = 0
    for cut in [*cuts, len(rows)]:
        if rows[position : position + cut]:
            deliver(made, *rows[position : position + cut], at=5 * _SECOND + position)
        position += cut
    settled = books(made)

    must = set(range(_SLOTS)) - excluded
    for n in range(_CASTS):
        row = settled[n]
        assert row.expected == len(must)
        assert row.lost == sum(1 for slot in must if not got[n, slot])
        assert row.delivered == row.expected - row.lost
        assert row.duplicated == sum(max(0, got[n, slot] - 1) for slot in range(_SLOTS))
        assert row.misdirected == sum(got[n, slot] for slot in excluded)
        assert row.reordered == reordered[n]
        arrivals = [5 * _SECOND + place for place, (_, message) in enumerate(rows) if message == n]
        assert (row.first, row.last) == ((min(arrivals), max(arrivals)) if arrivals else (None, None))
    assert made.totals.lost == sum(row.lost for row in settled.values())


def test_findings_name_the_slots() -> None:
    made = ledger(Audience(excluded=np.array([3], np.int32)))
    message = made.message(0, 0, 1)
    deliver(made, (0, message), (0, message), (0, message), (3, message))
    _, findings = made.settle(100 * _SECOND, final=True)
    assert {(f.what, f.n, f.slots, f.total) for f in findings} == {
        ("lost", 0, (1, 2), 2),
        ("duplicated", 0, (0,), 2),
        ("misdirected", 0, (3,), 1),
    }


def test_a_broadcast_that_nobody_got_is_missed() -> None:
    made = ledger()
    made.open(1)
    row = books(made)[0]
    assert (row.expected, row.lost, row.first) == (_SLOTS, _SLOTS, None)


def test_a_complete_row_settles_after_the_linger_and_an_incomplete_one_at_the_horizon() -> None:
    made = ledger()
    message = made.message(0, 0, 1)
    deliver(made, (0, message), (1, message), (2, message))
    assert made.settle(due(0) + _LINGER)[0] == []
    assert not made.complete
    assert made.settle(due(0) + _HORIZON - 1)[0] == []
    deliver(made, (3, message))
    assert made.complete
    assert [row.lost for row in made.settle(due(0) + _LINGER)[0]] == [0]

    late = ledger()
    late.message(0, 0, 1)
    assert [row.lost for row in late.settle(due(0) + _HORIZON)[0]] == [_SLOTS]


def test_late_deliveries_correct_a_settled_row_and_surplus_ones_are_duplicates() -> None:
    made = ledger()
    message = made.message(0, 0, 1)
    deliver(made, (0, message), (1, message), (2, message))
    assert books(made)[0].lost == 1
    deliver(made, (3, message), (3, message))
    correction = books(made)[0]
    assert (correction.expected, correction.delivered, correction.lost, correction.duplicated) == (0, 1, -1, 1)
    assert (made.totals.expected, made.totals.delivered, made.totals.lost) == (_SLOTS, _SLOTS, 0)


def test_sockets_that_came_later_or_left_at_once_are_owed_nothing() -> None:
    made = ledger()
    made.join(0, due(0) + 1)
    made.leave(1, due(0) + _PATIENCE)
    made.leave(2, due(0) + _PATIENCE + 1)  # stayed long enough: it was owed
    made.open(1)
    row = books(made)[0]
    assert (row.expected, row.lost) == (2, 2)


def test_of_an_optional_audience_nothing_is_asked_and_nothing_is_held_against_it() -> None:
    made = ledger(Audience(optional=np.array([0, 1], np.int32)))
    message = made.message(0, 0, 1)
    deliver(made, (0, message), (2, message), (3, message))
    row = books(made)[0]
    assert (row.expected, row.delivered, row.misdirected) == (2, 2, 0)


def test_above_the_cap_a_vote_carried_by_a_later_broadcast_is_not_lost() -> None:
    made = ledger(merges_every=3)
    carrier = made.message(3, 0, 1)
    deliver(made, *((slot, carrier) for slot in range(_SLOTS)))
    rows = books(made)
    assert (rows[0].into, rows[0].expected, rows[0].lost) == (3, 0, 0)
    assert (rows[1].into, rows[1].lost) == (None, _SLOTS)


def test_rows_grow_past_the_first_allocation_and_keep_their_counts() -> None:
    made = ledger()
    first = made.message(0, 0, 1)
    deliver(made, (0, first))
    last = made.message(2_000, 0, 2)
    deliver(made, (1, last), *((slot, first) for slot in (1, 2, 3)))
    rows = books(made, now=10_000 * _SECOND)
    assert rows[0].lost == 0
    assert rows[2_000].lost == _SLOTS - 1
    assert len(rows) == 2_001
