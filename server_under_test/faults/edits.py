"""Faults of section FUPD: what administrators change of a feature, who is told, of what, and when."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from schemas import load_contract
from server_under_test.batcher import FeatureEvent, Kind
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyApi, FaultyHub
from server_under_test.faults.frames import reworded
from server_under_test.faults.refusals import FEATURE, after_refusal
from server_under_test.faults.room import Room
from server_under_test.faults.telling import NOT_TOLD, TellsSome, delayed
from server_under_test.identity import Identity
from server_under_test.messages import Composer
from server_under_test.store import Store

__all__ = ["ROOM"]

ROOM = Room()

EDITS = {"FUPD-*": "the edit is not told of, or not so that it is recognised"}
FENCED = "an edit marks the end of a silence, or is to be told of as well"
EDIT_FENCES = {"FCRE-09": FENCED, "FDEL-0[45]": FENCED, "SUB-02": FENCED}


@ROOM.fault("FUPD-01", {**EDITS, **EDIT_FENCES})
class StatusChangeUnannounced(FaultyHub):
    """A change of status is not announced."""

    def feature_updated(self, feature_id: str, changes: Mapping[str, str]) -> None:
        super().feature_updated(feature_id, {name: value for name, value in changes.items() if name != "status"})


@ROOM.fault("FUPD-01", {**EDITS, **EDIT_FENCES})
class StatusOneStepAhead(Composer):
    """A change of status is announced with the status after the new one."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        def ahead(update: dict[str, Any]) -> None:
            states = load_contract().messages.feature_status
            if "status" in update["changes"]:
                following = states[(states.index(update["changes"]["status"]) + 1) % len(states)]
                update["changes"] = {**update["changes"], "status": following}

        return super().frame(reworded(message, "FEATURE_UPDATE", ahead))


@ROOM.fault("FUPD-02", EDITS)
class TitleChangeUnannounced(FaultyHub):
    """A change of title is not announced."""

    def feature_updated(self, feature_id: str, changes: Mapping[str, str]) -> None:
        super().feature_updated(feature_id, {name: value for name, value in changes.items() if name != "title"})


@ROOM.fault("FUPD-02", EDITS)
class DescriptionCut(FaultyHub):
    """A new description is announced up to its first line's end."""

    def feature_updated(self, feature_id: str, changes: Mapping[str, str]) -> None:
        lines = {name: value.partition("\n")[0] if name == "description" else value for name, value in changes.items()}
        super().feature_updated(feature_id, lines)


@ROOM.fault("FUPD-03")
class WholeFeatureInChanges(Store):
    """changes has title, description and status, whichever was altered."""

    def update_feature(self, feature_id: str, wanted: Mapping[str, str], now: float) -> dict[str, str]:
        changes = super().update_feature(feature_id, wanted, now)
        shown = self.feature(feature_id, "")
        return {name: str(shown[name]) for name in ("title", "description", "status")} if changes else changes


@ROOM.fault("FUPD-03")
class UnalteredFieldsInChanges(Store):
    """changes has every field that the edit named, altered or not."""

    def update_feature(self, feature_id: str, wanted: Mapping[str, str], now: float) -> dict[str, str]:
        changes = super().update_feature(feature_id, wanted, now)
        return dict(wanted) if changes else changes


@ROOM.fault("FUPD-04", {"FUPD-03": "what it names was not altered"})
class NoOpEditAnnounced(Store):
    """An edit that alters nothing is announced with what it named."""

    def update_feature(self, feature_id: str, wanted: Mapping[str, str], now: float) -> dict[str, str]:
        return super().update_feature(feature_id, wanted, now) or dict(wanted)


class _Empty(dict[str, str]):
    def __bool__(self) -> bool:
        return True


@ROOM.fault("FUPD-04")
class EmptyChangesAnnounced(Store):
    """An edit that alters nothing is announced with empty changes."""

    def update_feature(self, feature_id: str, wanted: Mapping[str, str], now: float) -> dict[str, str]:
        return super().update_feature(feature_id, wanted, now) or _Empty()


@ROOM.fault("FUPD-05", {"GEN-04": "the schema does not declare it", "FUPD-03": "it is no field that was altered"})
class UnknownFieldInChanges(Composer):
    """changes has a field that the contract does not know."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        def add(update: dict[str, Any]) -> None:
            update["changes"] = {**update["changes"], "updatedAt": update["timestamp"]}

        return super().frame(reworded(message, "FEATURE_UPDATE", add))


@ROOM.fault("FUPD-05", {"GEN-03": "the schema lists the states", **EDITS, **EDIT_FENCES})
class StatusInLowerCase(Composer):
    """A status is written in lower case."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        def lower(update: dict[str, Any]) -> None:
            update["changes"] = {key: value.lower() if key == "status" else value for key, value in update["changes"].items()}

        return super().frame(reworded(message, "FEATURE_UPDATE", lower))


@ROOM.fault("FUPD-06", {**EDITS, **EDIT_FENCES})
class AdminsUntoldOfEdits(TellsSome):
    """Administrators are not told of edits."""

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return event.kind is not Kind.UPDATED or not connection.identity.admin


@ROOM.fault("FUPD-06", {**EDITS, **EDIT_FENCES, "GEN-0[567]": NOT_TOLD, "SEC-08": NOT_TOLD})
class RegularsUntoldOfEdits(TellsSome):
    """Regular users are not told of edits."""

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return event.kind is not Kind.UPDATED or connection.identity.admin


AUTHOR: Final[ContextVar[Identity | None]] = ContextVar("author", default=None)


@dataclass(frozen=True, slots=True)
class Authored(FeatureEvent):
    """An edit whose author is known."""

    author: Identity


class KnowsAuthor(FaultyApi):
    async def _edit_feature(self, request: web.Request, caller: Identity) -> web.Response:
        AUTHOR.set(caller)
        return await super()._edit_feature(request, caller)


class TellsAllButAuthor(TellsSome):
    def feature_updated(self, feature_id: str, changes: Mapping[str, str]) -> None:
        author = AUTHOR.get()
        if changes and author is not None:
            self._event(Authored(Kind.UPDATED, feature_id, dict(changes), author))


@ROOM.fault("FUPD-07", {"FUPD-*": "the only administrator may be the author", **EDIT_FENCES}, besides=(KnowsAuthor,))
class AuthorUntold(TellsAllButAuthor):
    """The session that makes an edit is not told of it."""

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return not (isinstance(event, Authored) and event.author.session_id == connection.session_id)


@ROOM.fault("FUPD-07", {"FUPD-*": "the only administrator may be the author", **EDIT_FENCES}, besides=(KnowsAuthor,))
class AuthorUntoldEverywhere(TellsAllButAuthor):
    """The user who makes an edit is not told of it in any session."""

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return not (isinstance(event, Authored) and event.author.user_id == connection.identity.user_id)


@ROOM.fault("FUPD-08", {**EDITS, **EDIT_FENCES, "FDEL-04": "the announcement overtakes nothing and comes after the deletion"})
class EditsLate(FaultyHub):
    """FEATURE_UPDATE is sent half as long again after the edit as the contract allows."""

    def send_event(self, event: FeatureEvent) -> None:
        delayed(self, event, Kind.UPDATED, super().send_event)


@ROOM.fault("FUPD-09")
class RefusedEditAnnounced(FaultyApi):
    """An edit by somebody who may not is refused, and announced all the same."""

    def application(self) -> web.Application:
        def act(request: web.Request, body: dict[str, Any]) -> None:
            self.hub.feature_updated(request.match_info["id"], {name: str(value) for name, value in body.items()})

        return after_refusal(super().application(), FEATURE, ("PATCH",), 403, act)
