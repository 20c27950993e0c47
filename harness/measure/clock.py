"""Notices when the wall clock was set. Times of the journal are wall times; a step between two of them is not latency.

On Linux the monotonic clock is slewed together with the wall clock, so the difference of the two moves only when the
wall clock is stepped (or the machine slept): both make the readings around it worthless.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["ClockReading", "ClockWatch", "read_clocks"]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Both clocks at one moment, seconds; `uncertainty` is how far apart the two readings may be, seconds."""

    wall: float
    monotonic: float
    uncertainty: float


def read_clocks(attempts: int = 5, good_enough: float = 20e-6) -> ClockReading:
    """Read both clocks together. The best of some attempts, because the process may be set aside between two reads."""
    best: ClockReading | None = None
    for _ in range(attempts):
        before, wall, after = time.monotonic(), time.time(), time.monotonic()
        reading = ClockReading(wall, (before + after) / 2, (after - before) / 2)
        if best is None or reading.uncertainty < best.uncertainty:
            best = reading
        if best.uncertainty <= good_enough:
            break
    if best is None:
        raise ValueError(f"{attempts} attempts to read the clocks: at least 1 is needed")
    return best


class ClockWatch:
    """Compares the clocks' difference with that of the start; pure, the readings are passed in.

    tolerance: seconds that the difference may move before it counts as a step.
    """

    __slots__ = ("_difference", "_uncertainty", "tolerance")

    def __init__(self, start: ClockReading, tolerance: float) -> None:
        if not tolerance > 0:
            raise ValueError(f"tolerance is {tolerance} s: it must be greater than 0")
        self.tolerance = tolerance
        self._rebase(start)

    def _rebase(self, reading: ClockReading) -> None:
        self._difference = reading.wall - reading.monotonic
        self._uncertainty = reading.uncertainty

    def check(self, reading: ClockReading) -> float | None:
        """Seconds by which the wall clock was set (forward > 0) since the start or the last step told; else None."""
        step = reading.wall - reading.monotonic - self._difference
        if abs(step) <= self.tolerance + reading.uncertainty + self._uncertainty:
            return None
        self._rebase(reading)
        return step
