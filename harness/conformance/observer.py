"""Watches every frame of every connection of a run and judges the clauses that hold for all of them, whatever a check is about.

A message is judged once by its bytes, for a broadcast is the same on every socket; what depends on the connection (order, role,
what came after a Close) is judged as it comes. The rule: a clause of which nothing was seen has no verdict from here.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harness.conformance.messages import Secrets, evidence
from harness.conformance.outcome import broke_verdict, worst
from harness.conformance.records import CheckRecord, FrameRecord
from harness.net.frames import Opcode, parse_close
from harness.net.transcript import Frame
from harness.verdict import Verdict
from schemas import Level, NotJson, Problem, is_timestamp, load_clauses, load_contract, parse, validate_server

__all__ = ["OBSERVED", "Finding", "Observer", "Watch"]

OBSERVED = (
    "GEN-01", "GEN-02", "GEN-03", "GEN-04", "GEN-05", "GEN-06", "GEN-07", "GEN-09",
    "CLS-06", "CLS-07", "ERR-01", "ERR-02", "ERR-13", "VOTE-14", "VOTE-16", "SEC-06", "SEC-08",
)  # fmt: skip
"""The clauses that are judged here. Checks may judge them as well, and should provoke what is to be seen."""

_CACHE = 4096  # messages remembered by their bytes
_KEPT = 5  # breaks of one clause that are kept
_BEFORE = 8  # frames of a connection kept as what came before
_UTC_MS = re.compile(r".*\.\d{3}Z")
_PERSONAL = re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}|(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|\+\d[\d ()/-]{8,}\d")
_INNARDS = re.compile(r"Traceback|File \"|\bat \S+ \(|(?:/[\w.-]+){2,}\.(?:py|js|ts|go|rb|java|php|rs)\b|[A-Z]:\\\\")
_FREE_TEXT = frozenset({"title", "description"})  # what users wrote themselves


@dataclass(frozen=True, slots=True)
class Finding:
    """One break of a clause. `soft`: a WARN whatever the level. `shape`: the batch shape that would make it none."""

    clause: str
    expected: str
    observed: str
    soft: bool = False
    shape: str = ""


@dataclass(frozen=True, slots=True)
class _Judged:
    findings: tuple[Finding, ...]
    messages: tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class _Tally:
    """Of one clause: how much was seen that could have broken it, and the first breaks with their frames."""

    seen: int = 0
    broken: int = 0
    kept: list[tuple[Finding, tuple[FrameRecord, ...]]] = field(default_factory=list)


class Observer:
    """clock_slack: seconds that a timestamp may lie from its arrival. names: the user names known now.

    readings: what the profile declares. Callbacks may come from many threads at once.
    """

    def __init__(self, readings: Mapping[str, str], clock_slack: float, secrets: Secrets, names: Callable[[], Collection[str]]) -> None:
        self._readings, self._slack, self._secrets, self._names = readings, clock_slack, secrets, names
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, bytes], _Judged] = OrderedDict()
        self._tallies = {id_: _Tally() for id_ in OBSERVED}
        self._contract = load_contract()
        self._regular_open = 0

    def watch(self, name: str, role: str, opened_at: float) -> Watch:
        """The callback for one connection. `name` shows in evidence; `role` is of the session, "" when there is none."""
        return Watch(self, name, role, opened_at)

    # ---- what the watches report

    def count(self, *clauses: str, by: int = 1) -> None:
        """So much more was seen that these clauses speak of."""
        with self._lock:
            for id_ in clauses:
                self._tallies[id_].seen += by

    def broke(self, finding: Finding, frames: tuple[FrameRecord, ...]) -> None:
        """A break was seen."""
        with self._lock:
            tally = self._tallies[finding.clause]
            tally.broken += 1
            if len(tally.kept) < _KEPT or not any(finding.observed == kept.observed for kept, _ in tally.kept[:_KEPT]):
                tally.kept = [*tally.kept, (finding, frames)][: 2 * _KEPT]

    def regular(self, change: int) -> None:
        with self._lock:
            self._regular_open += change

    def admin_event(self) -> None:
        """An administrator's socket saw an event of its own: the regular ones that are open now are being tried."""
        with self._lock:
            self._tallies["SEC-06"].seen += self._regular_open

    # ---- judging

    def judge(self, opcode: int, message: bytes) -> _Judged:
        """What is wrong with these bytes of a data message, from the cache where they were seen before."""
        key = (opcode, message)
        with self._lock:
            known = self._cache.get(key)
            if known is not None:
                self._cache.move_to_end(key)
                return known
        judged = self._judge(opcode, message)
        with self._lock:
            self._cache[key] = judged
            while len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        return judged

    def _judge(self, opcode: int, message: bytes) -> _Judged:
        found: list[Finding] = []
        if self._secrets.within(message):
            found.append(Finding("GEN-09", "no session value in any frame", "the value of a session cookie stands in the frame"))
        if opcode != Opcode.TEXT:
            found.append(Finding("GEN-01", "a TEXT frame", f"a data frame with opcode {opcode}"))
            return _Judged(tuple(found), ())
        try:
            value = parse(message)
        except NotJson as error:
            found.append(Finding("GEN-01", "UTF-8 text that is one JSON object", str(error)))
            return _Judged(tuple(found), ())
        messages: list[Mapping[str, Any]]
        if isinstance(value, list):
            found.append(Finding("GEN-01", "one JSON object", "a JSON array", shape="array"))
            messages = [item for item in value if isinstance(item, dict)]
        elif not isinstance(value, dict):
            found.append(Finding("GEN-01", "one JSON object", f"a JSON {type(value).__name__}"))
            return _Judged(tuple(found), ())
        else:
            messages = [value]
            if value.get("type") not in self._contract.messages.server:
                inside = _enveloped(value)
                shape = "envelope" if inside else ""
                wanted = ", ".join(self._contract.messages.server)
                found.append(Finding("GEN-02", f"a type among {wanted}", f"type {value.get('type')!r:.60}", shape=shape))
                messages = inside
        for each in messages:
            found += self._judge_message(each)
        return _Judged(tuple(found), tuple(messages))

    def _judge_message(self, message: Mapping[str, Any]) -> list[Finding]:
        found: list[Finding] = []
        lenient = validate_server(message, strict=False)
        for problem in lenient:
            found += self._told(message, problem)
        if self._readings.get("extra_properties") != "open" or lenient:
            told = {problem.path for problem in lenient}
            for problem in validate_server(message, strict=True):
                if problem.path not in told:
                    found += self._strict(problem)
        found += self._times(message) + self._exposed(message)
        if message.get("type") == "ERROR" and isinstance(message.get("message"), str) and _INNARDS.search(message["message"]):
            found.append(Finding("ERR-13", "a text for people", f"it shows the server's innards: {message['message'][:80]!r}"))
        return found

    def _told(self, message: Mapping[str, Any], problem: Problem) -> list[Finding]:
        """To which clause a broken rule of the schema belongs: to the most telling one only."""
        kind, path, rule = message.get("type"), problem.path, problem.rule
        last = path.rpartition(".")[2]
        if rule == "format":
            return [Finding("GEN-05", "an ISO 8601 date-time with a zone", problem.text)]
        if kind == "ERROR" and path == "code" and rule == "enum":
            if self._readings.get("error_codes") == "extended":
                return []
            return [Finding("ERR-02", "a code of the contract's table", problem.text)]
        if kind == "ERROR":
            return [Finding("ERR-01", "an ERROR of the declared form", problem.text), Finding("GEN-03", "the type's schema", problem.text)]
        if kind == "VOTE_UPDATE" and last == "voteCount" and rule in ("type", "minimum"):
            vote = Finding("VOTE-14", "voteCount to be a whole number, 0 or more", problem.text)
            return [vote] if rule == "minimum" else [vote, Finding("GEN-03", "the type's schema", problem.text)]
        if path == "type":
            return []  # GEN-02 has said so
        return [Finding("GEN-03", "a message that keeps the schema of its type", problem.text)]

    @staticmethod
    def _strict(problem: Problem) -> list[Finding]:
        if problem.rule == "minLength":
            return [Finding("GEN-07", "ids that are not empty", problem.text)]
        if problem.rule in ("additionalProperties", "unevaluatedProperties"):
            return [Finding("GEN-04", "declared properties only", problem.text)]
        return []  # an empty `changes` is FUPD-04, whose check knows whether anything had changed

    def _times(self, message: Mapping[str, Any]) -> list[Finding]:
        stamp = message.get("timestamp")
        if not isinstance(stamp, str) or not is_timestamp(stamp) or self._readings.get("timestamp") == "any_zone":
            return []
        if _UTC_MS.fullmatch(stamp):
            return []
        return [Finding("GEN-05", "UTC with Z and milliseconds, as 2025-10-20T15:30:45.123Z", f"{stamp!r:.40}", soft=True)]

    def _exposed(self, message: Mapping[str, Any]) -> list[Finding]:
        names = [name for name in self._names() if len(name) > 2]
        for path, text in _strings(message):
            last = path.rpartition(".")[2]
            if last in _FREE_TEXT or path == "feature.createdBy.name":
                continue
            if _PERSONAL.search(text):
                return [Finding("SEC-08", "nothing that looks like an e-mail, telephone or IP address", f"{path} has one")]
            if any(name in text for name in names):
                return [Finding("SEC-08", "a user's name in feature.createdBy.name only", f"{path} has one")]
        return []

    def about(self, frame: Frame, messages: Collection[Mapping[str, Any]]) -> list[Finding]:
        """What depends on when a frame came: its timestamps against its arrival (GEN-06)."""
        found = []
        for message in messages:
            stamp = message.get("timestamp")
            if isinstance(stamp, str) and is_timestamp(stamp):
                off = frame.wall - datetime.fromisoformat(stamp).timestamp()
                if abs(off) > self._slack:
                    way = "before" if off > 0 else "after"
                    what = f"{abs(off):.3f} s {way} its arrival"
                    found.append(Finding("GEN-06", f"a timestamp within {self._slack:g} s of its arrival", what))
        return found

    # ---- the verdicts

    def records(self, admin_events: Callable[[], str], batch_shape: Callable[[], str], selected: Collection[str]) -> list[CheckRecord]:
        """A record for each selected clause of which something was seen. The readings are asked for only where they matter."""
        with self._lock:
            tallies = {id_: (tally.seen, tally.broken, list(tally.kept)) for id_, tally in self._tallies.items() if id_ in selected}
        found = []
        for id_, (seen, broken, kept) in tallies.items():
            readings: dict[str, str] = {}
            if kept and id_ == "SEC-06":
                readings["admin_events"] = admin_events()
                if readings["admin_events"] == "everyone":
                    kept, broken = [], 0
            if any(finding.shape for finding, _ in kept):
                readings["batch_shape"] = shape = batch_shape()
                kept = [entry for entry in kept if entry[0].shape != shape or not shape]
                broken = broken if kept else 0
            if not seen and not kept:
                continue
            found.append(_record(id_, seen, broken, kept, readings))
        return found


def _record(
    id_: str, seen: int, broken: int, kept: list[tuple[Finding, tuple[FrameRecord, ...]]], readings: Mapping[str, str]
) -> CheckRecord:
    level = load_clauses()[id_].level
    verdict = Verdict.INFO if level is Level.INFO else Verdict.PASS
    if not kept:
        return CheckRecord(id_, "observer", verdict, reason=f"{seen} seen, none against it", readings=readings, seen=seen)
    verdict = worst(broke_verdict(level, soft=finding.soft) for finding, _ in kept)
    finding, frames = next(entry for entry in kept if broke_verdict(level, soft=entry[0].soft) is verdict)
    observed = finding.observed if broken == 1 else f"{finding.observed} (and {broken - 1} more)"
    reason = observed if verdict is Verdict.INFO else ""
    return CheckRecord(
        id_, "observer", verdict, finding.expected, observed, reason, readings=readings, frames=frames, seen=max(seen, broken)
    )


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
            if frame.opcode == Opcode.CLOSE and self._close is None:
                self._closed_by_us = True
            return
        if frame.opcode == Opcode.CLOSE:
            self._closing(frame)
        elif frame.opcode < Opcode.CLOSE and self._close is not None:
            self._broke(Finding("CLS-07", "nothing but silence after its Close frame", f"a data frame of {len(frame.payload)} bytes"))
        if frame.message is not None and frame.message_opcode is not None:
            self._data(frame, frame.message_opcode, frame.message)

    def _broke(self, finding: Finding) -> None:
        frames = evidence([(self._name, self._opened_at, frame) for frame in self._recent], self._observer._secrets)
        self._observer.broke(finding, frames)

    def _closing(self, frame: Frame) -> None:
        if self._close is not None:
            return
        self._close = frame
        self._observer.count("CLS-07")
        self.end()
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
        judged = observer.judge(opcode, message)
        observer.count("GEN-01", "GEN-02", "GEN-03", "GEN-04", "GEN-09")
        for finding in (*judged.findings, *observer.about(frame, judged.messages)):
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
        if before is None or self._observer._readings.get("ordering") == "convergent":
            return
        if datetime.fromisoformat(stamp) < datetime.fromisoformat(before):
            what = f"{stamp} after {before} for one feature"
            self._broke(Finding("VOTE-16", "timestamps of one feature that never go back", what))


def _enveloped(value: dict[str, Any]) -> list[Mapping[str, Any]]:
    for part in value.values():
        if isinstance(part, list) and part and all(isinstance(item, dict) and "type" in item for item in part):
            return list(part)
    return []


def _strings(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[str, str]] = []
    for key, part in items:
        found += _strings(part, f"{path}.{key}".removeprefix("."))
    return found
