"""Faults of section SEC: how long a session lasts, who sees what, and what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from server_under_test.batcher import FeatureEvent, Kind
from server_under_test.connection import Connection, State
from server_under_test.faults.assembly import FaultyApi, FaultyConnection, FaultyHub
from server_under_test.faults.frames import reworded
from server_under_test.faults.room import Room
from server_under_test.identity import Identity
from server_under_test.messages import Composer

__all__ = ["ROOM"]

ROOM = Room()

NOT_ENDED = "the socket of a revoked session does not end in time"


@ROOM.fault("SEC-01", {"CLS-05": NOT_ENDED, "SEC-0[25]": NOT_ENDED})
class RevokedNeverEnds(FaultyConnection):
    """A socket outlives its session for ever."""

    def expire(self) -> None:
        """Nothing happens."""


class LooksHalfAsOften(FaultyConnection):
    def revalidate(self) -> None:
        super().revalidate()
        self.revalidate_at += self.hub.limits.revalidate_every

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.revalidate_at += self.hub.limits.revalidate_every


@ROOM.fault("SEC-01", {"CLS-05": NOT_ENDED, "SEC-0[25]": NOT_ENDED}, besides=(LooksHalfAsOften,))
class RevalidatesHalfAsOften(FaultyHub):
    """A session is looked at again after twice the time only, and its revocation is not heard of before."""

    def session_ended(self, session_id: str) -> None:
        """Nobody is told; the next look will find out."""


@ROOM.fault("SEC-02")
class EndsWithoutAWord(FaultyConnection):
    """The end of a session is followed by the Close at once, without an ERROR."""

    def expire(self) -> None:
        self.hub.counters.sessions_expired += 1
        self.close(self.hub.codes.session_invalid, "session expired")


@ROOM.fault("SEC-02")
class EndsWithServerError(FaultyConnection):
    """The end of a session is told with the code for an internal failure."""

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        errors = self.hub.errors
        super().send_error(errors.server_error if code == errors.session_expired else code, message, context)


class EndsAtALook(FaultyConnection):
    """Ends a session that stands."""

    look = 1
    _looks = 0

    def revalidate(self) -> None:
        self._looks += 1
        if self._looks == self.look:
            self.expire()
        else:
            super().revalidate()


@ROOM.fault(
    "SEC-03",
    {"SEC-05": "the other session ends by itself", "SEC-0[147]": "the session ends by itself", "VOTE-15": "its sockets may be that old"},
)
class ValidSessionEndsAtFirstLook(EndsAtALook):
    """A session that stands is ended when it is looked at."""


@ROOM.fault("SEC-03")
class ValidSessionEndsAtSecondLook(EndsAtALook):
    """A session that stands is ended when it is looked at for the second time."""

    look = 2


@ROOM.fault("SEC-05", {"HS-04": "the user's other sockets end as well"})
class AllSessionsEndTogether(FaultyConnection):
    """When one session ends, all sockets of its user end."""

    def expire(self) -> None:
        others = [one for one in self.faulty_hub.open_connections if one.identity.user_id == self.identity.user_id]
        super().expire()
        for other in others:
            if other.state is State.OPEN:
                Connection.expire(other)


@ROOM.fault("SEC-06", {"FDEL-02": "it is a regular user's"})
class NewestRegularToldOfDeleted(FaultyHub):
    """The regular user who connected last is told of deletions."""

    def send_event(self, event: FeatureEvent) -> None:
        super().send_event(event)
        if event.kind is Kind.DELETED:
            regular = [one for one in self._open if not one.identity.admin]
            self.deliver(self.composer.feature_deleted(self.now_ms(), event.feature_id), regular[-1:])


class NamesVoters(Composer):
    """Adds to a vote what is known of its voter."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[object, str] = {}

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(voterName=self.names.get(vote["voterId"], ""))))


@ROOM.fault("SEC-08", {"GEN-04": "the schema does not declare it"}, besides=(NamesVoters,))
class VoterNameShown(FaultyApi):
    """VOTE_UPDATE tells the voter's name."""

    def _voted(self, feature_id: str, count: int, caller: Identity, action: str, has_voted: bool) -> web.Response:
        if isinstance(self.hub.composer, NamesVoters):
            self.hub.composer.names[caller.user_id] = caller.name
        return super()._voted(feature_id, count, caller, action, has_voted)


@ROOM.fault("SEC-08", {"GEN-04": "the schema does not declare it"})
class VoterEmailShown(Composer):
    """VOTE_UPDATE tells the voter's e-mail address."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(voterEmail="user1@roadmap.test")))
