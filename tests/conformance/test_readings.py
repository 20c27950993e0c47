"""A server under each permitted reading, by another implementation: declared, and where the gate finds out by itself also undeclared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.conformance.catalogue import Selection
from harness.conformance.gate import GateOptions, run_gate
from harness.conformance.judgement import GateResult
from harness.conformance.readings import PROBES, TOLD_BY_CHECKS
from harness.verdict import Verdict
from schemas import load_clauses, load_readings
from tests.other_server.options import READINGS
from tests.other_server.profile import SETS, profile
from tests.other_server.running import running

BAD = {Verdict.FAIL, Verdict.WARN}
SPOILT = 3  # clauses that a busy machine may keep us from judging; a reading that we do not understand spoils more
FLAGS = ("--people", "20", "--staff", "4", "--mint", "4", "--limit", "revalidate_every=2.5")
PERMITTED_WARNINGS = {
    "awkward": {"VOTE-06", "BAT-06", *(f"ERR-{number:02}" for number in (4, 5, 6, 7, 8, 10))},
    "sealed": {f"ERR-{number:02}" for number in (4, 5, 6, 7, 8, 10)},
}
"""What the register itself says of a reading: nobody is left out, or malformed input draws no ERROR, "draws a warning"."""


def told(result: GateResult) -> str:
    """For the failure of an assertion."""
    lines = [f"{each.clause.id} {each.verdict} {each.reason}" for each in result.selected if each.verdict in {*BAD, Verdict.INCONCLUSIVE}]
    return "\n".join([result.reason, *lines, *result.problems])


def judged(tmp_path: Path, name: str, selection: Selection, *, declare: bool) -> GateResult:
    with running(tmp_path, *FLAGS, *SETS[name]) as ready:
        text = profile(ready, sessions="cookies-file", tolerance=2.0)
        if not declare:
            found_out = {*PROBES, *TOLD_BY_CHECKS}
            head, table, readings = text.rpartition("[readings]\n")
            text = head + table + "\n".join(line for line in readings.splitlines() if line.partition(" = ")[0] not in found_out)
        file = tmp_path / "target.toml"
        file.write_text(text)
        result = run_gate(str(file), selection, tmp_path / "run", GateOptions(capacity="no", side_by_side=24))
        follows = json.loads(ready.read_text())["readings"]
    for key, (value, source) in result.readings.items():
        if source == "detected":
            assert value == follows.get(key, value), f"{key} was found to be {value}"
    bad = {each.clause.id for each in result.selected if each.verdict in BAD}
    assert bad <= PERMITTED_WARNINGS.get(name, set()), told(result)
    assert list(result.verdicts().values()).count(Verdict.INCONCLUSIVE) <= SPOILT, told(result)
    return result


@pytest.mark.parametrize("name", SETS)
def test_each_reading_passes_when_it_is_declared(tmp_path: Path, name: str) -> None:
    judged(tmp_path, name, Selection(), declare=True)


@pytest.mark.parametrize("name", SETS)
def test_what_the_gate_finds_out_need_not_be_declared(tmp_path: Path, name: str) -> None:
    found_out = {each.id for each in load_readings().values() if each.probe}
    clauses = tuple(each.id for each in load_clauses().values() if found_out & set(each.readings))
    result = judged(tmp_path, name, Selection(clauses=clauses, profile="fast"), declare=False)
    sources = {source for key, (_, source) in result.readings.items() if key in PROBES}
    assert "detected" in sources
    assert "declared" not in sources


def test_every_reading_that_a_server_can_show_is_shown() -> None:
    shown = {key: {words[0]} for key, words in READINGS.items()}
    for flags in SETS.values():
        for flag, value in zip(flags[::2], flags[1::2], strict=True):
            shown.setdefault(flag.removeprefix("--").replace("-", "_"), set()).add(value)
    assert {key: set(words) - shown[key] for key, words in READINGS.items() if set(words) - shown[key]} == {}


def test_the_register_says_which_readings_are_found_out() -> None:
    assert {each.key for each in load_readings().values() if each.probe} == {*PROBES, *TOLD_BY_CHECKS}
