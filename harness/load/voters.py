"""Whom a vote is not for: by the reading of "the client who triggered it" (A11), the sockets of a session, or those of a user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.measure.ledger import Audience
from harness.target import Session

__all__ = ["VoterAudiences", "voter_sessions"]


def voter_sessions(sessions: Sequence[Session]) -> dict[str, Session]:
    """The session with which each user votes: the first that the profile names of that user."""
    first: dict[str, Session] = {}
    for session in sessions:
        if session.user_id is not None:
            first.setdefault(session.user_id, session)
    return first


class VoterAudiences:
    """One process's. `sessions`: all that the profile has; `holders`: the session of each slot, which grows as viewers join."""

    def __init__(self, exclusion: str, sessions: Sequence[Session], holders: Sequence[Session]) -> None:
        self._exclusion, self._voters, self._holders = exclusion, voter_sessions(sessions), holders
        self._known: dict[str, Audience] = {}
        self._of = 0

    def of(self, voter: str) -> Audience:
        """Of a vote by this user."""
        if self._of != len(self._holders):  # somebody has joined, who may hold a voter's session
            self._known.clear()
            self._of = len(self._holders)
        audience = self._known.get(voter)
        if audience is None:
            audience = self._known[voter] = self._made(voter)
        return audience

    def _made(self, voter: str) -> Audience:
        casting = self._voters.get(voter)
        if self._exclusion == "session":
            return Audience(excluded=_slots([casting is not None and held.value == casting.value for held in self._holders]))
        same_user = _slots([held.user_id == voter for held in self._holders])
        return Audience(excluded=same_user) if self._exclusion == "user" else Audience(optional=same_user)


def _slots(chosen: Sequence[bool]) -> np.ndarray:
    return np.flatnonzero(np.array(chosen, bool)).astype(np.int32)
