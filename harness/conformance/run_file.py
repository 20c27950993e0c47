"""The journal of a whole gate run: a header before anything is done, so that a run that is cut short can still be judged, the records of
all its processes, and a footer when it was judged.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.conformance.catalogue import Selection
from harness.conformance.judgement import GateResult, Rules, judge
from harness.conformance.outputs.document import document
from harness.conformance.records import read_records
from harness.conformance.unchecked import unchecked
from harness.errors import RunInvalid
from harness.journal import FORMAT, Journal, read_journal
from harness.revision import git_revision
from schemas import Level, load_clauses

__all__ = ["KINDS", "RESULT", "Begun", "begin", "conclude", "rebuild_gate"]

RESULT = "conformance.json"
KINDS = ("plan", "check", "reading", "lost")
_PACKAGES = ("roadmap-harness", "pytest", "websocket-client")
_CUT_SHORT = "the run was cut short before it was judged: what its checks had found until then is kept"


@dataclass(frozen=True, slots=True)
class Begun:
    """What a run begins with. `target`: facts of the target, for people; `started`: seconds since the epoch."""

    selection: Selection
    target: Mapping[str, str]
    started: float
    seed: int
    min_coverage: float
    allow_inconclusive: bool
    levels: Mapping[str, str]
    """The levels of the profile, by clause."""


def begin(folder: Path, begun: Begun) -> Journal:
    """The journal of a new run, with its header written."""
    journal = Journal(folder)
    journal.write(
        {
            "kind": "header",
            "format": FORMAT,
            "run": folder.name,
            "scenario": "conformance",
            "started": begun.started,
            "target": dict(begun.target),
            "seed": begun.seed,
            "selection": dataclasses.asdict(begun.selection),
            "rules": {"min_coverage": begun.min_coverage, "allow_inconclusive": begun.allow_inconclusive},
            "levels": dict(begun.levels),
            "git": git_revision(Path.cwd()),
            "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        }
    )
    return journal


def conclude(journal: Journal, result: GateResult, records: Iterable[Mapping[str, object]], begun: Begun) -> None:
    """Write what was found and how it was judged, here and as JSON beside it, and close the journal."""
    for record in records:
        journal.write(record)
    _write_result(journal.path.parent, result, begun.started)
    journal.close({"kind": "footer", "ended": time.time(), "exit_code": int(result.exit_code), "reason": result.reason})


def _write_result(folder: Path, result: GateResult, started: float) -> None:
    text = json.dumps(document(result, started), ensure_ascii=False, indent=1)
    draft = folder / f"{RESULT}.new"
    draft.write_text(text + "\n", "utf-8", errors="backslashreplace")
    draft.replace(folder / RESULT)


def rebuild_gate(folder: Path) -> GateResult:
    """Judge a run that was cut short by what its processes left behind, without a baseline, and write its conformance.json.

    Raises RunInvalid when it ended before it had begun, UsageError when there is no journal.
    """
    header = read_journal(folder).header
    try:
        selected: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in header["selection"].items()}
        begun = Begun(
            Selection(**selected), header["target"], header["started"], header["seed"], **header["rules"], levels=header["levels"]
        )
        levels = {id_: Level(level) for id_, level in begun.levels.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunInvalid(f"the header is not a gate's ({type(error).__name__}: {error})", str(folder), "run the check again") from None
    records = list(read_records(folder, KINDS))
    last = max((record["started"] + record["duration"] for record in records if record["kind"] == "check"), default=0.0)
    result = judge(
        records,
        selection=begun.selection,
        rules=Rules({}, datetime.now(UTC).date(), begun.min_coverage, begun.allow_inconclusive),
        unchecked=unchecked(),
        target=begun.target,
        duration=last,
        problems=[_CUT_SHORT],
        clauses={id_: dataclasses.replace(each, level=levels.get(id_, each.level)) for id_, each in load_clauses().items()},
    )
    _write_result(folder, result, begun.started)
    return result
