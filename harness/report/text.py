"""The run on a terminal: plain text, the verdict in its first line, what failed next, and no colour of its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness import words
from harness.report.advice import troubled
from harness.report.gate_file import Gate
from harness.report.gate_words import rank, verdict_word
from harness.verdict import Verdict

if TYPE_CHECKING:
    from harness.analysis.reconnect.summary import StudySummary
    from harness.analysis.summary import Summary

__all__ = ["gate_text", "summary_text"]

_ORDER = (Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.INFO, Verdict.INCONCLUSIVE, Verdict.NOT_TESTABLE)


def summary_text(summary: Summary | StudySummary) -> str:
    """Some twenty lines. Text that came over the wire is stripped of control characters, so it cannot steer the terminal."""
    first = f"{summary.verdict}: {summary.sentence}"
    if summary.cut_short:
        first = f"{summary.verdict} (cut short): {summary.sentence}"
    lines = [first]
    for reason in summary.reasons:
        lines += [f"  why   {reason.sentence}"] if reason.sentence not in first else []
        lines.append(f"        {reason.remedy}")
    for benchmark in troubled(summary):
        lines.append(f"  {benchmark.verdict:<5} {benchmark.title}: {benchmark.detail}")
        lines += [f"        {benchmark.remedy}"] if benchmark.remedy else []
    lines.append("")
    width = max(len(benchmark.title) for benchmark in summary.benchmarks)
    head = f"  {'benchmark':<{width}}  {'measured':>12}  {'limit':>12}  {'margin':>8}  {'samples':>11}  verdict"
    lines.append(head)
    lines += [
        f"  {b.title:<{width}}  {words.measured(b):>12}  {words.limit(b):>12}  {words.margin(b):>8}  {b.samples:>11,}  {b.verdict}"
        for b in sorted(summary.benchmarks, key=lambda b: _ORDER.index(b.verdict))
    ]
    lines.append("")
    lines.append(f"  {summary.target} {summary.url}, {summary.scenario}, {words.moment(summary.started)}, {words.span(summary.seconds)}")
    return "\n".join(_safe(line) for line in lines) + "\n"


def gate_text(gate: Gate) -> str:
    """The verdict, what is broken or open with the command that runs it again, and the counts; control characters are stripped."""
    lines = [f"{verdict_word(gate.exit_code)}: {gate.reason}"]
    lines += [f"  !     {problem}" for problem in gate.problems]
    told = sorted((each for each in gate.selected if rank(each) < rank(None)), key=rank)
    for each in told:
        telling = each.telling
        lines.append(f"  {each.verdict or '':<5} {each.id} ({each.level}): {each.statement}")
        if telling is not None and telling.observed and not each.stale:
            lines.append(f"        expected {telling.expected}; observed {telling.observed}")
        elif each.reason:
            lines.append(f"        {each.reason}")
        if each.command:
            lines.append(f"        {each.command}")
    counted = Counter(each.verdict for each in gate.selected)
    lines += ["", "  " + ", ".join(f"{counted[verdict]} {verdict}" for verdict in Verdict if counted[verdict])]
    where = f"{gate.target.get('name', '')} {gate.target.get('ws_url', '')}"
    tested, selected = gate.coverage
    lines.append(f"  {tested} of {selected} selected clauses tested; {where}, {words.moment(gate.started)}, {words.span(gate.duration)}")
    return "\n".join(_safe(line) for line in lines) + "\n"


def _safe(line: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\u202f" else " " for letter in line).rstrip()
