"""The benchmarks of capacity: up to how many connections, and up to what rate, the limits of the contract are kept."""

from __future__ import annotations

from collections.abc import Callable

from harness.analysis.capacity import CapacityStep, CapacityStudy, Search
from harness.analysis.case import Case, gone, plain_time
from harness.verdict import Benchmark, Verdict

__all__ = ["capacity", "rate"]

_SECTION = "Performance Benchmarks, Throughput"


def capacity(case: Case) -> Benchmark:
    """The knee of the connections: the last step, from the first on, that kept the latency's limit, lost nothing and let everybody in."""
    search = case.study.connections if isinstance(case.study, CapacityStudy) else Search(())
    limit, knee = case.contract.connections, search.knee
    held = f"{knee.asked:,} connections at {knee.rate:g} broadcasts a second kept every limit." if knee else "No step kept every limit."
    verdict, detail, remedy = _verdict(case, search, held, limit, lambda step: step.asked, "connections", "--viewers")
    measured = (knee.asked if knee else 0) if search.steps else None
    margin = (measured - limit) / limit if measured is not None else None
    return Benchmark("capacity", "Connections at the knee", "PERF-02", _SECTION, limit, measured, "connections",
                     margin, verdict, sum(step.n for step in search.steps), detail, remedy)  # fmt: skip


def rate(case: Case) -> Benchmark:
    """The knee of the rate: the last step, from the first one on, that kept the latency's limit, lost nothing and merged nothing."""
    search = case.study.rates if isinstance(case.study, CapacityStudy) else Search(())
    limit, knee = case.contract.broadcasts_per_second, search.knee
    held = f"{knee.rate:g} broadcasts a second to {knee.asked:,} connections kept every limit." if knee else "No step kept every limit."
    verdict, detail, remedy = _verdict(case, search, held, limit, lambda step: step.rate, "a second", "--most-rate")
    fewer = bool(search.steps) and search.steps[0].asked < case.contract.connections
    if verdict in (Verdict.PASS, Verdict.FAIL) and fewer and not gone(case):
        verdict, remedy = Verdict.INFO, ""
        detail += f" The contract asks for {case.contract.connections:,} connections: not shown by this run."
    measured = (knee.rate if knee else 0.0) if search.steps else None
    margin = (measured - limit) / limit if measured is not None else None
    return Benchmark("capacity_rate", "Broadcasts a second at the knee", "PERF-03", _SECTION, limit, measured, "per second",
                     margin, verdict, sum(step.n for step in search.steps), detail, remedy)  # fmt: skip


def _verdict(
    case: Case, search: Search, held: str, limit: float, of: Callable[[CapacityStep], float], unit: str, option: str
) -> tuple[Verdict, str, str]:  # fmt: skip
    """(verdict, detail, remedy); `held` tells the knee, `of` is what a step was to hold of what was searched."""
    knee, broken = search.knee, search.broken
    reached = of(knee) if knee else 0.0
    if gone(case):
        return Verdict.FAIL, f"The target went away. Until then: {held}", "Read the target's own log at that moment."
    if not search.steps:
        return Verdict.INCONCLUSIVE, "This was not searched, or no step lasted long enough to be judged.", ""
    if broken is None:
        detail = f"{held} It was the last step: the knee lies further on ({option})."
        return (Verdict.PASS if reached >= limit else Verdict.INFO), detail, ""
    if broken.unfit:
        detail = (
            f"{held} At {of(broken):,.6g} {unit} the instrument reached its own limit: {broken.unfit}. That says nothing of the target."
        )
        return (Verdict.PASS if reached >= limit else Verdict.INCONCLUSIVE), detail, ""
    detail = f"{held} At {of(broken):,.6g} {unit} {_why(broken)}."
    if reached >= limit:
        return Verdict.PASS, detail, ""
    if of(broken) > limit:
        return Verdict.INCONCLUSIVE, f"{detail} Whether {limit:,} {unit} are held lies between two steps: take more of them (--steps).", ""
    return Verdict.FAIL, detail, "Look at the target's CPU in that step: one core that is full is the usual end of a fan-out."


def _why(step: CapacityStep) -> str:
    if step.lost:
        return f"{step.lost:,} deliveries were lost"
    if step.open < step.asked:
        return f"only {step.open:,} were open"
    if step.spoilt and step.failed > step.merged:
        return f"{step.failed:,} of {step.votes:,} votes were answered with a server error"
    if step.spoilt:
        return f"{step.merged:,} of {step.votes:,} votes were merged into a later one"
    return f"the p99 was {plain_time(step.p99)}" if step.p99 is not None else "nothing arrived"
