"""Before the first socket: is the target there, can this machine carry the plan, and is the stage set for it?

Everything that would make the run worthless is refused here, with the number and the fix.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.figure_names import run_figures
from harness.load.settings import Settings
from harness.load.shape import Shape
from harness.measure.limits import Demand, preflight, raise_descriptors
from harness.measure.plan import Plan, StairPlan, VotePlan
from harness.run_folder import new_run_folder
from harness.target import HookCaller, Session, Target, load_target, machine_toward, reach
from harness.thresholds import keep_thresholds, read_thresholds

__all__ = ["Prepared", "clear_votes", "features_of", "needs", "prepare", "target_answers", "voters_of", "votes_planned"]

_BYTES_PER_CAST = 400  # of journal, measured; a second of a worker takes about as much again
_BYTES_PER_SECOND = 4_000
_OTHER_DESCRIPTORS = 256
_MOST_SESSIONS = 20_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can begin. `plan` is None where the scenario casts nothing; `hints` are for the reader."""

    folder: Path
    target: Target
    plan: Plan | None
    exclusion: str
    hints: tuple[str, ...]


def prepare(shape: Shape, settings: Settings, processes: int, here: int) -> Prepared:
    """Check the target and this machine, choose features and voters, and clear their old votes. Raises HarnessError.

    processes: how many carry the load; here: how many of them do it on this machine.
    """
    target = load_target(settings.target)
    if settings.thresholds is not None:
        read_thresholds(settings.thresholds).check(run_figures(shape.judged))
    if shape.casts:
        needs(settings, target, "list", "vote", "unvote")
    hints = _check_machine(settings, target, processes, here)
    reach(target)
    plan: Plan | None = None
    if shape.casts:
        plan = shape.plan.make(settings, target) if shape.plan else votes_planned(settings, target, merges=shape.merges)
    folder = settings.folder or new_run_folder(settings.reports, settings.scenario.replace("_", "-"), time.time())
    if settings.thresholds is not None:
        keep_thresholds(settings.thresholds, folder)
    return Prepared(folder, target, plan, target.readings.get("exclusion", "session"), tuple(hints))


def needs(settings: Settings, target: Target, *names: str) -> None:
    """Raise UsageError unless the profile has these hooks, and all but the list as calls over HTTP, for which alone there is time."""
    for name in names:
        hook = target.hook(name)
        if hook is None:
            do = f"describe how to {name} under [hooks.{name}], or run `roadmap-harness doctor`"
            raise UsageError(f"the profile has no {name} hook, and this scenario needs it", settings.target, do)
        if hook.is_command and name != "list":
            raise UsageError(f"the {name} hook is a command, too slow for a load", settings.target, "give it a method and a path")


def votes_planned(settings: Settings, target: Target, stairs: Sequence[tuple[float, float]] = (), *, merges: bool = False) -> VotePlan:
    """Votes at the rate of the settings, or up the stairs (seconds, rate), and their features clear of old votes. merges: they may come so
    close that the target merges them. Raises UsageError."""
    voters = voters_of(settings, target)
    caller = HookCaller(target)
    try:
        parts: dict[str, Any] = {
            "features": features_of(settings, caller, next(iter(voters.values()))),
            "voters": tuple(voters),
            "rate": max((rate for _, rate in stairs), default=settings.rate),
            "duration": sum(seconds for seconds, _ in stairs) if stairs else settings.duration,
            "warmup": settings.warmup,
            "seed": settings.seed,
        }
        plan = StairPlan(**parts, stairs=tuple(stairs)) if stairs else VotePlan(**parts)
        if not merges:
            plan.check(target.limits.batch_window)
        clear_votes(target, caller, plan.features, voters)
    finally:
        caller.close()
    return plan


def _check_machine(settings: Settings, target: Target, processes: int, here: int) -> list[str]:
    sockets = -(-settings.viewers // processes)
    seconds = settings.warmup + settings.duration + settings.drain
    disk = round(seconds * (settings.rate * _BYTES_PER_CAST + processes * _BYTES_PER_SECOND))
    demand = Demand(sockets + _OTHER_DESCRIPTORS, settings.spawn_rate, disk, ports=here * sockets)
    hints = preflight(demand, machine_toward(target, settings.folder or settings.reports))
    raise_descriptors(demand.sockets + _OTHER_DESCRIPTORS)
    return hints


def voters_of(settings: Settings, target: Target) -> dict[str, Session]:
    """One session for each of the users who vote. Raises UsageError when there are too few."""
    voters: dict[str, Session] = {}
    for session in target.available_sessions(_MOST_SESSIONS):
        user = session.user_id
        if session.role == "regular" and user is not None and user not in voters and len(voters) < settings.voters:
            voters[user] = session
    if len(voters) < settings.voters:
        do = f"use --voters {len(voters)}, or give the profile sessions of more users"
        raise UsageError(f"{settings.voters} users are to vote, and the profile has {len(voters)}", "--voters", do)
    return voters


def features_of(settings: Settings, caller: HookCaller, session: Session) -> tuple[str, ...]:
    """The ids of the features voted on. Raises UsageError when the target lists too few."""
    answer = caller.call("list", session).answer
    ids = [item.id for item in answer.items] if answer.ok else []
    if len(ids) < settings.features:
        do = f"use --features {len(ids)}, or seed the target with more" if ids else "check the list hook of the profile"
        raise UsageError(f"{settings.features} features are to be voted on, and the target lists {len(ids)}", "--features", do)
    return tuple(ids[: settings.features])


def clear_votes(target: Target, caller: HookCaller, of: Sequence[str], voters: Mapping[str, Session]) -> None:
    """Take back what the voters voted before: the plan begins with everybody's vote missing.

    What that makes the target broadcast, at its cap, is over before the first socket opens.
    """
    features, cleared = set(of), 0
    for session in voters.values():
        answer = caller.call("list", session).answer
        for item in answer.items:
            if item.voted and item.id in features:
                gone = caller.call("unvote", session, featureId=item.id).answer
                if not gone.ok:
                    what = f"an old vote could not be taken back ({gone.problem})"
                    raise UsageError(what, target.base_url, "check the unvote hook of the profile")
                cleared += 1
    if cleared:
        time.sleep(cleared / target.limits.broadcasts_per_second + 2 * target.limits.batch_window)


def target_answers(target: Target) -> str | None:
    """None when the target still takes connections, else why not, in words."""
    try:
        reach(target)
    except HarnessError as error:
        return str(error)
    return None
