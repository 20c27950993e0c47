"""The result as Markdown for a CI step's summary: one screen, failures first."""

from __future__ import annotations

from harness.conformance.judgement import ClauseResult, GateResult
from harness.conformance.outputs.terminal import WORDS
from harness.verdict import Verdict
from schemas import load_sections

__all__ = ["markdown_summary"]


def markdown_summary(result: GateResult) -> str:
    """Text that cannot break out of its table cells, whatever the target sent."""
    tested, selected = result.coverage
    lines = [f"## Conformance: {WORDS[result.exit_code]}", "", f"{_cell(result.reason)}.", ""]
    lines += [f"> {_cell(problem)}" for problem in result.problems]
    told = [each for each in result.selected if each.fails or each.verdict in (Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE)]
    order = [Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE]
    told.sort(key=lambda each: (not each.fails, order.index(each.verdict) if each.verdict in order else 0))
    if told:
        lines += ["| clause | verdict | expected | observed | again |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(each) for each in told]
        lines.append("")
    lines += ["| section | kept | selected |", "| --- | ---: | ---: |"]
    for key, section in load_sections().items():
        within = [each for each in result.selected if each.clause.section.key == key]
        if within:
            lines.append(f"| {key} {section.title} | {sum(each.verdict is Verdict.PASS for each in within)} | {len(within)} |")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in result.counts.items() if count)
    name = _cell(result.target.get("name", "the target"))
    lines += ["", f"{counts or 'no verdicts'}; {tested} of {selected} selected clauses tested, on {name}, in {result.duration:.0f} s."]
    return "\n".join(lines) + "\n"


def _row(each: ClauseResult) -> str:
    telling = each.telling
    verdict = f"{each.verdict}" + (" (known)" if each.known is not None and not each.stale else "")
    expected = telling.expected if telling is not None else ""
    observed = each.reason if each.stale or telling is None or not telling.observed else telling.observed
    return f"| {each.clause.id} | {verdict} | {_cell(expected)} | {_cell(observed)} | `{_cell(each.command)}` |"


def _cell(text: str) -> str:
    short = text if len(text) <= 300 else text[:300] + "…"
    return " ".join(short.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
