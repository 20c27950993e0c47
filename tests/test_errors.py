"""Errors speak one sentence, carry the right exit code and survive the way between processes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import errors
from harness.errors import EvidenceLost, ExitCode, HarnessError, JournalFull, LoginRefused, RunInvalid, UsageError

CODES = {
    errors.UsageError: 2,
    errors.TargetUnreachable: 3,
    errors.LoginRefused: 3,
    errors.RunInvalid: 4,
    errors.EvidenceLost: 4,
    errors.JournalFull: 4,
}


def test_the_five_exit_codes_are_the_documented_ones() -> None:
    assert [(code.name, int(code)) for code in ExitCode] == [
        ("PASS", 0),
        ("FAIL", 1),
        ("USAGE", 2),
        ("UNREACHABLE", 3),
        ("INVALID", 4),
    ]


def test_every_error_has_its_code_and_none_is_forgotten_here() -> None:
    def descend(kind: type[HarnessError]) -> set[type[HarnessError]]:
        return {kind}.union(*(descend(child) for child in kind.__subclasses__()))

    ours = {kind for kind in descend(HarnessError) if kind.__module__ == errors.__name__} - {HarnessError}
    assert {kind: int(kind.exit_code) for kind in ours} == CODES


def test_a_full_journal_is_lost_evidence_and_lost_evidence_an_invalid_run() -> None:
    assert issubclass(JournalFull, EvidenceLost)
    assert issubclass(EvidenceLost, RunInvalid)
    assert not issubclass(LoginRefused, RunInvalid)


def test_the_sentence_names_place_fault_and_remedy_in_this_order() -> None:
    error = UsageError("rate is -1", "profile.toml, [load] rate", "give a rate above 0")
    assert str(error) == "profile.toml, [load] rate: rate is -1; give a rate above 0."


def test_empty_parts_leave_no_punctuation_behind() -> None:
    assert str(UsageError("no viewers", "", "")) == "no viewers."


@given(st.text(), st.text(), st.text())
def test_the_text_is_one_line_with_one_full_stop_and_pickling_keeps_all(what: str, where: str, do: str) -> None:
    error = JournalFull(what, where, do)
    text = str(error)
    assert len(text.splitlines()) <= 1
    assert text.endswith(".")
    assert not text.endswith("..")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is JournalFull
    assert (again.what, again.where, again.do, str(again)) == (what, where, do, text)


def test_all_three_parts_are_asked_for() -> None:
    with pytest.raises(TypeError):
        UsageError("only what")  # type: ignore[call-arg]
