"""The ground layer of a stage: which clause is judged on which target, its numbers and windows of time, readings, notes, and the
client under test where there is one.

Nothing here touches the target but the probe of a reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.conformance.client_side import ClientUnderTest, Play
from harness.conformance.ground import Ground
from harness.conformance.outcome import Inconclusive, NotTestable
from harness.conformance.window import Window, window
from harness.target.model import Target
from schemas import Clause, Contract, Limits

__all__ = ["Setting"]


class Setting:
    """`name` is the clause's id, and stands in the names of the check's sockets and features."""

    def __init__(self, ground: Ground, clause: Clause, check: str) -> None:
        self.ground = ground
        self.clause = clause
        self.name = clause.id
        self.check = check
        self.target: Target = ground.target
        self.limits: Limits = ground.target.limits
        """The target's own limits, durations scaled: the only source of numbers for a check."""
        self.contract: Contract = ground.contract
        self.readings: dict[str, str] = {}
        self.played: list[Play] = []
        """The scenes with a client under test that the check judges; their record is its evidence."""
        self.notes: list[str] = []
        self.may_kill = False
        """Set by a check that sends what may bring a target down: then its end is what the check has found."""

    # ---- time

    def window(self, lo: float, hi: float | None = None) -> Window:
        """A two-sided window around the contract's moment `lo` (to `hi`), seconds: `if gap not in w: raise Broken(str(w), ...)`."""
        return window(lo, lo if hi is None else hi, self.target.tolerance)

    def within(self, seconds: float) -> float:
        """The longest that something due after `seconds` may take, tolerance included: a timeout for waiting."""
        return self.window(0.0, seconds).latest

    @property
    def patience(self) -> float:
        """Seconds in which a broadcast must arrive: the contract's latency (never scaled) and the tolerance."""
        return self.within(self.contract.benchmark.latency)

    @property
    def grace(self) -> float:
        """Seconds to go on looking after a fence: two batch windows and what a busy machine costs."""
        return 2 * self.limits.batch_window + 0.1

    # ---- readings

    def reading(self, key: str) -> str:
        """Which reading of an ambiguity holds, by its key in readings.toml: declared, else detected, else the default. Noted."""
        found, source = self.ground.reading(key)
        self.readings[key] = f"{found} ({source})"
        return found

    def note(self, text: str) -> None:
        """Something worth telling about a clause that is kept: what `Recorded` is where nothing is judged."""
        self.notes.append(text)

    # ---- a client under test

    @property
    def client(self) -> ClientUnderTest:
        """The client under test. Raises NotTestable when there is none."""
        if self.ground.client is None:
            raise NotTestable("no client was named", "CL")
        return self.ground.client

    def play(self, title: str, *, shared: bool = False) -> Play:
        """A scene with a client of its own, to be used in a with block; shown as this check's evidence unless several checks share it."""
        play = Play(self.client, self.contract.path, title, self.ground.say)
        if not shared:
            self.show(play)
        return play

    def show(self, play: Play) -> None:
        """Make a scene this check's evidence: for those that several checks share."""
        if play not in self.played:
            self.played.append(play)

    # ---- what is shared, and what is gone

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` returned the first time in this process: evidence that several checks share."""
        return self.ground.once(key, make)

    def _still_there(self) -> None:
        if self.ground.interrupted:
            raise Inconclusive("the run was interrupted")
        if self.ground.lost is not None:
            raise Inconclusive(f"the target was lost during the run: {self.ground.lost}")
