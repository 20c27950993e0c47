"""Features that one check alone votes on: made for it where the target can make them, else lent from those that are there."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.conformance.outcome import Inconclusive, NotTestable
from harness.conformance.people import People
from harness.target.call import Called
from harness.target.model import Target
from schemas import load_contract

__all__ = ["Feature", "Features"]

_WAIT = 60.0  # seconds until another check gives one back


@dataclass(frozen=True, slots=True)
class Feature:
    """`made`: by us, so nobody has voted on it and it is deleted when the check ends."""

    id: str
    made: bool


class Features:
    """`call(hook, role, **values)` calls a hook as some user of that role. Used from many threads."""

    def __init__(self, target: Target, people: People, call: Callable[..., Called], worker: int, workers: int) -> None:
        self._target, self._people, self._call = target, people, call
        self._worker, self._workers = worker, workers
        self._changed = threading.Condition()
        self._listed: list[Feature] | None = None
        self._lent: set[str] = set()
        self._numbers = itertools.count(1)
        self._makes: bool | None = None

    def take(self, purpose: str) -> Feature:
        """One that nobody else has. Raises NotTestable when the target can neither make nor list any, or has too few."""
        if self._can_make():
            statuses = load_contract().messages.feature_status
            title = f"{purpose} {next(self._numbers)}-{secrets.token_hex(2)}"
            made = self._call("create", "admin", title=title, description="made for a check, deleted after it", status=statuses[0]).answer
            if made.ok and made.id is not None:
                return Feature(made.id, True)
            if self._makes:
                raise Inconclusive(f"no feature could be made: {made.problem}")
        return self._lend()

    def give_back(self, feature: Feature) -> None:
        """Delete it or let others have it. Never raises: the check has its verdict already."""
        if feature.made:
            if self._target.hook("delete") is not None:
                self._call("delete", "admin", featureId=feature.id)
            return
        with self._changed:
            self._lent.discard(feature.id)
            self._changed.notify_all()

    def _can_make(self) -> bool:
        with self._changed:
            if self._makes is None:
                self._makes = self._target.hook("create") is not None and self._people.has("admin", 1)
                if self._makes:
                    status = load_contract().messages.feature_status[0]
                    answer = self._call("create", "admin", title="a trial of the create hook", description="", status=status).answer
                    self._makes = answer.ok and answer.id is not None
                    if self._makes and self._target.hook("delete") is not None:
                        self._call("delete", "admin", featureId=answer.id)
            return self._makes

    def _lend(self) -> Feature:
        deadline = time.monotonic() + _WAIT
        with self._changed:
            if self._listed is None:
                self._listed = self._list()
            while True:
                for feature in self._listed:
                    if feature.id not in self._lent:
                        self._lent.add(feature.id)
                        return feature
                if not self._listed or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    what = f"it takes one more feature than the {len(self._listed)} there are"
                    raise NotTestable(f"{what}: define hooks.create, or seed more", "create")

    def _list(self) -> list[Feature]:
        if self._target.hook("list") is None:
            raise NotTestable("it takes a feature to vote on: define hooks.create, or hooks.list", "list")
        answer = self._call("list", "regular").answer
        if not answer.ok:
            raise NotTestable(f"no feature is known: {answer.problem}", "list")
        return [Feature(item.id, False) for item in answer.items][self._worker :: self._workers]
