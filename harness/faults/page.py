"""The matrix as one HTML page: the verdict, what is not right, the grid fault by clause, and each fault in words.

One file, no script, no network. Everything that came from a server is text and escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from harness.faults.matrix import Judged, Matrix
from harness.report.shell import style
from harness.verdict import Verdict
from harness.words import visible
from schemas import load_clauses, load_sections

__all__ = ["html"]

_MARKS = {Verdict.FAIL: "F", Verdict.WARN: "W", Verdict.INCONCLUSIVE: "?", Verdict.NOT_TESTABLE: "-"}


@dataclass(frozen=True, slots=True)
class _Cell:
    """One clause on one server: `kind` is own, missed, follows or wrong, and empty where nothing broke."""

    mark: str = ""
    kind: str = ""


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.faults", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(matrix: Matrix, started: float) -> str:
    """The page as text. `started`: seconds since the epoch."""
    tried = {id_ for each in matrix.rows for id_ in (*each.row.seen, each.fault.clause)}
    clauses = [clause for clause in load_clauses().values() if clause.id in tried]
    sections = [
        (f"{section.key}: {section.title}", rows)
        for key, section in load_sections().items()
        if (rows := [each for each in matrix.rows if load_clauses()[each.fault.clause].section.key == key])
    ]
    css = style() + resources.files("harness.faults").joinpath("templates/faults.css").read_text("utf-8")
    return (
        _environment()
        .get_template("faults.html.j2")
        .render(
            css=Markup(css),  # noqa: S704 - our own files
            matrix=matrix,
            word={0: "PASS", 1: "FAIL"}.get(int(matrix.exit_code), "INVALID"),
            moment=datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            clauses=clauses,
            grid=[(each, [_cell(each, clause.id) for clause in clauses]) for each in matrix.rows],
            sections=sections,
            also=sum(len(each.breaks) for each in matrix.rows),
            open=sum(len(each.unexplained) for each in matrix.rows),
            faulted=len({each.fault.clause for each in matrix.rows}),
        )
    )


def _cell(each: Judged, clause: str) -> _Cell:
    if clause == each.fault.clause:
        return _Cell(_MARKS.get(each.own.verdict, "0") if each.own.verdict else "0", "own" if each.caught else "missed")
    broke = next((one for one in each.breaks if one.clause == clause), None)
    if broke is None:
        return _Cell()
    return _Cell(_MARKS[broke.verdict], "follows" if broke.why else "wrong")
