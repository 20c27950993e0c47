"""terminal.py: plain lines and no colour unless there is a terminal that may have them; then one line that is written over."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.journal import FORMAT, Journal
from harness.terminal import QUIET, Teller, painted, working
from tests.report.gate_builder import good_gate, write_gate


class Screen(io.StringIO):
    """What claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("NO_COLOR", QUIET):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    return monkeypatch


TEXT = """FAIL: 1 benchmark missed
  FAIL  Latency: late

  Latency   4 s   3 s  -33 %  FAIL
  Delivery  100 %        PASS
HB-05 FAIL (MUST): text"""


def test_colour_is_for_terminals_that_want_it_and_changes_no_word(able: pytest.MonkeyPatch) -> None:
    assert painted(TEXT, io.StringIO()) == TEXT
    coloured = painted(TEXT, Screen())
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == TEXT
    assert [line.count("\x1b[") for line in coloured.split("\n")] == [2, 2, 0, 2, 2, 2]
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            assert painted(TEXT, Screen()) == TEXT


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_painting_only_ever_adds(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        coloured = painted(text, Screen())
    assert re.sub(r"\x1b\[(?:1;)?\d*m", "", coloured) == re.sub(r"\x1b\[(?:1;)?\d*m", "", text)


def test_a_log_gets_lines_and_not_too_many(able: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    teller = Teller(log)
    teller.say("casting")
    for left in range(100):
        teller.passing(f"{left} s to go")
    teller.clear()
    assert log.getvalue() == "  casting\n  0 s to go\n"


def test_a_terminal_gets_one_line_that_fits_and_goes_away(able: pytest.MonkeyPatch) -> None:
    screen = Screen()
    teller = Teller(screen)
    teller.passing("x" * 500)
    teller.say("casting")
    teller.clear()
    assert screen.getvalue() == f"\r\x1b[2K  {'x' * 37}\r\x1b[2K  casting\n"


def test_quiet_leaves_only_what_somebody_has_to_act_on(able: pytest.MonkeyPatch) -> None:
    able.setenv(QUIET, "1")
    log = io.StringIO()
    teller = Teller(log)
    teller.say("casting")
    teller.passing("1 s to go")
    teller.insist("the disk is full")
    assert log.getvalue() == "  the disk is full\n"


def test_work_without_a_measure_is_said_once_in_a_log(able: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with working("judging"):
        assert capsys.readouterr().err == "  judging\n"


def _on_a_terminal(folder: Path, *words: str) -> str:
    """Everything that a command writes to the terminal that it runs on."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    ):
        os.close(theirs)
        said, deadline = b"", time.monotonic() + 120
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            try:
                more = os.read(ours, 65536)
            except OSError:  # the last one closed it
                break
            if not more:
                break
            said += more
    os.close(ours)
    return said.decode()


def test_on_a_terminal_the_verdict_has_its_colour_and_the_line_is_gone(tmp_path: Path) -> None:
    run = "20261114T071355Z-conformance-0001"
    write_gate(tmp_path / "reports" / run, good_gate())
    with Journal(tmp_path / "reports" / run) as journal:
        journal.write({"kind": "header", "format": FORMAT, "scenario": "conformance", "started": 1.7e9, "run": run})
    said = _on_a_terminal(tmp_path, "report", run)
    assert "\x1b[1;32mPASS: " in said
    assert f"judging {run}" in said
    assert "\x1b[2K" in said, "the line of progress is taken away"
