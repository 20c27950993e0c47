"""progress.py: a log has a line for each check, a terminal one line and what is not well; who has to act is always told."""

from __future__ import annotations

import io
import itertools

import pytest

from harness.conformance.plugin import PLAN
from harness.conformance.progress import Progress

SAID = (f"{PLAN}3 40", "PASS HS-01", "FAIL HS-02", "OPEN http://127.0.0.1:1 in a client of yours", "WARN HS-06")


class Screen(io.StringIO):
    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("ROADMAP_QUIET", raising=False)
    return Screen()


def told(screen: Screen, *, quiet: bool = False) -> str:
    seconds = itertools.count(100.0)
    made = Progress(quiet, lambda: next(seconds), screen)
    for line in SAID:
        made(line)
    made.end()
    return screen.getvalue()


def test_a_log_counts_towards_the_end(screen: Screen) -> None:
    lines = [line.split() for line in told(screen).splitlines()]
    assert lines == [["1/3", "PASS", "HS-01"], ["2/3", "FAIL", "HS-02"], [*SAID[3].split()], ["3/3", "WARN", "HS-06"]]


def test_a_terminal_keeps_what_is_not_well_and_says_what_remains(screen: Screen) -> None:
    screen.terminal = True
    text = told(screen)
    stays = [line.rpartition("\r\x1b[2K")[2].strip() for line in text.split("\n")]
    assert stays == ["FAIL HS-02", SAID[3], "WARN HS-06", ""]
    assert "1/3 checks done, about 39 s to go; PASS HS-01" in text
    assert text.endswith("\r\x1b[2K"), "nothing is left of the line"


def test_quiet_tells_only_who_has_to_act(screen: Screen) -> None:
    assert told(screen, quiet=True) == f"  {SAID[3]}\n"


def test_without_a_plan_it_counts_what_is_done(screen: Screen) -> None:
    Progress(False, stream=screen)("PASS HS-01")
    assert screen.getvalue().split() == ["1", "PASS", "HS-01"]
