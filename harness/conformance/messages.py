"""Frames as the messages in them, whatever shape a batch has, and as evidence that holds no secret."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.conformance.records import FrameRecord
from harness.net.connection import Connection
from harness.net.frames import Opcode, parse_close
from harness.net.transcript import Frame
from harness.target.session import Session
from schemas import load_contract

__all__ = ["Secrets", "Seen", "enveloped", "evidence", "messages_in", "shown", "unpack"]

_TEXT = 2000  # characters of one frame that are kept as evidence
_FRAMES = 40  # frames of one connection that are kept: the last ones
_FOREIGN = 10  # of which that many are broadcasts about other checks' features
_SHORTEST_SECRET = 8
_SERVER = frozenset(load_contract().messages.server)
_BROADCAST = _SERVER - {"PING", "ERROR"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One message and the frame that brought it; a batch frame brings several."""

    message: dict[str, Any]
    frame: Frame

    @property
    def at(self) -> float:
        """When it arrived; monotonic seconds."""
        return self.frame.at


def unpack(frame: Frame) -> list[dict[str, Any]]:
    """The messages of a frame from the server: one object, or those in a batch (an array, or an envelope of a type of its own)."""
    return messages_in(frame.json()) if frame.direction == "in" else []


def messages_in(value: object) -> list[dict[str, Any]]:
    """The same of a frame's JSON value."""
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict)]
    if not isinstance(value, dict):
        return []
    return (enveloped(value) if value.get("type") not in _SERVER else []) or [value]


def enveloped(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages that an object of a type of its own holds; none when it is no envelope."""
    for part in value.values():
        if isinstance(part, list) and part and all(isinstance(item, dict) and "type" in item for item in part):
            return part
    return []


class Secrets:
    """The session values in use: found in what a target sends, hidden in what we write. Used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._texts: tuple[str, ...] = ()
        self._bytes: tuple[bytes, ...] = ()

    def add(self, session: Session) -> None:
        """Remember a session's cookie value, its decoded form and the token inside it."""
        value = session.value.get_secret_value().strip('"')
        if value in self._known:
            return
        texts = {value, session.token()}
        with self._lock:
            self._known.add(value)
            new = {text for text in texts if len(text) >= _SHORTEST_SECRET} - set(self._texts)
            if new:
                # Longest first: a token is part of the value that holds it.
                self._texts = tuple(sorted({*self._texts, *new}, key=len, reverse=True))
                self._bytes = tuple(text.encode() for text in self._texts)

    def within(self, payload: bytes) -> bool:
        """Whether any of them stands in these bytes."""
        return any(secret in payload for secret in self._bytes)

    def hide(self, text: str) -> str:
        """The text with every one of them replaced."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, "[session]")
        return text


def shown(frame: Frame, secrets: Secrets) -> str:
    """What a frame said, for people."""
    if frame.opcode == Opcode.CLOSE:
        code, reason = parse_close(frame.payload)
        return secrets.hide(f"Close {code} {reason}".strip())
    if frame.opcode in (Opcode.PING, Opcode.PONG):
        return f"{Opcode(frame.opcode).name} control frame, {len(frame.payload)} bytes"
    text = frame.payload[:_TEXT].decode("utf-8", "backslashreplace")
    return secrets.hide(text) + (f"… ({len(frame.payload)} bytes)" if len(frame.payload) > _TEXT else "")


def evidence(
    parts: Sequence[Connection | tuple[str, float, Frame]], secrets: Secrets, features: Collection[str] = ()
) -> tuple[FrameRecord, ...]:
    """The last frames of each connection, and single frames given as (connection's name, its opening, frame).

    `features` are the check's own: broadcasts about others are marked as such, and fewer of them are kept.
    """
    found: list[FrameRecord] = []
    for part in parts:
        if isinstance(part, Connection):
            frames = part.frames()
            own = [frame for frame in frames if _own(frame, features)][-_FRAMES:]
            foreign = [frame for frame in frames[-_FRAMES:] if not _own(frame, features)][-_FOREIGN:]
            kept = sorted([*own, *foreign], key=lambda frame: frame.index)
            found += [_record(part.name, part.opened_at, frame, secrets, _own(frame, features)) for frame in kept]
            ended = part.closed
            if ended is not None:
                how = f"TCP ended by the {ended.ended_by}" + (f": {ended.problem}" if ended.problem else "")
                found.append(FrameRecord(part.name, ended.ended_at - part.opened_at, "end", -1, secrets.hide(how)))
        else:
            found.append(_record(*part, secrets))
    return tuple(found)


def _own(frame: Frame, features: Collection[str]) -> bool:
    """Whether a frame is not plainly a broadcast about what others do."""
    return frame.type not in _BROADCAST or any(feature.encode() in frame.payload for feature in features)


def _record(name: str, opened_at: float, frame: Frame, secrets: Secrets, own: bool = True) -> FrameRecord:
    return FrameRecord(name, frame.at - opened_at, frame.direction, frame.opcode, shown(frame, secrets), own)
