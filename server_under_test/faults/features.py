"""Faults of sections FCRE and FDEL: features that administrators make and remove, who is told, of what, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from schemas import load_contract
from server_under_test.batcher import Batcher, FeatureEvent, Kind, VoteBatch
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyApi, FaultyHub
from server_under_test.faults.frames import reworded
from server_under_test.faults.refusals import FEATURE, FEATURES, after_refusal
from server_under_test.faults.room import Room
from server_under_test.faults.telling import NOT_TOLD, TellsSome, delayed
from server_under_test.messages import Composer
from server_under_test.store import iso_time

__all__ = ["ROOM"]

ROOM = Room()


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
