"""Whether this machine was short of processor time while a check ran: then what seemed broken, or could not be judged, is tried once more.

The kernel counts the time in which somebody waited for a processor (Documentation/accounting/psi.rst); where it does not, the share of
all processors in use must do. The rule: pressure acquits nobody and convicts nobody; it only asks for a second look.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from harness.measure.health import host_cpu_seconds

__all__ = ["Mark", "mark", "pressed"]

_PRESSURE = Path("/proc/pressure/cpu")
_WAITED = 0.25  # of the time, in which at least one thread of this machine was ready and had no processor
_FULL = 0.9  # of all processors in use, where waiting is not counted


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: monotonic seconds, and seconds of waiting (None where they are not counted) and of work since the boot."""

    at: float
    waited: float | None
    busy: float
    total: float


def mark() -> Mark:
    """Now."""
    busy, total = host_cpu_seconds()
    return Mark(time.monotonic(), _waited(), busy, total)


def pressed(since: Mark) -> str | None:
    """How short of processor time this machine was, in words; None when it was not."""
    now = mark()
    lasted = max(0.001, now.at - since.at)
    if now.waited is not None and since.waited is not None:
        share = min(1.0, (now.waited - since.waited) / lasted)
        return f"threads waited for a processor for {share:.0%} of the time" if share > _WAITED else None
    share = (now.busy - since.busy) / max(0.001, now.total - since.total)
    return f"{share:.0%} of the processors were in use" if share > _FULL else None


def _waited() -> float | None:
    try:
        some = _PRESSURE.read_text("ascii").splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return None
