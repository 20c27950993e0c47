"""A day in the life of a roadmap, drawn from a seed: who comes and goes, who looks at what, who votes in bursts, what is edited.

A pure function of its parts, so every process of a run knows the whole day without being told. The rule: whatever is drawn, each message
can be told apart from every other. Votes on one feature are more than two batch windows apart, edits of one feature further than a
broadcast may take, and no viewer sends more than the rate of messages allows.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from random import Random
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

__all__ = ["DayPlan", "Deed", "Habits", "Move", "Step", "What"]

What = Literal["add", "remove", "update", "create", "delete"]
Step = Literal["come", "go", "vanish", "view", "back"]
"""Of a viewer: opens a socket; closes it as a page does; is gone without a word; subscribes to one feature; unsubscribes."""

_ACTIONS: tuple[What, What] = ("add", "remove")
_PRESENT = 0.8  # of the most viewers are there in the beginning: numbers that vary need room upwards
_VANISH = 0.25  # of the departures come without a Close frame
_IN_BURSTS = 0.5  # of the votes
_BURST_SECONDS = 2.0
_HOT = 4  # features that one burst is about
_FALL = 0.8  # popularity of the k-th feature: 1/k to this power
_WINDOWS = 2.5  # batch windows between two votes on one feature
_EDITED = 10  # features that are edited
_UPDATES = 0.6  # of the edits; the others create a feature, which is deleted later
_KEPT = 10.0  # mean seconds that a new feature is kept


@dataclass(frozen=True, slots=True)
class Habits:
    """How busy the day is. viewers: the most at one time. stay: mean seconds of a visit. idle: share of those there in the beginning who
    stay and do nothing. view: mean seconds in a detail view, and between two. burst: votes in a burst. edits: a minute.

    The contract's part, seconds: window (of batching), pause (least time between two messages of one viewer), settle (what a broadcast may
    take).
    """

    viewers: int
    stay: float
    idle: float
    view: float
    burst: int
    edits: float
    window: float
    pause: float
    settle: float


@dataclass(frozen=True, slots=True)
class Deed:
    """One planned call. `at`: seconds after the epoch. feature: its id; for create and delete the new feature's title. voter: a user id.
    status: what an update sets."""

    n: int
    at: float
    what: What
    feature: str
    voter: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """One planned step of one viewer. feature: an index, of a view."""

    at: float
    visitor: int
    step: Step
    feature: int = -1


@dataclass(frozen=True, slots=True)
class DayPlan:
    """One day. rate: votes a second on average; duration (steady phase) and warmup: seconds; statuses: those a feature may have, of which
    every edited feature has the first before the day begins. Raises UsageError when the parts cannot make a day."""

    features: tuple[str, ...]
    voters: tuple[str, ...]
    statuses: tuple[str, ...]
    rate: float
    duration: float
    warmup: float
    seed: int
    habits: Habits
    deeds: tuple[Deed, ...] = field(init=False, repr=False, compare=False)
    moves: tuple[Move, ...] = field(init=False, repr=False, compare=False)
    visits: int = field(init=False, compare=False)
    _at: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _known: dict[tuple[str, ...], list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        least = math.floor(_WINDOWS * self.habits.window * self.rate) + _HOT
        if len(self.features) < least:
            what = f"{len(self.features)} features cannot take {self.rate:g} votes a second with votes on one feature apart"
            raise UsageError(what, "--features", f"use at least {least}, or a lower rate")
        if not self.voters or self.duration <= 0 or self.warmup < 0 or self.rate <= 0:
            raise UsageError("the day has no voters, no votes or no length", "plan", "give a rate and a duration above 0, and voters")
        drawn = sorted([*_votes(self), *_edits(self)], key=lambda deed: deed.at)
        deeds = tuple(replace(each, n=n) for n, each in enumerate(drawn))
        moves, visits = _visits(self)
        known: dict[tuple[str, ...], list[int]] = {}
        for deed in deeds:
            for key in _keys(deed):
                known.setdefault(key, []).append(deed.n)
        for name, value in (("deeds", deeds), ("moves", moves), ("visits", visits), ("_known", known)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_at", tuple(deed.at for deed in deeds))
        if self.steady_from >= self.count:
            what = f"{self.duration:g} s at {self.rate:g} votes/s hold not one deed"
            raise UsageError(what, "plan", "give a longer duration or a higher rate: nothing is judged on no evidence")

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> Self:
        """The day of which these are the parts."""
        whole: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in parts.items()}
        whole["habits"] = Habits(**parts["habits"])
        return cls(**whole)

    def parts(self) -> dict[str, Any]:
        """See `harness.measure.plan.Plan`, as for the methods that follow."""
        names = ("features", "voters", "statuses", "rate", "duration", "warmup", "seed")
        return {**{name: getattr(self, name) for name in names}, "habits": asdict(self.habits)}

    @property
    def uneven(self) -> bool:
        """They come as they come."""
        return True

    @property
    def says(self) -> str:
        """What is planned, in a few words."""
        votes = sum(deed.what in _ACTIONS for deed in self.deeds)
        return f"{votes:,} votes and {self.count - votes} edits, with {self.visits:,} visits,"

    @property
    def count(self) -> int:
        """How many deeds there are, warm-up included."""
        return len(self.deeds)

    @property
    def steady_from(self) -> int:
        """The first deed of the steady phase."""
        return bisect_left(self._at, self.warmup)

    @property
    def end(self) -> float:
        """Seconds after the epoch."""
        return self.warmup + self.duration

    @property
    def present(self) -> int:
        """How many viewers are there when the day begins: those with the lowest numbers."""
        return max(1, round(_PRESENT * self.habits.viewers))

    @property
    def edited(self) -> tuple[str, ...]:
        """The features that updates are about."""
        return self.features[:_EDITED]

    def offset(self, n: int) -> float:
        """The planned time of deed n, or the end of the day, seconds after the epoch."""
        return self.deeds[n].at if n < self.count else self.end

    def offsets(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same of many deeds."""
        return np.asarray(self._at)[n]

    def due_by(self, offset: float) -> int:
        """How many deeds are due by then."""
        return bisect_right(self._at, offset)

    def share(self, worker: int, workers: int) -> Sequence[int]:
        """Votes in turn; edits all to the first, which alone knows the ids of what it created."""
        return [deed.n for deed in self.deeds if (deed.n % workers if deed.what in _ACTIONS else 0) == worker]

    def cast(self, n: int) -> Deed:
        """Deed number n."""
        return self.deeds[n]

    def find(self, offset: float, *key: str) -> int | None:
        """The latest deed of that key that is due by `offset` (seconds after the epoch). A key: an action, feature and voter; a feature
        alone for its latest vote; "update", feature and status, or without the status; "create" or "delete" and the title."""
        numbers = self._known.get(key, [])
        place = bisect_right(numbers, offset, key=lambda n: self._at[n])
        return numbers[place - 1] if place else None


def _keys(deed: Deed) -> Iterator[tuple[str, ...]]:
    if deed.what in _ACTIONS:
        yield (deed.feature,)
        yield (deed.what, deed.feature, deed.voter)
    else:
        yield (deed.what, deed.feature)
        if deed.status:
            yield (deed.what, deed.feature, deed.status)


def _arrivals(rng: Random, rate: float, until: float) -> Iterator[float]:
    """The moments of a Poisson process from 0 to `until`."""
    at = rng.expovariate(rate) if rate > 0 else until
    while at < until:
        yield at
        at += rng.expovariate(rate)


def _popular(plan: DayPlan) -> list[float]:
    return list(accumulate((k + 1) ** -_FALL for k in range(len(plan.features))))


def _votes(plan: DayPlan) -> Iterator[Deed]:
    """Half of them one by one, half in bursts on a few features."""
    rng, habits, end = Random(f"{plan.seed} votes"), plan.habits, plan.end
    size = max(1, habits.burst)
    times: list[tuple[float, tuple[int, ...]]] = [(at, ()) for at in _arrivals(rng, plan.rate * (1 - _IN_BURSTS), end)]
    for begin in _arrivals(rng, plan.rate * _IN_BURSTS / size, end):
        hot = tuple(rng.sample(range(len(plan.features)), _HOT))
        times += [(begin + rng.uniform(0.0, _BURST_SECONDS), hot) for _ in range(size)]
    weights, gap = _popular(plan), _WINDOWS * habits.window
    free = [-math.inf] * len(plan.features)
    turns = [rng.randrange(len(plan.voters)) for _ in plan.features]
    begun = list(turns)
    for at, hot in sorted(times):
        wanted = rng.choice(hot) if hot else rng.choices(range(len(free)), cum_weights=weights)[0]
        # Where it is too early for another vote on that feature, somebody votes on the next one.
        feature = next((each % len(free) for each in range(wanted, wanted + len(free)) if at >= free[each % len(free)]), None)
        if feature is None or at >= end:
            continue
        free[feature] = at + gap
        round_, seat = (turns[feature] - begun[feature]) // len(plan.voters), turns[feature] % len(plan.voters)
        turns[feature] += 1
        yield Deed(0, at, _ACTIONS[round_ % 2], plan.features[feature], plan.voters[seat])


def _edits(plan: DayPlan) -> Iterator[Deed]:
    """Changes of status, and features that are created and deleted again."""
    rng, habits, end = Random(f"{plan.seed} edits"), plan.habits, plan.end
    free = dict.fromkeys(plan.edited, -math.inf)
    done = dict.fromkeys(plan.edited, 0)
    for number, at in enumerate(_arrivals(rng, habits.edits / 60.0, end)):
        gone = at + habits.settle + rng.expovariate(1 / _KEPT)
        if rng.random() >= _UPDATES and gone < end:
            title = f"A day in the life {plan.seed}-{number + 1}"
            yield Deed(0, at, "create", title)
            yield Deed(0, gone, "delete", title)
            continue
        ready = [feature for feature in plan.edited if free[feature] <= at]
        if ready:
            feature = rng.choice(ready)
            free[feature] = at + 2 * habits.settle
            done[feature] += 1
            yield Deed(0, at, "update", feature, status=plan.statuses[done[feature] % len(plan.statuses)])


def _visits(plan: DayPlan) -> tuple[tuple[Move, ...], int]:
    """All moves in order of time, and how many visits there are. Who is there in the beginning has no move "come"."""
    rng, habits = Random(f"{plan.seed} visits"), plan.habits
    weights, moves = _popular(plan), []
    present, idle = plan.present, round(habits.idle * plan.present)
    leaving: list[float] = [math.inf] * idle

    def visit(visitor: int, begin: float) -> None:
        leave = begin + habits.pause + rng.expovariate(1 / habits.stay)
        heapq.heappush(leaving, leave)
        at = begin + habits.pause + rng.expovariate(1 / habits.view)
        while at < min(leave, plan.end):
            feature = rng.choices(range(len(plan.features)), cum_weights=weights)[0]
            moves.append(Move(at, visitor, "view", feature))
            back = at + habits.pause + rng.expovariate(1 / habits.view)
            if back < min(leave, plan.end):
                moves.append(Move(back, visitor, "back"))
            at = back + habits.pause + rng.expovariate(1 / habits.view)
        if leave < plan.end:
            moves.append(Move(leave, visitor, "vanish" if rng.random() < _VANISH else "go"))

    heapq.heapify(leaving)
    for visitor in range(idle, present):
        visit(visitor, 0.0)
    visits = present
    for at in _arrivals(rng, (present - idle) / habits.stay, plan.end):
        while leaving and leaving[0] <= at:
            heapq.heappop(leaving)
        if len(leaving) < habits.viewers:
            moves.append(Move(at, visits, "come"))
            visit(visits, at)
            visits += 1
    return tuple(sorted(moves, key=lambda move: move.at)), visits
