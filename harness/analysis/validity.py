"""Was the instrument fit to judge? Each reason against it is a pure function, and each says what to do about it.

The rule: what we did wrong makes the run INVALID, never the target's failure or success; what the target did wrong never does. A
target that goes away in the middle is evidence, so a run is not cut short by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.analysis.connections import Connections
from harness.analysis.health import Health
from harness.analysis.latency import LatencyFigures
from harness.analysis.run import Run
from harness.analysis.throughput import Throughput

__all__ = ["Evidence", "Fitness", "Reason", "reasons_against"]


@dataclass(frozen=True, slots=True)
class Fitness:
    """How good the instrument has to be. Times are seconds, and shares of the contract's latency limit: an instrument should be some
    thirty times finer than what it measures, so that its own error cannot carry a verdict over the line.

    slip_p99  limit/30. The slip is inside the headline latency: it would be charged to the target.
    slip_max  limit/3. One stop as long as that turns an even rate into a burst that nobody asked for.
    lag_p99   limit/30. The kernel stamps arrivals, so lag is not in the latency; but a generator that reads so late fills its receive
              buffers, and then the target is waiting for us.
    stall     limit/3. For the same reason; also, no PING is answered meanwhile.
    busy_lag  limit/120. On a saturated host even a smaller lag is a sign that target and generator starve each other ...
    busy_above, busy_share  ... saturated: more than 97 % of all cores in more than a fifth of the seconds. Alone it is no
              reason: a generator that still reads in time has done its work.
    clock_step limit/60. A step goes straight into every latency that spans it.
    missed    1 % of the casts not made, not answered or refused: more, and the load was not the one asked for.
    short     seconds by which the steady phase may fall short of what was asked.
    """

    limit: float
    slip_p99: float
    slip_max: float
    lag_p99: float
    stall: float
    busy_lag: float
    busy_above: float
    busy_share: float
    clock_step: float
    missed: float
    short: float

    @classmethod
    def of(cls, limit: float) -> Fitness:
        """For a latency limit in seconds."""
        return cls(
            limit=limit,
            slip_p99=limit / 30,
            slip_max=limit / 3,
            lag_p99=limit / 30,
            stall=limit / 3,
            busy_lag=limit / 120,
            busy_above=0.97,
            busy_share=0.2,
            clock_step=limit / 60,
            missed=0.01,
            short=0.5,
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the run cannot judge: a stable code, one sentence, and what to do."""

    code: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figures of one run, as the reasons and the benchmarks need them."""

    run: Run
    latency: LatencyFigures
    throughput: Throughput
    connections: Connections
    health: Health
    fitness: Fitness


def reasons_against(evidence: Evidence) -> tuple[Reason, ...]:
    """All reasons why this run judges nothing; empty for a VALID run."""
    checks = [check for check in _CHECKS if not (evidence.run.header.get("fit_by_step") and check in _BY_STEP)]
    return tuple(reason for reason in (check(evidence) for check in checks) if reason is not None)


def _no_casts(e: Evidence) -> Reason | None:
    phases = e.run.phases
    if phases.cast_started is not None or phases.loss is not None:
        return None
    if not e.run.casts_votes and phases.steady_from is not None:
        return None
    if e.connections.opened and e.connections.refused and phases.ramp_done is not None:
        return None  # The ramp itself convicts: some were let in, others turned away.
    return Reason(
        "nothing_measured",
        "No vote was cast: the run ended before there was anything to measure.",
        "Read the events below for what stopped it, mend that, and run again.",
    )


def _cut_short(e: Evidence) -> Reason | None:
    if e.run.footer is not None or e.run.phases.loss is not None:
        return None
    return Reason(
        "cut_short",
        "The journal has no footer: the harness was cut short, and what it still had to write is missing.",
        "Look for what ended it (killed, out of memory, disk full, power) and run again.",
    )


def _stopped(e: Evidence) -> Reason | None:
    phases = e.run.phases
    if phases.stopped is None or phases.steady_complete:
        return None
    return Reason(
        "stopped",
        f"The run was stopped by hand after {phases.steady_seconds:.0f} s of its steady phase of {e.run.parameters.duration:.0f} s.",
        "Let it run to its end, or ask for a shorter one.",
    )


def _worker_lost(e: Evidence) -> Reason | None:
    lost = e.run.named("worker_lost")
    footer = e.run.footer is not None and e.run.footer.get("reason") == "worker_lost"
    if not lost and not footer:
        return None
    which = ", ".join(str(event.detail.get("worker", "?")) for event in lost) or "one"
    return Reason(
        "worker_lost",
        f"A worker of the generator was lost ({which}), and its sockets and its share of the evidence with it.",
        "Look at that worker's log, check memory and open files on its host, and run again.",
    )


def _overload(e: Evidence) -> Reason | None:
    told = e.run.named("overload")
    footer = e.run.footer is not None and e.run.footer.get("reason") == "problem"
    if not told and not footer:
        return None
    texts = [str(event.detail.get("reason") or event.detail.get("text") or "") for event in (*told, *e.run.named("problem"))]
    why = next((text for text in texts if text), "it did not say why")
    return Reason(
        "generator_failed",
        f"The generator reported that it could not do its work: {why.rstrip('.')}.",
        "Remove that cause, or use more workers or a smaller load, and run again.",
    )


def _slip(e: Evidence) -> Reason | None:
    slip, fitness = e.health.slip, e.fitness
    if slip.p99 is None or slip.max is None or (slip.p99 <= fitness.slip_p99 and slip.max <= fitness.slip_max):
        return None
    what = "Votes were cast" if e.run.casts_votes else "Connections were opened"
    voters = ", and enough voters that none has to wait for its last answer" if e.run.casts_votes else ""
    api = "" if e.latency.api.p99 is None else f" The votes' own answers took {_ms(e.latency.api.p99)} at p99."
    return Reason(
        "slip",
        f"{what} late: p99 {_ms(slip.p99)} (allowed {_ms(fitness.slip_p99)}), at most {_ms(slip.max)} "
        f"(allowed {_ms(fitness.slip_max)}) behind the plan.",
        f"Give the generator more CPU or more workers{voters}.{api}",
    )


def _lag(e: Evidence) -> Reason | None:
    lag, fitness = e.health.lag, e.fitness
    if lag.p99 is None or lag.p99 <= fitness.lag_p99:
        return None
    return Reason(
        "lag",
        f"The generator read late: p99 {_ms(lag.p99)} behind the kernel (allowed {_ms(fitness.lag_p99)}).",
        "Give the generator more CPU, more workers or a host of its own.",
    )


def _stall(e: Evidence) -> Reason | None:
    if e.health.stall is None or e.health.stall <= e.fitness.stall:
        return None
    return Reason(
        "stall",
        f"The generator's loop stood still for {_ms(e.health.stall)} (allowed {_ms(e.fitness.stall)}).",
        "Keep other work off the generator's host, check that it does not swap, and run again.",
    )


def _host_busy(e: Evidence) -> Reason | None:
    busy, lag, fitness = e.health.busy_share, e.health.lag.p99, e.fitness
    if busy is None or lag is None or busy <= fitness.busy_share or lag <= fitness.busy_lag:
        return None
    return Reason(
        "host_cpu",
        f"The host was out of CPU (above {fitness.busy_above:.0%} in {busy:.0%} of the seconds) and the generator read {_ms(lag)} late "
        f"at p99 (allowed {_ms(fitness.busy_lag)} on a busy host).",
        "Run the generator and the target on different hosts, or on one with more cores.",
    )


def _clock_step(e: Evidence) -> Reason | None:
    worst = max((abs(step) for step in e.health.clock_steps), default=0.0)
    if worst <= e.fitness.clock_step:
        return None
    return Reason(
        "clock_step",
        f"The host's clock jumped by {_ms(worst)} during the run (allowed {_ms(e.fitness.clock_step)}).",
        "Let the clock settle (chrony or ntpd slews, it does not step), and run again.",
    )


def _casts_missed(e: Evidence) -> Reason | None:
    made = e.throughput
    missed = made.planned - made.called + (0 if e.run.phases.loss else made.unanswered)
    if e.run.phases.cast_started is None or missed <= e.fitness.missed * made.planned:
        return None
    return Reason(
        "casts_missed",
        f"{missed} of {made.planned} votes were not cast or got no answer ({made.planned - made.called} not made, "
        f"{made.unanswered} without an answer), so the load was not the one asked for.",
        "Check the path to the target's API, its time limit, and the free ports and descriptors of the generator's host.",
    )


def _votes_refused(e: Evidence) -> Reason | None:
    made = e.throughput
    if made.refused <= e.fitness.missed * made.planned:
        return None
    seen = ", ".join(f"{count} × {status}" for status, count in made.statuses.items() if 300 <= status < 500)
    return Reason(
        "votes_refused",
        f"The target's API refused {made.refused} of {made.planned} votes ({seen}), so the load was not the one asked for.",
        "401 or 403: check the voters' sessions; 404: the features; 409: that no one else votes as they do; 429: lift the API's own "
        "rate limit for the voters.",
    )


def _short(e: Evidence) -> Reason | None:
    phases, asked = e.run.phases, e.run.parameters.duration
    if phases.cast_started is None or phases.loss is not None or phases.stopped is not None or e.run.footer is None:
        return None
    if phases.steady_seconds > 0 and phases.steady_seconds >= asked - e.fitness.short:
        return None
    return Reason(
        "short",
        f"The steady phase lasted {phases.steady_seconds:.1f} s of {asked:.1f} s.",
        "Read the events below for what ended it, and run again.",
    )


def _unsettled(e: Evidence) -> Reason | None:
    if e.run.phases.loss is not None or e.run.footer is None or not e.run.phases.steady_complete or not e.throughput.unsettled:
        return None
    return Reason(
        "unsettled",
        f"The ledger has no account of {e.throughput.unsettled} votes that the target accepted: evidence is missing.",
        "Let the run drain to its end; if it did, report this with the journal, for it is a defect of the harness.",
    )


def _never_tried(e: Evidence) -> Reason | None:
    fleet = e.connections
    tried = fleet.opened + fleet.refused
    if e.run.phases.loss is not None or e.run.phases.cast_started is None or tried >= fleet.asked:
        return None
    return Reason(
        "sockets_not_opened",
        f"The generator tried {tried} of the {fleet.asked} connections that it was asked for.",
        "Raise the limit of open files and the range of local ports, or use more workers.",
    )


def _own_closes(e: Evidence) -> Reason | None:
    fleet = e.connections
    if fleet.own_closes <= e.fitness.missed * fleet.asked:
        return None
    return Reason(
        "own_closes",
        f"The generator itself closed {fleet.own_closes} of {fleet.asked} connections while they were needed.",
        "Read the closes below for why; if the frames were sound, report this with the journal.",
    )


def _own_error(e: Evidence) -> Reason | None:
    p99, slip = e.latency.headline.p99, e.health.slip.p99
    if p99 is None or slip is None or not p99 - slip < e.fitness.limit <= p99:
        return None
    return Reason(
        "own_error",
        f"The p99 latency of {_ms(p99)} is over the limit by less than the generator's own schedule slip of {_ms(slip)}.",
        "Give the generator more CPU or more workers, so that its own part in the latency is smaller.",
    )


_CHECKS: tuple[Callable[[Evidence], Reason | None], ...] = (
    _no_casts,
    _cut_short,
    _stopped,
    _worker_lost,
    _overload,
    _short,
    _slip,
    _lag,
    _stall,
    _host_busy,
    _clock_step,
    _casts_missed,
    _votes_refused,
    _unsettled,
    _never_tried,
    _own_closes,
    _own_error,
)

_BY_STEP = frozenset({_slip, _lag, _stall, _host_busy, _casts_missed, _votes_refused, _unsettled, _own_error})
"""What a scenario that searches for a limit says of each of its steps instead: its last ones are meant to be too much."""


def _ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{seconds * 1e3:.1f} ms"
