"""Two-sided windows of time: what comes too early breaks a clause as well as what comes too late."""

from __future__ import annotations

from dataclasses import dataclass

from harness.target.model import Tolerance

__all__ = ["Window", "window"]

_SHARE = 0.2  # of the moment itself that an observation may lie off it, if the tolerance is no smaller
_LATE = 0.5  # seconds that a busy machine may cost, however short the moment
_EARLY = 0.25


@dataclass(frozen=True, slots=True)
class Window:
    """The contract's moments `lo` to `hi`, and what an observation of them may be; seconds."""

    lo: float
    hi: float
    earliest: float
    latest: float

    def __contains__(self, seconds: object) -> bool:
        return isinstance(seconds, int | float) and self.earliest <= seconds <= self.latest

    def __str__(self) -> str:
        moment = f"{self.lo:g} s" if self.lo == self.hi else f"{self.lo:g} to {self.hi:g} s"
        return f"{moment} (accepted: {self.earliest:.3g} to {self.latest:.3g} s)"


def window(lo: float, hi: float, tolerance: Tolerance) -> Window:
    """The window around `lo` to `hi` seconds.

    Late by the profile's tolerance, but no more than a fifth of `hi` or half a second, whichever is more, so that a scaled-down
    clock keeps meaningful windows. Early by the same, but never by more than half of `lo`; 0 has no early side.
    """
    slack = tolerance.slack
    late = min(slack, max(_LATE, _SHARE * hi))
    early = min(slack, max(_EARLY, _SHARE * lo), lo / 2)
    return Window(lo, hi, lo - early, hi + late)
