"""Faults of section GEN: what is wrong with messages of any type, and with the protocol below them.

The clauses hold for all messages; each fault spoils one type, so that the others can be seen to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyApi
from server_under_test.faults.reach import VOTES, broken
from server_under_test.faults.room import Room
from server_under_test.frames import CONTROL_LIMIT, RESERVED, Decoder, Message, Opcode, Violation, encode
from server_under_test.messages import Composer

__all__ = ["ROOM", "reworded"]

ROOM = Room()

UNREAD_VOTES = "votes are told of in frames that cannot be read"
UNREAD_ERRORS = "the ERROR cannot be read"
UNREAD = {"HS-14": "the frame may be the first on a socket", "GEN-0[4567]": UNREAD_VOTES, **broken(VOTES, UNREAD_VOTES)}
ERRORS = {"ERR-*": UNREAD_ERRORS, "RATE-*": UNREAD_ERRORS, "SUB-0[78]": UNREAD_ERRORS, "SEC-02": UNREAD_ERRORS, "HB-13": UNREAD_ERRORS}
HOUR_MS: Final = 3_600_000
UNSUPPORTED = 1003  # RFC 6455 section 7.4.1


def reworded(message: Mapping[str, object], kind: str, change: Callable[[dict[str, Any]], object]) -> Mapping[str, object]:
    """The message, changed if it is of that type."""
    if message.get("type") != kind:
        return message
    copy = dict(message)
    change(copy)
    return copy


@ROOM.fault("GEN-01", UNREAD)
class VotesAsBinary(Composer):
    """VOTE_UPDATE comes in binary frames."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        if message.get("type") == "VOTE_UPDATE":
            return encode(Opcode.BINARY, orjson.dumps(message))
        return super().frame(message)


@ROOM.fault("GEN-01", ERRORS)
class ErrorsAreNoUtf8(Composer):
    """ERROR comes as text that is no UTF-8."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        if message.get("type") == "ERROR":
            return encode(Opcode.TEXT, orjson.dumps(message).replace(b'"message":"', b'"message":"\xff', 1))
        return super().frame(message)


@ROOM.fault("GEN-01", ERRORS)
class ErrorsInAList(Composer):
    """ERROR comes as a JSON list of one."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        if message.get("type") == "ERROR":
            return encode(Opcode.TEXT, orjson.dumps([message]))
        return super().frame(message)


@ROOM.fault("GEN-02", {"RATE-13": "the notice comes with every ERROR"})
class NoticeWithErrors(Connection):
    """Each ERROR is followed by a message of a type that the contract does not know."""

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        super().send_error(code, message, context)
        self.send(self.hub.composer.frame({"type": "NOTICE"}))


@ROOM.fault(
    "GEN-02", {**UNREAD, **broken(VOTES, "no check knows an update by this name"), "HB-12": "the update of a vote passes for an answer"}
)
class VotesInLowerCase(Composer):
    """VOTE_UPDATE is called vote_update."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(type="vote_update")))


@ROOM.fault("GEN-03", {"ERR-01": "it is the form of ERROR"})
class ErrorWithoutTimestamp(Composer):
    """ERROR has no timestamp."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "ERROR", lambda error: error.pop("timestamp")))


@ROOM.fault("GEN-03", {"VOTE-09": "it compares the timestamp", "PERF-01": "it may compare the timestamp"})
class VoteWithoutTimestamp(Composer):
    """VOTE_UPDATE has no timestamp."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.pop("timestamp")))


@ROOM.fault("GEN-04")
class ErrorWithSeverity(Composer):
    """ERROR has a property that the contract does not declare."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "ERROR", lambda error: error.update(severity="low")))


@ROOM.fault("GEN-04")
class VoteWithVersion(Composer):
    """VOTE_UPDATE has a property that the contract does not declare."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(version=1)))


UNREAD_TIME = "the timestamp cannot be read"
UNREAD_TIMES = dict.fromkeys(("VOTE-09", "VOTE-16", "FCRE-04", "GEN-06", "ERR-01", "PERF-01"), UNREAD_TIME)


@ROOM.fault("GEN-05", UNREAD_TIMES)
class TimestampWithoutZone(Composer):
    """Timestamps name no zone."""

    def timestamp(self, now_ms: int) -> str:
        return super().timestamp(now_ms).removesuffix("Z")


@ROOM.fault("GEN-05", UNREAD_TIMES)
class TimestampWithSpace(Composer):
    """Timestamps have a space between date and time."""

    def timestamp(self, now_ms: int) -> str:
        return super().timestamp(now_ms).replace("T", " ")


@ROOM.fault("GEN-05")
class TimestampWithOffset(Composer):
    """Timestamps are written with +00:00 in place of Z."""

    def timestamp(self, now_ms: int) -> str:
        return super().timestamp(now_ms).removesuffix("Z") + "+00:00"


@ROOM.fault("GEN-05", {"FCRE-04": "a second that was cut off may seem to precede what it followed"})
class TimestampWithoutMilliseconds(Composer):
    """Timestamps end with the second."""

    def timestamp(self, now_ms: int) -> str:
        return super().timestamp(now_ms).partition(".")[0] + "Z"


@ROOM.fault("GEN-06", {"VOTE-09": "the timestamp is so late after the call", "PERF-01": "it may compare the timestamp"})
class ClockAhead(Composer):
    """Timestamps are an hour ahead."""

    def timestamp(self, now_ms: int) -> str:
        return super().timestamp(now_ms + HOUR_MS)


@ROOM.fault("GEN-06", {"VOTE-09": "the timestamp precedes the call", "FCRE-04": "the message seems older than the feature"})
class ClockBehind(Composer):
    """Timestamps are an hour behind."""

    def timestamp(self, now_ms: int) -> str:
        return super().timestamp(now_ms - HOUR_MS)


@ROOM.fault("GEN-07", {"VOTE-0[45]": "the voter is not named", "BAT-06": "it tells votes by their voter"})
class EmptyVoterId(Composer):
    """voterId is an empty string."""

    def frame(self, message: Mapping[str, object]) -> bytes:
        return super().frame(reworded(message, "VOTE_UPDATE", lambda vote: vote.update(voterId="")))


@ROOM.fault("GEN-08")
class FragmentsRefused(Decoder):
    """A message in more than one frame is refused."""

    def _judge(self, first: int, second: int) -> Opcode:
        opcode = super()._judge(first, second)
        if opcode in (Opcode.TEXT, Opcode.BINARY) and not first & 0x80:
            raise Violation(UNSUPPORTED, "messages must come in one frame")
        return opcode


@ROOM.fault("GEN-08")
class ReservedBitsAccepted(Decoder):
    """Frames with reserved bits are taken as if they had none."""

    def _judge(self, first: int, second: int) -> Opcode:
        return super()._judge(first & ~RESERVED, second)


@ROOM.fault("GEN-08", {"ERR-12": "it has texts that are no UTF-8"})
class BadUtf8Accepted(Decoder):
    """Text that is no UTF-8 is mended in silence."""

    def _message(self, opcode: Opcode, payload: bytes) -> Message:
        return super()._message(opcode, payload if opcode == Opcode.BINARY else payload.decode(errors="replace").encode())


@ROOM.fault("GEN-08")
class LongControlFramesAccepted(Decoder):
    """Control frames may be of any length."""

    def _judge(self, first: int, second: int) -> Opcode:
        long = first & 0x0F >= Opcode.CLOSE and second & 0x7F > CONTROL_LIMIT
        return super()._judge(first, second & 0x80 | CONTROL_LIMIT if long else second)


@ROOM.fault("GEN-08")
class StrayContinuationIgnored(Decoder):
    """A continuation of nothing is taken for a text of its own."""

    def _judge(self, first: int, second: int) -> Opcode:
        stray = first & 0x0F == Opcode.CONTINUATION and self._fragments is None
        return super()._judge(first | Opcode.TEXT if stray else first, second)


class TellsToken(Composer):
    """Puts the token of whoever connected last into every ERROR."""

    token = ""

    def frame(self, message: Mapping[str, object]) -> bytes:
        def tell(error: dict[str, Any]) -> None:
            error["context"] = {**error.get("context", {}), "session": self.token}

        return super().frame(reworded(message, "ERROR", tell))


@ROOM.fault("GEN-09", besides=(TellsToken,))
class TokenInErrors(FaultyApi):
    """The context of each ERROR shows a session's token."""

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        composer = self.hub.composer
        if isinstance(composer, TellsToken):
            composer.token = self._cookies.token(request.headers.getall("Cookie", ())) or composer.token
        return await super()._socket(request)
