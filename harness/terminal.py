"""What a command says while it works, and the colour of what it says at its end.

On a terminal whatever passes is one line that is written over, and a verdict has its colour. Anywhere else there are plain lines, few
enough for a log. NO_COLOR leaves out the colour, TERM=dumb everything but plain lines, and ROADMAP_QUIET whatever passes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from typing import TextIO

__all__ = ["QUIET", "Teller", "painted", "working"]

QUIET = "ROADMAP_QUIET"
"""The variable by which a command has its own processes say nothing of what passes."""

_PERIOD, _REDRAW = 5.0, 0.2  # seconds between two lines of a log, and between two states of a terminal's line
_CLEAR = "\r\x1b[2K"
_COLOURS = {"PASS": "32", "FAIL": "31", "WARN": "33", "INVALID": "33", "UNREACHABLE": "33", "UNTESTED": "33", "USAGE": "33",
            "INCONCLUSIVE": "33", "slower": "31", "faster": "32", "works": "32", "fails": "31", "missing": "33"}  # fmt: skip
_FIRST = re.compile(r"^(PASS|FAIL|INVALID|UNREACHABLE|UNTESTED|USAGE)\b")
_EDGE = re.compile(
    r"^( {2}(?:FAIL|WARN|INCONCLUSIVE)|[A-Z]+-\d+ (?:FAIL|WARN|INCONCLUSIVE)|works|fails|missing)\b"
    r"|\b(PASS|FAIL|WARN|INCONCLUSIVE|faster|slower)$"
)


def _capable(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def painted(text: str, stream: TextIO | None = None) -> str:
    """The text with its verdicts in colour where `stream` (standard output) is a terminal that may have it; else as it is."""
    if not _capable(stream or sys.stdout) or os.environ.get("NO_COLOR"):
        return text
    return "\n".join(_painted(line) for line in text.split("\n"))


def _painted(line: str) -> str:
    if found := _FIRST.match(line):
        return f"\x1b[1;{_COLOURS[found[1]]}m{line}\x1b[0m"
    return _EDGE.sub(lambda found: f"\x1b[{_COLOURS[found[0].split()[-1]]}m{found[0]}\x1b[0m", line)


class Teller:
    """Says on standard error what is going on: `say` a line that stays, `passing` one that the next replaces."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._live = _capable(self.stream)
        self._quiet = os.environ.get(QUIET, "").lower() not in ("", "0", "false", "no", "off")
        self._shown = False
        self._due = 0.0

    @property
    def live(self) -> bool:
        """Whether a line is written over."""
        return self._live and not self._quiet

    def say(self, text: str) -> None:
        if not self._quiet:
            self.insist(text)

    def insist(self, text: str) -> None:
        """A line that stays, however quiet it shall be: somebody has to act on it."""
        self._write(f"{self._cleared()}  {text}\n")

    def passing(self, text: str) -> None:
        """How far it has come; called as often as one likes."""
        now = time.monotonic()
        if self._quiet or now < self._due:
            return
        if not self._live:
            self._due = now + _PERIOD
            self._write(f"  {text}\n")
            return
        self._due, self._shown = now + _REDRAW, True
        self._write(f"{_CLEAR}  {text[: shutil.get_terminal_size().columns - 3]}")

    def clear(self) -> None:
        """Take the line away before somebody else writes."""
        self._write(self._cleared())

    def _cleared(self) -> str:
        shown, self._shown = self._shown, False
        self._due = 0.0 if self._live else self._due
        return _CLEAR if shown else ""

    def _write(self, text: str) -> None:
        if text:
            self.stream.write(text)
            self.stream.flush()


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """What takes seconds and cannot say how many: a spinner with its time on a terminal, one line elsewhere."""
    teller = Teller()
    if not teller.live:
        teller.say(text)
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        bar.add_task(text, total=None)
        yield
