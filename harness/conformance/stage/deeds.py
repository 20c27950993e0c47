"""What a check does to the target through its hooks: features, votes and edits, at the common pace, and undone at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.conformance.features import Feature
from harness.conformance.ground import Ground
from harness.conformance.outcome import Inconclusive, NotTestable
from harness.conformance.stage.sockets import Sockets
from harness.target.call import Called
from harness.target.session import Session
from schemas import Clause

__all__ = ["Deeds"]

_MANY, _HANDS = 16, 4  # features from which on several threads delete them, and how many do


class Deeds(Sockets):
    """Remembers what it made and which votes stand, so that `undo` leaves the target as it was."""

    def __init__(self, ground: Ground, clause: Clause, check: str) -> None:
        super().__init__(ground, clause, check)
        self.feature_ids: set[str] = set()
        """Every feature that the check was given or made: how its own frames are told from those of others."""
        self._features: list[Feature] = []
        self._seen_to: set[tuple[str, str]] = set()
        self._standing: dict[tuple[str, str], Session] = {}

    def feature(self) -> str:
        """The id of a feature that this check alone votes on."""
        self._still_there()
        feature = self.ground.features.take(f"Check of {self.name}")
        self._features.append(feature)
        self.feature_ids.add(feature.id)
        return feature.id

    def call(self, hook: str, session: Session | None = None, *, subject: Session | None = None, **values: Any) -> Called:
        """Call any hook, whatever it answers; the answer's `ok` says whether it was as the profile expects."""
        self._still_there()
        called = self.ground.call(hook, session, subject=subject, **values)
        if session is not None and called.answer.ok and hook in ("vote", "unvote"):
            ballot = (session.user_id or session.cookie_header(), str(values.get("featureId")))
            if hook == "vote":
                self._standing[ballot] = session
            else:
                self._standing.pop(ballot, None)
        return called

    def done(self, hook: str, session: Session | None = None, *, subject: Session | None = None, **values: Any) -> Called:
        """Call a hook that has to work for the check to make sense. Raises Inconclusive when it does not."""
        called = self.call(hook, session, subject=subject, **values)
        if not called.answer.ok:
            raise Inconclusive(called.answer.problem or f"the hook {hook} answered {called.answer.status}")
        return called

    def vote(self, session: Session, feature: str) -> Called:
        """Cast a vote, at the common pace; its times are in the answer. The voter must not have voted on it before."""
        self.unvoted(session, feature)
        self.ground.pace.wait()
        return self.done("vote", session, featureId=feature)

    def unvote(self, session: Session, feature: str) -> Called:
        """Withdraw it."""
        self.ground.pace.wait()
        return self.done("unvote", session, featureId=feature)

    def burst(self, ballots: Sequence[tuple[str, Session, str]]) -> list[Called]:
        """Several ("vote" or "unvote", session, feature) at the same moment, each from a thread of its own."""
        for hook, session, feature in ballots:
            if hook == "vote":
                self.unvoted(session, feature)
        with ThreadPoolExecutor(len(ballots)) as pool:
            self.ground.pace.wait(len(ballots))
            return list(pool.map(lambda ballot: self.done(ballot[0], ballot[1], featureId=ballot[2]), ballots))

    def count(self, feature: str) -> int:
        """The true vote count, by the hook `read`."""
        called = self.done("read", self.caller("read"), featureId=feature)
        if called.answer.count is None:
            raise Inconclusive("the hook read told no count")
        return called.answer.count

    def create(self, session: Session | None = None, **values: str) -> tuple[str, Called]:
        """Make a feature as an administrator; (its id, the call). It is deleted when the check ends. title and status may be given."""
        self.ground.pace.wait()
        filled: dict[str, Any] = {
            "title": f"Made for {self.name}",
            "description": "for a check",
            "status": self.contract.messages.feature_status[0],
        }
        called = self.done("create", session or self.admin(), **(filled | values))
        if called.answer.id is None:
            raise Inconclusive("the hook create told no id")
        self._features.append(Feature(called.answer.id, True))
        self.feature_ids.add(called.answer.id)
        return called.answer.id, called

    def update(self, feature: str, session: Session | None = None, **changes: Any) -> Called:
        """Change title, description or status of a feature as an administrator."""
        self.ground.pace.wait()
        return self.done("update", session or self.admin(), featureId=feature, **changes)

    def delete(self, feature: str, session: Session | None = None) -> Called:
        """Delete a feature as an administrator."""
        self.ground.pace.wait()
        called = self.done("delete", session or self.admin(), featureId=feature)
        self._features = [each for each in self._features if each.id != feature]
        return called

    def revoke(self, session: Session) -> Called:
        """End a session of a `disposable` user."""
        return self.done("revoke", self.caller("revoke", session), subject=session)

    def change_role(self, session: Session, role: str) -> Called:
        """Change the role of a `disposable` user."""
        return self.done("change_role", self.caller("change_role", session), subject=session, role=role)

    def caller(self, name: str, owner: Session | None = None) -> Session | None:
        """With whose session a hook is to be called: an administrator's, any user's, that of `owner` whom it is about, or nobody's."""
        hook = self.target.hook(name)
        if hook is None:
            raise NotTestable(f"the profile has no hook {name}", name)
        match hook.session:
            case "none":
                return None
            case "admin":
                return self.admin()
            case "owner" if owner is not None:
                return owner
            case _:
                return self.user()

    def unvoted(self, session: Session, feature: str) -> None:
        """See to it that `session` may vote on `feature`: on one that was there before it may have voted already, in another life.

        Such a vote is withdrawn, and its broadcast let pass. `vote` and `burst` do this by themselves.
        """
        key = (session.user_id or session.cookie_header(), feature)
        if key in self._seen_to or not any(each.id == feature and not each.made for each in self._features):
            return
        self._seen_to.add(key)
        listed = self.call("list", session).answer if self.target.hook("list") is not None else None
        item = next((item for item in listed.items if item.id == feature), None) if listed is not None else None
        if item is None or item.voted is not False:
            self.ground.pace.wait()
            if self.call("unvote", session, featureId=feature).answer.ok:
                time.sleep(self.grace)

    def undo(self) -> None:
        """Withdraw the votes that stand on features that were there before, and delete those that were made. Never raises.

        May be called again, and by another thread meanwhile: what is undone is forgotten.
        """
        made = {feature.id for feature in self._features if feature.made}
        for ballot, session in list(self._standing.items()):
            if ballot[1] not in made and self.ground.lost is None:
                with contextlib.suppress(Exception):
                    self.ground.call("unvote", session, featureId=ballot[1])
            self._standing.pop(ballot, None)

        def give_back(each: Feature) -> None:
            with contextlib.suppress(Exception):
                self.ground.features.give_back(each)
            with contextlib.suppress(ValueError):
                self._features.remove(each)

        features = list(self._features)
        if len(features) > _MANY:
            with ThreadPoolExecutor(_HANDS) as hands:
                list(hands.map(give_back, features))
        else:
            for feature in features:
                give_back(feature)
