"""words.py and text.py: numbers as a reader wants them, and a terminal that a target cannot steer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import words
from harness.analysis.summary import analyse
from harness.report import summary_text
from tests.analysis.builder import Recipe, events, good, of, without, write

RECIPE = Recipe()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.0, "0 s"), (3.0, "3 s"), (0.0372, "37.2 ms"), (0.0002, "200 µs"), (1234.0, "1,234 s"), (-0.002, "-2 ms")],
)
def test_time(seconds: float | None, text: str) -> None:
    assert words.time(seconds).replace("\u202f", " ") == text


@settings(deadline=None)
@given(st.floats(1e-6, 9e3))
def test_time_keeps_at_least_two_digits(seconds: float) -> None:
    number, unit = words.time(seconds).replace(",", "").split("\u202f")
    back = float(number) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit]
    assert back == pytest.approx(seconds, rel=0.01)


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_what_is_short_of_all_is_never_called_all(owed: int) -> None:
    assert words.percent((owed - 1) / owed) != words.percent(1.0)


@settings(deadline=None)
@given(st.floats(1e-12, 1.0))
def test_what_is_more_than_none_is_never_called_none(share: float) -> None:
    assert words.percent(share) != words.percent(0.0)


def test_sizes_and_counts() -> None:
    assert words.size(9_040.0).replace("\u202f", " ") == "9.04 KB"
    assert words.size(812.0).replace("\u202f", " ") == "812 B"
    assert words.size(2.5e9).replace("\u202f", " ") == "2.5 GB"
    assert words.count(6_500_000) == "6,500,000"
    assert words.count(99.84) == "99.84"
    assert words.count(None) == words.size(None) == words.percent(None) == words.MISSING


@pytest.mark.parametrize(("seconds", "text"), [(65.2, "65 s"), (605.0, "10 min 5 s"), (3720.0, "1 h 2 min")])
def test_span(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_the_first_line_is_the_verdict(tmp_path: Path) -> None:
    records = good(RECIPE)
    summary = analyse(write(tmp_path / "a", records))
    assert summary_text(summary).splitlines()[0] == f"PASS: {summary.sentence}"
    of(records, "broadcasts")[0]["lost"][50] = 1
    failed = summary_text(analyse(write(tmp_path / "b", records)))
    assert failed.startswith("FAIL: 1 of ")
    assert "What" not in failed.splitlines()[0]
    cut = summary_text(analyse(write(tmp_path / "c", without(records, "footer"))))
    assert cut.startswith("INVALID (cut short): ")
    for benchmark in summary.benchmarks:
        assert f"  {benchmark.title}" in cut


def test_a_target_cannot_steer_the_terminal(tmp_path: Path) -> None:
    records = good(RECIPE)
    records[0]["target"]["name"] = "\x1b[2Jgone\r\nPASS"
    text = summary_text(analyse(write(tmp_path / "a", events(records, "target_lost", RECIPE.steady_from + 2, reason="\x1b]0;x\x07\u202e"))))
    assert text.startswith("FAIL (cut short): ")
    assert all(letter.isprintable() or letter in "\n\u202f" for letter in text)
    assert not any(line.startswith("PASS") for line in text.splitlines())
