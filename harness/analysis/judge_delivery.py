"""The benchmarks of delivery: broadcasts a second, deliveries made of those owed, and each way in which one can go wrong."""

from __future__ import annotations

from harness.analysis.case import Case, counted
from harness.verdict import Benchmark, Verdict

__all__ = ["delivery", "duplicated", "invalid", "misdirected", "rate", "reordered", "unmatched"]


def rate(case: Case) -> Benchmark:
    e, limit = case.evidence, float(case.contract.broadcasts_per_second)
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
        wrong = [f"{made.failed:,} were answered with a server error"] if made.failed else []
        wrong += [f"{made.silent:,} were never broadcast"] if made.silent else []
        detail = f"{detail[:-1]}; {' and '.join(wrong)}."
        remedy = "Look for the errors in the target's log, and at the casts named below."
    elif made.coalesced and asked.rate <= limit:
        verdict = Verdict.WARN
        detail = f"{detail[:-1]}; {made.coalesced:,} were merged into a later one, at a rate that is to be handled without batching."
        remedy = "Batch only votes on one feature inside the batch window, or past the broadcast limit."
    elif asked.rate < limit or asked.viewers < case.contract.connections or asked.duration < case.contract.steady:
        verdict = Verdict.INFO
        detail += (
            f" The contract asks for {limit:,g}/s to {case.contract.connections:,} connections for "
            f"{case.contract.steady:.0f} s: not shown by this run ({asked.rate:g}/s to {asked.viewers:,} for {asked.duration:g} s)."
        )
    elif made.rate < limit * (1.0 - e.fitness.missed):
        verdict, remedy = Verdict.FAIL, "Look for the casts that are missing in the delivery account below."
    if verdict in (Verdict.FAIL, Verdict.WARN):
        limit = min(limit, asked.rate)  # a run that asked for less misses what it asked for
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


def delivery(case: Case) -> Benchmark:
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


def misdirected(case: Case) -> Benchmark:
    return _forbidden(
        case,
        ("misdirected", "Deliveries to the voter's own session", "VOTE-06"),
        case.evidence.throughput.whole.misdirected,
        Verdict.FAIL,
        "deliveries went to a session that had to be left out",
        "See the reading of A11 below: if this target leaves out something other than the session, declare it in its profile.",
    )


def duplicated(case: Case) -> Benchmark:
    return _forbidden(
        case,
        ("duplicated", "Deliveries made twice", "VOTE-11"),
        case.evidence.throughput.whole.duplicated,
        Verdict.WARN,
        "deliveries were surplus: the socket had that broadcast already",
        "Look for a client that is registered twice, or a retry after a send that did succeed.",
    )


def reordered(case: Case) -> Benchmark:
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
    return counted(name[0], name[1], name[2], section, seen, verdict, delivered, detail, remedy if verdict is broken else "")


def invalid(case: Case) -> Benchmark:
    made = case.evidence.throughput
    verdict, detail, remedy = Verdict.PASS, f"Every one of {made.frames:,} frames has the shape that the contract gives it.", ""
    if not made.frames:
        verdict, detail = Verdict.INCONCLUSIVE, "No frame arrived."
    elif made.invalid:
        verdict, detail = Verdict.FAIL, f"{made.invalid:,} of {made.frames:,} frames do not have the shape that the contract gives them."
        remedy = "The findings below quote what is wrong with them."
    return counted("invalid_frames", "Frames that break the schema", "GEN-03", "Message Types",
                  made.invalid, verdict, made.frames, detail, remedy)  # fmt: skip


def unmatched(case: Case) -> Benchmark:
    made = case.evidence.throughput
    verdict, detail, remedy = Verdict.PASS, "Every broadcast is explained by a vote of this run.", ""
    if not made.frames:
        verdict, detail = Verdict.INCONCLUSIVE, "No frame arrived."
    elif made.unmatched:
        verdict, detail = Verdict.WARN, f"{made.unmatched:,} frames are broadcasts that no vote of this run explains."
        remedy = "Keep everyone else off the target while it is measured; if nobody is, it makes up broadcasts or changes their fields."
    return counted("unmatched", "Broadcasts without a vote", "VOTE-10", "VOTE_UPDATE",
                  made.unmatched, verdict, made.frames, detail, remedy)  # fmt: skip
