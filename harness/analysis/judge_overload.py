"""The benchmarks of overload: the cap on broadcasts, the counts that viewers are left with, and growth without a bound."""

from __future__ import annotations

from collections.abc import Callable

from harness.analysis.case import Case, gone
from harness.analysis.memory import Slope
from harness.analysis.overload import OverloadStudy
from harness.verdict import Benchmark, Verdict, room_below

__all__ = ["backlog", "cap", "counts", "memory"]

_OVER = 0.1  # by which a cap may be overstepped in five seconds: a bucket that was full, and two clocks
_WAITING = 0.05  # seconds that a second of overload may add to the wait: at 3 s allowed, a minute of it is the end
_ROOM = 1_000_000  # bytes that half a run may add, beside what connections may cost: caches that fill
_RATE, _BATCH = "Rate Limiting, Global", "VOTE_UPDATE, Broadcast Rules"


def _study(case: Case) -> OverloadStudy | None:
    return case.study if isinstance(case.study, OverloadStudy) else None


def cap(case: Case) -> Benchmark:
    """Frames a second to each socket, in the fullest five seconds."""
    study = _study(case)
    limit = study.cap if study else 0.0
    most, made = (study.most if study else None), case.evidence.throughput
    verdict, remedy = Verdict.PASS, ""
    if study is None or most is None or study.mean is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No broadcast arrived in the steady phase."
    else:
        detail = (
            f"{made.accepted / made.seconds:,.0f} votes a second became {study.mean:,.0f} frames a second to each socket, at most "
            f"{most:,.0f} over five seconds; {made.coalesced:,} votes went out with a later one."
        )
        if most > limit * (1 + _OVER):
            verdict = Verdict.WARN
            remedy = "Past the cap, let waiting votes of one feature become one broadcast with the last count."
        elif made.accepted / made.seconds <= limit:
            verdict, detail = Verdict.INFO, f"{detail} That many votes do not reach the cap: ask for a higher rate."
    return Benchmark("overload_cap", "Broadcasts a second, each socket", "RATE-16", _RATE, limit, most, "most per second",
                     room_below(limit, most), verdict, made.distinct, detail, remedy)  # fmt: skip


def counts(case: Case) -> Benchmark:
    """Viewers that are left with a count that is not the true one."""
    study = _study(case)
    found = study.counts if study else None
    verdict, remedy, off = Verdict.PASS, "", None
    if gone(case) or found is None or not found.pairs:
        verdict, detail = Verdict.INCONCLUSIVE, "What viewers showed was not compared with the true counts."
    else:
        off = found.wrong + found.unseen
        detail = f"All {found.pairs:,} pairs of a viewer and a feature ended with the true count."
        if off:
            verdict = Verdict.FAIL
            detail = f"{off:,} of {found.pairs:,} pairs of a viewer and a feature ended with a count that is not true"
            detail += f" ({found.unseen:,} with none)." if found.unseen else "."
            remedy = "A batch must carry the count after its last vote; drop what is overtaken, never what is newest."
    return Benchmark("overload_counts", "Counts that are not true in the end", "BAT-03", _BATCH, 0, off, "count", None, verdict,
                     found.pairs if found else 0, detail, remedy)  # fmt: skip


def backlog(case: Case) -> Benchmark:
    """Whether the wait of a vote grows from second to second."""
    study = _study(case)
    line = study.waiting if study else None
    verdict, detail, remedy = _growing(
        line, _WAITING, "the median wait from vote to broadcast", lambda value: f"{value * 1e3:.1f} ms a second"
    )
    return Benchmark("overload_backlog", "Growth of the wait, each second", "RATE-16", _RATE, _WAITING, line.slope if line else None, "s",
                     room_below(_WAITING, line.slope if line else None), verdict, line.n if line else 0, detail, remedy)  # fmt: skip


def memory(case: Case) -> Benchmark:
    """What the later half of the overload added to the target's memory."""
    study = _study(case)
    line, span = (study.growth, study.span) if study else (None, 0.0)
    limit = _ROOM + case.contract.bytes_per_connection * case.evidence.connections.asked
    verdict, detail, remedy = _growing(
        line, limit / span if span else 0.0, "the target's memory", lambda value: f"{value / 1e3:.1f} KB a second"
    )
    if line is None and not case.memory.samples:
        verdict, detail = Verdict.NOT_TESTABLE, "The target's process was not read."
    grown = line.slope * span if line else None
    return Benchmark("overload_memory", "Memory added by half of it", "RATE-16", "Performance Benchmarks, Memory", limit, grown, "bytes",
                     room_below(limit, grown), verdict, line.n if line else 0, detail, remedy)  # fmt: skip


def _growing(line: Slope | None, limit: float, what: str, say: Callable[[float], str]) -> tuple[Verdict, str, str]:
    if line is None:
        return Verdict.INCONCLUSIVE, "Too little was read to see whether it grows.", ""
    detail = f"In overload {what} changed by {say(line.slope)} (95 % confidence {say(line.low)} to {say(line.high)})."
    if line.low > limit:
        return Verdict.FAIL, detail, "Bound what waits: one pending broadcast a feature is enough, however many votes there are."
    if line.high > limit:
        return Verdict.INCONCLUSIVE, f"{detail} Whether that has a bound cannot be told: run longer.", ""
    return Verdict.PASS, detail, ""
