"""Who plays in a check: sessions of shared users, of users of its own, and of some that are used up."""

from __future__ import annotations

from harness.conformance.ground import Ground
from harness.conformance.people import Person
from harness.conformance.stage.setting import Setting
from harness.target.session import Session
from schemas import Clause

__all__ = ["Actors"]


class Actors(Setting):
    """Borrows people from the ground, and gives them back with `dismiss`."""

    def __init__(self, ground: Ground, clause: Clause, check: str) -> None:
        super().__init__(ground, clause, check)
        self._cast: dict[str, list[Person]] = {"regular": [], "admin": []}
        self._owned: list[Person] = []
        self._of: dict[str, Person] = {}

    def user(self, k: int = 0) -> Session:
        """A session of the check's k-th regular user; different k are different users. Other checks may use them too."""
        return self._actor("regular", k)

    def admin(self, k: int = 0) -> Session:
        """The same for administrators. Raises NotTestable, as `user` does, when the profile has too few."""
        return self._actor("admin", k)

    def own_user(self, role: str = "regular", sessions: int = 1) -> list[Session]:
        """Sessions of a user whom no other check uses while this one runs."""
        return self._own(role, sessions, retire=False)

    def disposable(self, role: str = "regular", sessions: int = 1) -> list[Session]:
        """Sessions of a user whom no check will use again: for revoking them, or changing the role."""
        return self._own(role, sessions, retire=True)

    def another_session(self, session: Session, *besides: Session) -> Session:
        """A further session of the user of `session`, who is one of this check's. Raises NotTestable when there is none."""
        found = self.ground.people.another_session(self._of[session.cookie_header()], (session, *besides))
        self._of[found.cookie_header()] = self._of[session.cookie_header()]
        self.ground.secrets.add(found)
        return found

    def _actor(self, role: str, k: int) -> Session:
        cast = self._cast[role]
        while len(cast) <= k:
            cast.append(self.ground.people.share(role, cast))
        return self._known(cast[k], 1)[0]

    def _own(self, role: str, sessions: int, *, retire: bool) -> list[Session]:
        person = self.ground.people.own(role, sessions, retire=retire, holding=bool(self._owned))
        self._owned.append(person)
        return self._known(person, sessions)

    def _known(self, person: Person, sessions: int) -> list[Session]:
        for session in person.sessions[:sessions]:
            self._of[session.cookie_header()] = person
            self.ground.secrets.add(session)
        return person.sessions[:sessions]

    def dismiss(self) -> None:
        """Everybody may be used by others again, but for those who were disposed of."""
        for person in (*self._cast["regular"], *self._cast["admin"], *self._owned):
            self.ground.people.give_back(person)
