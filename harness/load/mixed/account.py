"""Who is owed which message of the day, and what reached those who were owed none: one process's part.

Between a SUBSCRIBE and the moment from which it surely acts, and around joining and leaving, a viewer may get a message or not; that is
never a loss. The same holds after the last UNSUBSCRIBE, for which the contract leaves two readings (A21): how many arrive then is counted
apart. The author of an edit may or may not be told of it (A19).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.measure.day import Deed
from harness.measure.ledger import Audience
from harness.measure.presence import ABSENT, ALL, BACK, Presence
from harness.net.fleet import Closed
from harness.target import Session

if TYPE_CHECKING:
    from harness.load.evidence import Evidence
    from harness.load.station import PlanStart
    from harness.measure.day import DayPlan

__all__ = ["Account"]

_ADMIN_ONLY = ("create", "delete")


class Account:
    """voters: with which session each user votes; author: with which features are edited. readings: the target's. patience, settle: ns that
    a delivery may take, and after which a SUBSCRIBE surely acts. slots: the most sockets of this process over the whole day."""

    def __init__(
        self, start: PlanStart, plan: DayPlan, slots: int, readings: Mapping[str, str],
        voters: Mapping[str, Session], author: Session | None, *, patience: int, settle: int, evidence: Evidence,
    ) -> None:  # fmt: skip
        self.presence = Presence(slots)
        self._start, self._plan, self._slots, self._patience, self._settle = start, plan, slots, patience, settle
        self._evidence = evidence
        self._filters = readings.get("subscriptions", "filter") == "filter"
        self._admins_only = readings.get("admin_events", "admins") == "admins"
        self._session = np.full(slots, -1, np.int32)
        self._user = np.full(slots, -1, np.int32)
        self._admin = np.zeros(slots, bool)
        self._numbers: dict[str, int] = {}
        self._watched: dict[int, int] = {}
        self._voters = {user: self._number(session.value.get_secret_value()) for user, session in voters.items()}
        self._users = {user: self._number(f"user {user}") for user in voters}
        self._author = -2 if author is None else self._number(author.value.get_secret_value())
        self._index = {feature: index for index, feature in enumerate(plan.features)}

    def join(self, slot: int, session: Session, at: int) -> None:
        """A socket of that session opened at `at` (ns)."""
        self._session[slot], self._user[slot] = self._number(session.value.get_secret_value()), self._number(f"user {session.user_id}")
        self._admin[slot] = session.role == "admin"
        self.presence.change(slot, ALL, at)

    def leave(self, slot: int, at: int) -> None:
        """A socket ended, or is about to be closed by its viewer."""
        self._watched.pop(slot, None)
        self.presence.change(slot, ABSENT, at)

    def ended(self, end: Closed) -> bool:
        """The fleet has seen a socket end; whose doing it was is judged elsewhere."""
        self.leave(end.slot, end.at)
        return False

    def is_admin(self, slot: int) -> bool:
        """Whether it holds an administrator's session."""
        return bool(self._admin[slot])

    def watches(self, slot: int) -> bool:
        """Whether a viewer is in a detail view."""
        return slot in self._watched

    def watch(self, slot: int, feature: int, at: int) -> None:
        """A viewer is about to subscribe to this feature alone (an index)."""
        self._watched[slot] = feature
        self.presence.change(slot, feature, at)

    def unwatch(self, slot: int, at: int) -> int:
        """A viewer is about to unsubscribe from what it watches; returns that feature's index."""
        self.presence.change(slot, BACK, at)
        return self._watched.pop(slot)

    def _number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def audience(self, n: int, last: int) -> Audience:
        """Whom deed n concerns; `last` is when it last reached somebody (ns), 0 if nobody yet."""
        deed = self._plan.cast(n)
        own, role, other, back, unsure = self._sorted(deed, last)
        excluded = own | role | other
        optional = ~excluded & (back | unsure | self._spared(deed))
        return Audience(np.flatnonzero(excluded).astype(np.int32), np.flatnonzero(optional).astype(np.int32))

    def closing(self, n: int, counts: NDArray[np.uint16], last: int) -> None:
        """Write down how many were owed nothing, and why, with what reached them; and those of whom the contract leaves it open."""
        deed = self._plan.cast(n)
        own, role, other, back, _ = self._sorted(deed, last)
        role, other = role & ~own, other & ~own & ~role
        masks = {"own": own, "role": role, "other": other, "back": back}
        there = self.presence.between(self._start.due(n), self._start.due(n))[0] != ABSENT
        of = {f"{name}_of": int(np.count_nonzero(mask & there)) for name, mask in masks.items()}
        got = {name: int(counts[mask].astype(np.int64).sum()) for name, mask in masks.items()}
        self._evidence.record("aside", n=n, what=deed.what, **of, **got)
        self.presence.forget(self._start.due(n) - self._settle)

    def _sorted(self, deed: Deed, last: int) -> tuple[NDArray[np.bool_], ...]:
        """(left out as the voter, by role, by what they watch; unsubscribed; unsure) as masks over the slots."""
        due = self._start.due(deed.n)
        states, moved = self.presence.between(due - self._settle, max(last, due))
        _, soon = self.presence.between(due - self._settle, due + self._patience)
        feature, nobody = self._index.get(deed.feature, -9), np.zeros(self._slots, bool)
        watching = (states >= 0) & (states != feature)
        other = watching & ~moved if self._filters and deed.what not in _ADMIN_ONLY else nobody
        own = role = nobody
        if deed.voter and self._start.exclusion == "session":
            own = self._session == self._voters[deed.voter]
        elif deed.voter and self._start.exclusion == "user":
            own = self._user == self._users[deed.voter]
        if deed.what in _ADMIN_ONLY and self._admins_only:
            role = (self._session >= 0) & ~self._admin
        back = (states == BACK) & ~moved & ~role & ~own
        unsure = soon if deed.what not in _ADMIN_ONLY else soon | (states >= 0)
        return own, role, other, back, unsure

    def _spared(self, deed: Deed) -> NDArray[np.bool_]:
        """Of whom nothing is asked, whatever they watch."""
        if deed.voter:
            return (
                self._user == self._users[deed.voter] if self._start.exclusion not in ("session", "user") else np.zeros(self._slots, bool)
            )
        return self._session == self._author
