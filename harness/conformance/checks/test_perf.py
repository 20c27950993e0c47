"""Section PERF: the contract's benchmarks, as far as a gate can judge them (contract lines 434-451 and 596-599).

One experiment serves the clauses on latency, throughput and heartbeat under load: see casting. What a starved machine may have caused is
never the target's.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.conformance import Broken, Inconclusive, NotTestable, Recorded, Stage, clause
from harness.conformance.casting import capacity_wait, cast_at_capacity
from harness.conformance.crowd import Crowd, Refusal, room, viewers
from harness.conformance.house import full_house, hold_seconds
from harness.measure.backoff import delay
from schemas import Limits

_QUANTILE = 99.0
_BACK = 16  # clients that come back at the same moment at most


@clause("PERF-01", alone="load", waits=capacity_wait)
def test_latency(stage: Stage) -> None:
    """Nearly every message arrives within the contract's latency of its vote."""
    reading = stage.reading("latency")
    seen = cast_at_capacity(stage)
    seen.must_be_fit()
    sample = seen.stamped[np.isfinite(seen.stamped)] if reading == "stamped" else seen.latency
    if not len(sample):
        raise Inconclusive("no message about a vote arrived, so there is no latency: see PERF-03")
    limit = stage.contract.benchmark.latency
    slow = float(np.percentile(sample, _QUANTILE))
    about = f"at {seen.counts.shape[1]} sockets and {seen.rate_achieved:.0f} votes a second"
    stage.note(
        f"median {np.median(sample) * 1000:.0f} ms, 99th percentile {slow * 1000:.0f} ms, longest {sample.max() * 1000:.0f} ms {about}"
    )
    if slow >= limit:
        late = seen.first >= limit
        if seen.alone(late, limit / 2) < late.sum() / 2:
            seen.blame_host(f"the 99th percentile of the latency is {slow:.2f} s")
        observed = f"99th percentile {slow:.2f} s, longest {sample.max():.2f} s {about}"
        raise Broken(f"99 % of the messages within {limit:g} s of their vote", observed)


@clause("PERF-02", alone="load", waits=hold_seconds)
def test_sockets_live(stage: Stage) -> None:
    """As many sockets as the contract admits live through two heartbeats."""
    house = full_house(stage)
    if house.short:
        raise Inconclusive(f"only {house.sockets} of {house.wanted} sockets opened ({house.short}): see LIM-01")
    if house.ended:
        first = house.ended[0]
        text = f"{len(house.ended)} were closed, the first with {first.code} {first.reason}".strip()
        house.blame_stall(text, stage.limits.heartbeat_timeout / 4)
        raise Broken(f"{house.sockets} sockets alive after two heartbeats ({house.held:.0f} s)", text)


@clause("PERF-03", alone="load", waits=capacity_wait)
def test_throughput(stage: Stage) -> None:
    """At the contract's rate of broadcasts each one is delivered to every socket by itself."""
    cast_at_capacity(stage).must_be_whole(stage)


@clause("PERF-04", alone="load", waits=hold_seconds)
def test_memory(stage: Stage) -> Recorded:
    """The memory that each connection adds is recorded."""
    if stage.reading("inside_view") == "none":
        raise NotTestable("the profile asks not to look inside")
    house = full_house(stage)
    if house.memory_problem is not None or house.memory_before is None or house.memory_after is None:
        raise Inconclusive(f"the memory could not be read: {house.memory_problem}")
    if not house.sockets:
        raise Inconclusive("no socket opened")
    each = (house.memory_after - house.memory_before) / house.sockets
    limit = stage.contract.benchmark.bytes_per_connection
    grown = f"{house.memory_before / 1e6:.1f} MB to {house.memory_after / 1e6:.1f} MB with {house.sockets} sockets"
    return Recorded(f"a connection adds {each:,.0f} bytes of resident memory ({grown}); the contract says about {limit:,}")


@clause("PERF-05")
def test_second_instance(stage: Stage) -> Recorded:
    """Whether a vote on one instance reaches the sockets of another is recorded."""
    viewer = stage.connect(stage.user(0), url=stage.ground.options.second_url, name="on the second instance")
    feature = stage.feature()
    mark = viewer.mark()
    stage.vote(stage.user(1), feature)
    seen = stage.wait_message(viewer, lambda message: message.get("featureId") == feature, None, mark)
    if seen is None:
        return Recorded(f"a vote on one instance does not reach sockets of the other within {stage.patience:g} s")
    return Recorded("a vote on one instance reaches sockets of the other")


def _coming_back(limits: Limits) -> float:
    """More than the other experiments, so that it comes after PERF-04: memory that was used once is rarely given back."""
    return 2.5 * limits.heartbeat_interval


@clause("PERF-06", alone="load", waits=_coming_back)
def test_all_come_back(stage: Stage) -> Recorded:
    """How all sockets come back after all were dropped is recorded: when the last was there, and how often any was refused."""
    rules, benchmark = stage.contract.client, stage.contract.benchmark
    scale = stage.limits.heartbeat_interval / stage.contract.limits.heartbeat_interval
    wanted = room(stage)
    rng = random.Random(stage.ground.options.seed)
    with Crowd(stage, viewers(stage), 2 * wanted) as crowd:
        refused = crowd.fill(wanted, stage.patience)
        if refused:
            raise Inconclusive(f"only {len(crowd)} of {wanted} sockets opened ({refused[0].text}): see LIM-01")
        crowd.drop_all()
        dropped = time.monotonic()
        until = dropped + benchmark.reconnect_latest * scale + stage.patience

        def come_back(number: int) -> tuple[int, str]:
            """One client: its first attempt somewhere in the contract's first delays, then doubling, with jitter."""
            attempt, refusals, text = 0, 0, ""
            due = dropped + scale * rng.uniform(benchmark.reconnect_earliest, benchmark.reconnect_earliest + number % _BACK / _BACK)
            while due < until:
                time.sleep(max(0.0, due - time.monotonic()))
                answer: Refusal | None = crowd.admit()
                if answer is None:
                    return refusals, text
                refusals, text = refusals + 1, answer.text
                due = time.monotonic() + scale * delay(rules, attempt) * rng.uniform(0.5, 1.0)
                attempt += 1
            return refusals, text

        with ThreadPoolExecutor(_BACK) as clients:
            told = list(clients.map(come_back, range(wanted)))
        lasted, back = time.monotonic() - dropped, len(crowd)
    refusals = sum(count for count, _ in told)
    example = next((f" (such as {text})" for _, text in told if text), "")
    ready = f"{back} of {wanted} sockets were back {lasted:.1f} s after all were dropped, {refusals} attempts were refused{example}"
    return Recorded(f"{ready}; the contract says within {benchmark.reconnect_latest * scale:g} s")
