"""The result as text for a terminal: the verdict first, failures next, then what else there is to know."""

from __future__ import annotations

from collections.abc import Iterable

from harness.conformance.conductor import explain
from harness.conformance.judgement import ClauseResult, GateResult
from harness.errors import ExitCode
from harness.verdict import Verdict
from schemas import load_sections

__all__ = ["WORDS", "terminal_text"]

WORDS = {
    ExitCode.PASS: "PASS",
    ExitCode.FAIL: "FAIL",
    ExitCode.USAGE: "USAGE",
    ExitCode.UNREACHABLE: "UNREACHABLE",
    ExitCode.INVALID: "INVALID",
}


def terminal_text(result: GateResult) -> str:
    """Lines without colour; the first says it all."""
    tested, selected = result.coverage
    counts = "  ".join(f"{verdict} {count}" for verdict, count in result.counts.items() if count)
    lines = [f"{WORDS[result.exit_code]}: {result.reason}", ""]
    lines += [f"  ! {problem}" for problem in result.problems]
    told = [each for each in result.selected if each.fails]
    told += [each for each in result.selected if each.verdict is Verdict.FAIL and not each.fails]
    told += [each for each in result.selected if each.verdict is Verdict.WARN]
    told += [each for each in result.selected if each.verdict is Verdict.INCONCLUSIVE]
    for each in told:
        lines += [*_told(each), ""]
    lines += _grouped("not testable", (each for each in result.selected if each.verdict is Verdict.NOT_TESTABLE))
    lines += _grouped("no verdict", (each for each in result.selected if each.verdict is None))
    recorded = [each for each in result.selected if each.verdict is Verdict.INFO]
    if recorded:
        lines += ["recorded:", *(f"  {each.clause.id}  {each.reason}" for each in recorded), ""]
    if result.readings:
        lines += ["readings:", *(f"  {key} = {value} ({source})" for key, (value, source) in sorted(result.readings.items())), ""]
    for key, section in load_sections().items():
        within = [each for each in result.selected if each.clause.section.key == key]
        if within:
            passed = sum(each.verdict is Verdict.PASS for each in within)
            lines.append(f"  {key:<5} {passed:>3} of {len(within):>3} kept   {section.title}")
    share = f"{tested} of {selected} selected clauses tested" + (f" ({tested / selected:.0%})" if selected else "")
    lines += ["", f"{counts or 'no verdicts'}", f"coverage: {share}; {result.duration:.1f} s on {result.target.get('name', 'the target')}"]
    return "\n".join(lines)


def _told(each: ClauseResult) -> list[str]:
    telling = each.telling
    if each.stale or telling is None:
        return [f"{each.clause.id}: {each.reason}"]
    lines = [explain(telling, each.command, each.clause)]
    if each.known is not None:
        lines.append(f"  known until {each.known.expires}: {each.known.reason}")
    return lines


def _grouped(title: str, results: Iterable[ClauseResult]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for each in results:
        by_reason.setdefault(each.reason, []).append(each.clause.id)
    if not by_reason:
        return []
    return [f"{title}:", *(f"  {', '.join(ids)}: {reason}" for reason, ids in by_reason.items()), ""]
