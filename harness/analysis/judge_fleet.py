"""The benchmarks of the fleet: connections held, connections that the target closed, and memory a connection."""

from __future__ import annotations

from harness.analysis.case import Case, counted
from harness.verdict import Benchmark, Verdict, room_below

__all__ = ["closes", "connections", "memory"]


def connections(case: Case) -> Benchmark:
    fleet, limit = case.evidence.connections, case.contract.connections
    required = min(fleet.asked, limit) - fleet.excused
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
    elif fleet.excused:
        detail = f"{detail[:-1]}; {fleet.excused:,} of them stopped reading by plan and need not be held."
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
        margin=(min(fleet.held + fleet.excused, fleet.asked) - limit) / limit if loss is None else -1.0,
        verdict=verdict,
        samples=fleet.opened + fleet.refused,
        detail=detail,
        remedy=remedy,
    )


def closes(case: Case) -> Benchmark:
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
    return counted(
        "closes", "Connections closed by the target", "PERF-02", "Connection Termination",
        fleet.unexpected, verdict, fleet.opened, detail, remedy,
    )  # fmt: skip


def memory(case: Case) -> Benchmark:
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
