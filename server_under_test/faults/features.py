"""Faults of sections FUPD, FCRE and FDEL: what administrators do to features, who is told, of what, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from schemas import load_contract
from server_under_test.batcher import Batcher, FeatureEvent, Kind, VoteBatch
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyApi, FaultyHub
from server_under_test.faults.frames import reworded
from server_under_test.faults.refusals import FEATURE, FEATURES, after_refusal
from server_under_test.faults.room import Room
from server_under_test.faults.votes import beyond_latency
from server_under_test.identity import Identity
from server_under_test.messages import Composer
from server_under_test.store import Store, iso_time

__all__ = ["ROOM"]

ROOM = Room()

EDITS = {"FUPD-*": "the edit is not told of, or not so that it is recognised"}
FENCED = "an edit marks the end of a silence, or is to be told of as well"
EDIT_FENCES = {"FCRE-09": FENCED, "FDEL-0[45]": FENCED, "SUB-02": FENCED}
NOT_TOLD = "nothing is told that could be looked at"


class TellsSome(FaultyHub):
    """Keeps events of one kind from some."""

    _event_now: FeatureEvent | None = None

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return True

    def send_event(self, event: FeatureEvent) -> None:
        self._event_now = event
        try:
            super().send_event(event)
        finally:
            self._event_now = None

    def deliver(self, frame: bytes, receivers: Iterable[Connection]) -> None:
        event = self._event_now
        super().deliver(frame, receivers if event is None else [one for one in receivers if self.told(event, one)])


# ---- FEATURE_UPDATE


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


def delayed(hub: FaultyHub, event: FeatureEvent, kind: Kind, send: Any) -> None:
    """Send the event now, or much later when it is of this kind."""
    if event.kind is kind:
        hub.later(beyond_latency(), lambda: send(event))
    else:
        send(event)


@ROOM.fault("FUPD-09")
class RefusedEditAnnounced(FaultyApi):
    """An edit by somebody who may not is refused, and announced all the same."""

    def application(self) -> web.Application:
        def act(request: web.Request, body: dict[str, Any]) -> None:
            self.hub.feature_updated(request.match_info["id"], {name: str(value) for name, value in body.items()})

        return after_refusal(super().application(), FEATURE, ("PATCH",), 403, act)


# ---- FEATURE_CREATED

CREATED = {"FCRE-*": NOT_TOLD, "SEC-0[67]": NOT_TOLD}


@ROOM.fault("FCRE-01", CREATED)
class CreatedUnannounced(TellsSome):
    """A new feature is announced to nobody."""

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return event.kind is not Kind.CREATED


@ROOM.fault("FCRE-01", {"SEC-0[67]": NOT_TOLD})
class CreatedWithAnotherId(Composer):
    """A new feature is announced under an id that is not its own."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, id="clxyz0something0else0000"))


def new_feature(message: Mapping[str, object], **changes: object) -> Mapping[str, object]:
    """A FEATURE_CREATED with these fields of its feature replaced; None leaves one out."""

    def change(created: dict[str, Any]) -> None:
        created["feature"] = {name: value for name, value in {**created["feature"], **changes}.items() if value is not None}

    return reworded(message, "FEATURE_CREATED", change)


LEAKED = "an administrators' message on a regular user's socket"


@ROOM.fault("FCRE-02", {"SEC-06": LEAKED})
class RegularsToldOfCreated(FaultyHub):
    """New features are announced to regular users as well."""

    def send_event(self, event: FeatureEvent) -> None:
        super().send_event(event)
        if event.kind is Kind.CREATED:
            others = [one for one in self._open if not one.identity.admin]
            self.deliver(self.composer.feature_created(self.now_ms(), event.body), others)


@ROOM.fault("FCRE-03", {"GEN-03": "it is the schema of the type"})
class CreatedWithoutDescription(Composer):
    """The announcement of a new feature leaves its description out."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, description=None))


@ROOM.fault("FCRE-03", {"GEN-03": "it is the schema of the type", "FCRE-04": "the count is not a number"})
class CreatedWithCountAsText(Composer):
    """The announcement of a new feature has its voteCount as a string."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, voteCount="0"))


@ROOM.fault("FCRE-04")
class CreatedWithAVote(Composer):
    """A new feature is announced with one vote."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, voteCount=1))


@ROOM.fault("FCRE-04")
class UpdatedBeforeCreated(Composer):
    """A new feature is announced as last changed long before it was made."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, updatedAt=iso_time(0.0)))


@ROOM.fault("FCRE-05")
class CreatorIsAnother(Composer):
    """createdById is that of somebody else."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, createdById="clusr0somebody0else00000"))


@ROOM.fault("FCRE-06", {"GEN-04": "the schema does not declare it", "SEC-08": "it is personal"})
class CreatorEmailShown(Composer):
    """createdBy tells the creator's e-mail address."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, createdBy={"name": creator(message), "email": "admin1@roadmap.test"}))


@ROOM.fault("FCRE-06", {"GEN-04": "the schema does not declare it"})
class CreatorRoleShown(Composer):
    """createdBy tells the creator's role."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(new_feature(message, createdBy={"name": creator(message), "role": "admin"}))


def creator(message: Mapping[str, Any]) -> object:
    """The creator's name, where there is one."""
    return message["feature"]["createdBy"]["name"] if "feature" in message else None


@ROOM.fault("FCRE-07", {**CREATED, "FCRE-01": "what comes so late counts as missing"})
class CreatedLate(FaultyHub):
    """FEATURE_CREATED is sent half as long again after the creation as the contract allows."""

    def send_event(self, event: FeatureEvent) -> None:
        delayed(self, event, Kind.CREATED, super().send_event)


@ROOM.fault("FCRE-09")
class RefusedCreationAnnounced(FaultyApi):
    """A creation by somebody who may not is refused, and announced all the same."""

    def application(self) -> web.Application:
        def act(request: web.Request, body: dict[str, Any]) -> None:
            caller, now = self._gate.caller(request), iso_time(0.0)
            made = {"id": "clxyz0never0made00000000", "status": load_contract().messages.feature_status[0], "voteCount": 0}
            by = {"createdById": caller.user_id, "createdBy": {"name": caller.name}, "createdAt": now, "updatedAt": now}
            self.hub.feature_created({"title": "", "description": "", **made, **body, **by})

        return after_refusal(super().application(), FEATURES, ("POST",), 403, act)


# ---- FEATURE_DELETED

DELETED = {"FDEL-*": NOT_TOLD, "SEC-06": NOT_TOLD}


@ROOM.fault("FDEL-01", DELETED)
class DeletedUnannounced(TellsSome):
    """A deletion is announced to nobody."""

    def told(self, event: FeatureEvent, connection: Connection) -> bool:
        return event.kind is not Kind.DELETED


@ROOM.fault("FDEL-01", DELETED)
class DeletedWithAnotherId(Composer):
    """A deletion is announced under an id that is not the feature's."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "FEATURE_DELETED", lambda gone: gone.update(featureId="clxyz0something0else0000")))


@ROOM.fault("FDEL-02", {"SEC-06": LEAKED})
class RegularsToldOfDeleted(FaultyHub):
    """Deletions are announced to regular users as well."""

    def send_event(self, event: FeatureEvent) -> None:
        super().send_event(event)
        if event.kind is Kind.DELETED:
            others = [one for one in self._open if not one.identity.admin]
            self.deliver(self.composer.feature_deleted(self.now_ms(), event.feature_id), others)


@ROOM.fault("FDEL-03", DELETED)
class DeletedLate(FaultyHub):
    """FEATURE_DELETED is sent half as long again after the deletion as the contract allows."""

    def send_event(self, event: FeatureEvent) -> None:
        delayed(self, event, Kind.DELETED, super().send_event)


@ROOM.fault("FDEL-04")
class VotesWithdrawnAfterDeletion(FaultyHub):
    """After a deletion the withdrawal of the feature's votes is announced."""

    def send_event(self, event: FeatureEvent) -> None:
        super().send_event(event)
        if event.kind is Kind.DELETED:
            remove = load_contract().messages.vote_actions[1]
            frame = self.composer.vote_update(self.now_ms(), event.feature_id, 0, "clusr0the0server0itself", remove)
            self.deliver(frame, self.viewers(event.feature_id))


@ROOM.fault("FDEL-04")
class WaitingVotesOutliveDeletion(Batcher):
    """Votes that wait when their feature is deleted are announced after that."""

    def event(self, event: FeatureEvent) -> None:
        waiting = self._waiting.get(event.feature_id)
        super().event(event)
        if event.kind is Kind.DELETED and isinstance(waiting, VoteBatch):
            self._queue.append(waiting)


@ROOM.fault("FDEL-04")
class EditAfterDeletionAnnounced(FaultyApi):
    """An edit of what is not there any more is refused, and announced all the same."""

    def application(self) -> web.Application:
        def act(request: web.Request, body: dict[str, Any]) -> None:
            changes = {name: str(value) for name, value in body.items()}
            event = FeatureEvent(Kind.UPDATED, request.match_info["id"], changes)
            self.hub.later(0.0, lambda: self.hub.send_event(event))

        return after_refusal(super().application(), FEATURE, ("PATCH",), 404, act)


@ROOM.fault("FDEL-05")
class RefusedDeletionAnnounced(FaultyApi):
    """A deletion by somebody who may not is refused, and announced all the same."""

    def application(self) -> web.Application:
        def act(request: web.Request, _body: dict[str, Any]) -> None:
            event = FeatureEvent(Kind.DELETED, request.match_info["id"], {})
            self.hub.later(0.0, lambda: self.hub.send_event(event))

        return after_refusal(super().application(), FEATURE, ("DELETE",), 403, act)
