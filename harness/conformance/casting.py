"""Votes at a rate, and what a crowd of sockets was told of each: whole or not, how late, how many in a second.

Open loop: each vote has its moment, whatever became of the others. The rule: a vote that was refused, or that we cast late, says
nothing about broadcasts; so the schedule, the answers and this machine are looked at before a break is called the target's.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.conformance.crowd import Crowd, Ended, Rows, room, viewers
from harness.conformance.host import HostLoad, HostWatch
from harness.conformance.outcome import Broken, Ending, Inconclusive, NotTestable
from harness.conformance.stage import Stage
from harness.measure.pacer import Pacer
from harness.measure.plan import VotePlan
from harness.target import Session
from schemas import Limits

__all__ = ["Cast", "capacity_seconds", "cast", "cast_at_capacity", "small_crowd", "undisturbed", "wrong_counts"]

_CASTERS = 48
_FEATURES = 80  # voted on in turn where votes may be merged; where they may not, so many that this lies between two votes on one:
_APART = 1.0  # seconds; a server that was kept from running catches up late
_APART_IN_A_CROWD = 2.0
_VOTERS = 4
_SMALL = 5  # sockets, where the number does not matter
_REFUSED = 0.01  # of the votes, that may fail
_SLIP = 0.25  # seconds that the schedule may be late, at its 99th percentile
_KEPT_UP = 0.95  # of the rate
_BREATH = 1.0  # seconds between what we made and the first vote: what we made is broadcast as well, and counts towards the limit
_TRIES = 2  # where this machine spoilt the first
_SETTLED = 1.0  # seconds without news after which what has not come is not awaited any more
_CLOCKS = 0.05  # seconds that a message may seem to come before its vote
_SPANS = (1.0, 2.0)  # seconds, in which frames are counted
_NS = 1_000_000_000


@dataclass(frozen=True)
class Cast:
    """What was cast and what arrived. Rows are votes that the target took, columns the sockets of the crowd.

    called, answered: seconds since the epoch; due: the same, by plan. first: seconds from the call to the first arrival, NaN where none
    came. counts: deliveries of each vote to each socket. latency: seconds from the call to the arrival, of every first delivery.
    stamped: seconds from the call to the message's own timestamp, for each vote that arrived, NaN where there is none. batches: frames
    that held several messages. most: by a time in seconds, the most frames that came to one socket within any such time. ping_gaps:
    seconds, on every socket, while votes were cast. lag: the harness's own, seconds, see Crowd.lag.
    """

    rate: float
    seconds: float
    plan: VotePlan
    refused: int
    casts: tuple[int, ...]
    due: NDArray[np.float64]
    called: NDArray[np.float64]
    answered: NDArray[np.float64]
    first: NDArray[np.float64]
    counts: NDArray[np.uint8]
    latency: NDArray[np.float64]
    stamped: NDArray[np.float64]
    batches: int
    most: Mapping[float, int]
    ping_gaps: NDArray[np.float64]
    ended: tuple[Ended, ...]
    lag: float
    host: HostLoad
    problem: str | None

    # ---- was it fit

    @property
    def slip(self) -> float:
        """The 99th percentile of how late our calls were, seconds."""
        return float(np.percentile(self.called - self.due, 99)) if len(self.called) else math.inf

    @property
    def rate_achieved(self) -> float:
        """Votes that the target took, a second."""
        if len(self.called) < 2:
            return 0.0
        return len(self.called) / max(self.seconds, float(self.called.max() - self.called.min()))

    @property
    def answers_in_words(self) -> str:
        """How the calls went."""
        if not len(self.called):
            return f"{self.refused} refused" + (f" ({self.problem})" if self.problem else "")
        half = float(np.median(self.answered - self.called))
        refused = f", {self.refused} refused" + (f" ({self.problem})" if self.problem else "") if self.refused else ""
        return f"{len(self.called)} votes taken, answered in {half * 1000:.0f} ms (median), called {self.slip * 1000:.0f} ms late{refused}"

    def blame_host(self, what: str) -> None:
        """Raise Inconclusive when this machine may be the cause of `what`."""
        problem = self.host.problem
        if problem is not None:
            raise Inconclusive(f"{what}, but {problem}: run this again on a quiet machine, or with the target on another")

    def blame_stall(self, what: str, seconds: float) -> None:
        """Raise Inconclusive when this machine stood still for longer than `seconds`, which may be the cause of `what`."""
        problem = self.host.stalled(seconds)
        if problem is not None:
            raise Inconclusive(f"{what}, but {problem}: run this again on a quiet machine, or with the target on another")

    def must_be_fit(self) -> None:
        """Raise Inconclusive when too few votes were cast, or too late, to judge what became of them."""
        if not len(self.called):
            raise Inconclusive(f"no vote was taken: {self.answers_in_words}")
        if self.refused > _REFUSED * (len(self.called) + self.refused):
            raise Inconclusive(f"the target did not take the votes: {self.answers_in_words}")
        if self.slip > _SLIP and self.host.problem is not None:
            raise Inconclusive(f"the votes went out {self.slip:.2f} s late, and {self.host.problem}")

    def well(self, stage: Stage) -> bool:
        """Whether all went as it should."""
        late = len(self.latency) and float(self.latency.max()) >= stage.contract.benchmark.latency
        gaps = stage.window(stage.limits.heartbeat_interval)
        notes = len(stage.notes)
        try:
            self.must_be_whole(stage)
        except Ending:
            return False
        finally:
            del stage.notes[notes:]
        return not late and all(float(gap) in gaps for gap in self.ping_gaps)

    # ---- what it shows

    def alone(self, bad: NDArray[np.bool_], soon: float) -> int:
        """How many of the votes that are `bad` have neighbours on both sides that were told of within `soon` seconds.

        What a starved machine does to one vote it does to its neighbours, so these are the target's.
        """
        well = np.where(np.isnan(self.first) | bad, np.inf, self.first)
        before, after = _nearest(well), _nearest(well[::-1])[::-1]
        return int((bad & (before < soon) & (after < soon)).sum())

    @property
    def missing(self) -> int:
        """Deliveries that did not come."""
        return int((self.counts == 0).sum())

    def must_be_whole(self, stage: Stage) -> None:
        """Broken unless the rate was kept and each vote reached each socket in a message of its own."""
        shape = stage.reading("batch_shape")
        self.must_be_fit()
        stage.note(self.answers_in_words)
        votes, sockets = self.counts.shape
        if self.ended:
            first = self.ended[0]
            text = f"{len(self.ended)} of {sockets} sockets were closed, the first with {first.code} {first.reason}".strip()
            self.blame_stall(text, stage.limits.heartbeat_timeout / 4)
            raise Broken(f"all sockets open at {self.rate:g} broadcasts a second", text)
        if self.rate_achieved < _KEPT_UP * self.rate:
            self.blame_host(f"only {self.rate_achieved:.0f} votes a second got through")
            raise Broken(f"{self.rate:g} votes a second to be taken", f"{self.rate_achieved:.0f}: {self.answers_in_words}")
        untold = self.counts.max(axis=1) == 0
        nowhere = int(untold.sum())
        partly = self.missing - nowhere * sockets
        if partly:
            share = f"{partly} of {votes * sockets} deliveries are missing, of votes that other sockets were told of"
            raise Broken(f"each of {votes} votes delivered to each of {sockets} sockets", share)
        if nowhere:
            lost = self.alone(untold, self.plan.feature_period / 2)
            if lost:
                raise Broken("each vote broadcast", f"{lost} of {votes} votes had no message, while those before and after them had theirs")
            text = f"{nowhere} of {votes} votes had no message of their own: merged into others, or lost"
            self.blame_host(text)
            raise Broken("each vote broadcast by itself", text)
        if self.batches and shape in ("coalesce", "frames"):
            self.blame_host(f"{self.batches} frames held several messages")
            raise Broken("one message a frame, for the limit was not exceeded", f"{self.batches} frames held several")


# ---- the two shapes of it


def capacity_seconds(limits: Limits) -> float:
    """How long votes are cast at capacity: so long that every socket sees two PINGs, which is also the contract's load test."""
    return 2.4 * limits.heartbeat_interval


def cast_at_capacity(stage: Stage) -> Cast:
    """Votes at the contract's rate before as many sockets as the target admits; once a process, for all clauses that look at it."""
    return stage.once("votes at capacity", lambda: undisturbed(stage, lambda: _at_capacity(stage)))  # type: ignore[no-any-return]


def _at_capacity(stage: Stage) -> Cast:
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
    plan = VotePlan(_features(stage, rate, voters, apart=apart), tuple(voters), rate, seconds, 0.0, seed=1)
    if apart:
        plan.check(stage.limits.batch_window)
    time.sleep(max(_BREATH, len(plan.features) / stage.limits.broadcasts_per_second))
    watch = HostWatch(stage.target.resources.find_pid())
    began = time.time()
    book = _Book(plan.count)
    _run(stage, plan, voters, began, book)
    _await_arrivals(stage, crowd, plan, book)
    host = watch.load()
    return _gathered(stage, crowd, plan, book, began, host)


class _Book:
    """What became of each cast, written by the casters; one row each."""

    def __init__(self, count: int) -> None:
        self.called = np.full(count, np.nan)
        self.answered = np.full(count, np.nan)
        self.taken = np.zeros(count, bool)
        self.problem: str | None = None


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
        return tuple(stage.feature() for _ in range(wanted))
    there = len(stage.done("list", stage.user()).answer.items) if stage.target.hook("list") is not None else 0
    if there < needed:
        raise NotTestable(f"it takes {needed} features, for {rate:g} votes a second would be merged on fewer; there are {there}", "create")
    features = tuple(stage.feature() for _ in range(min(there, wanted)))
    for feature in features:
        for session in voters.values():
            stage.ground.pace.wait()
            stage.call("unvote", session, featureId=feature)
    return features


def _run(stage: Stage, plan: VotePlan, voters: dict[str, Session], began: float, book: _Book) -> None:
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


def _await_arrivals(stage: Stage, crowd: Crowd, plan: VotePlan, book: _Book) -> None:
    """Until every vote that was taken may have arrived: no news for a while, or twice the time for it over, since late is not lost."""
    deadline = time.monotonic() + 2 * stage.patience
    quiet_since, before = time.monotonic(), -1
    while time.monotonic() < deadline:
        seen = crowd.deliveries
        if seen != before:
            before, quiet_since = seen, time.monotonic()
        complete = len(_told(crowd, plan)) >= int(book.taken.sum())
        if time.monotonic() - quiet_since > (stage.grace if complete else _SETTLED):
            return
        time.sleep(0.05)


def _told(crowd: Crowd, plan: VotePlan) -> list[int]:
    """Messages about the plan's features, by number."""
    features = set(plan.features)
    return [
        number
        for number, said in enumerate(crowd.messages)
        if any(each.get("type") == "VOTE_UPDATE" and each.get("featureId") in features for each in said)
    ]


# ---- what arrived


def _gathered(stage: Stage, crowd: Crowd, plan: VotePlan, book: _Book, began: float, host: HostLoad) -> Cast:
    told = _told(crowd, plan)
    every = crowd.rows()
    rows = every.of(told)
    arrivals = _Arrivals(rows)
    taken = np.flatnonzero(book.taken)
    counts = np.zeros((plan.count, len(crowd.seats)), np.uint8)
    latency: list[NDArray[np.float64]] = []
    first, stamped = np.full(plan.count, np.nan), np.full(plan.count, np.nan)
    for n, number, said in _owners(crowd, plan, book, told, arrivals):
        slot, arrived = arrivals.of(number)
        fresh = counts[n, slot] == 0
        latency.append(arrived[fresh] / _NS - book.called[n])
        np.add.at(counts[n], slot, 1)
        first[n] = np.nanmin([first[n], float(arrived.min()) / _NS - book.called[n]]) if len(arrived) else first[n]
        stamped[n] = _seconds(said.get("timestamp")) - book.called[n]
    ended = began + plan.duration
    return Cast(
        rate=plan.rate,
        seconds=plan.duration,
        plan=plan,
        refused=plan.count - len(taken),
        casts=tuple(taken.tolist()),
        due=began + taken / plan.rate,
        called=book.called[taken],
        answered=book.answered[taken],
        first=first[taken],
        counts=counts[taken],
        latency=np.concatenate(latency) if latency else np.empty(0),
        stamped=stamped[taken],
        batches=sum(len(crowd.messages[number]) > 1 for number in told),
        most={seconds: _most_within(rows, seconds) for seconds in _SPANS},
        ping_gaps=_gaps(every.of(crowd.numbers("PING")), began, ended),
        ended=tuple(crowd.ended),
        lag=crowd.lag(),
        host=host,
        problem=book.problem,
    )


class _Arrivals:
    """Rows by message."""

    def __init__(self, rows: Rows) -> None:
        order = np.argsort(rows.message, kind="stable")
        self._message, self._slot, self._arrived = rows.message[order], rows.slot[order], rows.arrived[order]

    def of(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(slots, arrivals in ns) of one message, as they were read."""
        first, last = np.searchsorted(self._message, [number, number + 1])
        return self._slot[first:last], self._arrived[first:last]

    def first(self, number: int) -> float:
        """When it first arrived, seconds since the epoch; infinite when it did not."""
        _, arrived = self.of(number)
        return float(arrived.min()) / _NS if len(arrived) else math.inf


def _owners(
    crowd: Crowd, plan: VotePlan, book: _Book, told: Sequence[int], arrivals: _Arrivals
) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """(cast, message number, what it says): which vote each message tells of.

    Votes of one voter and one action on a feature, and the messages that tell of such, match in their order where there are as many
    of these as of those; where some are missing each message belongs to the last such vote before it.
    """
    casts: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for n in np.flatnonzero(book.taken).tolist():
        each = plan.cast(n)
        casts[each.feature, each.action, each.voter].append(n)
        casts[each.feature, each.action, ""].append(n)
    said: dict[tuple[str, str, str], list[tuple[float, int, Mapping[str, Any]]]] = defaultdict(list)
    for number in told:
        at = arrivals.first(number)
        for message in crowd.messages[number]:
            voter = message.get("voterId")
            known = voter if isinstance(voter, str) and voter in plan.voters else ""
            said[str(message.get("featureId")), str(message.get("action")), known].append((at, number, message))
    for key, messages in said.items():
        messages.sort(key=lambda each: each[:2])
        open_ = casts.get(key, [])
        if len(open_) == len(messages):
            yield from ((n, number, message) for n, (_, number, message) in zip(open_, messages, strict=True))
            continue
        free = list(open_)
        for at, number, told_of in messages:
            before = [n for n in free if book.called[n] <= at + _CLOCKS]
            if before:
                free = [n for n in free if n > before[-1]]
                yield before[-1], number, told_of


def _nearest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each place the last finite value before it; infinite where there is none."""
    at = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), -1))
    before = np.concatenate(([-1], at[:-1]))
    return np.where(before >= 0, values[before], np.inf)


def _most_within(rows: Rows, seconds: float) -> int:
    """The most frames that came to one socket within any `seconds`."""
    most, span = 0, round(seconds * _NS)
    for slot in np.unique(rows.slot):
        at = np.sort(rows.arrived[rows.slot == slot])
        most = max(most, int((np.searchsorted(at, at + span, side="left") - np.arange(len(at))).max()))
    return most


def _gaps(pings: Rows, began: float, ended: float) -> NDArray[np.float64]:
    """Seconds between one PING and the next on the same socket, both within the time."""
    inside = (pings.arrived >= began * _NS) & (pings.arrived <= ended * _NS)
    order = np.lexsort((pings.arrived[inside], pings.slot[inside]))
    slot, at = pings.slot[inside][order], pings.arrived[inside][order]
    gaps: NDArray[np.float64] = np.diff(at)[np.diff(slot) == 0] / _NS
    return gaps


def _seconds(timestamp: object) -> float:
    """An ISO 8601 date-time as seconds since the epoch; NaN for what is none."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if isinstance(timestamp, str) else math.nan
    except ValueError:
        return math.nan


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
    rows = crowd.rows()
    last: dict[tuple[int, str], object] = {}
    for slot, number in zip(rows.slot.tolist(), rows.message.tolist(), strict=True):
        for message in crowd.messages[number]:
            if message.get("type") == "VOTE_UPDATE":
                last[slot, str(message.get("featureId"))] = message.get("voteCount")
    off = [(slot, feature) for slot in crowd.slots for feature, count in truth.items() if last.get((slot, feature)) != count]
    if not off:
        return None
    slot, feature = off[0]
    what = f"{len(off)} of {len(truth) * len(crowd.slots)} last counts are wrong"
    return f"{what}: of one feature the last message said {last.get((slot, feature))!r}, and the count is {truth[feature]}"
