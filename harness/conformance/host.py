"""Whether this machine was fit while something was measured: what others took of its processors, and what we took ourselves.

The rule: a break that could come from a starved server or a starved harness is not the target's until the machine is ruled out.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

from harness.measure.health import host_cpu_seconds

__all__ = ["HostLoad", "HostWatch"]

_OTHERS = 0.2  # of all cores: what others may take before a break is laid at their door
_FULL = 0.95  # of all cores in use: where it cannot be told who takes them


@dataclass(frozen=True, slots=True)
class HostLoad:
    """Shares of all cores, 0 to 1. `target` is None where its process cannot be looked at."""

    busy: float
    own: float
    target: float | None

    @property
    def others(self) -> float | None:
        """What neither we nor the target used."""
        return None if self.target is None else max(0.0, self.busy - self.own - self.target)

    @property
    def problem(self) -> str | None:
        """Why a break seen meanwhile may be this machine's; None when it may not."""
        others = self.others
        if others is not None:
            return f"other work took {others:.0%} of this machine's processors meanwhile" if others > _OTHERS else None
        return f"this machine's processors were {self.busy:.0%} busy meanwhile" if self.busy > _FULL else None


class HostWatch:
    """Begins when it is made. pid: the target's process, where it runs on this machine and is known."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._cores = os.cpu_count() or 1
        self._at = time.monotonic()
        self._busy, _ = host_cpu_seconds()
        self._own = _cpu(None)
        self._target = None if pid is None else _cpu(pid)

    def load(self) -> HostLoad:
        """From the beginning until now."""
        lasted = max(0.001, time.monotonic() - self._at) * self._cores
        busy, _ = host_cpu_seconds()
        own = ((_cpu(None) or 0.0) - (self._own or 0.0)) / lasted
        now = None if self._pid is None else _cpu(self._pid)
        target = None if now is None or self._target is None else (now - self._target) / lasted
        return HostLoad((busy - self._busy) / lasted, own, target)


def _cpu(pid: int | None) -> float | None:
    try:
        process = psutil.Process(pid)
        every = [process, *(process.children(recursive=True) if pid is not None else ())]
        return float(sum(times.user + times.system for times in (each.cpu_times() for each in every)))
    except psutil.Error:
        return None
