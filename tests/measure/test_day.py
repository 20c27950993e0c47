"""The day that is drawn: the same for the same seed, and whatever is drawn, every message can be told from every other."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.measure.day import DayPlan, Habits
from schemas import load_contract

_CONTRACT = load_contract()
_PAUSE = 2 * _CONTRACT.limits.rate_window / _CONTRACT.limits.rate_messages
HABITS = Habits(viewers=60, stay=20.0, idle=0.3, view=5.0, burst=15, edits=60.0, window=_CONTRACT.limits.batch_window, pause=_PAUSE,
                settle=_CONTRACT.benchmark.latency)  # fmt: skip


def day(seed: int = 1, rate: float = 20.0, duration: float = 40.0, features: int = 60, voters: int = 7, **habits: object) -> DayPlan:
    return DayPlan(
        features=tuple(f"f{n}" for n in range(features)),
        voters=tuple(f"v{n}" for n in range(voters)),
        statuses=_CONTRACT.messages.feature_status,
        rate=rate,
        duration=duration,
        warmup=2.0,
        seed=seed,
        habits=dataclasses.replace(HABITS, **habits),  # type: ignore[arg-type]
    )


days = st.builds(
    day,
    seed=st.integers(0, 10_000),
    rate=st.floats(5.0, 40.0),
    duration=st.floats(5.0, 40.0),
    voters=st.integers(2, 20),
    viewers=st.integers(1, 80),
    idle=st.floats(0.0, 1.0),
    edits=st.floats(0.0, 240.0),
)


@settings(max_examples=25, deadline=None)
@given(days)
def test_another_process_draws_the_same_day_from_its_parts(plan: DayPlan) -> None:
    told = json.loads(json.dumps(plan.parts()))
    assert (DayPlan.of(told).deeds, DayPlan.of(told).moves) == (plan.deeds, plan.moves)
    assert sorted(n for worker in range(3) for n in plan.share(worker, 3)) == list(range(plan.count))
    edits = {deed.n for deed in plan.deeds if deed.what not in ("add", "remove")}
    assert edits <= set(plan.share(0, 3)), "whoever deletes knows the id from having created"


@settings(max_examples=25, deadline=None)
@given(days)
def test_votes_on_one_feature_are_apart_and_go_add_remove(plan: DayPlan) -> None:
    votes: dict[str, list[float]] = {}
    pairs: dict[tuple[str, str], list[str]] = {}
    for deed in plan.deeds:
        if deed.voter:
            votes.setdefault(deed.feature, []).append(deed.at)
            pairs.setdefault((deed.feature, deed.voter), []).append(deed.what)
    assert all(later - earlier > 2 * HABITS.window for at in votes.values() for earlier, later in pairwise(at))
    assert all(what == [("add", "remove")[k % 2] for k in range(len(what))] for what in pairs.values())
    assert [deed.n for deed in plan.deeds] == list(range(plan.count))
    assert all(earlier.at <= later.at for earlier, later in pairwise(plan.deeds))


@settings(max_examples=25, deadline=None)
@given(days)
def test_edits_change_something_and_leave_no_feature_behind(plan: DayPlan) -> None:
    statuses = dict.fromkeys(plan.edited, plan.statuses[0])
    last: dict[str, float] = {}
    for deed in plan.deeds:
        if deed.what == "update":
            assert deed.status != statuses[deed.feature]
            assert deed.at - last.get(deed.feature, -100.0) >= HABITS.settle
            statuses[deed.feature], last[deed.feature] = deed.status, deed.at
    created = {deed.feature: deed.at for deed in plan.deeds if deed.what == "create"}
    deleted = {deed.feature: deed.at for deed in plan.deeds if deed.what == "delete"}
    assert created.keys() == deleted.keys()
    assert all(created[title] + HABITS.settle <= deleted[title] < plan.end for title in created)


@settings(max_examples=25, deadline=None)
@given(days)
def test_nobody_sends_too_much_and_there_are_never_too_many(plan: DayPlan) -> None:
    there, looking = set(range(plan.present)), set[int]()
    said: dict[int, list[float]] = {}
    for move in plan.moves:
        match move.step:
            case "come":
                there.add(move.visitor)
            case "view":
                assert move.visitor in there - looking
                looking.add(move.visitor)
            case "back":
                looking.remove(move.visitor)
            case "go" | "vanish":
                there.remove(move.visitor)
                looking.discard(move.visitor)
        if move.step in ("view", "back"):
            said.setdefault(move.visitor, []).append(move.at)
        assert len(there) <= HABITS.viewers if plan.habits.viewers == HABITS.viewers else len(there) <= max(1, plan.habits.viewers)
    window, most = _CONTRACT.limits.rate_window, _CONTRACT.limits.rate_messages
    for at in said.values():
        assert all(sum(begin <= other < begin + window for other in at) < most for begin in at)
    idle = round(plan.habits.idle * plan.present)
    assert not {move.visitor for move in plan.moves} & set(range(idle))
    assert plan.visits == plan.present + sum(move.step == "come" for move in plan.moves)


@settings(max_examples=25, deadline=None)
@given(days, st.floats(0.0, 0.15))
def test_every_message_finds_its_deed_within_any_usual_delay(plan: DayPlan, delay: float) -> None:
    for deed in plan.deeds:
        key = (deed.what, deed.feature, *filter(None, (deed.voter, deed.status)))
        assert plan.find(deed.at + delay, *key) == deed.n
        if deed.voter:
            assert plan.find(deed.at + delay, deed.feature) == deed.n, "also where the voter is not named"
    assert plan.find(-0.1, "add", "f0", "v0") is None
    assert plan.find(plan.end, "add", "strange", "v0") is None


def test_numbers_and_moments_agree() -> None:
    plan = day()
    for n in (0, 17, plan.count - 1):
        assert plan.due_by(plan.offset(n)) >= n + 1
        assert plan.due_by(plan.offset(n) - 1e-9) <= n
    assert plan.offset(plan.count) == plan.warmup + plan.duration
    assert plan.deeds[plan.steady_from].at >= plan.warmup > plan.deeds[plan.steady_from - 1].at


def test_the_day_is_as_busy_as_was_asked() -> None:
    plan = day(duration=300.0, rate=10.0)
    counts = Counter(deed.what for deed in plan.deeds)
    votes = counts["add"] + counts["remove"]
    assert 0.7 * 3020 < votes < 1.3 * 3020
    assert 0.6 * 302 < sum(counts[what] for what in ("update", "create")) < 1.4 * 302
    assert counts["create"] > 50
    busiest = max(Counter(int(deed.at) for deed in plan.deeds).values())
    assert busiest > 2.0 * votes / 302, "there are bursts"


@pytest.mark.parametrize("wrong", [{"features": 3}, {"voters": 0}, {"rate": 0.0}, {"duration": 0.0}])
def test_a_day_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        day(**wrong)  # type: ignore[arg-type]
