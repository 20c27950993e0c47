"""Which faults there are, as the server's own process tells, and which servers are started for them."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from harness.errors import UsageError
from harness.faults.known import Faults, known_faults
from harness.faults.matrix import SOUND
from harness.faults.plan import Plan
from harness.faults.rigs import PLAIN, RIGS, SMALL, TLS
from schemas import Level, load_clauses
from server_under_test.faults import UNFAULTABLE, load_faults


@pytest.fixture(scope="module")
def known() -> Faults:
    return known_faults()


def plan(known: Faults, *, own_only: bool = False) -> Plan:
    return Plan(known.all, own_only, 0.1, 4, 4, 60.0)


def test_the_server_lists_what_it_has(known: Faults) -> None:
    assert [(each.name, each.clause, each.summary, each.needs) for each in known.all] == [
        (each.name, each.clause, each.summary, each.needs) for each in load_faults().values()
    ]
    assert all(
        dict(each.follows) == {id_: load_faults()[each.name].reason(id_) for id_ in load_faults()[each.name].also} for each in known.all
    )
    assert known.unfaultable == UNFAULTABLE


def test_every_binding_clause_that_a_server_can_break_is_faulted_or_excused(known: Faults) -> None:
    binding = {id_ for id_, each in load_clauses().items() if each.level in (Level.MUST, Level.SHOULD) and "CL" not in each.needs}
    assert {each.clause for each in known.all} | set(known.unfaultable) == binding
    assert all(len(reason.split()) > 3 for reason in known.unfaultable.values())


def test_faults_are_chosen_by_name_and_by_clause(known: Faults) -> None:
    assert known.chosen((), ()) == known.all
    late = known.chosen(("*-late",), ())
    assert late
    assert all(fnmatchcase(each.name, "*-late") for each in late)
    assert {each.clause for each in known.chosen((), ("hb-0*",))} == {each.clause for each in known.all if each.clause.startswith("HB-0")}
    assert known.chosen(("first-ping-late",), ("HB-*",)) == tuple(each for each in known.all if each.name == "first-ping-late")


@pytest.mark.parametrize(("names", "clauses"), [(("no-such-fault",), ()), ((), ("XX-*",)), (("first-ping-late",), ("VOTE-*",))])
def test_what_matches_nothing_is_a_mistake(known: Faults, names: tuple[str, ...], clauses: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        known.chosen(names, clauses)


def test_every_clause_is_judged_on_each_fault_exactly_once(known: Faults) -> None:
    able = {id_ for id_, each in load_clauses().items() if not {"CL", "N2"} & set(each.needs)}
    whole = plan(known)
    for fault in known.all:
        judged = [id_ for trial in whole.of(fault) for id_ in trial.clauses]
        assert len(judged) == len(set(judged))
        assert set(judged) == able


def test_a_fault_is_seen_on_a_server_that_shows_it(known: Faults) -> None:
    own = plan(known, own_only=True)
    for fault in known.all:
        (trial,) = own.of(fault)
        assert trial.clauses == (fault.clause,)
        assert trial.rig is (TLS if "tls" in fault.needs else SMALL if set(fault.needs) & {"capacity", "load"} else trial.rig)
    assert not set(PLAIN.clauses) & set(SMALL.clauses)


@pytest.mark.parametrize("own_only", [True, False])
def test_the_sound_server_is_tried_in_every_way_in_which_faults_are(known: Faults, own_only: bool) -> None:
    trials = plan(known, own_only=own_only).trials()
    sound = [trial for trial in trials if trial.fault is None]
    assert all(trial.name == SOUND for trial in sound)
    assert trials[: len(sound)] == sound
    for rig in RIGS:
        wanted = {id_ for trial in trials if trial.fault is not None and trial.rig is rig for id_ in trial.clauses}
        assert {id_ for trial in sound if trial.rig is rig for id_ in trial.clauses} == wanted
    assert len({(trial.name, trial.rig.name) for trial in trials}) == len(trials)
