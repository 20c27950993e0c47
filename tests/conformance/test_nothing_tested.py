"""A run in which no clause could be judged: invalid, and for the reason that it has."""

from __future__ import annotations

from pathlib import Path

from harness.conformance.catalogue import Selection
from harness.conformance.gate import GateOptions, run_gate
from harness.errors import ExitCode
from harness.verdict import Verdict


def test_what_cannot_be_tested_is_no_failure_to_load_the_checks(ready: Path, tmp_path: Path) -> None:
    result = run_gate(str(ready), Selection(clauses=("HS-13",)), tmp_path / "run", GateOptions())
    assert result.verdicts() == {"HS-13": Verdict.NOT_TESTABLE}
    assert result.problems == ()
    assert result.exit_code is ExitCode.INVALID
    assert "nothing was tested" in result.reason
