"""Each seeded fault against its own clause, by the real command on real servers: what no check convicts is no check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import harness.faults as room
from harness.errors import ExitCode
from server_under_test.faults import load_faults

pytestmark = pytest.mark.own

_SECONDS = 500.0
_NOT_THEIRS = ("ROADMAP_", "PYTEST_", "COV_", "COVERAGE_")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """faults.json of one run; the servers and the checks are children of that process, and none of them is left."""
    out = tmp_path_factory.mktemp("faults")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("roadmap-harness")), "faults", "--own", "--out", str(out)],
        env={name: value for name, value in os.environ.items() if not name.startswith(_NOT_THEIRS)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    result = out / "faults.json"
    assert result.is_file(), done.stderr[-3000:]
    data: dict[str, Any] = json.loads(result.read_text("utf-8"))
    assert done.returncode == data["exit_code"], done.stderr[-3000:]
    return data


@pytest.mark.parametrize("name", load_faults())
def test_its_own_clause_catches(name: str, found: Mapping[str, Any]) -> None:
    row = next(each for each in found["faults"] if each["name"] == name)
    assert row["right"], f"{name}: {row['told']}"


def test_a_server_without_a_fault_survives_the_same(found: Mapping[str, Any]) -> None:
    faulted = {fault.clause for fault in load_faults().values()}
    assert found["sound"]
    judged = {id_: verdict for row in found["sound"] for id_, verdict in row["verdicts"].items()}
    assert judged == dict.fromkeys(faulted, "PASS"), "\n".join(row["problem"] for row in found["sound"])


def test_all_of_them_pass_the_gate_of_the_tests(found: Mapping[str, Any]) -> None:
    assert found["exit_code"] == ExitCode.PASS, found["reason"]
    schema = json.loads((Path(room.__file__).parent / "faults.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(found)
