"""What a check run leaves behind: one record a check, written the moment it ends, so that a killed run keeps what it had.

Each process writes a journal of its own below the run folder; `read_records` puts them together again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.journal import FORMAT, Journal, read_journal
from harness.verdict import Verdict

__all__ = ["HANDSHAKE", "CheckRecord", "FrameRecord", "Recorder", "read_records", "record_from"]

_PARTS = "parts"
HANDSHAKE = -2
"""Where a frame's opcode would stand: what was answered to a handshake. -1 is the end of TCP."""


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame of the evidence. `at`: seconds since the connection opened; `text` is cut and has no session value in it."""

    connection: str
    at: float
    direction: str
    opcode: int
    text: str
    own: bool = True
    """False for a broadcast that another check caused."""


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """How one check of one clause ended. `started`: seconds since the run began; `duration`: seconds."""

    clause: str
    check: str
    verdict: Verdict
    expected: str = ""
    observed: str = ""
    reason: str = ""
    """Of INFO what was recorded, of NOT_TESTABLE and INCONCLUSIVE why."""
    hook: str = ""
    readings: Mapping[str, str] = field(default_factory=dict)
    """Which readings the check asked for, and what it was told."""
    frames: tuple[FrameRecord, ...] = ()
    started: float = 0.0
    duration: float = 0.0
    seen: int = 0
    """Of the observer: how many frames or events stand behind the verdict; of a check 0."""

    def as_record(self, command: str) -> dict[str, Any]:
        """For the journal."""
        return {
            "kind": "check",
            "clause": self.clause,
            "check": self.check,
            "verdict": str(self.verdict),
            "expected": self.expected,
            "observed": self.observed,
            "reason": self.reason,
            "hook": self.hook,
            "readings": dict(self.readings),
            "frames": [[f.connection, round(f.at, 6), f.direction, f.opcode, f.text, f.own] for f in self.frames],
            "started": round(self.started, 6),
            "duration": round(self.duration, 6),
            "seen": self.seen,
            "command": command,
        }


def record_from(data: Mapping[str, Any]) -> CheckRecord:
    """Back from the journal."""
    return CheckRecord(
        clause=data["clause"],
        check=data["check"],
        verdict=Verdict(data["verdict"]),
        expected=data["expected"],
        observed=data["observed"],
        reason=data["reason"],
        hook=data["hook"],
        readings=data["readings"],
        frames=tuple(FrameRecord(*entry) for entry in data["frames"]),
        started=data["started"],
        duration=data["duration"],
        seen=data["seen"],
    )


class Recorder:
    """Appends to a journal of this process below `folder`; may be used from many threads. A folder of None keeps nothing."""

    def __init__(self, folder: Path | None, part: str) -> None:
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        if folder is not None:
            place = folder / _PARTS / part
            place.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(place)
            self._journal.write({"kind": "header", "format": FORMAT, "part": part})

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, which has a kind. Raises JournalFull when the disk refuses."""
        with self._lock:
            if self._journal is not None and not self._journal.closed:
                self._journal.write(record)

    def close(self) -> None:
        with self._lock:
            if self._journal is not None and not self._journal.closed:
                self._journal.close({"kind": "footer"})


def read_records(folder: Path, kinds: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every record of these kinds, of all processes of the run, in no particular order between processes.

    A part that cannot be read is passed over: the clauses it would have judged are then without a verdict, and say so.
    """
    wanted = list(kinds)
    for place in sorted((folder / _PARTS).glob("*")):
        try:
            journal = read_journal(place)
        except HarnessError:
            continue
        for kind in wanted:
            yield from journal.records(kind)
