"""How a run of capacity is laid out in time: more and more connections at one rate, then a higher and higher rate at one number of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.load.prepare import votes_planned
from harness.load.shape import Planning
from harness.measure.plan import StairPlan

if TYPE_CHECKING:
    from harness.load.conductor import Conductor
    from harness.load.settings import Settings
    from harness.measure.plan import Plan
    from harness.target import Target

__all__ = ["PLANNING", "SEARCHES", "conduct"]

SEARCHES = ("both", "connections", "rate")
_LEAD = 0.3
_GRACE = 30.0


@dataclass(frozen=True, slots=True)
class _Course:
    """connections: how many there are in each step of the first search; rates: votes a second in each of the second, to `at` of them."""

    connections: tuple[int, ...]
    rates: tuple[float, ...]
    at: int
    rate: float
    hold: float

    @classmethod
    def of(cls, settings: Settings) -> _Course:
        search, steps = str(settings.own["search"]), round(settings.number("steps"))
        if search not in SEARCHES:
            raise UsageError(f"the search is {search!r}", "--search", f"use one of: {', '.join(SEARCHES)}")
        numbers = range(1, steps + 1)
        connections = tuple(settings.viewers * step // steps for step in numbers) if search != "rate" else ()
        rates = tuple(settings.number("most_rate") * step / steps for step in numbers) if search != "connections" else ()
        between = 1 if connections and rates else 0
        hold = settings.duration / (len(connections) + between + len(rates))
        return cls(connections, rates, min(settings.viewers, round(settings.number("at"))), settings.rate, hold)

    @property
    def stairs(self) -> list[tuple[float, float]]:
        """(seconds, rate). Between the two searches is one step in which viewers leave and the target comes to rest."""
        level = len(self.connections) + bool(self.connections and self.rates)
        return [*([(self.hold * level, self.rate)] if level else []), *((self.hold, rate) for rate in self.rates)]

    @property
    def sockets(self) -> int:
        """Of the whole run."""
        return self.connections[-1] if self.connections else self.at


def make(settings: Settings, target: Target) -> Plan:
    """The votes of both searches. Raises UsageError."""
    return votes_planned(settings, target, _Course.of(settings).stairs)


def conduct(run: Conductor) -> None:
    """The first viewers come before the votes; the others, and those who leave again, while they go on."""
    settings, course = run.settings, _Course.of(run.settings)

    def enter(number: int, count: int) -> None:
        run.tell_all("grow", {"step": number, "count": count, "rate": settings.spawn_rate, "begin": time.time() + _LEAD})

    def join(number: int, before: int, viewers: int) -> None:
        run.event("step", {"number": number, "count": viewers - before, "viewers": viewers})
        enter(number, viewers - before)

    def rest() -> None:
        run.event("rest", {"viewers": course.at})
        run.tell_all("shrink", {"keep": course.at, "rate": settings.spawn_rate, "begin": time.time() + _LEAD})

    def climb(number: int, rate: float) -> None:
        run.event("rate_step", {"number": number, "rate": rate, "viewers": course.at})

    first = course.connections[0] if course.connections else course.at
    run.gather()
    run.event("ramp_started")
    run.event("sockets", {"planned": course.sockets})
    if course.connections:
        join(1, 0, first)
    else:
        enter(1, first)
    run.until(lambda: run.sum("step_done") == run.workers, first / settings.spawn_rate + _GRACE, lambda: f"{run.sum('open')} connections")
    run.event("ramp_done", {"open": run.sum("open"), "refused": run.sum("refused")})
    if not run.sum("open"):
        run.give_up("no connection could be opened")
    deeds: list[Callable[[], None]] = []
    for number, (before, viewers) in enumerate(zip(course.connections, course.connections[1:], strict=False), 2):
        deeds.append(partial(join, number, before, viewers))
    if course.connections and course.rates:
        deeds.append(rest)
    deeds += [partial(climb, number, rate) for number, rate in enumerate(course.rates, 1)]
    begin = 1 if course.connections else 0  # the first step of the connections began with the ramp
    run.cast([(settings.warmup + course.hold * place, deed) for place, deed in enumerate(deeds, begin)])


PLANNING = Planning(make=make, read=StairPlan.of)
