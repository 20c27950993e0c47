"""The benchmarks of ramp: everybody gets in each time, a connection costs what it may, and leaves nothing behind when it goes."""

from __future__ import annotations

from harness.analysis.case import Case, gone, plain_time
from harness.analysis.ramp import Leak, RampStudy
from harness.verdict import Benchmark, Verdict, room_below

__all__ = ["connections", "descriptors", "handshakes", "leak", "memory"]

_LEAK = 0.1  # of what a connection may cost: so much left behind by each is a leak that fills a server within days
_LEAKED_DESCRIPTORS = 0.01  # a connection
_SETTLING = 0.75  # of the growth of the first cycles: what slows down so much may be an allocator that fills its pools, as TLS makes it do
_MEMORY = "Performance Benchmarks, Memory"
_LIMITS = "Performance Benchmarks, Throughput"


def _study(case: Case) -> RampStudy | None:
    return case.study if isinstance(case.study, RampStudy) else None


def connections(case: Case) -> Benchmark:
    """The fewest that were open at the top of a cycle."""
    study, limit = _study(case), case.contract.connections
    peaks = study.peaks if study else ()
    asked = study.asked if study else 0
    verdict, remedy = Verdict.PASS, ""
    detail = f"{min(peaks, default=0):,} of {asked:,} connections were open at the top of the worst of {len(peaks)} cycles."
    if gone(case):
        verdict, remedy = Verdict.FAIL, "Read the target's own log at that moment."
        detail = "The target went away while connections came and went."
    elif study is None or not peaks:
        verdict, detail = Verdict.INCONCLUSIVE, "No cycle reached its top."
    elif min(peaks) < min(asked, limit) or study.unexpected:
        verdict = Verdict.FAIL
        detail += f" {study.refused:,} were refused, {study.unexpected:,} closed by the target."
        remedy = "Check the target's limit of open files and its backlog, and whether it frees the slots of those that leave."
    elif asked < limit:
        verdict, detail = Verdict.INFO, f"{detail} The contract asks for {limit:,}: not shown by this run."
    measured = min(peaks) if peaks else None
    margin = None if measured is None else (measured - limit) / limit
    return Benchmark("ramp_connections", "Connections at each peak", "PERF-02", _LIMITS, limit, measured, "connections", margin, verdict,
                     len(peaks), detail, remedy)  # fmt: skip


def memory(case: Case) -> Benchmark:
    """The slope of the first cycle."""
    study, limit = _study(case), case.contract.bytes_per_connection
    line = study.cost if study else None
    verdict, remedy = Verdict.PASS, ""
    if line is None:
        verdict, detail = _unread(case, study.why if study else "the run was cut short")
    else:
        detail = (
            f"Each connection adds {line.slope / 1e3:.2f} KB of resident memory (95 % confidence {line.low / 1e3:.2f} to "
            f"{line.high / 1e3:.2f} KB, {line.n} readings while the first ones came in)."
        )
        if line.low > limit:
            verdict = Verdict.WARN
            remedy = "The contract says about 10 KB: look at per-connection buffers and compression contexts in the target."
        elif line.high > limit:
            verdict, detail = Verdict.INCONCLUSIVE, f"{detail} The limit lies inside that: hold the steps longer, or take more of them."
    slope = line.slope if line else None
    return Benchmark("ramp_memory", "Memory a connection", "PERF-04", _MEMORY, limit, slope, "bytes", room_below(limit, slope), verdict,
                     line.n if line else 0, detail, remedy)  # fmt: skip


def leak(case: Case) -> Benchmark:
    """What each connection that has come and gone leaves in memory."""
    study = _study(case)
    limit = _LEAK * case.contract.bytes_per_connection
    found = study.leak if study else None
    why = (study.why if study else "") or "there were too few whole cycles"
    verdict, detail, remedy = _leaked(case, found, limit, why, "KB of resident memory", 1e3)
    return Benchmark("ramp_leak", "Memory left behind by each", "PERF-04", _MEMORY, limit, found.each if found else None, "bytes",
                     room_below(limit, found.each if found else None), verdict, found.n if found else 0, detail, remedy)  # fmt: skip


def descriptors(case: Case) -> Benchmark:
    """What each connection that has come and gone leaves in descriptors."""
    study = _study(case)
    found = study.descriptors if study else None
    verdict, detail, remedy = _leaked(case, found, _LEAKED_DESCRIPTORS, "the target's descriptors were not read", "descriptors", 1.0)
    each = found.each if found else None
    return Benchmark("ramp_descriptors", "Descriptors left behind by each", "PERF-04", _MEMORY, _LEAKED_DESCRIPTORS, each, "count",
                     room_below(_LEAKED_DESCRIPTORS, each), verdict, found.n if found else 0, detail, remedy)  # fmt: skip


def _leaked(case: Case, found: Leak | None, limit: float, why: str, what: str, scale: float) -> tuple[Verdict, str, str]:
    if found is None:
        return (*_unread(case, why), "")
    detail = (
        f"Each connection that comes and goes leaves {found.each / scale:.3f} {what} behind (95 % confidence {found.low / scale:.3f} to "
        f"{found.high / scale:.3f}, {found.n} plateaus)."
    )
    if found.low > limit and found.pace is not None and found.pace < _SETTLING:
        slower = f"{detail} But it slows down: the last cycles added {max(found.pace, 0.0):.0%} of what the first ones did."
        return Verdict.INCONCLUSIVE, f"{slower} Whether it ends cannot be told: take more cycles.", ""
    if found.low > limit:
        return Verdict.FAIL, detail, "Look for what still names a connection after its end: tables by session, timers, logs, tasks."
    if found.high > limit:
        return Verdict.INCONCLUSIVE, f"{detail} Whether that is a leak cannot be told: take more cycles.", ""
    return Verdict.PASS, detail, ""


def handshakes(case: Case) -> Benchmark:
    """How many a second were let in where that was not our own pace."""
    study = _study(case)
    rates = [step.rate for step in study.steps if step.rate is not None] if study else []
    planned = max((step.planned for step in study.steps), default=0.0) if study else 0.0
    p99 = study.handshake.p99 if study else None
    verdict, remedy = Verdict.INFO, ""
    if study is None or not rates or p99 is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No connection was opened."
    else:
        detail = f"99 % of {study.handshake.n:,} handshakes took at most {plain_time(p99)}; they were begun at {planned:g} a second."
        detail += " The target kept that pace; it may be able to do more." if max(rates) > 0.9 * planned else " The target was slower."
    best, n = max(rates, default=None), study.handshake.n if study else 0
    return Benchmark(
        "ramp_handshakes", "Handshakes a second", "PERF-02", _LIMITS, None, best, "per second", None, verdict, n, detail, remedy
    )


def _unread(case: Case, why: str) -> tuple[Verdict, str]:
    verdict = Verdict.INCONCLUSIVE if case.memory.samples else Verdict.NOT_TESTABLE
    return verdict, f"{why[:1].upper()}{why[1:]}."
