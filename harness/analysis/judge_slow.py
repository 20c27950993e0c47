"""The benchmarks of slow_readers: the others' latency and the server's memory do not move, and whoever does not read is cut off.

The contract ends a connection whose PING stays unanswered: a silent one that lives on breaks it (FAIL). Of one that answers and does not
read it says nothing; there the harm is judged, which is memory without a bound.
"""

from __future__ import annotations

import math

from harness.analysis.case import Case, gone, plain_time
from harness.analysis.slow import SlowReader, SlowStudy
from harness.verdict import Benchmark, Verdict, room_below

__all__ = ["answering", "latency", "memory", "silent"]

_SHARE = 1 / 30  # of the contract's latency: a shift smaller than this is not noticed by a person, nor by us on a busy host
_LATE = 0.1  # a limit of time may be overstepped by this share and a second: the server's own timers, and ours
_LATE_SECONDS = 1.0
_MORE = 0.25  # a limit of bytes by this share: a transport counts before it cuts
_SECTION = "Connection Lifecycle, Heartbeat"


def _study(case: Case) -> SlowStudy | None:
    return case.study if isinstance(case.study, SlowStudy) else None


def latency(case: Case) -> Benchmark:
    """The p99 of those who read, before and after the others stopped."""
    study, limit = _study(case), case.contract.latency * _SHARE
    shift = study.p99 if study else None
    verdict, remedy, low, high = Verdict.PASS, "", None, None
    if shift is None or shift.low is None or shift.high is None:
        verdict, detail = Verdict.INCONCLUSIVE, "There is too little of one of the two stretches to compare them."
    else:
        low, high = shift.low, shift.high
        detail = (
            f"The others' p99 went from {plain_time(shift.before)} to {plain_time(shift.after)}: a difference of "
            f"{plain_time(shift.difference)} (95 % confidence {plain_time(low)} to {plain_time(high)})."
        )
        if low > limit:
            verdict, remedy = Verdict.WARN, "Never wait for one socket while writing to all; give each a queue of its own with a bound."
        elif high > limit:
            verdict, remedy = Verdict.INCONCLUSIVE, ""
            detail += " Whether it moved cannot be told from the noise: run longer, or on a quieter host."
    return Benchmark(
        id="slow_latency",
        title="Shift of the others' p99",
        clause="PERF-01",
        section="Performance Benchmarks, Latency",
        limit=limit,
        measured=shift.difference if shift else None,
        unit="s",
        margin=room_below(limit, shift.difference if shift else None),
        verdict=verdict,
        samples=sum(shift.n) if shift else 0,
        detail=detail,
        remedy=remedy,
    )


def memory(case: Case) -> Benchmark:
    """The growth of the server's memory for each that does not read."""
    study = _study(case)
    growth, readers = (study.memory, study.readers) if study else (None, ())
    stubborn = study.of("answering") if study else ()
    limit = float(study.backlog) if study else 0.0
    verdict, remedy, each = Verdict.PASS, "", None
    if growth is None or not readers:
        verdict = Verdict.INCONCLUSIVE if case.memory.samples else Verdict.NOT_TESTABLE
        detail = "The target's memory was not read in both stretches." if readers else "Nobody stopped reading."
        remedy = "" if case.memory.samples else "Name the target's process in its profile (same host), so that its memory can be read."
    else:
        each = growth.grown / len(readers)
        noise = growth.noise / len(readers)
        detail = (
            f"Resident memory rose by {growth.grown / 1e6:.1f} MB at most (± {growth.noise / 1e6:.1f} MB), which is {each / 1e3:.0f} KB "
            f"for each of the {len(readers)} that did not read; {limit / 1e3:.0f} KB each are room enough for a backlog."
        )
        allowed = limit * (1 + _MORE)
        if each - noise > allowed:
            verdict, remedy = Verdict.FAIL, "Bound what is kept for one socket, and cut off the socket that passes the bound."
        elif each + noise > allowed:
            verdict, detail = Verdict.INCONCLUSIVE, detail + " The memory moved too much before they stopped to tell."
        elif not any(reader.cut for reader in stubborn) and _most_held(stubborn) <= limit:
            verdict = Verdict.INFO
            detail += f" None was sent enough to reach that bound, so that there is one was not shown. {_longer(study)}"
    return Benchmark(
        id="slow_memory",
        title="Memory for one that does not read",
        clause="PERF-04",
        section="Performance Benchmarks, Memory",
        limit=limit,
        measured=each,
        unit="bytes",
        margin=room_below(limit, each),
        verdict=verdict,
        samples=growth.samples if growth else 0,
        detail=detail,
        remedy=remedy,
    )


def silent(case: Case) -> Benchmark:
    """When those were cut off that said nothing more."""
    study = _study(case)
    readers, limit = (study.of("silent"), study.silent_limit) if study else ((), 0.0)
    late = [reader for reader in readers if reader.after > limit * (1 + _LATE) + _LATE_SECONDS]
    alive = [reader for reader in readers if not reader.cut]
    overdue = [reader for reader in late if reader.known or not reader.cut]
    verdict, remedy = Verdict.PASS, ""
    detail = f"All {len(readers)} were cut off, the last after {plain_time(_longest(readers))}."
    if not readers or gone(case):
        verdict, detail = Verdict.INCONCLUSIVE, "Nobody fell silent." if not readers else "The target went away before it could be seen."
    elif overdue:
        verdict = Verdict.FAIL
        detail = f"{len(overdue)} of {len(readers)} that neither read nor answered a PING"
        detail += f" were still connected after {plain_time(min(reader.after for reader in overdue))}"
        detail += f" ({len(alive)} of them to the end)." if alive else "."
        remedy = f"Close a connection whose PING is not answered: at most {plain_time(limit)} after its last PONG."
    elif alive:
        verdict, detail = (
            Verdict.INCONCLUSIVE,
            f"{len(alive)} of {len(readers)} were still connected when the run ended, too early to judge.",
        )
        remedy = f"Let it run at least {plain_time(limit * (1 + _LATE) + _LATE_SECONDS)} after they stop (--duration)."
    elif not all(reader.known for reader in readers):
        verdict = Verdict.INFO
        detail = f"All {len(readers)} had been cut off when they read again; the moment can only be seen on the target's own host."
    return _fate("slow_silent", "Silent ones cut off", "HB-05", limit, _longest(readers), "s", verdict, len(readers), detail, remedy)


def answering(case: Case) -> Benchmark:
    """What was kept for those that went on answering, when they were cut off."""
    study = _study(case)
    readers, limit = (study.of("answering"), float(study.backlog)) if study else ((), 0.0)
    alive = [reader for reader in readers if not reader.cut]
    held = _most_held(readers)
    verdict, remedy = Verdict.PASS, ""
    detail = (
        f"All {len(readers)} were cut off, after {plain_time(min((r.after for r in readers), default=0.0))} to "
        f"{plain_time(_longest(readers))}, with {held / 1e3:.0f} KB at most left to the server to keep."
    )
    if not readers or gone(case):
        verdict, detail = (
            Verdict.INCONCLUSIVE,
            "Nobody went on answering." if not readers else "The target went away before it could be seen.",
        )
    elif alive and held > limit * (1 + _MORE):
        verdict = Verdict.WARN
        detail = (
            f"{len(alive)} of {len(readers)} that answer but do not read were never cut off; {held / 1e3:.0f} KB were due to one of them."
        )
        remedy = f"Cut a socket off once more than a bound waits for it; {limit / 1e3:.0f} KB is the bundled server's."
    elif alive:
        verdict, detail = Verdict.INFO, f"{len(alive)} of {len(readers)} were not cut off; {held / 1e3:.0f} KB were due to one at most."
        detail += f" That is less than a server may well keep. {_longer(study)}"
    return _fate("slow_answering", "Answering ones cut off", "PERF-04", limit, held, "bytes", verdict, len(readers), detail, remedy)


def _longer(study: SlowStudy | None) -> str:
    """How long a run would tell: until more is due to one than the kernel and the bound can hold together."""
    if study is None or study.stream <= 0 or study.calm is None:
        return "Run longer, or at a higher rate."
    queued = max((reader.queued for reader in study.of("answering")), default=0)
    after = (study.backlog * (1 + _MORE) + queued) / study.stream
    whole = study.calm[1] - study.calm[0] + after + _LATE_SECONDS
    return (
        f"At {study.stream / 1e3:.3g} KB a second to each, with {queued / 1e3:,.0f} KB in the kernel, that takes {after:,.0f} s after they "
        f"stop: --duration {math.ceil(whole / 10) * 10:,}."
    )


def _longest(readers: tuple[SlowReader, ...]) -> float:
    return max((reader.after for reader in readers), default=0.0)


def _most_held(readers: tuple[SlowReader, ...]) -> float:
    return float(max((reader.held for reader in readers), default=0))


def _fate(
    name: str, title: str, clause: str, limit: float, measured: float, unit: str, verdict: Verdict, samples: int, detail: str, remedy: str
) -> Benchmark:
    seen = measured if samples else None
    return Benchmark(name, title, clause, _SECTION, limit, seen, unit, room_below(limit, seen), verdict, samples, detail, remedy)
