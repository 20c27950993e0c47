"""The benchmarks of the contract, one function each, and what is withheld when the run cannot judge.

A new benchmark is one function here and one entry in BENCHMARKS. A run that asked for less than the contract never claims the
contract's number: it is held against what it asked for, and says INFO. On an INVALID run no benchmark is called passed or missed.

When the target goes away in the middle of the measurement the run stays valid for what it shows: the connections are not held
and the rate is not sustained (FAIL); a latency that was good until then is INCONCLUSIVE, for it was not shown for the time it takes;
what was lost before the last seconds is lost; the deliveries of the last seconds are not charged a second time.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.analysis.memory import Memory
from harness.analysis.validity import Evidence
from harness.verdict import Benchmark, Verdict, room_below
from schemas import Benchmarks, CloseCodes

__all__ = ["BENCHMARKS", "Case", "judge", "withhold"]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a benchmark may look at."""

    evidence: Evidence
    memory: Memory
    contract: Benchmarks
    close: CloseCodes


def judge(case: Case) -> tuple[Benchmark, ...]:
    """Every benchmark, as if the run were valid."""
    return tuple(benchmark(case) for benchmark in BENCHMARKS)


def withhold(benchmark: Benchmark) -> Benchmark:
    """The same reading without a judgement, for a run that is INVALID."""
    if benchmark.verdict in (Verdict.PASS, Verdict.WARN, Verdict.FAIL):
        return dataclasses.replace(benchmark, verdict=Verdict.INCONCLUSIVE, remedy="")
    return benchmark


def _latency(case: Case) -> Benchmark:
    figures, limit = case.evidence.latency, case.contract.latency
    head, p99 = figures.headline, figures.headline.p99
    verdict, remedy = Verdict.PASS, ""
    if p99 is None or head.max is None or figures.interval is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No broadcast of the steady phase arrived, so there is nothing to time."
    else:
        low, high = figures.interval
        detail = (
            f"99 % of {head.n:,} deliveries arrived within {_time(p99)} of the moment their vote was due (95 % confidence "
            f"{_time(low)} to {_time(high)}), the slowest after {_time(head.max)}."
        )
        if p99 >= limit:
            verdict = Verdict.FAIL
            remedy = "Find the seconds with the worst p99 in the time line and look at what the target did then."
        elif _gone(case):
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


def _stamped(case: Case) -> Benchmark:
    figures, limit = case.evidence.latency, case.contract.latency
    p99, verdict, remedy = figures.stamped.p99, Verdict.PASS, ""
    if p99 is None or figures.stamped_min is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No broadcast carried a timestamp that belongs to a vote of the steady phase."
    else:
        detail = f"99 % of {figures.stamped.n:,} broadcasts carry a timestamp within {_time(p99)} of the call that caused them."
        if not _one_clock(case):
            verdict = Verdict.INFO
            detail += " The target is on another host: this compares two clocks and is not judged."
        elif figures.stamped_min < -_CLOCK_GRAIN:
            verdict = Verdict.INCONCLUSIVE
            detail = f"A broadcast is stamped {_time(-figures.stamped_min)} before the call that caused it, so the two clocks differ."
            remedy = "Make target and generator use one clock (same host, no faked time), or synchronise the two."
        elif p99 >= limit:
            verdict = Verdict.FAIL
            remedy = "The target stamps its broadcasts late: look at what happens between the vote and the broadcast."
        elif _gone(case):
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


_CLOCK_GRAIN = 0.005
"""Seconds: timestamps are cut to milliseconds, and a fast target stamps in the millisecond in which it was called."""


def _connections(case: Case) -> Benchmark:
    fleet, limit = case.evidence.connections, case.contract.connections
    required = min(fleet.asked, limit)
    loss = case.evidence.run.phases.loss
    verdict, remedy = Verdict.PASS, ""
    detail = f"{fleet.held:,} of {fleet.asked:,} connections held to the end."
    if loss is not None:
        verdict, remedy = Verdict.FAIL, "Read the target's own log at that moment; nothing that came after says anything."
        after = loss.t - case.evidence.run.phases.started
        detail = f"The target went away {after:.0f} s into the run ({loss.reason.rstrip('.')}), with {fleet.peak:,} connections open."
    elif not required or not (fleet.opened or fleet.refused):
        verdict, detail = Verdict.INCONCLUSIVE, "No connection was attempted."
    elif fleet.held < required:
        verdict = Verdict.FAIL
        lost = [f"{fleet.refused:,} refused"] if fleet.refused else []
        lost += [f"{fleet.unexpected:,} closed by the target"] if fleet.unexpected else []
        detail = f"{fleet.held:,} of {fleet.asked:,} connections held to the end ({', '.join(lost) or 'the others went silently'})."
        remedy = (
            "Check the target's limit of open files and its backlog."
            if fleet.refused
            else "See the closes by code below, and the target's log at those times."
        )
    elif fleet.asked < limit:
        verdict, detail = Verdict.INFO, f"{detail[:-1]}; the contract asks for {limit:,}: not shown by this run."
    elif fleet.refused:
        detail = f"{detail[:-1]}, after {fleet.refused:,} refused attempts."
    return Benchmark(
        id="connections",
        title="Connections held",
        clause="PERF-02",
        section="Performance Benchmarks, Throughput",
        limit=limit,
        measured=0 if loss is not None else fleet.held,
        unit="connections",
        margin=(fleet.held - limit) / limit if loss is None else -1.0,
        verdict=verdict,
        samples=fleet.opened + fleet.refused,
        detail=detail,
        remedy=remedy,
    )


def _closes(case: Case) -> Benchmark:
    fleet = case.evidence.connections
    verdict, remedy = Verdict.PASS, ""
    detail = "The target closed no connection while it was in use."
    if not fleet.opened:
        verdict, detail = Verdict.INCONCLUSIVE, "No connection was open."
    elif fleet.unexpected:
        verdict = Verdict.FAIL
        codes = ", ".join(f"{count:,} × {code}" for code, count in fleet.codes.items())
        detail = f"The target closed {fleet.unexpected:,} connections that were in use (code: {codes})."
        strange = sorted(set(fleet.codes) - case.close.permitted_from_server - {1006, 0})
        if strange:
            detail += f" Not a code of the contract: {', '.join(map(str, strange))}."
        remedy = (
            f"{case.close.policy_violation} means that a rate limit hit a client that only answers PINGs; "
            f"{case.close.session_invalid} that its session ended; 1006 that the connection broke without a word: see the target's log."
        )
    return _count(
        "closes", "Connections closed by the target", "PERF-02", "Connection Termination",
        fleet.unexpected, verdict, fleet.opened, detail, remedy,
    )  # fmt: skip


def _rate(case: Case) -> Benchmark:
    e, limit = case.evidence, case.contract.broadcasts_per_second
    made, asked = e.throughput, e.run.parameters
    due = made.planned - (made.planned - made.called) - made.refused - made.unanswered
    verdict, remedy = Verdict.PASS, ""
    seconds = f"{made.seconds:.0f} s"
    detail = f"{made.distinct:,} of {due:,} votes were each broadcast on their own over {seconds}."
    if e.run.phases.loss is not None:
        verdict, remedy = Verdict.FAIL, "Read the target's own log at the moment it went away."
        detail = f"The target went away after {seconds} of the steady phase of {asked.duration:.0f} s."
    elif not due or made.rate is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No vote reached the target in the steady phase."
    elif made.failed or made.silent:
        verdict = Verdict.FAIL
        detail = f"{detail[:-1]}; {made.failed:,} votes were answered with a server error and {made.silent:,} were never broadcast."
        remedy = "Look for the errors in the target's log, and at the casts named below."
    elif made.coalesced and asked.rate <= limit:
        verdict = Verdict.WARN
        detail = f"{detail[:-1]}; {made.coalesced:,} were merged into a later one, at a rate that is to be handled without batching."
        remedy = "Batch only votes on one feature inside the batch window, or past the broadcast limit."
    elif asked.rate < limit or asked.viewers < case.contract.connections or asked.duration < case.contract.steady:
        verdict = Verdict.INFO
        detail += (
            f" The contract asks for {limit:,}/s to {case.contract.connections:,} connections for "
            f"{case.contract.steady:.0f} s: not shown by this run ({asked.rate:g}/s to {asked.viewers:,} for {asked.duration:g} s)."
        )
    elif made.rate < limit * (1.0 - e.fitness.missed):
        verdict, remedy = Verdict.FAIL, "Look for the casts that are missing in the delivery account below."
    return Benchmark(
        id="broadcast_rate",
        title="Broadcasts a second, unbatched",
        clause="PERF-03",
        section="Performance Benchmarks, Throughput",
        limit=limit,
        measured=made.rate,
        unit="per second",
        margin=None if made.rate is None else (made.rate - limit) / limit,
        verdict=verdict,
        samples=made.distinct,
        detail=detail,
        remedy=remedy,
    )


def _delivery(case: Case) -> Benchmark:
    made = case.evidence.throughput
    account, ratio = made.whole, made.whole.ratio
    verdict, remedy = Verdict.PASS, ""
    detail = f"{account.delivered:,} of {account.expected:,} deliveries were made."
    if ratio is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No delivery was owed, so none could be lost."
    elif account.lost > 0:
        verdict = Verdict.FAIL
        detail = f"{account.lost:,} of {account.expected:,} deliveries were lost."
        remedy = "The findings below name casts and viewers: see whether it is one socket, one moment, or every feature's last vote."
    if made.cut:
        detail += f" {made.cut:,} more were cut off when the target went away."
    return Benchmark(
        id="delivery",
        title="Deliveries made of those owed",
        clause="VOTE-01",
        section="VOTE_UPDATE, Broadcast Rules",
        limit=1.0,
        measured=ratio,
        unit="ratio",
        margin=None if ratio is None else ratio - 1.0,
        verdict=verdict,
        samples=account.expected,
        detail=detail,
        remedy=remedy,
    )


def _misdirected(case: Case) -> Benchmark:
    return _forbidden(
        case,
        ("misdirected", "Deliveries to the voter's own session", "VOTE-06"),
        case.evidence.throughput.whole.misdirected,
        Verdict.FAIL,
        "deliveries went to a session that had to be left out",
        "See the reading of A11 below: if this target leaves out something other than the session, declare it in its profile.",
    )


def _duplicated(case: Case) -> Benchmark:
    return _forbidden(
        case,
        ("duplicated", "Deliveries made twice", "VOTE-11"),
        case.evidence.throughput.whole.duplicated,
        Verdict.WARN,
        "deliveries were surplus: the socket had that broadcast already",
        "Look for a client that is registered twice, or a retry after a send that did succeed.",
    )


def _reordered(case: Case) -> Benchmark:
    return _forbidden(
        case,
        ("reordered", "Deliveries out of order", "VOTE-16"),
        case.evidence.throughput.whole.reordered,
        Verdict.WARN,
        "deliveries came after a later one of the same feature on the same socket",
        "A client then shows an old count until the next vote: keep one queue a socket, stamped when it is filled.",
    )


def _forbidden(case: Case, name: tuple[str, str, str], seen: int, broken: Verdict, what: str, remedy: str) -> Benchmark:
    delivered = case.evidence.throughput.whole.delivered + case.evidence.throughput.whole.misdirected
    verdict, detail = Verdict.PASS, f"None of {delivered:,}."
    if not delivered:
        verdict, detail = Verdict.INCONCLUSIVE, "Nothing was delivered."
    elif seen > 0:
        verdict, detail = broken, f"{seen:,} {what}."
    section = "VOTE_UPDATE, Broadcast Rules"
    return _count(name[0], name[1], name[2], section, seen, verdict, delivered, detail, remedy if verdict is broken else "")


def _invalid(case: Case) -> Benchmark:
    made = case.evidence.throughput
    verdict, detail, remedy = Verdict.PASS, f"Every one of {made.frames:,} frames has the shape that the contract gives it.", ""
    if not made.frames:
        verdict, detail = Verdict.INCONCLUSIVE, "No frame arrived."
    elif made.invalid:
        verdict, detail = Verdict.FAIL, f"{made.invalid:,} of {made.frames:,} frames do not have the shape that the contract gives them."
        remedy = "The findings below quote what is wrong with them."
    return _count("invalid_frames", "Frames that break the schema", "GEN-03", "Message Types",
                  made.invalid, verdict, made.frames, detail, remedy)  # fmt: skip


def _unmatched(case: Case) -> Benchmark:
    made = case.evidence.throughput
    verdict, detail, remedy = Verdict.PASS, "Every broadcast is explained by a vote of this run.", ""
    if not made.frames:
        verdict, detail = Verdict.INCONCLUSIVE, "No frame arrived."
    elif made.unmatched:
        verdict, detail = Verdict.WARN, f"{made.unmatched:,} frames are broadcasts that no vote of this run explains."
        remedy = "Keep everyone else off the target while it is measured; if nobody is, it makes up broadcasts or changes their fields."
    return _count("unmatched", "Broadcasts without a vote", "VOTE-10", "VOTE_UPDATE",
                  made.unmatched, verdict, made.frames, detail, remedy)  # fmt: skip


def _memory(case: Case) -> Benchmark:
    memory, limit = case.memory, case.contract.bytes_per_connection
    line, verdict, remedy = memory.line, Verdict.PASS, ""
    if line is None:
        verdict = Verdict.INCONCLUSIVE if memory.samples else Verdict.NOT_TESTABLE
        detail = f"{memory.why[:1].upper()}{memory.why[1:]}."
        remedy = "" if memory.samples else "Name the target's process in its profile (same host), so that its memory can be read."
    else:
        detail = (
            f"Each connection adds {line.slope / 1e3:.1f} KB of resident memory (95 % confidence {line.low / 1e3:.1f} to "
            f"{line.high / 1e3:.1f} KB, {line.n} readings during the ramp)."
        )
        if line.low > limit:
            verdict = Verdict.WARN
            remedy = "The contract says about 10 KB: look at per-connection buffers and compression contexts in the target."
    return Benchmark(
        id="memory",
        title="Memory a connection",
        clause="PERF-04",
        section="Performance Benchmarks, Memory",
        limit=limit,
        measured=None if line is None else line.slope,
        unit="bytes",
        margin=room_below(limit, None if line is None else line.slope),
        verdict=verdict,
        samples=0 if line is None else line.n,
        detail=detail,
        remedy=remedy,
    )


def _count(
    name: str, title: str, clause: str, section: str, seen: int, verdict: Verdict, samples: int, detail: str, remedy: str
) -> Benchmark:  # fmt: skip
    return Benchmark(name, title, clause, section, 0, seen, "count", None, verdict, samples, detail, remedy)


BENCHMARKS: tuple[Callable[[Case], Benchmark], ...] = (
    _latency,
    _stamped,
    _connections,
    _rate,
    _delivery,
    _memory,
    _misdirected,
    _duplicated,
    _reordered,
    _invalid,
    _closes,
    _unmatched,
)


def _gone(case: Case) -> bool:
    return case.evidence.run.phases.loss is not None


def _one_clock(case: Case) -> bool:
    target = case.evidence.run.header.get("target") or {}
    host = urlsplit(str(target.get("base_url") or target.get("ws_url") or "")).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"
