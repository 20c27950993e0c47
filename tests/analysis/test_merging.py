"""Batching explains a loss only when the carrier left in time, reached everybody else, and the carried one was not sent on its own."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from harness.analysis.merging import every_so_many, merged_votes, same_subject

_FEATURES, _VIEWERS, _WINDOW = 100, 1000, 0.1
# A target that stalled: votes 67 and 167 on one feature were called half a second apart and answered together at t = 10.
_CASTS = {67: (9.4, 10.0), 167: (9.9, 10.01)}
_ROWS = {67: (10.0, 999, 1, 998), 167: (10.0, 999, 999, 0)}


Casts = Mapping[int, tuple[float, float]]
Rows = Mapping[int, tuple[float | None, int, int, int]]


def found(casts: Casts, rows: Rows, status: int = 200) -> dict[int, int]:
    made = pd.DataFrame(
        [(n, called, answered, status) for n, (called, answered) in casts.items()], columns=["n", "called", "answered", "status"]
    )
    broadcasts = pd.DataFrame([(n, *row) for n, row in rows.items()], columns=["n", "stamped", "expected", "delivered", "lost"])
    return merged_votes(made, broadcasts, near=every_so_many(_FEATURES), window=_WINDOW, viewers=_VIEWERS)


def test_a_vote_shown_to_the_last_voter_alone_was_carried() -> None:
    assert found(_CASTS, _ROWS) == {67: 167}


def test_a_vote_shown_to_nobody_was_carried_too() -> None:
    assert found(_CASTS, {**_ROWS, 67: (None, 999, 0, 999)}) == {67: 167}


def test_the_vote_that_was_planned_later_may_be_the_one_that_is_carried() -> None:
    assert found(_CASTS, {67: (10.0, 999, 999, 0), 167: (10.0, 999, 1, 998)}) == {167: 67}


@pytest.mark.parametrize(
    ("why", "casts", "rows"),
    [
        ("the other broadcast left too late to be the same batch", _CASTS, {**_ROWS, 167: (10.2, 999, 999, 0)}),
        ("the other broadcast left before the vote was cast", _CASTS, {**_ROWS, 167: (9.3, 999, 999, 0)}),
        ("the other broadcast has losses of its own", _CASTS, {**_ROWS, 167: (10.0, 999, 998, 1)}),
        ("it reached more than those whom the other left out", _CASTS, {**_ROWS, 67: (10.0, 999, 2, 997)}),
        ("the other is about another feature", {67: _CASTS[67], 168: _CASTS[167]}, {67: _ROWS[67], 168: _ROWS[167]}),
        ("there is no other", {67: _CASTS[67]}, {67: _ROWS[67]}),
        ("its answer is not known", {167: _CASTS[167]}, _ROWS),
    ],
)
def test_a_loss_stays_a_loss(why: str, casts: Casts, rows: Rows) -> None:
    assert found(casts, rows) == {}, why


def test_a_vote_that_was_refused_is_nobodys_to_carry() -> None:
    assert found(_CASTS, _ROWS, status=500) == {}


def test_neighbours_are_the_votes_on_the_same_feature_nearest_first() -> None:
    near = same_subject({0: (True, 1), 1: (False, 1), 2: (True, 2), 5: (True, 1), 6: (True, 1), 9: (True, 1), 20: (True, 1)})
    assert list(near(6)) == [5, 9, 0, 20]
    assert list(near(2)) == []
    assert list(near(1)) == [], "an update is never merged"
    assert list(near(99)) == []
