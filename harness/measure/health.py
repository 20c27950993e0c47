"""How fit the instrument itself is: its CPU, the host's, its descriptors, and the longest absence of its event loop.

A generator that was busy or away reads its own slowness as the target's. These figures decide whether a run may judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil

__all__ = ["Health", "HealthSampler", "StallMeter"]


@dataclass(frozen=True, slots=True)
class Health:
    """One interval. cpu: CPU seconds of this process per second; host_cpu: share of all cores in use, 0..1."""

    t: float
    cpu: float
    host_cpu: float
    descriptors: int


class HealthSampler:
    """Samples this process (or another by pid) and the host. The first interval begins when it is made, at `now`."""

    def __init__(self, now: float, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)
        self._last = now
        self._cpu = self._cpu_seconds()
        self._busy, self._total = host_cpu_seconds()

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def sample(self, now: float) -> Health:
        """The interval since the last call, `now` in seconds on any steady clock; an interval of no length reads as idle."""
        cpu, (busy, total) = self._cpu_seconds(), host_cpu_seconds()
        seconds, host_seconds = now - self._last, total - self._total
        health = Health(
            t=now,
            cpu=max(0.0, cpu - self._cpu) / seconds if seconds > 0 else 0.0,
            host_cpu=min(1.0, max(0.0, (busy - self._busy) / host_seconds)) if host_seconds > 0 else 0.0,
            descriptors=self._process.num_fds(),
        )
        self._last, self._cpu, self._busy, self._total = now, cpu, busy, total
        return health


def host_cpu_seconds() -> tuple[float, float]:
    """(busy, total) CPU seconds of all cores since boot. What a hypervisor took away counts as busy: we did not get it."""
    times = psutil.cpu_times()._asdict()
    # Guests' time is already in user and nice.
    total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return total - times["idle"] - times.get("iowait", 0.0), total


class StallMeter:
    """Longest absence of an event loop that means to call `tick` every `period` seconds. Pure: `now` is passed in."""

    __slots__ = ("_last", "_longest", "period")

    def __init__(self, now: float, period: float) -> None:
        self.period = period
        self._last = now
        self._longest = 0.0

    def tick(self, now: float) -> float:
        """The loop is here. Returns how much later than expected, seconds; 0 when it is on time or early."""
        late = max(0.0, now - self._last - self.period)
        self._last = now
        self._longest = max(self._longest, late)
        return late

    def take(self, now: float) -> float:
        """The longest absence since the last `take`, seconds, including one that is going on; then starts anew."""
        longest = max(self._longest, now - self._last - self.period)
        self._longest = 0.0
        return longest
