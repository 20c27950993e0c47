"""How far the checks have come, as a person follows it: a line for each in a log; on a terminal one line, and those that are not well."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from harness.conformance.plugin import PLAN
from harness.terminal import Teller, painted

__all__ = ["Progress"]

_STAYS = ("FAIL", "WARN", "INCONCLUSIVE")
_FOR_A_PERSON = "OPEN "  # somebody has to act on those


class Progress:
    """Takes what the checks' process says, line by line. quiet: only what somebody has to act on."""

    def __init__(self, quiet: bool, clock: Callable[[], float] = time.monotonic, stream: TextIO | None = None) -> None:
        self._teller = Teller(stream)
        self._quiet = quiet
        self._clock = clock
        self._began = clock()
        self._done = self._all = 0
        self._seconds = 0.0

    def __call__(self, said: str) -> None:
        if said.startswith(_FOR_A_PERSON):
            self._teller.insist(said)
        elif said.startswith(PLAN):
            count, seconds = said.removeprefix(PLAN).split()
            self._all, self._seconds = self._done + int(count), self._clock() - self._began + float(seconds)
        else:
            self._done += 1
            if not self._quiet:
                self._tell(said)

    def _tell(self, said: str) -> None:
        count = f"{self._done:>3}/{self._all}" if self._all else f"{self._done:>3}"
        if not self._teller.live:
            self._teller.say(f"{count}  {said}")
            return
        if said.startswith(_STAYS):
            self._teller.say(painted(f"  {said}", self._teller.stream).strip())
        left = self._seconds - (self._clock() - self._began)
        self._teller.passing(f"{count} checks done, {f'about {left:.0f} s to go' if left > 1 else 'the last ones'}; {said}")

    def end(self) -> None:
        """All has been said."""
        self._teller.clear()
