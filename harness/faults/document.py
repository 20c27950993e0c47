"""The matrix as JSON and as Markdown. The form of the JSON is published in faults.schema.json and only ever grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from harness.faults.matrix import Judged, Matrix, Row
from schemas import load_clauses, load_sections

__all__ = ["VERSION", "document", "markdown"]

VERSION = 1
_FEW = 6  # that a table cell can name


def document(matrix: Matrix, started: float) -> dict[str, Any]:
    """Everything that was found. `started`: seconds since the epoch."""
    return {
        "format": VERSION,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(matrix.seconds, 1),
        "time_scale": matrix.time_scale,
        "own_only": matrix.own_only,
        "exit_code": int(matrix.exit_code),
        "reason": matrix.reason,
        "counts": {
            "faults": len(matrix.rows),
            "caught": matrix.caught,
            "right": sum(each.right for each in matrix.rows),
            "explained": sum(len(each.breaks) - len(each.unexplained) for each in matrix.rows),
            "unexplained": sum(len(each.unexplained) for each in matrix.rows),
        },
        "sound": [_row(row) for row in matrix.sound],
        "faults": [_judged(each) for each in matrix.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "rigs": list(row.rigs),
        "seconds": round(row.seconds, 1),
        "attempt": row.attempt,
        "problem": row.problem,
        "verdicts": {id_: None if seen.verdict is None else str(seen.verdict) for id_, seen in row.seen.items()},
    }


def _judged(each: Judged) -> dict[str, Any]:
    return {
        "name": each.fault.name,
        "clause": each.fault.clause,
        "summary": each.fault.summary,
        "needs": list(each.fault.needs),
        "caught": each.caught,
        "right": each.right,
        "told": each.told,
        "own": {"verdict": None if each.own.verdict is None else str(each.own.verdict), "reason": each.own.reason},
        "breaks": [{"clause": one.clause, "verdict": str(one.verdict), "why": one.why, "reason": one.reason} for one in each.breaks],
        **_row(each.row),
    }


def markdown(matrix: Matrix, started: float) -> str:
    """A page for a repository or a step summary."""
    return "\n".join(_lines(matrix, started)) + "\n"


def _lines(matrix: Matrix, started: float) -> Iterator[str]:
    moment = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M UTC")
    what = "each fault against its own clause" if matrix.own_only else "every clause against every fault"
    yield "# Seeded faults\n"
    yield f"**{matrix.reason}**\n"
    yield f"{moment}, {what}, all durations x {matrix.time_scale:g}, {matrix.seconds / 60:.1f} minutes.\n"
    for row, text in matrix.unclean:
        yield f"- the server without a fault ({', '.join(row.rigs)}): {_cell(text)}"
    if matrix.wrong:
        yield "## Not right\n"
        yield from (f"- `{each.fault.name}`: {_cell(each.told)}" for each in matrix.wrong)
        yield ""
    faulted = {each.fault.clause for each in matrix.rows}
    yield f"{len(matrix.rows)} faults of {len(faulted)} clauses ({', '.join(_levels(faulted, load_clauses()))}). Where many clauses break"
    yield "with a fault, the table counts them by section; each by name, with what was seen of it, is in faults.html and faults.json.\n"
    for key, section in load_sections().items():
        rows = [each for each in matrix.rows if load_clauses()[each.fault.clause].section.key == key]
        if rows:
            yield f"## {key}: {section.title}\n"
            yield from _table(rows)
            yield ""


def _table(rows: list[Judged]) -> Iterator[str]:
    yield "| fault | what it does | its clause | verdict | what breaks with it |"
    yield "| --- | --- | --- | --- | --- |"
    for each in rows:
        also = "; ".join(f"{_named(clauses)}: {_cell(why) or '**unexplained**'}" for why, clauses in each.reasons)
        yield f"| `{each.fault.name}` | {_cell(each.fault.summary)} | {each.fault.clause} | {each.own.verdict or 'none'} | {also} |"


def _named(clauses: tuple[str, ...]) -> str:
    """By name while they are few, else how many of which sections."""
    if len(clauses) <= _FEW:
        return ", ".join(clauses)
    counts = Counter(load_clauses()[id_].section.key for id_ in clauses)
    where = ", ".join(f"{key} {count}" for key, count in counts.items()) if len(counts) <= _FEW else f"in {len(counts)} sections"
    return f"{len(clauses)} clauses ({where})"


def _levels(faulted: set[str], clauses: Any) -> Iterator[str]:
    for name in ("MUST", "SHOULD"):
        yield f"{sum(str(clauses[id_].level) == name for id_ in faulted)} {name}"


def _cell(text: str) -> str:
    """Text from the wire in a table cell: nothing of it is markup."""
    for char in "\\`|*_<>[]":
        text = text.replace(char, f"\\{char}")
    return " ".join(text.split())
