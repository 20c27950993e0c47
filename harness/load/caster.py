"""Casts the plan's votes over HTTP, open loop: each in a greenlet of its own, at its planned time, whatever became of the others.

A vote whose turn comes late keeps its planned time; the lateness is the schedule slip, our own error, and it is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.pool import Pool

from harness.load.http_client import ANSWER_SECONDS, http_client
from harness.load.station import PlanStart, Station
from harness.measure.pacer import Agenda
from harness.measure.plan import Cast, VotePlan
from harness.target import Answer, Hook, PreparedRequest, Target

__all__ = ["Caster", "Order"]

_IN_FLIGHT = 500

Report = Callable[[str, float, int, str | None], None]
"""Told of each call for Locust's statistics: name, milliseconds, bytes, error."""


@dataclass(frozen=True, slots=True)
class Order:
    """One call to be made: of which hook, as which request. `name` is what Locust's statistics call it."""

    name: str
    hook: Hook
    request: PreparedRequest


class Caster:
    """This process's share of the plan's votes. `report` is told of each call."""

    extra: tuple[str, ...] = ()
    """Further columns of the records; see `_about`."""

    def __init__(self, target: Target, station: Station, start: PlanStart, report: Report) -> None:
        self._target, self._station, self._start, self._report = target, station, start, report
        self._sessions = station.voter_sessions()
        self._client = http_client(target)
        self._pool = Pool(_IN_FLIGHT)
        self._columns: dict[str, list[Any]] = {}
        self._clear()
        self._agenda = Agenda(start.epoch / 1e9, start.plan.offset, start.plan.share(start.worker, start.workers))
        self._greenlet = gevent.spawn(self._run)

    def _clear(self) -> None:
        self._columns = {name: [] for name in ("n", "due", "called", "answered", "status", "count", *self.extra)}

    def _run(self) -> None:
        while True:
            for n in self._agenda.due(time.time()):
                self._pool.spawn(self._cast, n)
            deadline = self._agenda.next_deadline()
            if deadline is None:
                break
            gevent.sleep(max(0.0, deadline - time.time()))
        self._pool.join()

    def _hook(self, name: str) -> Hook:
        hook = self._target.hook(name)
        if hook is None:
            raise RuntimeError(f"the profile has no {name} hook")  # refused before a run starts
        return hook

    def _order(self, n: int) -> Order | None:
        """The call of cast n; None when it cannot be made, because another one that it builds on failed."""
        plan = self._start.plan
        if not isinstance(plan, VotePlan):
            raise TypeError(f"{type(self).__name__} casts votes, not a {type(plan).__name__}")
        return self._vote(plan.cast(n))

    def _vote(self, cast: Cast) -> Order:
        name = "vote" if cast.action == "add" else "unvote"
        hook = self._hook(name)
        return Order(name, hook, hook.prepare(self._sessions[cast.voter], featureId=cast.feature, userId=cast.voter))

    def _told(self, n: int, answer: Answer) -> None:
        """What the target answered to cast n."""

    def _about(self, n: int) -> tuple[Any, ...]:
        """The `extra` columns of cast n."""
        return ()

    def _cast(self, n: int) -> None:
        order, due = self._order(n), self._start.due(n)
        if order is None:
            self._keep(n, due / 1e9, None, None, 0, None)
            return
        request, called = order.request, time.time_ns()
        status, count, size, error = 0, None, 0, None
        try:
            address = urlsplit(request.url)
            uri = address.path + (f"?{address.query}" if address.query else "")
            response = self._client.request(request.method, uri, body=request.body or b"", headers=dict(request.headers))
            body = bytes(response.read())
            status, size = int(response.status_code), len(body)
            answer = order.hook.read(status, body)
            count, error = answer.count, None if answer.ok else answer.problem or f"status {status}"
            self._told(n, answer)
        except Exception as problem:  # whatever the transport says: it is evidence, and the next cast must go out
            error = type(problem).__name__
        answered = time.time_ns()
        self._station.evidence.on_cast(max(0.0, (called - due) / 1e3))
        self._keep(n, due / 1e9, called / 1e9, answered / 1e9, status, count)
        self._report(order.name, (answered - called) / 1e6, size, error)

    def _keep(self, n: int, *row: float | None) -> None:
        for column, value in zip(self._columns.values(), (n, *row, *self._about(n)), strict=True):
            column.append(value)

    @property
    def done(self) -> bool:
        """True when every vote of this process's share was cast and answered (or given up)."""
        return self._greenlet.ready()

    def stop(self) -> None:
        """Cast no more. Calls that are under way get a moment to be answered."""
        self._greenlet.kill()
        self._station.casting_over = True
        self._pool.join(timeout=ANSWER_SECONDS)
        self._pool.kill()
        self._client.close()

    def take_records(self) -> list[dict[str, Any]]:
        """Journal records of the casts answered since the last call."""
        if not self._columns["n"]:
            return []
        columns = self._columns
        self._clear()
        return [{"kind": "casts", "worker": self._start.worker, **columns}]
