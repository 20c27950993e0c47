"""Who plays in a check: sessions handed out so that checks that run at once do not disturb each other.

The first few users are shared by all checks, which is harmless since every check votes on features of its own. The others are
for those that need somebody to themselves, or will use a session up; they are divided between the processes of a run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.conformance.outcome import NotTestable
from harness.target.model import Target
from harness.target.session import Session

__all__ = ["People", "Person"]

_SHARED = {"regular": 6, "admin": 2}
_KEPT = {"regular": 2, "admin": 1}  # that many stay shared even where there are hardly any
_WAIT = 60.0  # seconds until somebody who is in use by another check is given up
_MOST = 512  # sessions that are looked through at most


@dataclass(eq=False)
class Person:
    """One user of the target with every session known of them."""

    key: str
    role: str
    index: int
    sessions: list[Session] = field(default_factory=list)
    holders: int = 0
    owned: bool = False
    retired: bool = False


class People:
    """All users of a target that the harness has sessions of. `worker` of `workers` processes. Used from many threads."""

    def __init__(self, target: Target, worker: int, workers: int) -> None:
        self._target, self._worker, self._workers = target, worker, workers
        self._changed = threading.Condition()
        self._persons: dict[str, list[Person]] = {"regular": [], "admin": []}
        self._taken = {"regular": 0, "admin": 0}
        self._complete = {"regular": False, "admin": False}

    def names(self) -> frozenset[str]:
        """Every user name known."""
        with self._changed:
            people = [person for group in self._persons.values() for person in group]
            return frozenset(session.user_name for person in people for session in person.sessions if session.user_name)

    def has(self, role: str, count: int) -> bool:
        """Whether the target gives sessions of that many different users."""
        with self._changed:
            return len(self._at_least(role, count)) >= count

    def share(self, role: str, besides: Iterable[Person]) -> Person:
        """Somebody whom other checks may use as well, and none of `besides`. Raises NotTestable when there is nobody left."""
        held = set(besides)
        with self._changed:
            self._at_least(role, _SHARED[role])
            able = [person for person in self._shared(role) if person not in held]
            if not able:
                raise NotTestable(f"it takes {len(held) + 1} {role} users, and the profile has sessions of fewer", "sessions")
            chosen = min(able, key=lambda person: person.holders)
            chosen.holders += 1
            return chosen

    def own(self, role: str, sessions: int, *, retire: bool) -> Person:
        """Somebody for this check alone, with at least `sessions` sessions; retired: never handed out again.

        Waits for one in use. Raises NotTestable when there is none.
        """
        deadline = time.monotonic() + _WAIT
        with self._changed:
            while True:
                self._at_least(role, _SHARED[role] + 1)
                mine = self._mine(role)
                if all(person.owned or person.retired or len(person.sessions) < sessions for person in mine):
                    while self._grow(role) and not any(self._free(person, sessions) for person in self._mine(role)):
                        pass
                    mine = self._mine(role)
                free = [person for person in mine if self._free(person, sessions)]
                if free:
                    chosen = free[0]
                    chosen.owned, chosen.retired = True, retire
                    return chosen
                used = any(person.owned and not person.retired for person in mine)
                if not used or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    what = f"with {sessions} sessions " if sessions > 1 else ""
                    raise NotTestable(f"it takes one more {role} user {what}whom no other check uses", "sessions")

    def another_session(self, person: Person, besides: Iterable[Session]) -> Session:
        """A further session of the same user. Raises NotTestable when there is none."""
        held = list(besides)
        with self._changed:
            while True:
                for session in person.sessions:
                    if session not in held:
                        return session
                if not self._grow(person.role):
                    raise NotTestable("it takes a second session of one user, and the profile has none", "sessions")

    def give_back(self, person: Person) -> None:
        """The check has ended."""
        with self._changed:
            person.owned = False
            person.holders = max(0, person.holders - 1)
            self._changed.notify_all()

    @staticmethod
    def _free(person: Person, sessions: int) -> bool:
        return not person.owned and not person.retired and len(person.sessions) >= sessions

    def _shared(self, role: str) -> list[Person]:
        return [person for person in self._persons[role][: _SHARED[role]] if not person.owned and not person.retired]

    def _mine(self, role: str) -> list[Person]:
        everyone = self._persons[role]
        beyond = everyone[_SHARED[role] :]
        if beyond:
            return [person for person in beyond if person.index % self._workers == self._worker]
        # So few that the shared ones must do: only where no other process could hold them, and the last ones first.
        few = [person for person in everyone[_KEPT[role] :] if person.holders == 0 or person.owned]
        return few[::-1] if self._workers == 1 else []

    def _at_least(self, role: str, count: int) -> list[Person]:
        while len(self._persons[role]) < count and self._grow(role):
            pass
        return self._persons[role]

    def _grow(self, role: str) -> bool:
        """Ask the target for one session more; False when it has no more."""
        if self._complete[role]:
            return False
        wanted = self._taken[role] + 1
        found = self._target.available_sessions(wanted, role)
        if len(found) < wanted or wanted > _MOST:
            self._complete[role] = True
            return False
        self._taken[role] = wanted
        session = found[-1]
        key = session.user_id or session.cookie_header()
        group = self._persons[role]
        person = next((each for each in group if each.key == key), None)
        if person is None:
            person = Person(key, role, len(group))
            group.append(person)
        person.sessions.append(session)
        return True
