"""Before the first socket: is the target there, can this machine carry the plan, and is the stage set for it?

Everything that would make the run worthless is refused here, with the number and the fix.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import HarnessError, TargetUnreachable, UsageError
from harness.journal import new_run_folder
from harness.load.settings import Settings
from harness.load.shape import Shape
from harness.measure.limits import Demand, preflight, raise_descriptors, read_machine
from harness.measure.plan import VotePlan
from harness.target import HookCaller, Session, Target, load_target, reach

__all__ = ["Prepared", "prepare", "target_answers"]

_BYTES_PER_CAST = 400  # of journal, measured; a second of a worker takes about as much again
_BYTES_PER_SECOND = 4_000
_OTHER_DESCRIPTORS = 256
_MOST_SESSIONS = 20_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can begin. `plan` is None where the scenario casts nothing; `hints` are for the reader."""

    folder: Path
    target: Target
    plan: VotePlan | None
    exclusion: str
    hints: tuple[str, ...]


def prepare(shape: Shape, settings: Settings, processes: int) -> Prepared:
    """Check the target and this machine, choose features and voters, and clear their old votes. Raises HarnessError."""
    target = load_target(settings.target)
    for name in ("list", "vote", "unvote") if shape.casts else ():
        if target.hook(name) is None:
            do = f"describe how to {name} under [hooks.{name}], or run `roadmap-harness doctor`"
            raise UsageError(f"the profile has no {name} hook, and this scenario needs it", settings.target, do)
    hints = _check_machine(settings, target, processes)
    reach(target)
    plan = _plan(shape, settings, target) if shape.casts else None
    folder = settings.folder or new_run_folder(settings.reports, settings.scenario.replace("_", "-"), time.time())
    return Prepared(folder, target, plan, target.readings.get("exclusion", "session"), tuple(hints))


def _plan(shape: Shape, settings: Settings, target: Target) -> VotePlan:
    sessions = target.available_sessions(_MOST_SESSIONS)
    voters = _voters(settings, sessions)
    caller = HookCaller(target)
    try:
        plan = VotePlan(
            features=_features(settings, caller, sessions[0]),
            voters=tuple(voters),
            rate=settings.rate,
            duration=settings.duration,
            warmup=settings.warmup,
            seed=settings.seed,
        )
        if not shape.merges:
            plan.check(target.limits.batch_window)
        _clear_votes(target, caller, plan, voters)
    finally:
        caller.close()
    return plan


def _check_machine(settings: Settings, target: Target, processes: int) -> list[str]:
    address = urlsplit(target.base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        host = socket.getaddrinfo(address.hostname, port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        do = "check base_url in the profile"
        raise TargetUnreachable(f"the name {address.hostname} has no address ({error})", target.base_url, do) from error
    sockets = -(-settings.viewers // processes)
    seconds = settings.warmup + settings.duration + settings.drain
    disk = round(seconds * (settings.rate * _BYTES_PER_CAST + processes * _BYTES_PER_SECOND))
    demand = Demand(sockets + _OTHER_DESCRIPTORS, settings.spawn_rate, disk)
    folder = settings.folder or settings.reports
    machine = read_machine(str(host), port, folder)
    hints = preflight(demand, machine)
    raise_descriptors(demand.sockets + _OTHER_DESCRIPTORS)
    return hints


def _voters(settings: Settings, sessions: list[Session]) -> dict[str, Session]:
    """One session for each of the users who vote."""
    voters: dict[str, Session] = {}
    for session in sessions:
        user = session.user_id
        if session.role == "regular" and user is not None and user not in voters and len(voters) < settings.voters:
            voters[user] = session
    if len(voters) < settings.voters:
        do = f"use --voters {len(voters)}, or give the profile sessions of more users"
        raise UsageError(f"{settings.voters} users are to vote, and the profile has {len(voters)}", "--voters", do)
    return voters


def _features(settings: Settings, caller: HookCaller, session: Session) -> tuple[str, ...]:
    answer = caller.call("list", session).answer
    ids = [item.id for item in answer.items] if answer.ok else []
    if len(ids) < settings.features:
        do = f"use --features {len(ids)}, or seed the target with more" if ids else "check the list hook of the profile"
        raise UsageError(f"{settings.features} features are to be voted on, and the target lists {len(ids)}", "--features", do)
    return tuple(ids[: settings.features])


def _clear_votes(target: Target, caller: HookCaller, plan: VotePlan, voters: dict[str, Session]) -> None:
    """Take back what the voters voted before: the plan begins with everybody's vote missing.

    What that makes the target broadcast, at its cap, is over before the first socket opens.
    """
    features, cleared = set(plan.features), 0
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
