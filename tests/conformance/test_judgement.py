"""The judgement is pure: any records in, a verdict a clause and an exit code out, and nothing tested is never green."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.conformance.baseline import Entry
from harness.conformance.catalogue import Selection
from harness.conformance.judgement import GateResult, Rules, judge
from harness.conformance.outcome import worst
from harness.conformance.records import CheckRecord
from harness.errors import ExitCode
from harness.verdict import Verdict
from schemas import Level, load_clauses

TODAY = datetime.date(2026, 1, 15)
VERDICTS = st.sampled_from(list(Verdict))
IDS = list(load_clauses())
MUSTS = [each.id for each in load_clauses().values() if each.level is Level.MUST]


def check(clause: str, verdict: Verdict, name: str = "test_it", **more: Any) -> dict[str, Any]:
    return CheckRecord(clause, name, verdict, **more).as_record(f"again {clause}")


def plan(clause: str, name: str = "test_it", left_out: str = "") -> dict[str, Any]:
    return {"kind": "plan", "clause": clause, "check": name, "left_out": left_out}


def judged(records: list[dict[str, Any]], selection: Selection | None = None, **rules: Any) -> GateResult:
    rules = {"baseline": {}, "today": TODAY, **rules}
    return judge(records, selection=selection or Selection(), rules=Rules(**rules), unchecked={}, target={"name": "t"}, duration=1.0)


def known(clause: str, days: int = 10) -> dict[str, Entry]:
    return {clause: Entry(clause, "we know", TODAY + datetime.timedelta(days=days))}


@given(st.lists(VERDICTS, min_size=1))
def test_a_proven_break_outweighs_all_and_doubt_outweighs_a_pass(verdicts: list[Verdict]) -> None:
    found = worst(verdicts)
    assert found in verdicts
    assert (found is Verdict.FAIL) == (Verdict.FAIL in verdicts)
    if found is Verdict.PASS:
        assert set(verdicts) <= {Verdict.PASS, Verdict.INFO}


def test_worst_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError):
        worst([])


@given(st.dictionaries(st.sampled_from(IDS), VERDICTS))
def test_green_takes_something_judged_and_no_open_must(verdicts: dict[str, Verdict]) -> None:
    result = judged([record for id_, verdict in verdicts.items() for record in (plan(id_), check(id_, verdict))])
    seen = set(verdicts.values())
    unsure = any(verdict is Verdict.INCONCLUSIVE and id_ in MUSTS for id_, verdict in verdicts.items())
    expected = (
        ExitCode.FAIL if Verdict.FAIL in seen else ExitCode.INVALID if not seen & {Verdict.PASS, Verdict.WARN} or unsure else ExitCode.PASS
    )
    assert result.exit_code is expected
    assert result.verdicts() == verdicts


@given(st.dictionaries(st.sampled_from(IDS), VERDICTS))
def test_every_clause_is_listed_with_a_verdict_or_a_reason(verdicts: dict[str, Verdict]) -> None:
    result = judged([record for id_, verdict in verdicts.items() for record in (plan(id_), check(id_, verdict))])
    assert [each.clause.id for each in result.clauses] == IDS
    assert all(each.verdict is not None or each.reason for each in result.clauses)
    tested, selected = result.coverage
    assert selected == len(IDS)
    assert tested == sum(verdict not in (Verdict.NOT_TESTABLE, Verdict.INCONCLUSIVE) for verdict in verdicts.values())


def test_a_planned_check_without_a_record_is_inconclusive() -> None:
    result = judged([plan("HS-01"), plan("HS-01", "other"), check("HS-01", Verdict.PASS)])
    assert result.verdicts()["HS-01"] is Verdict.INCONCLUSIVE
    assert "never ended" in next(each for each in result.clauses if each.clause.id == "HS-01").checks[1].reason


def test_the_observer_judges_a_clause_whose_own_check_saw_nothing() -> None:
    own = check("GEN-05", Verdict.INCONCLUSIVE)
    assert judged([plan("GEN-05"), own]).verdicts()["GEN-05"] is Verdict.INCONCLUSIVE
    assert judged([plan("GEN-05"), own, check("GEN-05", Verdict.PASS, "observer", seen=3)]).verdicts()["GEN-05"] is Verdict.PASS
    assert judged([plan("GEN-05"), check("GEN-05", Verdict.PASS), check("GEN-05", Verdict.FAIL, "observer")]).exit_code is ExitCode.FAIL


def test_a_lost_target_is_unreachable_unless_something_was_broken_before() -> None:
    lost = {"kind": "lost", "problem": "no TCP connection"}
    records = [plan("HS-01"), check("HS-01", Verdict.PASS), plan("HS-02"), check("HS-02", Verdict.INCONCLUSIVE), lost]
    assert judged(records).exit_code is ExitCode.UNREACHABLE
    assert judged([*records, plan("HS-03"), check("HS-03", Verdict.FAIL)]).exit_code is ExitCode.FAIL


def test_a_known_failure_is_forgiven_until_its_date() -> None:
    records = [plan("HS-01"), check("HS-01", Verdict.FAIL), plan("HS-02"), check("HS-02", Verdict.PASS)]
    assert judged(records).exit_code is ExitCode.FAIL
    assert judged(records, baseline=known("HS-01")).exit_code is ExitCode.PASS
    assert judged(records, baseline=known("HS-01", days=0)).exit_code is ExitCode.PASS
    assert judged(records, baseline=known("HS-01", days=-1)).exit_code is ExitCode.FAIL
    assert judged(records, baseline=known("HS-02")).exit_code is ExitCode.FAIL


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.INFO])
def test_a_listed_clause_that_is_kept_fails_the_gate(verdict: Verdict) -> None:
    records = [plan("HS-01"), check("HS-01", verdict), plan("HS-02"), check("HS-02", Verdict.PASS)]
    result = judged(records, baseline=known("HS-01"))
    assert result.exit_code is ExitCode.FAIL
    assert "HS-01" in result.reason
    assert "take the entries out" in result.reason


@pytest.mark.parametrize("verdict", [Verdict.NOT_TESTABLE, Verdict.WARN, Verdict.FAIL])
def test_a_listed_clause_that_is_not_kept_leaves_the_gate_alone(verdict: Verdict) -> None:
    records = [plan("HS-01"), check("HS-01", verdict), plan("HS-02"), check("HS-02", Verdict.PASS)]
    assert judged(records, baseline=known("HS-01")).exit_code is ExitCode.PASS


def test_coverage_is_of_what_was_selected() -> None:
    records = [plan("HS-01"), check("HS-01", Verdict.PASS), plan("HS-02"), check("HS-02", Verdict.NOT_TESTABLE)]
    only = Selection(clauses=("HS-01", "HS-02"))
    assert judged(records, only).coverage == (1, 2)
    assert judged(records, only, min_coverage=0.5).exit_code is ExitCode.PASS
    assert judged(records, only, min_coverage=0.51).exit_code is ExitCode.INVALID


def test_slow_checks_that_were_left_out_are_not_selected() -> None:
    result = judged([plan("HB-01", left_out="it waits 30 s"), plan("HS-01"), check("HS-01", Verdict.PASS)])
    slow = next(each for each in result.clauses if each.clause.id == "HB-01")
    assert (slow.selected, slow.verdict, slow.reason) == (False, None, "it waits 30 s")


def test_recorded_clauses_alone_are_never_green() -> None:
    result = judged([plan("HS-11"), check("HS-11", Verdict.INFO)], Selection(clauses=("HS-11",)))
    assert result.exit_code is ExitCode.INVALID


def test_inconclusive_musts_can_be_allowed() -> None:
    records = [plan("HS-01"), check("HS-01", Verdict.INCONCLUSIVE), plan("HS-02"), check("HS-02", Verdict.PASS)]
    assert judged(records).exit_code is ExitCode.INVALID
    assert judged(records, allow_inconclusive=True).exit_code is ExitCode.PASS
