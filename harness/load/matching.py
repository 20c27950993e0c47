"""Which cast of the plan caused a message: asked once for each distinct payload, never for each delivery."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from harness.measure.plan import VotePlan

__all__ = ["EARLY", "Matcher", "VoteMatcher"]

EARLY = 0.05
"""Seconds that a broadcast may be seen before its cast was due: only the resolution of timers."""


class Matcher(Protocol):
    """`lines`: how many series of messages are to arrive in the order of their stamps, such as the votes on one feature."""

    @property
    def types(self) -> Collection[str]:
        """The message types of which every one is to have a cast that explains it."""

    @property
    def lines(self) -> int: ...
    def __call__(self, message: Mapping[str, Any], offset: float) -> tuple[int | None, int]:
        """(number of the cast, number of the line) of a message seen `offset` seconds after the plan's epoch. The cast is None where none
        that was due by then explains it, the line -1 where its order is nobody's business."""


class VoteMatcher:
    """Votes at an even rate; a line is the votes on one feature."""

    types = frozenset({"VOTE_UPDATE"})

    def __init__(self, plan: VotePlan) -> None:
        self._plan = plan
        self._features = {feature: index for index, feature in enumerate(plan.features)}
        self.lines = len(plan.features)

    def __call__(self, message: Mapping[str, Any], offset: float) -> tuple[int | None, int]:
        """See Matcher."""
        feature, voter = message.get("featureId"), message.get("voterId")
        if not isinstance(feature, str) or message.get("type") not in self.types:
            return None, -1
        plan = self._plan
        named = isinstance(voter, str)
        n = plan.find(feature, str(voter), str(message.get("action")), offset) if named else plan.by_feature(feature, offset)
        if n is not None and plan.offset(n) > offset + EARLY:
            n = None  # nothing was cast yet that could have caused it
        return n, self._features.get(feature, -1)
