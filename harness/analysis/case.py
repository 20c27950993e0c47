"""What a benchmark may look at, and the few shapes that every judgement takes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from harness.analysis.memory import Memory
from harness.analysis.validity import Evidence
from harness.verdict import Benchmark, Verdict
from schemas import Benchmarks, CloseCodes

__all__ = ["Case", "counted", "gone", "one_clock", "plain_time"]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a benchmark may look at. `study` are the figures of the run's own scenario (see studies.py), None where it has none."""

    evidence: Evidence
    memory: Memory
    contract: Benchmarks
    close: CloseCodes
    study: Any = None


def counted(
    name: str, title: str, clause: str, section: str, seen: int, verdict: Verdict, samples: int, detail: str, remedy: str
) -> Benchmark:  # fmt: skip
    """A benchmark whose limit is that nothing of the kind is seen."""
    return Benchmark(name, title, clause, section, 0, seen, "count", None, verdict, samples, detail, remedy)


def gone(case: Case) -> bool:
    """Did the target go away while it was measured?"""
    return case.evidence.run.phases.loss is not None


def one_clock(case: Case) -> bool:
    """Do target and generator share a clock, being on one host?"""
    target = case.evidence.run.header.get("target") or {}
    host = urlsplit(str(target.get("base_url") or target.get("ws_url") or "")).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def plain_time(seconds: float) -> str:
    """Seconds in words: 1.23 s or 45.6 ms."""
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"
