"""conformance.json, read back as values. The file is the only thing that the report knows of the gate.

Keys are only ever added to it, so what is not known here is passed over; a file that is torn or of a newer format is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import EvidenceLost, HarnessError, RunInvalid, UsageError
from harness.journal import read_journal
from harness.run_folder import RunFolder
from harness.verdict import Verdict

__all__ = ["FILE", "GATE_SCENARIO", "Check", "Clause", "Frame", "Gate", "Known", "Reading", "is_cut_short", "read_gate"]

FILE = "conformance.json"
GATE_SCENARIO = "conformance"
"""What the journal that the gate leaves beside its result calls its scenario."""
_FORMAT = 1
_PARTS = "parts"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of the evidence. `at`: seconds since its connection opened; `own`: not a broadcast that another check caused."""

    connection: str
    at: float
    direction: str
    opcode: int
    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Check:
    """How one check of a clause ended. `started` (since the run began) and `duration` in seconds."""

    check: str
    verdict: Verdict
    expected: str
    observed: str
    reason: str
    hook: str
    readings: Mapping[str, str]
    started: float
    duration: float
    seen: int
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """The baseline's entry for a clause."""

    reason: str
    expires: str


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause as the gate left it; `verdict` is None where it was not judged, and `reason` says why."""

    id: str
    section: str
    section_title: str
    statement: str
    lines: tuple[str, ...]
    level: str
    tier: str
    needs: tuple[str, ...]
    ambiguities: tuple[str, ...]
    since: str
    selected: bool
    verdict: Verdict | None
    reason: str
    command: str
    known: Known | None
    stale: bool
    checks: tuple[Check, ...]

    @property
    def fails(self) -> bool:
        """Whether it alone makes the gate fail."""
        return self.stale or (self.verdict is Verdict.FAIL and self.known is None)

    @property
    def telling(self) -> Check | None:
        """The check that decided the verdict."""
        return next((each for each in self.checks if each.verdict is self.verdict), None)


@dataclass(frozen=True, slots=True)
class Reading:
    """Which reading of an ambiguity held in this run; `source` is declared, detected or default."""

    key: str
    ambiguity: str
    reading: str
    source: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate run. `run` is its name, `started` seconds since the epoch, `duration` seconds, `coverage` (tested, selected)."""

    run: str
    started: float
    duration: float
    target: Mapping[str, str]
    selection: Mapping[str, Any]
    exit_code: int
    reason: str
    problems: tuple[str, ...]
    coverage: tuple[int, int]
    readings: tuple[Reading, ...]
    clauses: tuple[Clause, ...]
    header: Mapping[str, Any]
    """Of its journal; empty where there is none to read."""

    @property
    def selected(self) -> list[Clause]:
        return [each for each in self.clauses if each.selected]


def is_cut_short(folder: Path) -> bool:
    """Whether this is the folder of a gate's run that was never judged."""
    if (folder / FILE).exists():
        return False
    try:
        with RunFolder(folder).journal.open("rb") as file:
            header = json.loads(file.readline())  # a load run's journal is long: the first line is enough
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and header.get("scenario") == GATE_SCENARIO


def read_gate(folder: Path) -> Gate | None:
    """The gate's result in a run folder, None where there is none.

    Raises RunInvalid when the run was cut short before it was judged or the file is not whole, UsageError when a newer version
    wrote it, EvidenceLost when the disk fails.
    """
    path = folder / FILE
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        if (folder / _PARTS).is_dir():
            parts = len(list((folder / _PARTS).iterdir()))
            what = f"the conformance run was cut short before it was judged (the journals of {parts} processes are in {_PARTS}/)"
            raise RunInvalid(what, str(folder), "run the check again") from None
        return None
    except OSError as error:
        raise EvidenceLost(f"the gate's result cannot be read ({error.strerror})", str(path), "check the disk") from error
    except ValueError:
        raise RunInvalid("the gate's result is not whole", str(path), "run the check again") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        found = data.get("format") if isinstance(data, dict) else None
        what = f"the gate's result has format {found!r}, and this version reads {_FORMAT}"
        raise UsageError(what, str(path), "use the version that wrote it, or a newer one")
    try:
        return _gate(data, folder.resolve().name, _header(folder))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"the gate's result is not what the gate writes ({type(error).__name__}: {error})"
        raise RunInvalid(what, str(path), "run the check again") from None


def _header(folder: Path) -> Mapping[str, Any]:
    try:
        return read_journal(folder).header
    except HarnessError:
        return {}


def _gate(data: Mapping[str, Any], name: str, header: Mapping[str, Any]) -> Gate:
    return Gate(
        run=str(header.get("run") or name),
        started=datetime.fromisoformat(data["started"]).timestamp(),
        duration=float(data["duration"]),
        target={str(key): str(value) for key, value in data["target"].items()},
        selection=data["selection"],
        exit_code=int(data["exit_code"]),
        reason=str(data["reason"]),
        problems=tuple(map(str, data["problems"])),
        coverage=(int(data["coverage"]["tested"]), int(data["coverage"]["selected"])),
        readings=tuple(
            Reading(str(key), str(each["ambiguity"]), str(each["reading"]), str(each["source"]), str(each["meaning"]))
            for key, each in data["readings"].items()
        ),
        clauses=tuple(_clause(each) for each in data["clauses"]),
        header=header,
    )


def _clause(data: Mapping[str, Any]) -> Clause:
    known = data["known"]
    given: dict[str, Any] = {
        key: str(data[key]) for key in ("id", "section", "section_title", "statement", "level", "tier", "since", "reason")
    }
    given |= {key: tuple(map(str, data[key])) for key in ("lines", "needs", "ambiguities")}
    return Clause(
        **given,
        command=str(data["command"]),
        selected=bool(data["selected"]),
        verdict=None if data["verdict"] is None else Verdict(data["verdict"]),
        known=None if known is None else Known(str(known["reason"]), str(known["expires"])),
        stale=bool(data["stale"]),
        checks=tuple(_check(each) for each in data["checks"]),
    )


def _check(data: Mapping[str, Any]) -> Check:
    return Check(
        **{key: str(data[key]) for key in ("check", "expected", "observed", "reason", "hook")},
        verdict=Verdict(data["verdict"]),
        readings={str(key): str(value) for key, value in data["readings"].items()},
        started=float(data["started"]),
        duration=float(data["duration"]),
        seen=int(data["seen"]),
        frames=tuple(
            Frame(str(f["connection"]), float(f["at"]), str(f["direction"]), int(f["opcode"]), str(f["text"]), bool(f["own"]))
            for f in data["frames"]
        ),
    )
