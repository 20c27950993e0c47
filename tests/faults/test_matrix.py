"""The judgement of the matrix: what counts as caught, what as explained, and what no row may hide."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ExitCode
from harness.faults.known import Fault
from harness.faults.matrix import Judged, Matrix, Row, Seen, judge
from harness.verdict import Verdict
from schemas import load_clauses

CLAUSES = tuple(load_clauses())
OWN = "VOTE-01"
CONVICTED = {Verdict.FAIL, Verdict.WARN}
BAD = CONVICTED | {Verdict.INCONCLUSIVE, Verdict.NOT_TESTABLE}

seen = st.builds(Seen, st.sampled_from([None, *Verdict]), st.text(max_size=10))
many = st.dictionaries(st.sampled_from(CLAUSES), seen, max_size=12)
follows = st.dictionaries(st.sampled_from([id_ for id_ in CLAUSES if id_ != OWN]), st.just("because it says so"), max_size=12)
CLEAN = {id_: Seen(Verdict.PASS) for id_ in CLAUSES}


def fault(**more: str) -> Fault:
    return Fault("a-fault", OWN, "It breaks.", more, ())


def judged(verdicts: dict[str, Verdict | None], problem: str = "", **more: str) -> Judged:
    row = Row("a-fault", {id_: Seen(verdict) for id_, verdict in verdicts.items()}, problem=problem)
    return judge(fault(**more), row, CLEAN)


def matrix(*rows: Judged, sound: dict[str, Seen] | None = None, problem: str = "") -> Matrix:
    return Matrix((Row("sound", CLEAN if sound is None else sound, problem=problem, rigs=("as it is",)),), rows, 1.0, False, 0.1)


@given(many, many, follows)
def test_a_fault_is_caught_by_its_own_clause_alone(row: dict[str, Seen], sound: dict[str, Seen], why: dict[str, str]) -> None:
    result = judge(Fault("x", OWN, "It breaks.", why, ()), Row("x", row), sound)
    expected = OWN in row and row[OWN].verdict in CONVICTED and (OWN not in sound or sound[OWN].verdict not in CONVICTED)
    assert result.caught == expected


@given(many, many, follows)
def test_every_other_difference_for_the_worse_is_listed_once_and_explained_by_follows_alone(
    row: dict[str, Seen], sound: dict[str, Seen], why: dict[str, str]
) -> None:
    result = judge(Fault("x", OWN, "It breaks.", why, ()), Row("x", row), sound)
    worse = {
        id_ for id_, one in row.items() if id_ != OWN and one.verdict in BAD and (id_ not in sound or sound[id_].verdict is not one.verdict)
    }
    assert [each.clause for each in result.breaks] == [id_ for id_ in CLAUSES if id_ in worse]
    assert {each.clause for each in result.unexplained} == worse - set(why)
    assert all(each.why == why.get(each.clause, "") for each in result.breaks)
    told = {clause: reason for reason, clauses in result.reasons for clause in clauses}
    assert told == {each.clause: each.why for each in result.breaks}
    assert [reason for reason, _ in result.reasons].count("") == ([reason for reason, _ in result.reasons][:1] == [""])


@given(many, many, follows)
def test_a_row_is_right_exactly_when_nothing_is_told_against_it(row: dict[str, Seen], sound: dict[str, Seen], why: dict[str, str]) -> None:
    result = judge(Fault("x", OWN, "It breaks.", why, ()), Row("x", row), sound)
    assert result.right == (result.told == "")
    assert (matrix(result).exit_code is ExitCode.PASS) == result.right


def test_what_is_wrong_names_what_was_expected_and_what_was_seen() -> None:
    missed = judged({OWN: Verdict.PASS, "BAT-01": Verdict.WARN})
    assert missed.told.startswith("expected FAIL of VOTE-01, observed PASS")
    assert "BAT-01 is WARN, which nothing explains" in missed.told
    assert not judged({OWN: Verdict.FAIL, "BAT-01": Verdict.WARN}, **{"BAT-01": "it follows"}).told
    assert judged({}).told == "expected FAIL of VOTE-01, observed no verdict"


def test_a_row_with_a_problem_is_never_right() -> None:
    hung = judged({OWN: Verdict.FAIL}, problem="the checks did not end in time")
    assert hung.caught
    assert not hung.right
    assert matrix(hung).exit_code is ExitCode.FAIL
    assert "1 rows are not whole" in matrix(hung).reason


def test_without_a_clean_sound_server_nothing_is_judged() -> None:
    good = judged({OWN: Verdict.FAIL})
    for verdict in (Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE):
        dirty = matrix(good, sound={**CLEAN, "HB-01": Seen(verdict)})
        assert dirty.exit_code is ExitCode.INVALID
        assert f"HB-01 {verdict}" in dirty.reason
    assert matrix(good, problem="it did not start").exit_code is ExitCode.INVALID
    assert matrix(good, sound={}).exit_code is ExitCode.INVALID
    assert matrix(good).exit_code is ExitCode.PASS


def test_nothing_tried_is_never_green() -> None:
    assert matrix().exit_code is ExitCode.INVALID


def test_the_sentence_counts() -> None:
    both = matrix(judged({OWN: Verdict.FAIL}), judged({OWN: Verdict.PASS, "HB-01": Verdict.FAIL}))
    assert both.reason == "1 of 2 faults are caught by their own clause, 1 verdicts on other clauses are not explained."
    assert both.exit_code is ExitCode.FAIL
