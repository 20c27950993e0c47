"""The benchmarks by their ids, and what is withheld when the run cannot judge.

A new benchmark is one function in a judge_*.py and one entry here; which of them a run is held against is said by its scenario, in the
journal's header. A run that asked for less than the contract never claims the contract's number: it is held against what it asked for,
and says INFO. On an INVALID run no benchmark is called passed or missed.

When the target goes away in the middle of the measurement the run stays valid for what it shows: the connections are not held
and the rate is not sustained (FAIL); a latency that was good until then is INCONCLUSIVE, for it was not shown for the time it takes;
what was lost before the last seconds is lost; the deliveries of the last seconds are not charged a second time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from harness.analysis import (
    judge_capacity,
    judge_delivery,
    judge_fleet,
    judge_latency,
    judge_mixed,
    judge_overload,
    judge_ramp,
    judge_slow,
    judge_soak,
)
from harness.analysis.case import Case
from harness.verdict import Benchmark, Verdict

__all__ = ["BENCHMARKS", "USUAL", "Case", "judge", "withhold"]

BENCHMARKS: Mapping[str, Callable[[Case], Benchmark]] = {
    "latency": judge_latency.latency,
    "latency_stamped": judge_latency.stamped,
    "connections": judge_fleet.connections,
    "broadcast_rate": judge_delivery.rate,
    "delivery": judge_delivery.delivery,
    "memory": judge_fleet.memory,
    "misdirected": judge_delivery.misdirected,
    "duplicated": judge_delivery.duplicated,
    "reordered": judge_delivery.reordered,
    "invalid_frames": judge_delivery.invalid,
    "closes": judge_fleet.closes,
    "unmatched": judge_delivery.unmatched,
    "slow_latency": judge_slow.latency,
    "slow_memory": judge_slow.memory,
    "slow_silent": judge_slow.silent,
    "slow_answering": judge_slow.answering,
    "ramp_connections": judge_ramp.connections,
    "ramp_memory": judge_ramp.memory,
    "ramp_leak": judge_ramp.leak,
    "ramp_descriptors": judge_ramp.descriptors,
    "ramp_handshakes": judge_ramp.handshakes,
    "overload_cap": judge_overload.cap,
    "overload_counts": judge_overload.counts,
    "overload_backlog": judge_overload.backlog,
    "overload_memory": judge_overload.memory,
    "capacity": judge_capacity.capacity,
    "capacity_rate": judge_capacity.rate,
    "mixed_latency": judge_mixed.latency,
    "mixed_visits": judge_mixed.visits,
    "mixed_own": judge_mixed.own,
    "mixed_role": judge_mixed.role,
    "mixed_filter": judge_mixed.filtered,
    "mixed_back": judge_mixed.back,
    "mixed_errors": judge_mixed.errors,
    "soak_latency": judge_soak.latency,
    "soak_memory": judge_soak.memory,
    "soak_descriptors": judge_soak.descriptors,
}

USUAL = tuple(BENCHMARKS)[:12]
"""Of a run whose journal does not say by what it is judged."""


def judge(case: Case, ids: Sequence[str] = USUAL) -> tuple[Benchmark, ...]:
    """These benchmarks, as if the run were valid. Ids that this version does not know are passed over."""
    return tuple(BENCHMARKS[name](case) for name in ids if name in BENCHMARKS)


def withhold(benchmark: Benchmark) -> Benchmark:
    """The same reading without a judgement, for a run that is INVALID."""
    if benchmark.verdict in (Verdict.PASS, Verdict.WARN, Verdict.FAIL):
        return dataclasses.replace(benchmark, verdict=Verdict.INCONCLUSIVE, remedy="")
    return benchmark
