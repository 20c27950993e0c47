"""index.html from a run folder, and from nothing else: one file, no script, no network, readable in fifty years.

A folder may hold a load run (its journal), a conformance run (its conformance.json) or both; the page has one head and a part for each.
Everything that came over the wire or from a profile is text and escaped by the templates; only our own drawings are markup.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.errors import UsageError
from harness.journal import read_journal
from harness.report.gate_cards import gate_troubles
from harness.report.gate_file import GATE_SCENARIO, Gate, read_gate
from harness.report.gate_head import gate_head
from harness.report.gate_part import gate_body
from harness.report.gate_words import ROOMY
from harness.report.head import Head, joined
from harness.report.shell import style, template
from harness.run_folder import RunFolder, write_whole

if TYPE_CHECKING:
    from harness.analysis.reconnect.summary import StudyAssessment
    from harness.analysis.summary import Assessment

__all__ = ["MOST", "has_load_run", "html", "render", "write_page"]

_SECTION = re.compile(r'<h2 id="([a-z-]+)"[^>]*>([^<]+)</h2>')
MOST = 2_900_000
"""Bytes that a page may take; what a run says beyond it stays in the run folder's other files."""


def render(folder: Path) -> Path:
    """Write index.html into a run folder, whole or not at all, and answer its path. The same folder gives the same bytes.

    Raises HarnessError where there is neither a load run's journal nor a gate's result to read.
    """
    folder = Path(folder)
    gate = read_gate(folder)
    load = None
    if has_load_run(folder, gate):
        from harness.analysis.kinds import assess_run  # pandas takes a second to load, and a conformance run needs none of it

        load = assess_run(folder)
    return write_page(folder, load, gate)


def write_page(folder: Path, load: Assessment | StudyAssessment | None, gate: Gate | None) -> Path:
    """Write the page of what was read and judged already. Raises UsageError when there is neither."""
    path = RunFolder(folder).report
    write_whole(path, html(load, gate).encode())
    return path


def has_load_run(folder: Path, gate: Gate | None) -> bool:
    """Whether the folder's journal is a load run's. A folder without a gate's result can only be one. Raises HarnessError where the
    journal cannot be read."""
    if gate is None:
        return True
    return RunFolder(folder).journal.is_file() and read_journal(folder).header.get("scenario") != GATE_SCENARIO


def html(load: Assessment | StudyAssessment | None, gate: Gate | None = None) -> str:
    """The page as text. Raises UsageError when there is neither."""
    heads: list[Head] = []
    troubles: list[Markup] = []
    bodies: list[Markup] = []
    if load is not None:
        head, trouble, body = _load_parts(load)
        heads, troubles, bodies = [head], [trouble], [body]
    if gate is None:
        return _page(heads, troubles, bodies)
    heads = [gate_head(gate), *heads]
    for room in ROOMY:
        text = _page(heads, [gate_troubles(gate, room), *troubles], [gate_body(gate, room), *bodies])
        if len(text.encode()) <= MOST:
            break
    return text


def _load_parts(load: Assessment | StudyAssessment) -> tuple[Head, Markup, Markup]:
    from harness.analysis.summary import Assessment  # pandas and matplotlib, likewise

    if isinstance(load, Assessment):
        from harness.report.load_part import load_body, load_head, load_troubles

        return load_head(load), load_troubles(load), load_body(load)
    from harness.report.reconnect_part import reconnect_body, reconnect_head, reconnect_troubles

    return reconnect_head(load), reconnect_troubles(load), reconnect_body(load)


def _page(heads: list[Head], troubles: list[Markup], bodies: list[Markup]) -> str:
    if not heads:
        raise UsageError("there is nothing to report", "run folder", "name the folder of a load run or of a conformance run")
    head = joined(heads)
    titles = [found.groups() for part in (*troubles, *bodies) for found in _SECTION.finditer(part)]
    sections = [(id_, Markup(title).unescape()) for id_, title in titles]  # noqa: S704 - our templates' own headings
    css = Markup(style())  # noqa: S704 - our own file
    return template("page.html.j2").render(css=css, head=head, sections=sections, troubles=troubles, bodies=bodies)
