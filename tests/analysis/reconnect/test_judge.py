"""Who is charged with what: the server only for what a perfect one would have done better; the rules for themselves; we never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.analysis.kinds import analyse_run, assess_run
from harness.analysis.reconnect.metrics import study_metrics
from harness.analysis.reconnect.summary import StudyAssessment
from harness.errors import UsageError
from harness.figure_names import study_figures
from harness.verdict import Overall, Validity, Verdict
from schemas import load_contract
from tests.analysis.reconnect.builder import CODES, T0, Record, Truth, event, skipped, study, write
from tests.analysis.reconnect.conftest import Judge

CLIENTS = load_contract().benchmark.connections
LATEST = load_contract().benchmark.reconnect_latest
ALL = (Truth(), Truth(model="jittered"), Truth(model="sample"))


def verdicts(assessment: StudyAssessment) -> dict[str, Verdict]:
    return {benchmark.id: benchmark.verdict for benchmark in assessment.summary.benchmarks}


def test_a_perfect_server_passes(judge: Judge) -> None:
    found = judge(study(*ALL))
    assert (found.summary.verdict, found.summary.exit_code) == (Overall.PASS, 0)
    assert Verdict.FAIL not in verdicts(found).values()
    assert verdicts(found)["reconnect_time"] is Verdict.INFO  # twenty clients do not show what the contract asks of a thousand


def test_a_thousand_clients_show_it(judge: Judge) -> None:
    found = judge(study(Truth(clients=CLIENTS)))
    assert verdicts(found)["reconnect_time"] is Verdict.PASS
    assert found.summary.benchmark("reconnect_time").samples == CLIENTS


def test_clients_that_are_back_too_late_are_a_miss(judge: Judge) -> None:
    found = judge(study(Truth(delay=LATEST)))
    assert (found.summary.verdict, found.summary.exit_code) == (Overall.FAIL, 1)
    assert verdicts(found)["reconnect_time"] is Verdict.FAIL


def test_clients_that_are_turned_away_for_good_are_a_miss(judge: Judge) -> None:
    found = judge(study(Truth(turned_away=lambda client: client == 5), Truth(model="jittered")))
    assert verdicts(found)["reconnect_stranded"] is Verdict.FAIL
    assert verdicts(found)["reconnect_time"] is Verdict.FAIL
    assert verdicts(found)["reconnect_refused"] is Verdict.WARN
    assert found.summary.benchmark("reconnect_stranded").measured == 1


@pytest.mark.parametrize("model", ["contract", "jittered"])
def test_an_outage_longer_than_the_rule_is_nobodys_miss(judge: Judge, model: str) -> None:
    found = judge(study(Truth(outage=40.0, model=model)))
    assert Verdict.FAIL not in verdicts(found).values()
    assert found.summary.benchmark("rule_gave_up").measured == 20
    assert verdicts(found)["reconnect_time"] is Verdict.INCONCLUSIVE


def test_what_the_sample_class_does_to_itself_is_not_the_servers(judge: Judge) -> None:
    found = judge(study(Truth(), Truth(model="sample", turned_away=lambda client: client > 4)))
    assert found.summary.verdict is Overall.PASS
    assert found.summary.benchmark("sample_lost").measured == 15
    assert "15 of 20" in found.summary.sentence


def test_a_path_that_was_silent_excuses_a_server_whose_places_are_still_held(judge: Judge) -> None:
    found = judge(study(Truth(cause="silent", turned_away=lambda client: client < 5), Truth()))
    assert Verdict.FAIL not in verdicts(found).values()
    assert "noticed" in verdicts(found)


@pytest.mark.parametrize(
    ("cause", "id_", "right", "wrong"),
    [("graceful", "told_1001", CODES.going_away, 1006), ("expired", "told_4401", CODES.session_invalid, CODES.policy_violation)],
)
def test_what_the_clients_are_told_when_they_go(judge: Judge, cause: str, id_: str, right: int, wrong: int) -> None:
    outage = None if cause == "expired" else 4.0
    assert verdicts(judge(study(Truth(cause=cause, outage=outage, code=right))))[id_] is Verdict.PASS
    found = judge(study(Truth(cause=cause, outage=outage, code=wrong)))
    assert verdicts(found)[id_] is Verdict.FAIL
    assert str(wrong) in found.summary.benchmark(id_).detail


def test_handshakes_with_a_dead_session_are_counted(judge: Judge) -> None:
    found = judge(study(Truth(cause="expired", outage=None, code=CODES.session_invalid)))
    assert found.summary.benchmark("doomed").measured == 20 * 5
    assert "401" in found.summary.benchmark("doomed").detail
    assert "rule_gave_up" in verdicts(found)
    assert found.summary.benchmark("rule_gave_up").measured == 0  # there was nothing to come back to


def test_a_cause_without_its_hook_is_not_testable(judge: Judge) -> None:
    found = judge(study(Truth(), more=(skipped(7, "graceful", "the profile has no stop hook"),)))
    assert verdicts(found)["cause_graceful"] is Verdict.NOT_TESTABLE
    assert found.summary.verdict is Overall.PASS
    alone = judge(study(more=(skipped(0, "graceful", "the profile has no stop hook"),)))
    assert (alone.summary.verdict, alone.summary.exit_code) == (Overall.UNTESTED, 4)


def test_a_cell_whose_stage_could_not_be_set_is_inconclusive(judge: Judge) -> None:
    begun = {"kind": "cell", "t": T0, "number": 9, "cause": "full", "outage": 4.0, "model": "contract", "clients": 20}
    found = judge(study(Truth(), more=(begun, event(T0, "unready", cell=9, holding=3, clients=20))))
    assert verdicts(found)["cause_full"] is Verdict.INCONCLUSIVE
    assert "3 of 20" in found.summary.benchmark("cause_full").detail
    told = judge(study(Truth(), more=(begun, event(T0, "unready", cell=9, why="others sit there"))))
    assert "thers sit there" in told.summary.benchmark("cause_full").detail


GUILTY = Truth(turned_away=lambda client: True)


@pytest.mark.parametrize(
    ("code", "records"),
    [
        ("cut_short", study(GUILTY, footer=None)),
        ("stopped", study(GUILTY, footer="stopped")),
        ("generator_failed", study(GUILTY, more=(event(T0, "problem", text="the stop hook failed"),), footer="problem")),
        ("late", study(GUILTY, Truth(late=0.4))),
        ("late", study(GUILTY, Truth(late=1.1))),
        ("own_limits", study(GUILTY, Truth(own_failures=5))),
        ("clock_step", study(GUILTY, more=(event(T0, "clock_step", seconds=-3600.0),))),
        ("stall", study(GUILTY, more=({"kind": "generator", "t": T0, "cpu": 1, "host_cpu": 1, "descriptors": 9, "stall": 1.5},))),
        ("nothing_measured", study()),
    ],
)
def test_what_we_did_wrong_makes_the_study_invalid_and_nobody_guilty(judge: Judge, code: str, records: list[Record]) -> None:
    found = judge(records)
    assert code in [reason.code for reason in found.summary.reasons]
    assert all(reason.remedy for reason in found.summary.reasons)
    assert (found.summary.validity, found.summary.exit_code) == (Validity.INVALID, 4)
    assert not {Verdict.PASS, Verdict.WARN, Verdict.FAIL} & set(verdicts(found).values())


def test_a_generator_that_is_late_for_the_sample_class_still_judges_by_the_others(judge: Judge) -> None:
    found = judge(study(Truth(), Truth(model="sample", late=0.9)))
    assert found.summary.verdict is Overall.PASS
    assert "could not keep up" in found.summary.benchmark("sample_lost").detail
    assert judge(study(Truth(model="sample", late=0.9))).summary.validity is Validity.INVALID


def test_the_same_without_our_fault_is_a_miss(judge: Judge) -> None:
    assert judge(study(GUILTY)).summary.verdict is Overall.FAIL


THRESHOLDS = 'contract = {}\nrequire = ["contract.back_p100 < {}s", "killed_sample.leaked == 0", "generator.late_p99 < 1s"]\n'


@pytest.mark.parametrize(("limit", "expected"), [(8, Verdict.PASS), (7, Verdict.FAIL)])
def test_thresholds_of_ones_own_judge_the_study(tmp_path: Path, limit: int, expected: Verdict) -> None:
    folder = write(tmp_path / "run", study(*ALL))
    (folder / "thresholds.toml").write_text(THRESHOLDS.format("false", limit))
    summary = analyse_run(folder)
    told = {each.title: each.verdict for each in summary.benchmarks if each.id.startswith("threshold")}
    assert told == {
        f"contract.back_p100 < {limit}s": expected,
        "killed_sample.leaked == 0": Verdict.FAIL,  # 60 of them
        "generator.late_p99 < 1s": Verdict.PASS,
    }
    assert summary.benchmark("reconnect_stranded").verdict is Verdict.INFO
    (folder / "thresholds.toml").write_text('require = ["contract.sideways < 1s"]')
    with pytest.raises(UsageError, match="contract"):
        analyse_run(folder)


def test_a_line_on_a_cause_that_could_not_be_tried_is_no_pass(tmp_path: Path) -> None:
    records = study(*ALL, more=(skipped(3, "graceful", "the profile has no stop hook"),))
    records[0]["parameters"]["causes"].append("graceful")
    folder = write(tmp_path / "run", records)
    (folder / "thresholds.toml").write_text('require = ["graceful_contract.back_p100 < 20s", "benchmark.told_1001 == 0"]')
    summary = analyse_run(folder)
    assert (summary.verdict, summary.exit_code) == (Overall.UNTESTED, 4)
    assert "graceful_contract.back_p100 < 20s (and 1 more)" in summary.sentence


def test_every_figure_of_a_study_is_known_before_it(judge: Judge) -> None:
    found = judge(study(*ALL, Truth("graceful", code=CODES.going_away), Truth("silent"), Truth("expired", None)))
    parameters = found.study.parameters
    named = study_metrics(parameters, found.evidence.cells, found.summary.benchmarks)
    assert set(named) == set(study_figures(parameters["causes"], parameters["models"]))


def test_verdicts_json_is_written_for_machines(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", study(*ALL))
    summary = analyse_run(folder)
    told = json.loads((folder / "verdicts.json").read_text())
    assert (told["verdict"], told["exit_code"], told["scenario"]) == ("PASS", summary.exit_code, "reconnect")
    assert [(cell["model"], cell["leaked"]) for cell in told["cells"]] == [("contract", 0), ("jittered", 0), ("sample", 60)]
    assert isinstance(assess_run(folder), StudyAssessment)
