"""Makes the calls of the day: votes by the voters, edits by one administrator."""

from __future__ import annotations

from typing import Any

from harness.load.caster import Caster, Order, Report
from harness.load.mixed.matching import DayMatcher
from harness.load.station import PlanStart, Station
from harness.measure.day import DayPlan
from harness.measure.plan import Cast
from harness.target import Answer, Session, Target

__all__ = ["DayCaster"]

_DESCRIPTION = "Made by a load test, and deleted by it again."


class DayCaster(Caster):
    """This process's share of the deeds. `author` is the administrator's session; None in a day without edits."""

    extra = ("what", "about")

    def __init__(
        self, target: Target, station: Station, start: PlanStart, report: Report,
        plan: DayPlan, matcher: DayMatcher, author: Session | None,
    ) -> None:  # fmt: skip
        self._plan, self._matcher, self._author = plan, matcher, author
        self._features = {feature: index for index, feature in enumerate(plan.features)}
        super().__init__(target, station, start, report)

    def _order(self, n: int) -> Order | None:
        deed = self._plan.cast(n)
        match deed.what:
            case "add" | "remove":
                return self._vote(Cast(n, deed.feature, deed.voter, deed.what))
            case "create":
                return self._edit("create", title=deed.feature, description=_DESCRIPTION, status=self._plan.statuses[0])
            case "update":
                return self._edit("update", featureId=deed.feature, status=deed.status)
            case "delete":
                feature = self._matcher.id_of(deed.feature)
                return None if feature is None else self._edit("delete", featureId=feature)

    def _edit(self, name: str, **values: Any) -> Order:
        hook = self._hook(name)
        return Order(name, hook, hook.prepare(self._author, **values))

    def _told(self, n: int, answer: Answer) -> None:
        deed = self._plan.cast(n)
        if deed.what == "create" and answer.ok and answer.id is not None:
            self._matcher.learn(deed.feature, answer.id)

    def _about(self, n: int) -> tuple[Any, ...]:
        deed = self._plan.cast(n)
        return deed.what, self._features.get(deed.feature, -1)
