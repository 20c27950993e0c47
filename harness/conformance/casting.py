"""Votes at a rate, before a crowd of sockets: who votes, on what, when; and when all that may arrive has arrived.

Open loop: each vote has its moment, whatever became of the others. What was delivered is found out in `arrivals` and judged in `cast`.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from harness.conformance.arrivals import Book, gathered, told
from harness.conformance.cast import Cast
from harness.conformance.crowd import Crowd, room, viewers
from harness.conformance.host import HostWatch
from harness.conformance.outcome import Inconclusive, NotTestable
from harness.conformance.stage import Stage
from harness.measure.pacer import Pacer
from harness.measure.plan import VotePlan
from harness.target import Session
from schemas import Limits

__all__ = ["Cast", "capacity_wait", "cast", "cast_at_capacity", "small_crowd", "undisturbed", "wrong_counts"]

_CASTERS = 48
_MAKERS = 4  # that make features side by side
_FEATURES = 40  # voted on in turn where votes may be merged; where they may not, so many that this lies between two votes on one:
_APART = 1.0  # seconds; a server that was kept from running catches up late
_APART_IN_A_CROWD = 2.0
_VOTERS = 4
_SMALL = 5  # sockets, where the number does not matter
_BREATH = 0.5  # seconds between what we made and the first vote: what we made is broadcast as well, and counts towards the limit
_TRIES = 2  # where this machine spoilt the first
_SETTLED = 1.0  # seconds without news after which what has not come is not awaited any more


# ---- the two shapes of it


def capacity_seconds(limits: Limits) -> float:
    """How long votes are cast at capacity: so long that every socket sees two PINGs, which is also the contract's load test."""
    return 2.4 * limits.heartbeat_interval


def capacity_wait(limits: Limits) -> float:
    """How long a check may have to wait for it: what this machine spoilt is cast again."""
    return _TRIES * capacity_seconds(limits)


def cast_at_capacity(stage: Stage) -> Cast:
    """Votes at the contract's rate before as many sockets as the target admits; once a process, for all clauses that look at it."""
    return stage.once("votes at capacity", lambda: undisturbed(stage, lambda: _at_capacity(stage)))  # type: ignore[no-any-return]


def _at_capacity(stage: Stage) -> Cast:
    with stage.ground.places:
        wanted = room(stage) if stage.ground.options.capacity else _SMALL
        with Crowd(stage, viewers(stage), wanted) as crowd:
            refused = crowd.fill(wanted, stage.patience)
            if refused:
                told = f"only {len(crowd)} of {wanted} sockets opened ({refused[0].text})"
                raise Inconclusive(f"{told}, so the load is not the contract's: see LIM-01")
            rate = float(stage.limits.broadcasts_per_second)
            return cast(stage, crowd, rate, capacity_seconds(stage.limits), apart=_APART_IN_A_CROWD)


def undisturbed(stage: Stage, measure: Callable[[], Cast]) -> Cast:
    """What `measure` found; found anew when it was not all well and this machine was too busy to tell whose fault that is."""
    for _ in range(_TRIES - 1):
        seen = measure()
        if seen.host.problem is None or seen.well(stage):
            return seen
        stage.note(f"cast again, for {seen.host.problem}")
    return measure()


def small_crowd(stage: Stage) -> Crowd:
    """A few sockets, for clauses on the rate alone."""
    crowd = Crowd(stage, viewers(stage), _SMALL)
    refused = crowd.fill(_SMALL, stage.patience)
    if refused:
        crowd.close()
        raise Inconclusive(f"a socket that this check needs did not open: {refused[0].text}")
    return crowd


# ---- casting


def cast(stage: Stage, crowd: Crowd, rate: float, seconds: float, *, apart: float = _APART) -> Cast:
    """Cast `rate` votes a second before the crowd and gather what arrived. apart: seconds between two votes on one feature where the
    target lets us make as many as that takes, and two batch windows at least; 0 lets votes be merged.
    """
    voters = _voters(stage)
    plan = VotePlan(_features(stage, rate, voters, apart=apart), tuple(voters), rate, seconds, 0.0, seed=stage.ground.options.seed)
    if apart:
        plan.check(stage.limits.batch_window)
    time.sleep(max(_BREATH, len(plan.features) / stage.limits.broadcasts_per_second))
    watch = HostWatch(stage.target.resources.find_pid())
    began = time.time()
    book = Book(plan.count)
    _run(stage, plan, voters, began, book)
    _await_arrivals(stage, crowd, plan, book, _SETTLED if apart else _SETTLED / 2)
    host = watch.load()
    if stage.target.hook("create") is None:
        _withdraw(stage, plan, voters, book)
    return gathered(crowd, plan, book, began, host)


def _voters(stage: Stage) -> dict[str, Session]:
    """By user id; none of them is a viewer's user."""
    people = stage.ground.people
    first = 2 if people.has("regular", 4) else 1
    found = [stage.user(k) for k in range(first, first + _VOTERS) if people.has("regular", k + 1)]
    if not found:
        raise NotTestable("it takes a second user, to vote while the first watches", "sessions")
    return {session.user_id or f"voter {number}": session for number, session in enumerate(found)}


def _features(stage: Stage, rate: float, voters: dict[str, Session], *, apart: float) -> tuple[str, ...]:
    needed = math.floor(2 * stage.limits.batch_window * rate) + 1 if apart else 1
    wanted = max(needed, math.ceil(apart * rate)) if apart else _FEATURES
    if stage.target.hook("create") is not None:
        with ThreadPoolExecutor(_MAKERS) as makers:
            return tuple(makers.map(lambda _: stage.feature(), range(wanted)))
    there = len(stage.done("list", stage.user()).answer.items) if stage.target.hook("list") is not None else 0
    if there < needed:
        raise NotTestable(f"it takes {needed} features, for {rate:g} votes a second would be merged on fewer; there are {there}", "create")
    features = tuple(stage.feature() for _ in range(min(there, wanted)))
    for feature in features:
        for session in voters.values():
            stage.ground.pace.wait()
            stage.call("unvote", session, featureId=feature)
    return features


def _run(stage: Stage, plan: VotePlan, voters: dict[str, Session], began: float, book: Book) -> None:
    todo: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def work() -> None:
        while (n := todo.get()) is not None:
            each = plan.cast(n)
            book.called[n] = time.time()
            called = stage.ground.call("vote" if each.action == "add" else "unvote", voters[each.voter], featureId=each.feature)
            book.called[n], book.answered[n], book.taken[n] = called.called_wall, called.answered_wall, called.answer.ok
            if not called.answer.ok and book.problem is None:
                book.problem = called.answer.problem

    casters = [threading.Thread(target=work, name=f"caster {number}", daemon=True) for number in range(_CASTERS)]
    for caster in casters:
        caster.start()
    pacer = Pacer(plan.rate, began, range(plan.count))
    while not pacer.done and stage.ground.lost is None:
        for n in pacer.due(time.time()):
            todo.put(n)
        deadline = pacer.next_deadline()
        if deadline is not None:
            time.sleep(max(0.0, deadline - time.time()))
    for _ in casters:
        todo.put(None)
    for caster in casters:
        caster.join(30.0)


def _withdraw(stage: Stage, plan: VotePlan, voters: dict[str, Session], book: Book) -> None:
    """The votes that stand, on features that were there before: they shall be as they were."""
    standing: dict[tuple[str, str], bool] = {}
    for n in range(plan.count):
        if book.taken[n]:
            each = plan.cast(n)
            standing[each.voter, each.feature] = each.action == "add"
    for (voter, feature), stands in standing.items():
        if stands and stage.ground.lost is None:
            stage.ground.pace.wait()
            stage.ground.call("unvote", voters[voter], featureId=feature)


def _await_arrivals(stage: Stage, crowd: Crowd, plan: VotePlan, book: Book, settled: float) -> None:
    """Until every vote that was taken may have arrived: no news for `settled` seconds, or twice the time for it over, since late is not
    lost.
    """
    deadline = time.monotonic() + 2 * stage.patience
    quiet_since, before = time.monotonic(), -1
    while time.monotonic() < deadline:
        seen = crowd.ear.deliveries
        if seen != before:
            before, quiet_since = seen, time.monotonic()
        complete = len(told(crowd, plan)) >= int(book.taken.sum())
        if time.monotonic() - quiet_since > (stage.grace if complete else settled):
            return
        time.sleep(0.05)


# ---- the last counts


def wrong_counts(stage: Stage, crowd: Crowd, seen: Cast) -> str | None:
    """Which feature's last message does not tell the true count, in words; None when all do, awaited as long as a backlog may take."""
    backlog = len(seen.casts) / stage.limits.broadcasts_per_second
    deadline = time.monotonic() + stage.patience + backlog
    truth = {feature: stage.count(feature) for feature in seen.plan.features}
    while True:
        wrong = _wrong(crowd, truth)
        if wrong is None or time.monotonic() > deadline:
            return wrong
        time.sleep(0.1)


def _wrong(crowd: Crowd, truth: Mapping[str, int]) -> str | None:
    rows = crowd.ear.rows()
    last: dict[tuple[int, str], object] = {}
    for slot, number in zip(rows.slot.tolist(), rows.message.tolist(), strict=True):
        for message in crowd.ear.messages[number]:
            if message.get("type") == "VOTE_UPDATE":
                last[slot, str(message.get("featureId"))] = message.get("voteCount")
    off = [(slot, feature) for slot in crowd.slots for feature, count in truth.items() if last.get((slot, feature)) != count]
    if not off:
        return None
    slot, feature = off[0]
    what = f"{len(off)} of {len(truth) * len(crowd.slots)} last counts are wrong"
    return f"{what}: of one feature the last message said {last.get((slot, feature))!r}, and the count is {truth[feature]}"
