"""The benchmark of capacity: at how many connections the limits of the contract are still kept."""

from __future__ import annotations

from harness.analysis.capacity import CapacityStep, CapacityStudy
from harness.analysis.case import Case, gone, plain_time
from harness.verdict import Benchmark, Verdict

__all__ = ["capacity"]


def capacity(case: Case) -> Benchmark:
    """The knee: the last step, from the first one on, that kept the latency's limit, lost nothing and let everybody in."""
    study = case.study if isinstance(case.study, CapacityStudy) else None
    limit = case.contract.connections
    steps = study.steps if study else ()
    knee, broken = (study.knee, study.broken) if study else (0, None)
    verdict, remedy = Verdict.PASS, ""
    detail = f"{knee:,} connections at {study.rate if study else 0:g} broadcasts a second kept every limit."
    if gone(case):
        verdict, remedy = Verdict.FAIL, "Read the target's own log at that moment."
        detail = f"The target went away; until then {detail[:1].lower()}{detail[1:]}"
    elif study is None or not steps:
        verdict, detail = Verdict.INCONCLUSIVE, "No step lasted long enough to be judged."
    elif broken is None:
        detail += " It was the last step: the knee lies further on (--viewers)."
    else:
        detail += f" At {broken.asked:,} {_why(broken)}."
    if verdict is Verdict.PASS and knee < limit:
        verdict = Verdict.INFO if broken is None else Verdict.INCONCLUSIVE if broken.unfit else Verdict.FAIL
        if verdict is Verdict.FAIL and broken is not None and broken.asked > limit:
            verdict, detail = Verdict.INCONCLUSIVE, f"{detail} Whether {limit:,} are held lies between two steps: take more of them."
        if verdict is Verdict.FAIL:
            remedy = "Look at the target's CPU in that step: one core that is full is the usual end of a fan-out."
    measured = knee if steps else None
    margin = (knee - limit) / limit if steps else None
    return Benchmark("capacity", "Connections at the knee", "PERF-02", "Performance Benchmarks, Throughput", limit, measured, "connections",
                     margin, verdict, sum(step.n for step in steps), detail, remedy)  # fmt: skip


def _why(step: CapacityStep) -> str:
    if step.unfit:
        return f"the generator itself was not fit: {step.unfit}"
    if step.lost:
        return f"{step.lost:,} deliveries were lost"
    if step.open < step.asked:
        return f"only {step.open:,} were open"
    return f"the p99 was {plain_time(step.p99)}" if step.p99 is not None else "nothing arrived"
