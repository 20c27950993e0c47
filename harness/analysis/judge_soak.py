"""The benchmarks of soak: what drifts is held against what a day of it would add."""

from __future__ import annotations

from collections.abc import Callable

from harness.analysis.case import Case, plain_time
from harness.analysis.soak import DAY, Drift, SoakStudy
from harness.verdict import Benchmark, Verdict, room_below

__all__ = ["descriptors", "latency", "memory"]

_DESCRIPTORS = 0.1  # of the connections, a day


def _study(case: Case) -> SoakStudy | None:
    return case.study if isinstance(case.study, SoakStudy) else None


def latency(case: Case) -> Benchmark:
    """What a day of the p50's drift adds; the p99 of single seconds is too noisy to have a slope."""
    study = _study(case)
    drift = study.p50 if study else None
    room = case.contract.latency - (drift.level if drift else 0.0)
    remedy = "Look for what grows with the votes: tables without an index, lists that are walked, a log that is never cut."
    return _judged(case, ("soak_latency", "Median latency, added by a day", "PERF-01"), drift, room, "s", plain_time, remedy, own=True)


def memory(case: Case) -> Benchmark:
    """What a day of the memory's drift adds."""
    study = _study(case)
    drift = study.memory if study else None
    limit = float(case.contract.bytes_per_connection * case.evidence.connections.asked)
    remedy = "Look for what is kept of each vote or each connection: caches without a bound, closed connections that something still names."
    return _judged(case, ("soak_memory", "Memory added by a day", "PERF-04"), drift, limit, "bytes", lambda b: f"{b / 1e6:.1f} MB", remedy)


def descriptors(case: Case) -> Benchmark:
    """What a day of the descriptors' drift adds."""
    study = _study(case)
    drift = study.descriptors if study else None
    limit = _DESCRIPTORS * case.evidence.connections.asked
    remedy = "Look for sockets and files that are not closed on every way out."
    return _judged(case, ("soak_descriptors", "Descriptors added by a day", "PERF-04"), drift, limit, "count", lambda n: f"{n:.1f}", remedy)


def _judged(
    case: Case,
    name: tuple[str, str, str],
    drift: Drift | None,
    limit: float,
    unit: str,
    say: Callable[[float], str],
    remedy: str,
    *,
    own: bool = False,
) -> Benchmark:
    verdict, added = Verdict.PASS, None
    if drift is None:
        verdict = Verdict.INCONCLUSIVE if own or case.memory.samples else Verdict.NOT_TESTABLE
        detail = "Too little was read to draw a line through." if verdict is Verdict.INCONCLUSIVE else "The target's process was not read."
    else:
        added, low, high = drift.after(DAY)
        detail = f"From {say(drift.level)}, a day of this drift would add {say(added)} (95 % confidence {say(low)} to {say(high)})."
        if low > limit and not drift.goes_on(limit / DAY):
            verdict, detail = Verdict.INCONCLUSIVE, f"{detail} But it slowed down. Whether it ends cannot be told yet: run longer."
        elif low > limit:
            verdict = Verdict.FAIL
        elif high > limit:
            verdict, detail = Verdict.INCONCLUSIVE, f"{detail} Whether that matters cannot be told yet: run longer."
    section = "Performance Benchmarks"
    margin, samples = room_below(limit, added), drift.slope.n if drift else 0
    told = remedy if verdict is Verdict.FAIL else ""
    return Benchmark(name[0], name[1], name[2], section, limit, added, unit, margin, verdict, samples, detail, told)
