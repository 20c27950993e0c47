"""origin.py: every kind of run says on its first screen what it takes to make it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.journal import FORMAT, Journal
from harness.report import render
from harness.report.origin import origin
from tests.analysis.builder import Recipe, good, write
from tests.analysis.reconnect import builder as reconnect
from tests.report.gate_builder import good_gate, write_gate

TOLD = {"seed": 4711, "git": {"revision": "abc1234", "dirty": True}, "versions": {"python": "3.12.1", "roadmap-harness": "9.8.7"}}


def _gate(folder: Path) -> Path:
    write_gate(folder, good_gate())
    with Journal(folder) as journal:
        journal.write({"kind": "header", "format": FORMAT, "scenario": "conformance", "started": 1.7e9, "run": folder.name, **TOLD})
    return folder


def _load(folder: Path) -> Path:
    records = good(Recipe(viewers=5, rate=5.0, duration=3.0))
    return write(folder, [records[0] | TOLD, *records[1:]])


def _study(folder: Path) -> Path:
    records = reconnect.study(reconnect.Truth())
    return reconnect.write(folder, [records[0] | TOLD, *records[1:]])


@pytest.mark.parametrize("make", [_gate, _load, _study])
def test_seed_revision_and_versions_are_on_the_first_screen(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    facts = render(make(tmp_path / "run")).read_text("utf-8").partition('<dl class="facts">')[2].partition("</dl>")[0]
    for word in ("4711", "abc1234 with uncommitted changes", "roadmap-harness 9.8.7, python 3.12.1"):
        assert word in facts


def test_what_was_not_recorded_is_said_to_be_so() -> None:
    assert dict(origin({})) == {"Seed": "not recorded", "Revision": "not under version control", "Versions": "not recorded"}
