"""The vote plan: spacing, balance, toggling, and finding a cast again from what a broadcast says."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.measure.plan import Cast, StairPlan, VotePlan
from schemas import load_contract


def ids(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{n}" for n in range(count))


@st.composite
def plans(draw: st.DrawFn, voters: int = 1) -> VotePlan:
    rate = draw(st.sampled_from([0.5, 1.0, 7.0, 33.3, 100.0]))
    return VotePlan(
        features=ids("f", draw(st.integers(1, 12))),
        voters=ids("v", draw(st.integers(voters, 7))),
        rate=rate,
        # At least one cast, at most some hundred; tenths of a second, so that rate and time seldom divide evenly.
        duration=draw(st.integers(math.ceil(20 / rate), math.ceil(2000 / rate))) / 10,
        warmup=draw(st.integers(0, 50)) / 10,
        seed=draw(st.integers(0, 5)),
    )


def casts(plan: VotePlan) -> list[Cast]:
    return [plan.cast(n) for n in range(plan.count)]


@given(plans())
def test_each_cycle_votes_once_on_each_feature_in_one_order(plan: VotePlan) -> None:
    width = len(plan.features)
    order = [cast.feature for cast in casts(plan)[:width]]
    for cast in casts(plan):
        assert cast.feature == order[cast.n % width]
    if plan.count >= width:
        assert sorted(order) == sorted(plan.features)


@given(plans(voters=2))
def test_cycles_in_a_row_never_share_a_features_voter(plan: VotePlan) -> None:
    width = len(plan.features)
    for n in range(plan.count - width):
        assert plan.cast(n).voter != plan.cast(n + width).voter


@given(plans())
def test_a_pair_adds_first_and_then_alternates(plan: VotePlan) -> None:
    last: dict[tuple[str, str], str] = {}
    for cast in casts(plan):
        pair = (cast.feature, cast.voter)
        assert cast.action == ("remove" if last.get(pair, "remove") == "add" else "add")
        last[pair] = cast.action


@given(plans())
def test_votes_are_shared_evenly_among_features_and_voters(plan: VotePlan) -> None:
    features = Counter(cast.feature for cast in casts(plan))
    assert max(features.values()) - min(features[f] for f in plan.features) <= 1
    block = len(plan.features) * len(plan.voters)
    whole = plan.count - plan.count % block
    voters = Counter(cast.voter for cast in casts(plan)[:whole])
    assert len(set(voters.values())) <= 1


@given(plans())
def test_the_count_stays_within_what_the_voters_can_give(plan: VotePlan) -> None:
    held: Counter[str] = Counter()
    for cast in casts(plan):
        held[cast.feature] += 1 if cast.action == "add" else -1
        assert 0 <= held[cast.feature] <= len(plan.voters)


@given(plans())
def test_occurrences_are_exactly_the_pairs_casts(plan: VotePlan) -> None:
    by_pair: dict[tuple[str, str], list[int]] = {}
    for cast in casts(plan):
        by_pair.setdefault((cast.feature, cast.voter), []).append(cast.n)
    for feature in plan.features:
        for voter in plan.voters:
            assert list(plan.occurrences(feature, voter)) == by_pair.get((feature, voter), [])
    assert not plan.occurrences("nothing", plan.voters[0])
    assert not plan.occurrences(plan.features[0], "nobody")


@given(plans(), st.data())
def test_a_cast_is_found_again_within_a_pair_period_of_its_plan(plan: VotePlan, data: st.DataObject) -> None:
    cast = plan.cast(data.draw(st.integers(0, plan.count - 1)))
    late = data.draw(st.floats(-0.99, 0.99)) * plan.pair_period
    assert plan.find(cast.feature, cast.voter, cast.action, plan.offset(cast.n) + late) == cast.n


@given(plans(), st.floats(-100, 400), st.data())
def test_find_is_the_nearest_by_scan(plan: VotePlan, offset: float, data: st.DataObject) -> None:
    feature, voter = data.draw(st.sampled_from(plan.features)), data.draw(st.sampled_from(plan.voters))
    action = data.draw(st.sampled_from(["add", "remove"]))
    found = plan.find(feature, voter, action, offset)
    keys = [c.n for c in casts(plan) if (c.feature, c.voter, c.action) == (feature, voter, action)]
    if not keys:
        assert found is None
    else:
        assert found in keys
        nearest = min(abs(plan.offset(n) - offset) for n in keys)
        assert abs(plan.offset(found) - offset) == pytest.approx(nearest, abs=1e-6)


@given(plans())
def test_what_is_not_in_the_plan_is_not_found(plan: VotePlan) -> None:
    feature, voter = plan.features[0], plan.voters[0]
    assert plan.find("nothing", voter, "add", 0.0) is None
    assert plan.find(feature, "nobody", "add", 0.0) is None
    assert plan.find(feature, voter, "toggle", 0.0) is None
    assert plan.by_feature("nothing", 1e9) is None


@given(plans(), st.data())
def test_without_the_voter_a_cast_is_found_until_the_next_one_on_its_feature(plan: VotePlan, data: st.DataObject) -> None:
    early = 0.1 * plan.feature_period
    cast = plan.cast(data.draw(st.integers(0, plan.count - 1)))
    seen = plan.offset(cast.n) + data.draw(st.floats(-0.09, 0.89)) * plan.feature_period
    assert plan.by_feature(cast.feature, seen, early) == cast.n
    first = plan.occurrences(cast.feature, cast.voter)[0] % len(plan.features)
    assert plan.by_feature(cast.feature, plan.offset(first) - 0.2 * plan.feature_period, early) is None
    last = max(c.n for c in casts(plan) if c.feature == cast.feature)
    assert plan.by_feature(cast.feature, 1e6, early) == last


@given(plans())
def test_warm_up_and_steady_phase_divide_the_plan_by_time(plan: VotePlan) -> None:
    assert plan.count == round((plan.warmup + plan.duration) * plan.rate)
    assert 0 <= plan.steady_from <= plan.count
    for n in range(plan.count):
        assert (n >= plan.steady_from) == (plan.offset(n) >= plan.warmup - 1e-9)


@given(plans())
def test_the_plan_is_the_same_on_every_worker(plan: VotePlan) -> None:
    twin = pickle.loads(pickle.dumps(plan))
    assert twin == plan
    assert hash(twin) == hash(plan)
    assert casts(twin) == casts(plan)


def test_the_seed_decides_the_order() -> None:
    plan = VotePlan(ids("f", 50), ids("v", 3), 100.0, 1.0, 0.0, seed=1)
    orders = {tuple(c.feature for c in casts(dataclasses.replace(plan, seed=seed))[:50]) for seed in (1, 2, 3)}
    assert len(orders) == 3


@given(plans(), st.integers(1, 50))
def test_check_wants_more_than_two_windows_between_votes_on_a_feature(plan: VotePlan, hundredths: int) -> None:
    window = hundredths / 100
    close = Fraction(len(plan.features)) / Fraction(str(plan.rate)) <= 2 * Fraction(hundredths, 100)
    if not close:
        plan.check(window)
        return
    with pytest.raises(UsageError) as caught:
        plan.check(window)
    needed = next(int(word) for word in caught.value.do.split() if word.isdigit())
    dataclasses.replace(plan, features=ids("g", needed)).check(window)
    if needed > 1:
        with pytest.raises(UsageError):
            dataclasses.replace(plan, features=ids("g", needed - 1)).check(window)


def test_exactly_two_windows_is_still_too_close() -> None:
    plan = VotePlan(ids("f", 20), ids("v", 2), 100.0, 1.0, 0.0, seed=0)
    with pytest.raises(UsageError, match="at least 21 features"):
        plan.check(0.1)
    dataclasses.replace(plan, features=ids("f", 21)).check(0.1)


def test_a_warm_up_that_floats_cannot_hold_exactly_costs_no_cast() -> None:
    warmup, rate = 1.1, 50.0
    assert warmup * rate > 55
    assert VotePlan(("a",), ("x",), rate, 1.0, warmup, seed=0).steady_from == 55


def test_the_contracts_load_fits_its_own_batch_window_and_words() -> None:
    contract = load_contract()
    rate = float(contract.benchmark.broadcasts_per_second)
    plan = VotePlan(ids("f", 100), ids("v", 20), rate, contract.benchmark.steady, 5.0, seed=1)
    plan.check(contract.limits.batch_window)
    assert {cast.action for cast in casts(plan)} == set(contract.messages.vote_actions)
    assert plan.feature_period == 100 / rate
    assert plan.pair_period == 2000 / rate


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": ()},
        {"voters": ()},
        {"features": ("a", "a")},
        {"voters": ("a", "b", "a")},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"duration": 0.0},
        {"duration": float("inf")},
        {"warmup": -1.0},
        {"duration": 0.1},
    ],
)
def test_parts_that_make_no_plan_are_refused(wrong: dict[str, object]) -> None:
    parts: dict[str, object] = {
        "features": ("a", "b"),
        "voters": ("x", "y"),
        "rate": 1.0,
        "duration": 1.0,
        "warmup": 0.0,
        "seed": 0,
    }
    VotePlan(**parts)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=next(iter(wrong))):
        VotePlan(**{**parts, **wrong})  # type: ignore[arg-type]


def test_a_cast_outside_the_plan_is_an_error() -> None:
    plan = VotePlan(("a",), ("x",), 1.0, 3.0, 0.0, seed=0)
    for n in (-1, 3):
        with pytest.raises(IndexError):
            plan.cast(n)


@st.composite
def stairs(draw: st.DrawFn) -> StairPlan:
    steps = draw(st.lists(st.tuples(st.sampled_from([0.7, 2.0, 5.0]), st.sampled_from([4.0, 33.3, 100.0])), min_size=1, max_size=5))
    return StairPlan(
        features=ids("f", 12), voters=ids("v", 5), rate=max(rate for _, rate in steps), duration=sum(seconds for seconds, _ in steps),
        warmup=draw(st.sampled_from([0.0, 1.5])), seed=draw(st.integers(0, 5)), stairs=tuple(steps),
    )  # fmt: skip


@given(stairs())
def test_each_step_has_its_rate(plan: StairPlan) -> None:
    begin = plan.warmup
    for seconds, rate in plan.stairs:
        due = [n for n in range(plan.count) if begin <= plan.offset(n) < begin + seconds]
        assert abs(len(due) - seconds * rate) < 1.6, "less than one at its two ends, and half a one where the plan ends"
        assert all(plan.offset(n + 1) - plan.offset(n) == pytest.approx(1 / rate) for n in due[:-1])
        begin += seconds
    assert plan.offset(plan.steady_from) >= plan.warmup - 1e-9
    assert np.allclose(plan.offsets(np.arange(plan.count)), [plan.offset(n) for n in range(plan.count)], atol=1e-9)


@given(stairs(), st.floats(0.0, 0.1))
def test_on_stairs_too_a_broadcast_finds_its_cast(plan: StairPlan, delay: float) -> None:
    for n in range(plan.count):
        cast, seen = plan.cast(n), plan.offset(n) + delay
        assert plan.find(cast.feature, cast.voter, cast.action, seen) == n
        if delay < plan.feature_period / 2:
            assert plan.by_feature(cast.feature, seen, early=1e-6) == n
        assert plan.due_by(plan.offset(n) + 1e-6) >= n + 1 > plan.due_by(plan.offset(n) - 1e-6)


@given(stairs())
def test_stairs_are_made_again_from_their_parts(plan: StairPlan) -> None:
    again = StairPlan.of(json.loads(json.dumps(plan.parts())))
    assert (again, again.count, again.steady_from) == (plan, plan.count, plan.steady_from)


@given(plans())
def test_one_step_is_a_plan_like_any_other(plan: VotePlan) -> None:
    assert VotePlan.of(json.loads(json.dumps(plan.parts()))) == plan
    stair = StairPlan(**plan.parts(), stairs=((plan.duration, plan.rate),))
    both = min(plan.count, stair.count)
    assert max(plan.count, stair.count) <= both + 1, "half a cast may be rounded either way"
    assert casts(stair)[:both] == casts(plan)[:both]
    assert stair.steady_from == plan.steady_from
    assert all(stair.offset(n) == pytest.approx(plan.offset(n)) for n in range(both))


@pytest.mark.parametrize("wrong", [(), ((1.0, 0.0),), ((0.0, 1.0), (1.0, 1.0)), ((1.0, 20.0),), ((2.0, 1.0),)])
def test_stairs_that_lead_nowhere_are_refused(wrong: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(UsageError):
        StairPlan(features=("a",), voters=("x",), rate=10.0, duration=1.0, warmup=0.0, seed=0, stairs=wrong)
