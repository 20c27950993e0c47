"""Which deed of the day caused a message. The ids of created features are learned on the way, from the API's answer or the announcement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.load.matching import EARLY
from harness.measure.day import DayPlan

__all__ = ["DayMatcher"]


class DayMatcher:
    """See `harness.load.matching.Matcher`. A line is the votes on one feature, or the updates of one."""

    types = frozenset({"VOTE_UPDATE", "FEATURE_UPDATE", "FEATURE_CREATED", "FEATURE_DELETED"})

    def __init__(self, plan: DayPlan) -> None:
        self._plan = plan
        self._features = {feature: index for index, feature in enumerate(plan.features)}
        self._titles: dict[str, str] = {}
        self.lines = 2 * len(plan.features)

    def learn(self, title: str, feature: str) -> None:
        """The created feature of that title has this id."""
        self._titles[feature] = title

    def id_of(self, title: str) -> str | None:
        """The id of a created feature, as far as it is known."""
        return next((feature for feature, known in self._titles.items() if known == title), None)

    def __call__(self, message: Mapping[str, Any], offset: float) -> tuple[int | None, int]:
        """See Matcher."""
        until = offset + EARLY
        match message:
            case {"type": "VOTE_UPDATE", "featureId": str(feature)}:
                return self._vote(feature, message.get("voterId"), message.get("action"), until), self._features.get(feature, -1)
            case {"type": "FEATURE_UPDATE", "featureId": str(feature)}:
                line = self._features.get(feature, -1)
                return self._update(feature, message.get("changes"), until), line if line < 0 else line + len(self._features)
            case {"type": "FEATURE_CREATED", "feature": {"title": str(title), **created}}:
                self.learn(title, str(created.get("id")))
                return self._plan.find(until, "create", title), -1
            case {"type": "FEATURE_DELETED", "featureId": str(feature)}:
                title = self._titles.get(feature, "")
                return self._plan.find(until, "delete", title), -1
        return None, -1

    def _vote(self, feature: str, voter: object, action: object, until: float) -> int | None:
        """By voter and action; of a server that does not name the voter (A12), the latest vote on the feature."""
        if isinstance(voter, str):
            return self._plan.find(until, str(action), feature, voter)
        return self._plan.find(until, feature)

    def _update(self, feature: str, changes: object, until: float) -> int | None:
        """By the status that it sets, or else the latest update of the feature."""
        status = changes.get("status") if isinstance(changes, Mapping) else None
        found = self._plan.find(until, "update", feature, status) if isinstance(status, str) else None
        return self._plan.find(until, "update", feature) if found is None else found
