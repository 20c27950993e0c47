"""The registry: every fault is named once, breaks a clause that there is, and no binding clause is without one."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any, get_args

import pytest

from schemas import Level, load_clauses
from server_under_test.api import Api
from server_under_test.errors import StartError
from server_under_test.faults import UNFAULTABLE, Fault, faulty_parts, load_faults
from server_under_test.faults.room import Need, Room
from server_under_test.hub import Hub
from server_under_test.parts import Parts

FAULTS = load_faults()
BINDING = {id_ for id_, each in load_clauses().items() if each.level in (Level.MUST, Level.SHOULD) and each.section.key != "CLI"}


def test_every_binding_clause_has_a_fault_or_a_reason_for_none() -> None:
    faulted = {fault.clause for fault in FAULTS.values()}
    assert BINDING - faulted == set(UNFAULTABLE)
    assert all(len(reason.split()) > 3 for reason in UNFAULTABLE.values())


def test_every_fault_breaks_a_binding_clause() -> None:
    assert {fault.clause for fault in FAULTS.values()} <= BINDING


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_says_what_it_does_and_what_follows_from_it(fault: Fault) -> None:
    assert FAULTS[fault.name] is fault
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fault.name)
    assert re.fullmatch(r"[A-Za-z].{10,}\.", fault.summary), fault.summary
    assert set(fault.needs) <= set(get_args(Need))
    for pattern, reason in fault.follows.items():
        matched = [clause for clause in load_clauses() if fnmatchcase(clause, pattern)]
        assert matched, f"{pattern} is no clause"
        assert len(reason.split()) > 2, f"{pattern} has no reason"
    assert fault.clause not in fault.also
    assert all(fault.reason(clause) for clause in fault.also)


def test_summaries_are_all_different() -> None:
    assert [summary for summary, count in Counter(fault.summary for fault in FAULTS.values()).items() if count > 1] == []


def test_what_follows_is_given_by_ids_and_patterns_and_never_speaks_of_clients() -> None:
    room = Room()

    @room.fault("VOTE-01", {"BAT-0[16]": "first", "VOTE-*": "second"})
    class SomethingWrong(Hub):
        """A sentence.

        More of it.
        """

    @room.fault("HS-01", {"*": "everything"}, needs=("tls",))
    def something_else(assembly: Any) -> None:
        """Another sentence."""

    named, wide = room.faults
    assert (named.name, named.summary, wide.name) == ("something-wrong", "A sentence.", "something-else")
    assert named.reason("BAT-01") == "first"
    assert named.reason("BAT-02") is None
    assert named.also[:2] == ("VOTE-02", "VOTE-03")
    assert set(wide.also) == {each for each in load_clauses() if not each.startswith("CLI")} - {"HS-01"}


def test_a_name_that_is_no_fault_is_answered_with_those_that_are() -> None:
    with pytest.raises(StartError) as caught:
        faulty_parts(["first-ping-lat"])
    sentence = str(caught.value)
    assert "there is no fault 'first-ping-lat': did you mean first-ping-late" in sentence
    assert all(name in sentence for name in FAULTS)
    assert "\n" not in sentence


def test_a_faulty_server_is_made_of_the_real_classes_and_leaves_them_alone() -> None:
    parts = faulty_parts(["first-ping-late", "adds-unannounced", "query-token-accepted", "stopping-server-admits"])
    assert issubclass(parts.hub, Hub)
    assert issubclass(parts.api, Api)
    assert not parts.door_shuts_first
    assert Parts() == Parts(hub=Hub, api=Api)
    assert Parts().door_shuts_first


def test_all_faults_that_can_stand_side_by_side_make_one_server() -> None:
    assert issubclass(faulty_parts(FAULTS).hub, Hub)
