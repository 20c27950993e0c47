"""Who plays in a check: sessions handed out so that checks that run at once do not disturb each other.

The first few users are shared by all checks, which is harmless since every check votes on features of its own. The others are
for those that need somebody to themselves, or will use a session up; they are divided between the processes of a run. The rule:
nobody is handed out on trust. Each session is tried once before, for an earlier run may have used it up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.conformance.outcome import NotTestable
from harness.target.model import Target
from harness.target.session import Session

__all__ = ["People", "Person"]

_SHARED = {"regular": 6, "admin": 2}
_KEPT = {"regular": 2, "admin": 1}  # that many stay shared even where there are hardly any
_WAIT = 40.0  # seconds until somebody who is in use by another check is given up ...
_BRIEFLY = 1.0  # ... and by a check that holds somebody already: two that wait for each other's would wait for ever
_MOST = 512  # sessions that are looked through at most


@dataclass(eq=False)
class Person:
    """One user of the target with every session known of them, less those that were found to be over."""

    key: str
    role: str
    index: int
    sessions: list[Session] = field(default_factory=list)
    tried: int = 0
    """How many of the sessions are known to be good: the first ones."""
    holders: int = 0
    owned: bool = False
    retired: bool = False
    trial: threading.Lock = field(default_factory=threading.Lock)


class People:
    """All users of a target that the harness has sessions of. `worker` of `workers` processes. Used from many threads.

    good: whether a session is let in; asked once of each session, before it is handed out.
    """

    def __init__(self, target: Target, worker: int, workers: int, good: Callable[[Session], bool]) -> None:
        self._target, self._worker, self._workers, self._good = target, worker, workers, good
        self._changed = threading.Condition()
        self._persons: dict[str, list[Person]] = {"regular": [], "admin": []}
        self._taken = {"regular": 0, "admin": 0}
        self._complete = {"regular": False, "admin": False}
        self._over = 0
        self._names: frozenset[str] = frozenset()

    def names(self) -> frozenset[str]:
        """Every user name known."""
        return self._names

    def has(self, role: str, count: int) -> bool:
        """Whether the target gives sessions of that many different users."""
        with self._changed:
            return len(self._at_least(role, count)) >= count

    def share(self, role: str, besides: Iterable[Person]) -> Person:
        """Somebody whom other checks may use as well, and none of `besides`. Raises NotTestable when there is nobody left."""
        held = set(besides)
        while True:
            with self._changed:
                self._at_least(role, _SHARED[role])
                able = [person for person in self._shared(role) if person not in held]
                while not able and self._grow(role):
                    able = [person for person in self._shared(role) if person not in held]
                if not able:
                    needed = f"it takes {len(held) + 1} {role} users, and the profile has sessions of fewer"
                    raise NotTestable(needed + self._used(), "sessions")
                chosen = min(able, key=lambda person: person.holders)
                chosen.holders += 1
            if self._has_good(chosen, 1):
                return chosen
            self.give_back(chosen)

    def own(self, role: str, sessions: int, *, retire: bool, holding: bool = False) -> Person:
        """Somebody for this check alone, with at least `sessions` sessions; retired: never handed out again.

        Waits for one in use, hardly for a check that is `holding` somebody. Raises NotTestable when there is none.
        """
        deadline = time.monotonic() + (_BRIEFLY if holding else _WAIT)
        while True:
            chosen = self._take(role, sessions, deadline)
            if self._has_good(chosen, sessions):
                chosen.retired = chosen.retired or retire
                return chosen
            self.give_back(chosen)

    def another_session(self, person: Person, besides: Iterable[Session]) -> Session:
        """A further session of the same user. Raises NotTestable when there is none."""
        held, count = list(besides), 0
        while True:
            count += 1
            while not self._has_good(person, count):
                with self._changed:
                    if not self._grow(person.role):
                        raise NotTestable(f"it takes a second session of one user, and the profile has none{self._used()}", "sessions")
            session = person.sessions[count - 1]
            if session not in held:
                return session

    def give_back(self, person: Person) -> None:
        """The check has ended."""
        with self._changed:
            person.owned = False
            person.holders = max(0, person.holders - 1)
            self._changed.notify_all()

    # ---- choosing

    def _take(self, role: str, sessions: int, deadline: float) -> Person:
        with self._changed:
            while True:
                self._at_least(role, _SHARED[role] + 1)
                while not any(self._free(person, sessions) for person in self._mine(role)) and self._grow(role):
                    pass
                mine = self._mine(role)
                free = [person for person in mine if self._free(person, sessions)]
                if free:
                    free[0].owned = True
                    return free[0]
                used = any(person.owned and not person.retired for person in mine)
                if not used or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    what = f"with {sessions} sessions " if sessions > 1 else ""
                    raise NotTestable(f"it takes one more {role} user {what}whom no other check uses{self._used()}", "sessions")

    def _used(self) -> str:
        """What an earlier run may have done, in words."""
        return f" ({self._over} sessions of it are over: renew them)" if self._over else ""

    @staticmethod
    def _free(person: Person, sessions: int) -> bool:
        return not person.owned and not person.retired and len(person.sessions) >= sessions

    def _shared(self, role: str) -> list[Person]:
        return [person for person in self._persons[role][: _SHARED[role]] if not person.owned and not person.retired and person.sessions]

    def _mine(self, role: str) -> list[Person]:
        everyone = self._persons[role]
        beyond = everyone[_SHARED[role] :]
        if beyond:
            return [person for person in beyond if person.index % self._workers == self._worker]
        # So few that the shared ones must do: only where no other process could hold them, and the last ones first.
        few = [person for person in everyone[_KEPT[role] :] if person.holders == 0 or person.owned]
        return few[::-1] if self._workers == 1 else []

    def _has_good(self, person: Person, count: int) -> bool:
        """Whether the person's first `count` sessions are good; those that are over are taken out until they are, or too few are left."""
        with person.trial:
            while person.tried < count and person.tried < len(person.sessions):
                if self._good(person.sessions[person.tried]):
                    person.tried += 1
                else:
                    with self._changed:
                        del person.sessions[person.tried]
                        self._over += 1
            return person.tried >= count

    # ---- asking the target for more

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
        if session.user_name and session.user_name not in self._names:
            self._names |= {session.user_name}
        key = session.user_id or session.cookie_header()
        group = self._persons[role]
        person = next((each for each in group if each.key == key), None)
        if person is None:
            person = Person(key, role, len(group))
            group.append(person)
        person.sessions.append(session)
        return True
