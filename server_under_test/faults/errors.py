"""Faults of section ERR: the form of ERROR, who gets it, what draws it, and what a bad message does to others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas import load_contract
from server_under_test.faults.assembly import FaultyConnection
from server_under_test.faults.frames import reworded
from server_under_test.faults.reach import REPLIES, SOCKETS, broken
from server_under_test.faults.room import Room
from server_under_test.frames import TOO_BIG, Opcode, encode
from server_under_test.messages import Composer, Unreadable

__all__ = ["ROOM"]

ROOM = Room()

NOT_JSON: Final = object()
NOTHING = "of.no.feature"
FORM = {"GEN-03": "it is the schema of the type"}
CODES = {"ERR-0[45678]": "the code is not the one awaited"}
ASTRAY = "ERRORs that other checks draw come to its sockets"


def parsed(text: str) -> Any:
    """The JSON value of a text, NOT_JSON for none."""
    try:
        return orjson.loads(text)
    except ValueError:
        return NOT_JSON


# ---- the form


@ROOM.fault("ERR-01", FORM)
class ErrorWithoutMessage(Composer):
    """ERROR has a code and no message."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "ERROR", lambda error: error.pop("message")))


@ROOM.fault("ERR-01", {**FORM, "RATE-09": "the context cannot be read"})
class ErrorContextAsText(Composer):
    """The context of ERROR is a string."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "ERROR", lambda error: error.update(context="none")))


@ROOM.fault("ERR-02", CODES)
class InvalidMessageCalledBadRequest(FaultyConnection):
    """A message that cannot be used draws an ERROR with a code that is not in the table."""

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        super().send_error("BAD_REQUEST" if code == self.hub.errors.invalid_message else code, message, context)


LIMITED = "too many messages draw no ERROR that is known"


@ROOM.fault("ERR-02", {"RATE-*": LIMITED, "HB-13": LIMITED})
class RateErrorInLowerCase(FaultyConnection):
    """Too many messages draw an ERROR with its code in lower case."""

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        super().send_error(code.lower() if code == self.hub.errors.rate_limit_exceeded else code, message, context)


# ---- who gets it


@ROOM.fault("ERR-03", broken(REPLIES, ASTRAY))
class ErrorToEveryone(FaultyConnection):
    """An ERROR goes to every open socket."""

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        frame = self.hub.composer.error(self.hub.now_ms(), code, message, context)
        for connection in self.faulty_hub.open_connections:
            connection.send(frame)


@ROOM.fault("ERR-03", broken(REPLIES, ASTRAY))
class ErrorToAllTabs(FaultyConnection):
    """An ERROR goes to every socket of the offender's session."""

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        frame = self.hub.composer.error(self.hub.now_ms(), code, message, context)
        for connection in self.faulty_hub.tabs(self.session_id):
            connection.send(frame)


# ---- what draws it


class Ignores(FaultyConnection):
    """Overlooks some texts altogether."""

    def overlooks(self, value: Any) -> bool:
        return False

    def receive_text(self, text: str) -> None:
        if not self.overlooks(parsed(text)):
            super().receive_text(text)


SILENT_GARBAGE = {
    "GEN-0[1-6]": "nothing is said that could be judged",
    "ERR-0[1235]": "it sends such texts",
    "ERR-1[02]": "it sends such texts",
}


@ROOM.fault("ERR-04", SILENT_GARBAGE)
class NotJsonIgnored(Ignores):
    """Text that is not JSON is ignored."""

    def overlooks(self, value: Any) -> bool:
        return value is NOT_JSON


@ROOM.fault("ERR-04", {**SILENT_GARBAGE, "ERR-03": "the offender is closed"})
class NotJsonCloses(FaultyConnection):
    """Text that is not JSON ends the connection."""

    def receive_text(self, text: str) -> None:
        if parsed(text) is NOT_JSON:
            self.close(self.hub.codes.policy_violation, "not JSON")
        else:
            super().receive_text(text)


@ROOM.fault("ERR-05")
class UnknownTypeIgnored(Ignores):
    """A message of an unknown type is ignored."""

    def overlooks(self, value: Any) -> bool:
        kind = value.get("type") if isinstance(value, dict) else None
        return isinstance(kind, str) and kind not in load_contract().messages.client


@ROOM.fault("ERR-06")
class MissingTypeIgnored(Ignores):
    """A message without a type is ignored."""

    def overlooks(self, value: Any) -> bool:
        return isinstance(value, dict) and "type" not in value


@ROOM.fault("ERR-06")
class OddTypeIgnored(Ignores):
    """A message whose type is no string is ignored."""

    def overlooks(self, value: Any) -> bool:
        return isinstance(value, dict) and "type" in value and not isinstance(value["type"], str)


def without_ids(value: Any, *kinds: str) -> bool:
    """A message of one of these types whose featureIds are not a list of strings."""
    if not isinstance(value, dict) or value.get("type") not in kinds:
        return False
    ids = value.get("featureIds")
    return not isinstance(ids, list) or not all(isinstance(one, str) for one in ids)


@ROOM.fault("ERR-07", {"ERR-0[12]": "it sends such messages"})
class MalformedSubscribeIgnored(Ignores):
    """A SUBSCRIBE without a list of ids is ignored."""

    def overlooks(self, value: Any) -> bool:
        return without_ids(value, "SUBSCRIBE")


@ROOM.fault("ERR-07")
class MalformedUnsubscribeIgnored(Ignores):
    """An UNSUBSCRIBE without a list of ids is ignored."""

    def overlooks(self, value: Any) -> bool:
        return without_ids(value, "UNSUBSCRIBE")


@ROOM.fault("ERR-07")
class SingleIdTaken(FaultyConnection):
    """featureIds may be one string in place of a list."""

    def receive_text(self, text: str) -> None:
        value = parsed(text)
        if without_ids(value, "SUBSCRIBE", "UNSUBSCRIBE") and isinstance(value.get("featureIds"), str):
            value["featureIds"] = [value["featureIds"]]
            text = orjson.dumps(value).decode()
        super().receive_text(text)


@ROOM.fault("ERR-08", {"ERR-0[12]": "it sends such messages", "ERR-10": "it sends such a message"})
class ListIgnored(Ignores):
    """A JSON list is ignored."""

    def overlooks(self, value: Any) -> bool:
        return isinstance(value, list)


@ROOM.fault("ERR-08")
class ScalarIgnored(Ignores):
    """JSON that is a number, a string, true, false or null is ignored."""

    def overlooks(self, value: Any) -> bool:
        return value is None or isinstance(value, str | int | float)


# ---- what comes after it


@ROOM.fault("ERR-10", {"ERR-03": "the offender is closed", "GEN-0*": "the offender is closed before all has been said"})
class InvalidMessageCloses(FaultyConnection):
    """INVALID_MESSAGE is followed by the end of the connection."""

    def send_invalid(self, message: Unreadable) -> None:
        super().send_invalid(message)
        self.close(self.hub.codes.policy_violation, "invalid message")


@ROOM.fault("ERR-10")
class InvalidMessageDeafens(FaultyConnection):
    """After INVALID_MESSAGE a socket is told of nothing any more."""

    def send_invalid(self, message: Unreadable) -> None:
        super().send_invalid(message)
        self.watched = frozenset({NOTHING})


@ROOM.fault(
    "ERR-11", {"GEN-0[1-7]": "what clients make up is not the server's", "VOTE-1[46]": "so are the votes", "SEC-0[68]": "so are the events"}
)
class ServersMessagesRelayed(FaultyConnection):
    """A message of a server's type that a client sends goes to all other sockets."""

    def receive_text(self, text: str) -> None:
        value = parsed(text)
        if isinstance(value, dict) and value.get("type") in load_contract().messages.server:
            for connection in self.faulty_hub.open_connections:
                if connection is not self:
                    connection.send(encode(Opcode.TEXT, text.encode()))
        super().receive_text(text)


DROPPED = "the sockets of other checks are dropped as well"


class DropsEveryone(FaultyConnection):
    def drop_everyone(self) -> None:
        for connection in self.faulty_hub.open_connections:
            connection.cut_off()


@ROOM.fault("ERR-12", broken(SOCKETS, DROPPED))
class HugeTextDropsEveryone(DropsEveryone):
    """A message above the size limit ends all connections."""

    def fail(self, code: int, reason: str) -> None:
        super().fail(code, reason)
        if code == TOO_BIG:
            self.drop_everyone()


@ROOM.fault("ERR-12", broken(SOCKETS, DROPPED))
class SurrogateDropsEveryone(DropsEveryone):
    """A message with an escaped lone surrogate ends all connections."""

    def receive_text(self, text: str) -> None:
        if "\\ud800" in text.lower() and parsed(text) is NOT_JSON:
            self.drop_everyone()
        super().receive_text(text)


@ROOM.fault("ERR-12", broken(SOCKETS, "while the server stands still nothing is answered"))
class ManyIdsStallServer(FaultyConnection):
    """A SUBSCRIBE with more ids than permitted brings the whole server to a standstill for a while."""

    def send_too_many(self, wanted: int) -> None:
        time.sleep(1.5 * load_contract().benchmark.latency)
        super().send_too_many(wanted)
