"""The messages of the socket: what the server writes, and what it makes of what clients write.

Nothing a client sent is ever echoed. Whatever cannot be understood becomes `Unreadable` with a sentence for the person
who wrote that client; reading never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from server_under_test.frames import Opcode, encode

__all__ = ["ClientMessage", "Composer", "Pong", "Subscribe", "Unreadable", "Unsubscribe", "read_message"]

# Our own bound on one feature id: with the limit on their number it bounds what one connection can make us keep.
ID_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a PING, or an unsolicited sign of life."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Watch these features too; an empty set changes nothing."""

    feature_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Watch these features no longer."""

    feature_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not a message of the contract; `problem` says why in words for a person."""

    problem: str


ClientMessage = Pong | Subscribe | Unsubscribe | Unreadable


def read_message(text: str) -> ClientMessage:
    """What a text message means. Unknown extra keys are tolerated (reading A17)."""
    try:
        value = orjson.loads(text)
    except (ValueError, RecursionError):  # a text may be too deep, hold a lone surrogate, or not be JSON at all
        return Unreadable("The message is not JSON.")
    if not isinstance(value, dict):
        return Unreadable("The message must be a JSON object with a type.")
    match value.get("type"):
        case "PONG":
            return Pong()
        case "SUBSCRIBE":
            ids = _feature_ids(value)
            return ids if isinstance(ids, Unreadable) else Subscribe(ids)
        case "UNSUBSCRIBE":
            ids = _feature_ids(value)
            return ids if isinstance(ids, Unreadable) else Unsubscribe(ids)
        case _:
            return Unreadable("The type must be PONG, SUBSCRIBE or UNSUBSCRIBE.")


def _feature_ids(value: Mapping[str, Any]) -> frozenset[str] | Unreadable:
    ids = value.get("featureIds")
    if not isinstance(ids, list) or not all(isinstance(one, str) and 0 < len(one) <= ID_CHARACTERS for one in ids):
        return Unreadable(f"featureIds must be a list of strings of 1 to {ID_CHARACTERS} characters.")
    return frozenset(ids)


def iso_timestamp(milliseconds: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC, e.g. 2025-10-20T15:30:45.123Z."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


class Composer:
    """Builds whole frames, ready for the wire.

    Timestamps are taken when a message is built and never fall, so they do not fall per feature either: while the
    wall clock stands behind one already given, that one is repeated.
    """

    def __init__(self) -> None:
        self._latest = 0

    def ping(self) -> bytes:
        return self.frame({"type": "PING"})

    def vote_update(self, now_ms: int, feature_id: str, vote_count: int, voter_id: str, action: str) -> bytes:
        return self.frame(
            {
                "type": "VOTE_UPDATE",
                "featureId": feature_id,
                "voteCount": vote_count,
                "voterId": voter_id,
                "action": action,
                "timestamp": self.timestamp(now_ms),
            }
        )

    def feature_updated(self, now_ms: int, feature_id: str, changes: Mapping[str, object]) -> bytes:
        stamp = self.timestamp(now_ms)
        return self.frame({"type": "FEATURE_UPDATE", "featureId": feature_id, "changes": dict(changes), "timestamp": stamp})

    def feature_created(self, now_ms: int, feature: Mapping[str, object]) -> bytes:
        return self.frame(
            {"type": "FEATURE_CREATED", "feature": dict(feature), "timestamp": self.timestamp(now_ms)},
        )

    def feature_deleted(self, now_ms: int, feature_id: str) -> bytes:
        return self.frame({"type": "FEATURE_DELETED", "featureId": feature_id, "timestamp": self.timestamp(now_ms)})

    def error(self, now_ms: int, code: str, message: str, context: Mapping[str, object] | None = None) -> bytes:
        body: dict[str, object] = {"type": "ERROR", "code": code, "message": message}
        if context is not None:
            body["context"] = dict(context)
        return self.frame({**body, "timestamp": self.timestamp(now_ms)})

    def timestamp(self, now_ms: int) -> str:
        self._latest = max(self._latest, now_ms)
        return iso_timestamp(self._latest)

    def frame(self, message: Mapping[str, object]) -> bytes:
        return encode(Opcode.TEXT, orjson.dumps(message))
