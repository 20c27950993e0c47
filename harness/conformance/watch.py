"""One connection as the observer sees it: order, role, and what comes after a Close. What a message says by itself is `scrutiny`'s."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from harness.conformance.messages import evidence
from harness.conformance.records import FrameRecord
from harness.conformance.scrutiny import Finding
from harness.net.frames import CLOSE, parse_close
from harness.net.transcript import Frame
from schemas import is_timestamp, load_contract

if TYPE_CHECKING:
    from harness.conformance.observer import Observer

__all__ = ["Watch"]

_BEFORE = 8  # frames of a connection kept as what came before


class Watch:
    """One connection's frames, as they come. Called in its reader's and its senders' threads."""

    def __init__(self, observer: Observer, name: str, role: str, opened_at: float) -> None:
        self._observer, self._name, self._role, self._opened_at = observer, name, role, opened_at
        self._recent: deque[Frame] = deque(maxlen=_BEFORE)
        self._closed_by_us = False
        self._close: Frame | None = None
        self._stamps: dict[str, str] = {}
        self._contract = load_contract()
        self._counted = role == "regular"
        if self._counted:
            observer.regular(+1)

    def end(self) -> None:
        """The check has let go of the connection."""
        if self._counted:
            self._counted = False
            self._observer.regular(-1)

    def __call__(self, frame: Frame) -> None:
        self._recent.append(frame)
        if frame.direction == "out":
            if frame.opcode == CLOSE and self._close is None:
                self._closed_by_us = True
            return
        if frame.opcode == CLOSE:
            self._closing(frame)
        elif frame.opcode < CLOSE and self._close is not None:
            self._broke(Finding("CLS-07", "nothing but silence after its Close frame", f"a data frame of {len(frame.payload)} bytes"))
        if frame.message is not None and frame.message_opcode is not None:
            self._data(frame, frame.message_opcode, frame.message)

    def _broke(self, finding: Finding) -> None:
        self._observer.broke(finding, self._evidence)

    def _evidence(self) -> tuple[FrameRecord, ...]:
        return evidence([(self._name, self._opened_at, frame) for frame in tuple(self._recent)], self._observer.secrets)

    def _closing(self, frame: Frame) -> None:
        if self._close is not None:
            return
        self._close = frame
        self._observer.count("CLS-07", "GEN-09")
        self.end()
        if self._observer.secrets.within(frame.payload):
            what = "the value of a session cookie stands in a Close frame's reason"
            self._broke(Finding("GEN-09", "no session value in any frame", what))
        if self._closed_by_us:
            return
        self._observer.count("CLS-06")
        code, _ = parse_close(frame.payload)
        allowed = self._contract.close.permitted_from_server
        if code not in allowed:
            what = "a Close frame without a code" if not frame.payload else f"Close {code}"
            self._broke(Finding("CLS-06", f"a close code among {', '.join(map(str, sorted(allowed)))}", what))

    def _data(self, frame: Frame, opcode: int, message: bytes) -> None:
        observer = self._observer
        judged = observer.scrutiny.judge(opcode, message)
        observer.count("GEN-01", "GEN-02", "GEN-03", "GEN-04", "GEN-09")
        for finding in (*judged.findings, *observer.scrutiny.about(frame, judged.messages)):
            self._broke(finding)
        for each in judged.messages:
            self._message(each)

    def _message(self, message: Mapping[str, Any]) -> None:
        observer, kind = self._observer, message.get("type")
        if "timestamp" in message:
            observer.count("GEN-05", "GEN-06")
        if kind == "ERROR":
            observer.count("ERR-01", "ERR-02", "ERR-13")
        elif kind == "VOTE_UPDATE":
            observer.count("GEN-07", "VOTE-14", "VOTE-16", "SEC-08")
            self._in_order(message)
        elif isinstance(kind, str) and kind.startswith("FEATURE_"):
            observer.count("GEN-07", "SEC-08")
        if kind in self._contract.messages.admin_only:
            if self._role == "regular":
                allowed = [each for each in self._contract.messages.server if each not in self._contract.messages.admin_only]
                self._broke(Finding("SEC-06", f"a regular user to see only {', '.join(allowed)}", f"{kind} on a regular user's socket"))
            elif self._role == "admin":
                observer.admin_event()

    def _in_order(self, message: Mapping[str, Any]) -> None:
        feature, stamp = message.get("featureId"), message.get("timestamp")
        if not isinstance(feature, str) or not isinstance(stamp, str) or not is_timestamp(stamp):
            return
        before = self._stamps.get(feature)
        self._stamps[feature] = stamp
        if before is None or self._observer.readings.get("ordering") == "convergent":
            return
        if datetime.fromisoformat(stamp) < datetime.fromisoformat(before):
            what = f"{stamp} after {before} for one feature"
            self._broke(Finding("VOTE-16", "timestamps of one feature that never go back", what))
