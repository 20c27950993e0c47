"""The benchmarks of mixed: who is let in, each message type's latency, and what may reach whom."""

from __future__ import annotations

from harness.analysis.case import Case, counted, gone, plain_time
from harness.analysis.mixed import MixedStudy
from harness.verdict import Benchmark, Verdict, room_below

__all__ = ["back", "errors", "filtered", "latency", "own", "role", "visits"]

_FEW = 0.01  # of the pairs: fewer exceptions than this do not make another reading
_SUBSCRIBE, _ROLES = "Client to Server, SUBSCRIBE", "Security Considerations, Authorization"


def _study(case: Case) -> MixedStudy | None:
    return case.study if isinstance(case.study, MixedStudy) else None


def latency(case: Case) -> Benchmark:
    """The p99 of the message type that is slowest."""
    study, limit = _study(case), case.contract.latency
    kind = study.slowest if study else None
    p99, verdict, remedy = (kind.latency.p99 if kind else None), Verdict.PASS, ""
    if kind is None or p99 is None or study is None:
        verdict, detail = Verdict.INCONCLUSIVE, "No broadcast of the steady phase arrived, so there is nothing to time."
    else:
        detail = f"99 % of {kind.latency.n:,} deliveries of {kind.name}, the slowest type, arrived within {plain_time(p99)} of the due time"
        detail += f" (95 % confidence {plain_time(kind.interval[0])} to {plain_time(kind.interval[1])})." if kind.interval else "."
        unheard = [each.name for each in study.kinds if each.calls and not each.latency.n]
        detail += f" Nobody who could be timed was owed {', '.join(unheard)}." if unheard else ""
        if p99 >= limit:
            verdict, remedy = Verdict.FAIL, f"Look at how {kind.name} leaves the target: it may wait behind other work."
        elif gone(case):
            verdict, detail = Verdict.INCONCLUSIVE, f"{detail} The target went away before the day was over."
        elif kind.interval and kind.interval[1] >= limit:
            verdict, remedy = Verdict.WARN, "The limit lies inside the confidence interval: run longer to know on which side the p99 is."
    return Benchmark("mixed_latency", "Slowest message type, p99", "FUPD-08", "Performance Benchmarks, Latency", limit, p99, "s",
                     room_below(limit, p99), verdict, kind.latency.n if kind else 0, detail, remedy)  # fmt: skip


def visits(case: Case) -> Benchmark:
    """Visitors who were turned away, though there was room."""
    study, most = _study(case), case.evidence.run.parameters.viewers
    seen = study.visits if study else None
    verdict, remedy = Verdict.PASS, ""
    if seen is None or not seen.come + seen.refused:
        verdict, detail = Verdict.INCONCLUSIVE, "Nobody came."
    else:
        detail = f"All {seen.come:,} visitors were let in, at most {case.evidence.connections.peak:,} at a time."
        if seen.refused:
            verdict = Verdict.FAIL if most <= case.contract.connections else Verdict.INFO
            detail = f"{seen.refused:,} of {seen.come + seen.refused:,} visitors were turned away, with never more than {most:,} there."
            remedy = "Look for slots that are not given back when a viewer leaves, and at the target's backlog." if most else ""
    return counted("mixed_visits", "Visitors turned away", "LIM-01", "Connection Establishment", seen.refused if seen else 0, verdict,
                   seen.come + seen.refused if seen else 0, detail, remedy if verdict is Verdict.FAIL else "")  # fmt: skip


def own(case: Case) -> Benchmark:
    """Votes told to the session that cast them."""
    aside = study.aside if (study := _study(case)) else None
    return _none(
        ("mixed_own", "Deliveries to the voter's own session", "VOTE-06", "VOTE_UPDATE, Broadcast Rules"),
        aside.own if aside else 0, aside.own_of if aside else 0, Verdict.FAIL,
        "deliveries of a vote to the session that cast it",
        "See the reading of A11 below: if this target leaves out something other than the session, declare it in its profile.",
    )  # fmt: skip


def role(case: Case) -> Benchmark:
    """What only administrators may see, told to others."""
    aside = study.aside if (study := _study(case)) else None
    return _none(
        ("mixed_role", "Administrators' messages to others", "SEC-06", _ROLES),
        aside.role if aside else 0, aside.role_of if aside else 0, Verdict.FAIL,
        "deliveries of a created or deleted feature to users who are no administrators",
        "Ask for the role of each socket before FEATURE_CREATED and FEATURE_DELETED; if all are to have them, declare the reading of A15.",
    )  # fmt: skip


def filtered(case: Case) -> Benchmark:
    """Messages about other features in a detail view."""
    aside = study.aside if (study := _study(case)) else None
    return _none(
        ("mixed_filter", "Deliveries about other features to a detail view", "SUB-03", _SUBSCRIBE),
        aside.other if aside else 0, aside.other_of if aside else 0, Verdict.WARN,
        "deliveries about another feature than the one subscribed to",
        "Filter votes and updates by what a socket subscribed to; if SUBSCRIBE is to have no effect, declare the reading of A21.",
    )  # fmt: skip


def _none(
    name: tuple[str, str, str, str], seen: int, of: int, broken: Verdict, what: str, remedy: str
) -> Benchmark:  # fmt: skip
    verdict, detail = Verdict.PASS, f"None in {of:,} cases."
    if seen:
        verdict, detail = broken, f"{seen:,} {what}, in {of:,} cases."
    elif not of:
        verdict, detail = Verdict.INCONCLUSIVE, "There was no such case."
    return counted(*name, seen, verdict, of, detail, remedy if verdict is broken else "")


def back(case: Case) -> Benchmark:
    """What comes after the last UNSUBSCRIBE: everything or nothing, and never some of it."""
    aside = study.aside if (study := _study(case)) else None
    of, made = (aside.back_of, aside.back) if aside else (0, 0)
    share, verdict, remedy = made / of if of else None, Verdict.INFO, ""
    if share is None:
        verdict, detail = Verdict.INCONCLUSIVE, "Nobody was back from a detail view when something happened."
    elif share > 1 - _FEW:
        detail = f"Who has unsubscribed from all is told of everything again: {made:,} of {of:,} cases."
    elif share < _FEW:
        detail = f"Who has unsubscribed from all is told of nothing more: {made:,} of {of:,} cases."
    else:
        verdict = Verdict.WARN
        detail = f"Who has unsubscribed from all is told of some things and not of others: {made:,} of {of:,} cases."
        remedy = "Decide on one: a page that is back at its list needs everything."
    return Benchmark("mixed_back", "Told after the last UNSUBSCRIBE", "UNS-03", "Client to Server, UNSUBSCRIBE", None, share, "ratio", None,
                     verdict, of, detail, remedy)  # fmt: skip


def errors(case: Case) -> Benchmark:
    """ERROR messages to clients that kept every rule."""
    study, frames = _study(case), case.evidence.throughput.frames
    seen = study.errors if study else 0
    verdict, detail, remedy = Verdict.PASS, "No client was sent an ERROR.", ""
    if not frames:
        verdict, detail = Verdict.INCONCLUSIVE, "No frame arrived."
    elif seen and study:
        verdict = Verdict.FAIL
        detail = f"{seen:,} ERROR messages, though every client kept to the rate and the form of messages. One: {study.error}"
        remedy = "Its code says what the target took offence at; the visitors send SUBSCRIBE, UNSUBSCRIBE and PONG only."
    return counted("mixed_errors", "ERROR messages", "RATE-01", "Rate Limiting, Per Connection", seen, verdict, frames, detail, remedy)
