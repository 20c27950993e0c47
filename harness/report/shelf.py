"""All runs of a reports folder as values, from what each left behind for machines: verdicts.json of a load run, conformance.json of a gate.

No journal is read: a shelf of a thousand runs has to be listed in a second. A run whose verdict is missing or torn is listed as not
judged, and a folder without any evidence was never a run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.report.gate_file import FILE
from harness.report.gate_words import verdict_word
from harness.run_folder import RunFolder, is_run_name
from harness.verdict import Overall

__all__ = ["Group", "Run", "Shown", "groups", "read_shelf"]

_LOAD = ("latency", "memory", "connections", "broadcast_rate", "delivery")
_JUDGED = frozenset({Overall.PASS, Overall.FAIL})
_MOST_NUMBERS = 5
_ASKED = {"viewers": "{:,} viewers", "rate": "{:g} votes/s", "duration": "{:g} s"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One number of a run. `unit` as in a Benchmark; `limit` None where there is none; `verdict` as the run said it."""

    id: str
    title: str
    value: float
    limit: float | None
    unit: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Run:
    """`started` in seconds since the epoch; `verdict` is "" where nobody judged the run; `load`: what it was asked for, in words."""

    name: str
    page: bool
    started: float
    seconds: float
    kind: str
    target: str
    load: str
    verdict: str
    cut_short: bool
    sentence: str
    numbers: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one kind against one target under one load, oldest first: those between which a trend means something."""

    kind: str
    target: str
    load: str
    runs: tuple[Run, ...]


def read_shelf(reports: Path) -> list[Run]:
    """The runs in a reports folder, newest first."""
    folders = [folder for folder in reports.iterdir() if folder.is_dir() and is_run_name(folder.name)] if reports.is_dir() else []
    runs = [run for folder in folders for run in _runs(folder)]
    return sorted(runs, key=lambda run: (run.started, run.name, run.kind), reverse=True)


def groups(runs: Iterable[Run]) -> list[Group]:
    """Groups of judged runs, the one with the latest run first. What an unfit instrument read is no part of a trend."""
    by: dict[tuple[str, str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.started):
        if run.numbers and run.verdict in _JUDGED:
            by.setdefault((run.kind, run.target, run.load), []).append(run)
    found = [Group(*key, tuple(members)) for key, members in by.items()]
    return sorted(found, key=lambda group: -group.runs[-1].started)


def _runs(folder: Path) -> list[Run]:
    found = [run for run in (_load_run(folder), _gate_run(folder)) if run is not None]
    lies = RunFolder(folder)
    if found or not any(path.is_file() for path in (lies.journal, lies.verdicts, folder / FILE)):
        return found
    started, _, rest = folder.name.partition("-")
    moment = datetime.strptime(started, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    sentence = f"Nobody judged it: roadmap-harness report {folder.name}"
    return [Run(folder.name, _page(folder), moment, 0.0, rest.rpartition("-")[0], "", "", "", False, sentence, ())]


def _page(folder: Path) -> bool:
    return RunFolder(folder).report.is_file()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _load_run(folder: Path) -> Run | None:
    data = _read(RunFolder(folder).verdicts)
    try:
        asked = data.get("parameters") or {}
        numbers = [
            Shown(
                str(each["id"]),
                str(each["title"]),
                float(each["measured"]),
                None if each["limit"] is None else float(each["limit"]),
                str(each["unit"]),
                str(each["verdict"]),
            )
            for each in data["benchmarks"]
            if each["measured"] is not None and (each["id"] in _LOAD or not _of_broadcast(data))
        ]
        return Run(
            name=folder.name,
            page=_page(folder),
            started=float(data["started"]),
            seconds=float(data["seconds"]),
            kind=str(data["scenario"]).replace("_", " "),
            target=str(data["target"]),
            load=", ".join(form.format(asked[name]) for name, form in _ASKED.items() if asked.get(name)),
            verdict=str(data["verdict"]),
            cut_short=bool(data["cut_short"]),
            sentence=str(data["sentence"]),
            numbers=tuple(numbers[:_MOST_NUMBERS]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _of_broadcast(data: Mapping[str, Any]) -> bool:
    return {each["id"] for each in data["benchmarks"]} >= set(_LOAD)


def _gate_run(folder: Path) -> Run | None:
    data = _read(folder / FILE)
    try:
        verdicts = Counter(str(each["verdict"]) for each in data["clauses"] if each["selected"])
        kept, broken, warned = verdicts["PASS"], verdicts["FAIL"], verdicts["WARN"]
        selection = data["selection"]
        numbers = (
            Shown(
                "kept", "Clauses kept, of those judged", kept / max(1, kept + broken + warned), 1.0, "ratio", "FAIL" if broken else "PASS"
            ),
            Shown("must", "MUST broken", broken, 0.0, "count", "FAIL" if broken else "PASS"),
            Shown("should", "SHOULD broken", warned, 0.0, "count", "WARN" if warned else "PASS"),
            Shown("tested", "Clauses tested", int(data["coverage"]["tested"]), None, "count", "INFO"),
            Shown("time", "Time it took", float(data["duration"]), None, "s", "INFO"),
        )
        return Run(
            name=folder.name,
            page=_page(folder),
            started=datetime.fromisoformat(data["started"]).timestamp(),
            seconds=float(data["duration"]),
            kind="conformance",
            target=str(data["target"].get("name", "")),
            load=f"{selection.get('profile', 'full')} profile, {data['coverage']['selected']} clauses",
            verdict=verdict_word(int(data["exit_code"])),
            cut_short=False,
            sentence=str(data["reason"]),
            numbers=numbers,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
