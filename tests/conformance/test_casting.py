"""Votes at a rate: which message tells of which vote, what is counted of them, and one real cast before a server."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.conformance.arrivals import Arrivals, Book, gaps, most_within, owners
from harness.conformance.casting import Cast, cast, small_crowd, wrong_counts
from harness.conformance.crowd import Rows
from harness.conformance.ground import Ground, Options
from harness.conformance.host import HostLoad
from harness.conformance.outcome import Broken, Inconclusive
from harness.conformance.stage import Stage
from harness.measure.plan import VotePlan
from harness.target import load_target
from schemas import load_clauses
from tests.server.conftest import Launcher

QUIET = HostLoad(0.1, 0.0, 0.0)
STARVED = HostLoad(1.0, 0.5, 2.0)
PLAN = VotePlan(("a", "b", "c"), ("x", "y"), 30.0, 2.0, 0.0, seed=1)


def rows_of(triples: list[tuple[int, int, float]]) -> Rows:
    """(slot, message, seconds) as columns."""
    slot, message, at = (np.array(column) for column in zip(*triples, strict=True)) if triples else (np.empty(0),) * 3
    return Rows(slot.astype(np.int32), message.astype(np.int32), (at * 1e9).astype(np.int64))


def told_of(plan: VotePlan, called: list[float], late: list[float], *, voters: bool, lost: frozenset[int]) -> tuple[Any, Rows, list[int]]:
    """A crowd of one socket that was told of each vote, as late as given but in order of each feature; and which vote each tells of."""
    messages: list[tuple[dict[str, str], ...]] = []
    triples: list[tuple[int, int, float]] = []
    truth: list[int] = []
    latest: dict[str, float] = {}
    for n in range(plan.count):
        each = plan.cast(n)
        if n in lost:
            continue
        at = max(called[n] + late[n], latest.get(each.feature, 0.0) + 1e-6)
        latest[each.feature] = at
        message = {"type": "VOTE_UPDATE", "featureId": each.feature, "action": each.action}
        messages.append(({**message, "voterId": each.voter} if voters else message,))
        triples.append((0, len(truth), at))
        truth.append(n)
    return SimpleNamespace(ear=SimpleNamespace(messages=messages)), rows_of(triples), truth


@given(st.booleans(), st.integers(0, 2**32), st.floats(0.0, 10.0))
def test_every_message_finds_its_vote_however_late(voters: bool, seed: int, most: float) -> None:
    rng, book = random.Random(seed), Book(PLAN.count)
    called = [1000.0 + PLAN.offset(n) for n in range(PLAN.count)]
    book.called[:], book.taken[:] = called, True
    crowd, rows, truth = told_of(PLAN, called, [rng.uniform(0, most) for _ in called], voters=voters, lost=frozenset())
    found = {number: n for n, number, _ in owners(crowd, PLAN, book, range(len(truth)), Arrivals(rows))}
    assert found == dict(enumerate(truth))


@given(st.sets(st.integers(0, PLAN.count - 1), min_size=1, max_size=20))
def test_a_lost_message_costs_no_other_its_vote_when_they_are_prompt(lost: set[int]) -> None:
    book = Book(PLAN.count)
    called = [1000.0 + PLAN.offset(n) for n in range(PLAN.count)]
    book.called[:], book.taken[:] = called, True
    crowd, rows, truth = told_of(PLAN, called, [0.01] * len(called), voters=True, lost=frozenset(lost))
    found = {number: n for n, number, _ in owners(crowd, PLAN, book, range(len(truth)), Arrivals(rows))}
    assert found == dict(enumerate(truth))


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 20)), min_size=1), st.sampled_from([1.0, 2.0]), st.floats(-1, 21))
def test_most_within_is_the_fullest_window_of_any_socket(arrivals: list[tuple[int, float]], seconds: float, began: float) -> None:
    rows = rows_of([(slot, 0, at) for slot, at in arrivals])
    span = round(seconds * 1e9)
    counted = [(slot, at) for slot, at in zip(rows.slot, rows.arrived, strict=True) if at >= began * 1e9]
    by_hand = max((sum(other == slot and at <= when < at + span for other, when in counted) for slot, at in counted), default=0)
    assert most_within(rows, seconds, began) == by_hand


def test_gaps_are_between_pings_of_one_socket_inside_the_time() -> None:
    pings = rows_of([(0, 0, 1.0), (1, 0, 2.0), (0, 0, 4.0), (1, 0, 5.5), (0, 0, 9.0), (1, 0, 0.1)])
    assert sorted(gaps(pings, 0.5, 6.0).round(3).tolist()) == [3.0, 3.5]


# ---- verdicts


def made(counts: np.ndarray[Any, Any], first: list[float], host: HostLoad = QUIET, **other: Any) -> Cast:
    votes = len(counts)
    plan = VotePlan(tuple(f"f{n}" for n in range(10)), ("x",), 10.0, 2.0, 0.0, seed=1)
    due = 1000.0 + np.arange(votes) / 10
    values: dict[str, Any] = {
        "rate": 10.0, "seconds": votes / 10, "plan": plan, "refused": 0, "casts": tuple(range(votes)), "due": due, "called": due + 0.001,
        "answered": due + 0.01, "first": np.array(first), "counts": counts.astype(np.uint8), "latency": np.array(first),
        "stamped": np.zeros(votes), "batches": 0, "most": {1.0: 10, 2.0: 20}, "ping_gaps": np.empty(0), "ended": (), "lag": 0.0,
        "host": host, "problem": None,
    }  # fmt: skip
    return Cast(**{**values, **other})


def judged(seen: Cast, shape: str = "coalesce") -> type[BaseException] | None:
    stage: Any = SimpleNamespace(reading=lambda _: shape, note=lambda _: None, limits=SimpleNamespace(heartbeat_timeout=1.0))
    try:
        seen.must_be_whole(stage)
    except (Broken, Inconclusive) as ending:
        return type(ending)
    return None


def test_whole_is_whole_and_every_break_of_it_is_seen() -> None:
    whole = np.ones((20, 3))
    prompt = [0.01] * 20
    assert judged(made(whole, prompt)) is None
    one_socket = whole.copy()
    one_socket[7, 1] = 0
    assert judged(made(one_socket, prompt, STARVED)) is Broken, "no starved machine makes one socket miss what others got"
    nobody, gap = whole.copy(), [*prompt[:7], math.nan, *prompt[8:]]
    nobody[7] = 0
    assert judged(made(nobody, gap, STARVED)) is Broken, "its neighbours were told at once"
    slow = [3.0] * 7 + [math.nan] + [3.0] * 12
    assert judged(made(nobody, slow, STARVED)) is Inconclusive, "a starved server may merge what it is late with"
    assert judged(made(nobody, slow)) is Broken
    assert judged(made(whole, prompt, batches=3)) is Broken
    assert judged(made(whole, prompt, batches=3), "array") is None
    assert judged(made(whole[:0], [])) is Inconclusive, "nothing is judged on no vote"
    assert judged(made(whole, prompt, refused=5)) is Inconclusive
    assert judged(made(whole, prompt, seconds=4.0)) is Broken, "the rate was not kept"
    assert judged(made(whole, prompt, STARVED, seconds=4.0)) is Inconclusive


# ---- before a server


@pytest.fixture
def stage(serve: Launcher) -> Iterator[Stage]:
    ready: Path = serve(time_scale=0.1).state_dir / "ready.json"
    ground = Ground(load_target(str(ready)), Options())
    stage = Stage(ground, load_clauses()["RATE-15"], "test")
    yield stage
    stage.close()
    ground.close()


def test_a_real_cast_is_whole_and_its_last_counts_are_true(stage: Stage) -> None:
    with small_crowd(stage) as crowd:
        seen = cast(stage, crowd, 20.0, 2.0)
        assert wrong_counts(stage, crowd, seen) is None
    assert seen.counts.shape == (40, 5)
    assert (seen.counts == 1).all()
    assert len(seen.latency) == 200
    assert (seen.latency > 0).all()
    assert np.isfinite(seen.stamped).all()
    assert seen.ended == ()
