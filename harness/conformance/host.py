"""Whether this machine was fit while something was measured: how long the target and we ourselves waited for a processor.

A server that was ready to run and was not let run is not slow, and a harness that slept too long has no evidence. The kernel counts how
long each thread waited; where that cannot be read, the share of the processors in use must do. The rule: what a starved machine could
have caused is not called the target's, and what it could not have caused is.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.measure.health import host_cpu_seconds

__all__ = ["HostLoad", "HostWatch"]

_WAITED = 0.15  # of the time that one thread may wait for a processor
_FULL = 0.95  # of all cores in use, where waiting cannot be read
_TICK = 0.02


@dataclass(frozen=True, slots=True)
class HostLoad:
    """busy: share of all cores in use, 0 to 1. waited: the longest share of the time that a thread of the target waited for a processor,
    None where it cannot be read. stall: the longest time that a thread of ours slept beyond its time, seconds.
    """

    busy: float
    waited: float | None
    stall: float

    @property
    def problem(self) -> str | None:
        """Why what needs processor time may have been slow without the target's fault; None when it may not."""
        if self.waited is not None:
            text = f"the target waited for a processor for {self.waited:.0%} of the time, with {self.busy:.0%} of this machine in use"
            return text if self.waited > _WAITED else None
        return f"{self.busy:.0%} of this machine's processors were in use" if self.busy > _FULL else None

    def stalled(self, seconds: float) -> str | None:
        """Why something that had to happen within a few times `seconds` may not have, without the target's fault; None otherwise."""
        return f"this machine stood still for {self.stall:.1f} s" if self.stall > seconds else None


class HostWatch:
    """Begins when it is made; `load` ends it. pid: the target's process, where it runs on this machine and is known."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._cores = os.cpu_count() or 1
        self._stall = 0.0
        self._over = threading.Event()
        self._at = time.monotonic()
        self._busy, _ = host_cpu_seconds()
        self._before = _waited(pid)
        threading.Thread(target=self._tick, name="host watch", daemon=True).start()

    def load(self) -> HostLoad:
        """From the beginning until now."""
        self._over.set()
        lasted = max(0.001, time.monotonic() - self._at)
        busy, _ = host_cpu_seconds()
        after = _waited(self._pid)
        shares = [(after[thread] - seconds) / lasted for thread, seconds in self._before.items() if thread in after]
        return HostLoad(min(1.0, (busy - self._busy) / lasted / self._cores), max(shares, default=None), self._stall)

    def _tick(self) -> None:
        while not self._over.is_set():
            slept_at = time.monotonic()
            self._over.wait(_TICK)
            self._stall = max(self._stall, time.monotonic() - slept_at - _TICK)


def _waited(pid: int | None) -> dict[str, float]:
    """Seconds that each thread of a process and its children waited for a processor, ready to run; empty where nobody tells."""
    if pid is None:
        return {}
    try:
        process = psutil.Process(pid)
        pids = [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return {}
    waited: dict[str, float] = {}
    for each in pids:
        for file in Path(f"/proc/{each}/task").glob("*/schedstat"):
            try:
                # On a processor, waiting for one (both ns), and how often it got one: Documentation/scheduler/sched-stats.
                waited[str(file)] = int(file.read_text("ascii").split()[1]) / 1e9
            except (OSError, ValueError, IndexError):
                continue
    return waited
