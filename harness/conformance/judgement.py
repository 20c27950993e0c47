"""From the records of a run to one verdict a clause, the counts, the coverage and the exit code. Pure: files in, values out.

The rule: nothing tested is never green, and what nobody could look at is listed with the reason.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.conformance.baseline import Entry, still_known
from harness.conformance.catalogue import Selection
from harness.conformance.outcome import worst
from harness.conformance.records import CheckRecord, record_from
from harness.errors import ExitCode
from harness.verdict import Verdict
from schemas import Clause, Level, load_clauses

__all__ = ["ClauseResult", "GateResult", "Rules", "judge"]

_TESTED = (Verdict.PASS, Verdict.FAIL, Verdict.WARN, Verdict.INFO)
_JUDGED = (Verdict.PASS, Verdict.FAIL, Verdict.WARN)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user demands beyond the contract. min_coverage: share (0 to 1) of the selected clauses that must have been tested."""

    baseline: Mapping[str, Entry]
    today: datetime.date
    min_coverage: float = 0.0
    allow_inconclusive: bool = False


@dataclass(frozen=True, slots=True)
class ClauseResult:
    """One clause. `verdict` is None when it was not judged, and `reason` says why then; `known` when the baseline lists it."""

    clause: Clause
    verdict: Verdict | None
    selected: bool
    reason: str
    checks: tuple[CheckRecord, ...]
    command: str
    known: Entry | None = None
    stale: bool = False
    """The baseline lists it, and it is kept now."""

    @property
    def telling(self) -> CheckRecord | None:
        """The check that decided the verdict."""
        return next((each for each in self.checks if each.verdict is self.verdict), None)

    @property
    def fails(self) -> bool:
        """Whether it alone makes the gate fail."""
        return self.stale or (self.verdict is Verdict.FAIL and self.known is None)


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate run says. `reason` is one sentence; `readings`: key -> (reading, declared | detected | default)."""

    exit_code: ExitCode
    reason: str
    clauses: tuple[ClauseResult, ...]
    readings: Mapping[str, tuple[str, str]]
    target: Mapping[str, str]
    selection: Selection
    duration: float
    problems: tuple[str, ...]

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many selected clauses have each verdict; every verdict is there."""
        counted = Counter(each.verdict for each in self.selected)
        return {verdict: counted[verdict] for verdict in Verdict}

    @property
    def selected(self) -> list[ClauseResult]:
        return [each for each in self.clauses if each.selected]

    @property
    def coverage(self) -> tuple[int, int]:
        """(clauses tested, clauses selected)."""
        return sum(each.verdict in _TESTED for each in self.selected), len(self.selected)

    def verdicts(self) -> dict[str, Verdict]:
        """By clause, of those that have one."""
        return {each.clause.id: each.verdict for each in self.clauses if each.verdict is not None}


def judge(
    records: Iterable[Mapping[str, Any]],
    *,
    selection: Selection,
    rules: Rules,
    unchecked: Mapping[str, str],
    target: Mapping[str, str],
    duration: float,
    problems: Iterable[str] = (),
    clauses: Mapping[str, Clause] | None = None,
) -> GateResult:
    """Merge the records of all processes.

    `unchecked`: clause -> why it has no check. `problems`: sentences about the run itself. `clauses`: the catalogue at the levels that
    hold, by default its own.
    """
    checks: dict[str, list[CheckRecord]] = {}
    commands: dict[str, str] = {}
    plans: dict[str, dict[str, str]] = {}
    readings: dict[str, tuple[str, str]] = {}
    told = list(problems)
    lost = ""
    for record in records:
        match record["kind"]:
            case "check":
                checks.setdefault(record["clause"], []).append(record_from(record))
                commands[record["clause"]] = record["command"]
            case "plan":
                plans.setdefault(record["clause"], {})[record["check"]] = record["left_out"]
            case "reading":
                readings[record["key"]] = (record["value"], record["source"])
            case "lost":
                lost = record["problem"]
    known = still_known(rules.baseline, rules.today)
    results = tuple(
        _clause(each, checks.get(each.id, []), plans.get(each.id, {}), commands.get(each.id, ""), selection, unchecked, known.get(each.id))
        for each in (clauses or load_clauses()).values()
    )
    result = GateResult(ExitCode.PASS, "", results, readings, target, selection, duration, tuple(told))
    code, reason = _decide(result, rules, lost)
    return GateResult(code, reason, results, readings, target, selection, duration, tuple(told))


def _clause(
    clause: Clause,
    records: list[CheckRecord],
    plan: Mapping[str, str],
    command: str,
    selection: Selection,
    unchecked: Mapping[str, str],
    known: Entry | None,
) -> ClauseResult:
    left_out = selection.why_not(clause)
    if left_out is not None:
        return ClauseResult(clause, None, False, left_out, (), command)
    due = [check for check, why in plan.items() if not why]
    slow = [why for why in plan.values() if why]
    missing = [check for check in due if not any(record.check == check for record in records)]
    for check in missing:
        records = [*records, CheckRecord(clause.id, check, Verdict.INCONCLUSIVE, reason="the check never ended: the run was cut short")]
    own = [record for record in records if record.check != "observer"]
    if not due and slow and not own:
        return ClauseResult(clause, None, False, slow[0], tuple(records), command)
    if not records:
        why = unchecked.get(clause.id, "no check is written for it")
        if plan or clause.id in unchecked:
            return ClauseResult(clause, Verdict.NOT_TESTABLE, True, why, (), command)
        return ClauseResult(clause, None, True, why, (), command)
    # An observer clause whose own check could not provoke anything is still judged by what the whole run showed.
    seen = [record for record in records if record.check == "observer" and record.verdict in _TESTED]
    weak = (Verdict.NOT_TESTABLE, Verdict.INCONCLUSIVE)
    counted = [record for record in records if not (seen and record.verdict in weak)]
    verdict = worst(record.verdict for record in counted)
    stale = known is not None and verdict in (Verdict.PASS, Verdict.INFO)
    telling = next(record for record in counted if record.verdict is verdict)
    reason = telling.reason or telling.observed
    if stale and known is not None:
        reason = f"it is kept, and the baseline still lists it ({known.reason}): take the entry out"
    return ClauseResult(clause, verdict, True, reason, tuple(records), command, known, stale)


def _decide(result: GateResult, rules: Rules, lost: str) -> tuple[ExitCode, str]:
    broken = [each for each in result.selected if each.fails and not each.stale]
    stale = [each for each in result.selected if each.stale]
    tested, selected = result.coverage
    if broken:
        return ExitCode.FAIL, f"{_count(broken)} broken: {_ids(broken)}"
    if stale:
        return ExitCode.FAIL, f"the baseline lists {_count(stale)} that the target keeps now ({_ids(stale)}): take the entries out"
    if lost:
        return ExitCode.UNREACHABLE, f"the target was lost during the run ({lost}): what was not judged by then says nothing"
    if not any(each.verdict in _JUDGED for each in result.selected):
        if result.problems:
            return ExitCode.INVALID, f"nothing was tested: {result.problems[0]}"
        if selected and all(each.verdict is Verdict.INFO for each in result.selected):
            return ExitCode.INVALID, "only clauses that are recorded and never judged were selected: nothing was tested"
        return ExitCode.INVALID, "nothing was tested: no selected clause could be judged"
    open_ = [each for each in result.selected if each.verdict is Verdict.INCONCLUSIVE and each.clause.level is Level.MUST]
    if open_ and not rules.allow_inconclusive:
        return ExitCode.INVALID, f"the evidence on {_count(open_)} is not good enough to judge: {_ids(open_)}"
    if selected and tested / selected < rules.min_coverage:
        share = f"{tested} of {selected} selected clauses were tested ({tested / selected:.0%})"
        return ExitCode.INVALID, f"{share}, and {rules.min_coverage:.0%} are demanded"
    if result.problems:
        return ExitCode.INVALID, f"no MUST is seen to be broken, but {result.problems[0]}"
    known = [each for each in result.selected if each.known is not None]
    besides = f", besides {_count(known)} in the baseline" if known else ""
    warned = result.counts[Verdict.WARN]
    return ExitCode.PASS, f"no MUST is broken{besides}" + (f"; {warned} SHOULD {'is' if warned == 1 else 'are'}" if warned else "")


def _count(results: list[ClauseResult]) -> str:
    return "1 clause" if len(results) == 1 else f"{len(results)} clauses"


def _ids(results: list[ClauseResult]) -> str:
    ids = [each.clause.id for each in results]
    return ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
