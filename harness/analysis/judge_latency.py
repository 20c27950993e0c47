"""The benchmarks of time: the headline latency by its p99, and the contract's own metric by the timestamps of the messages."""

from __future__ import annotations

from harness.analysis.case import Case, gone, one_clock, plain_time
from harness.verdict import Benchmark, Verdict, room_below

__all__ = ["latency", "stamped"]


_CLOCK_GRAIN = 0.005
"""Seconds: timestamps are cut to milliseconds, and a fast target stamps in the millisecond in which it was called."""


def latency(case: Case) -> Benchmark:
    figures, limit = case.evidence.latency, case.contract.latency
    head, p99 = figures.headline, figures.headline.p99
    verdict, remedy = Verdict.PASS, ""
    if p99 is None or head.max is None or figures.interval is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No broadcast of the steady phase arrived, so there is nothing to time."
    else:
        low, high = figures.interval
        detail = (
            f"99 % of {head.n:,} deliveries arrived within {plain_time(p99)} of the moment their vote was due (95 % confidence "
            f"{plain_time(low)} to {plain_time(high)}), the slowest after {plain_time(head.max)}."
        )
        if p99 >= limit:
            verdict = Verdict.FAIL
            remedy = "Find the seconds with the worst p99 in the time line and look at what the target did then."
        elif gone(case):
            verdict, detail = Verdict.INCONCLUSIVE, detail + " The target went away before the steady phase was over."
        elif high >= limit:
            verdict = Verdict.WARN
            remedy = "The limit lies inside the confidence interval: run longer to know on which side the p99 is."
    return Benchmark(
        id="latency",
        title="Vote to broadcast, p99",
        clause="PERF-01",
        section="Performance Benchmarks, Latency",
        limit=limit,
        measured=p99,
        unit="s",
        margin=room_below(limit, p99),
        verdict=verdict,
        samples=head.n,
        detail=detail,
        remedy=remedy,
    )


def stamped(case: Case) -> Benchmark:
    figures, limit = case.evidence.latency, case.contract.latency
    p99, verdict, remedy = figures.stamped.p99, Verdict.PASS, ""
    if p99 is None or figures.stamped_min is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No broadcast carried a timestamp that belongs to a vote of the steady phase."
    else:
        detail = f"99 % of {figures.stamped.n:,} broadcasts carry a timestamp within {plain_time(p99)} of the call that caused them."
        if not one_clock(case):
            verdict = Verdict.INFO
            detail += " The target is on another host: this compares two clocks and is not judged."
        elif figures.stamped_min < -_CLOCK_GRAIN:
            verdict = Verdict.INCONCLUSIVE
            detail = f"A broadcast is stamped {plain_time(-figures.stamped_min)} before the call that caused it, so the two clocks differ."
            remedy = "Make target and generator use one clock (same host, no faked time), or synchronise the two."
        elif p99 >= limit:
            verdict = Verdict.FAIL
            remedy = "The target stamps its broadcasts late: look at what happens between the vote and the broadcast."
        elif gone(case):
            verdict = Verdict.INCONCLUSIVE
            detail += " The target went away before the steady phase was over."
    return Benchmark(
        id="latency_stamped",
        title="The contract's own metric: timestamp - API call, p99",
        clause="VOTE-09",
        section="Performance Benchmarks, Latency",
        limit=limit,
        measured=p99,
        unit="s",
        margin=room_below(limit, p99),
        verdict=verdict,
        samples=figures.stamped.n,
        detail=detail,
        remedy=remedy,
    )
