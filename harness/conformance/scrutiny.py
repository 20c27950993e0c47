"""What is wrong with a message by itself: its bytes, its form, its times and what it gives away.

A message is judged once by its bytes, for a broadcast is the same on every socket. Nothing here knows of connections.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.conformance.messages import Secrets, enveloped
from harness.net.frames import Opcode
from harness.net.transcript import Frame
from schemas import NotJson, Problem, is_timestamp, load_contract, parse, validate_server

__all__ = ["Finding", "Judged", "Scrutiny"]

_CACHE = 4096  # messages remembered by their bytes
_SHORT = 2  # characters, of which a name is too short to be looked for
_UTC_MS = re.compile(r".*\.\d{3,}Z")  # finer than milliseconds has them too
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
class Judged:
    findings: tuple[Finding, ...]
    messages: tuple[Mapping[str, Any], ...]


class Scrutiny:
    """clock_slack: seconds that a timestamp may lie from its arrival. names: the user names known now. error_codes: beside the contract's.

    readings: what the profile declares. May be used from many threads.
    """

    def __init__(
        self,
        readings: Mapping[str, str],
        clock_slack: float,
        secrets: Secrets,
        names: Callable[[], Collection[str]],
        error_codes: Collection[str],
    ) -> None:
        self._readings, self._slack, self._secrets, self._names = readings, clock_slack, secrets, names
        self._error_codes = error_codes
        self._contract = load_contract()
        self._lock = threading.Lock()
        self._searched: tuple[Collection[str], re.Pattern[str] | None] = ((), None)
        self._cache: OrderedDict[tuple[int, bytes], Judged] = OrderedDict()

    def judge(self, opcode: int, message: bytes) -> Judged:
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

    def _judge(self, opcode: int, message: bytes) -> Judged:
        found: list[Finding] = []
        if self._secrets.within(message):
            found.append(Finding("GEN-09", "no session value in any frame", "the value of a session cookie stands in the frame"))
        if opcode != Opcode.TEXT:
            found.append(Finding("GEN-01", "a TEXT frame", f"a data frame with opcode {opcode}"))
            return Judged(tuple(found), ())
        try:
            value = parse(message)
        except NotJson as error:
            found.append(Finding("GEN-01", "UTF-8 text that is one JSON object", str(error)))
            return Judged(tuple(found), ())
        messages: list[Mapping[str, Any]]
        if isinstance(value, list):
            found.append(Finding("GEN-01", "one JSON object", "a JSON array", shape="array"))
            messages = [item for item in value if isinstance(item, dict)]
        elif not isinstance(value, dict):
            found.append(Finding("GEN-01", "one JSON object", f"a JSON {type(value).__name__}"))
            return Judged(tuple(found), ())
        else:
            messages = [value]
            if value.get("type") not in self._contract.messages.server:
                inside = enveloped(value)
                shape = "envelope" if inside else ""
                wanted = ", ".join(self._contract.messages.server)
                found.append(Finding("GEN-02", f"a type among {wanted}", f"type {value.get('type')!r:.60}", shape=shape))
                messages = list(inside)
        for each in messages:
            found += self._judge_message(each)
        return Judged(tuple(found), tuple(messages))

    def _judge_message(self, message: Mapping[str, Any]) -> list[Finding]:
        found: list[Finding] = []
        strict = validate_server(message, strict=True, extra_error_codes=self._error_codes)
        # What keeps the strict schema keeps the lenient one.
        lenient = validate_server(message, strict=False, extra_error_codes=self._error_codes) if strict else ()
        for problem in lenient:
            found += self._told(message, problem)
        if self._readings.get("extra_properties") != "open" or lenient:
            told = {problem.path for problem in lenient}
            for problem in strict:
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
        named = self._named()
        for path, text in _strings(message):
            last = path.rpartition(".")[2]
            if last in _FREE_TEXT or path == "feature.createdBy.name":
                continue
            if _PERSONAL.search(text):
                return [Finding("SEC-08", "nothing that looks like an e-mail, telephone or IP address", f"{path} has one")]
            # In prose a name of one word may be a word: Max is no user in "Max 10 messages".
            if named is not None and any(path != "message" or " " in found[0] for found in named.finditer(text)):
                return [Finding("SEC-08", "a user's name in feature.createdBy.name only", f"{path} has one")]
        return []

    def _named(self) -> re.Pattern[str] | None:
        """Finds any user's name as whole words; None when none is known."""
        names = self._names()
        if names != self._searched[0]:
            # The longest first: of Ada and Ada Example it is the latter that stands there.
            long = [re.escape(name) for name in sorted(names, key=len, reverse=True) if len(name) > _SHORT]
            self._searched = names, re.compile(rf"(?<!\w)(?:{'|'.join(long)})(?!\w)") if long else None
        return self._searched[1]

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


def _strings(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[str, str]] = []
    for key, part in items:
        found += _strings(part, f"{path}.{key}".removeprefix("."))
    return found
