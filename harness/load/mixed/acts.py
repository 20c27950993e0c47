"""How a run of mixed is set up and led: the stage, the members' part, and the phases."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gevent

from harness.errors import ExitCode, UsageError
from harness.load.mixed.account import Account
from harness.load.mixed.caster import DayCaster
from harness.load.mixed.matching import DayMatcher
from harness.load.mixed.visitors import Visitors
from harness.load.prepare import clear_votes, features_of, needs, voters_of
from harness.load.shape import Planning
from harness.load.station import PlanStart
from harness.measure.day import DayPlan, Habits
from harness.target import HookCaller, Session, Target
from schemas import load_contract

if TYPE_CHECKING:
    from harness.load.caster import Caster
    from harness.load.conductor import Conductor
    from harness.load.member import Member
    from harness.load.settings import Settings

__all__ = ["PLANNING", "conduct", "day_start", "open_day"]

_LEAD = 0.3
_GRACE = 30.0
_SPARE = 64
_EDITS = ("create", "update", "delete")


def make(settings: Settings, target: Target) -> DayPlan:
    """The day of a run: its features have no vote of its voters, and those that will be edited the first status. Raises UsageError."""
    contract = load_contract()
    edits = settings.number("edits")
    if edits:
        needs(settings, target, *_EDITS)
        if author_of(target) is None:
            raise UsageError("there is no administrator's session to edit with", settings.target, "give the profile one, or use --edits 0")
    voters, caller = voters_of(settings, target), HookCaller(target)
    try:
        plan = DayPlan(
            features=features_of(settings, caller, next(iter(voters.values()))),
            voters=tuple(voters),
            statuses=contract.messages.feature_status,
            rate=settings.rate,
            duration=settings.duration,
            warmup=settings.warmup,
            seed=settings.seed,
            habits=Habits(
                viewers=settings.viewers,
                stay=settings.number("stay"),
                idle=settings.number("idle"),
                view=settings.number("view"),
                burst=round(settings.number("burst")),
                edits=edits,
                window=target.limits.batch_window,
                pause=2 * target.limits.rate_window / target.limits.rate_messages,
                settle=contract.benchmark.latency,
            ),
        )
        clear_votes(target, caller, plan.features, voters)
        for feature in plan.edited if edits else ():
            answer = caller.call("update", author_of(target), featureId=feature, status=plan.statuses[0]).answer
            if not answer.ok:
                raise UsageError(
                    f"a feature could not be edited ({answer.problem})", target.base_url, "check the update hook, or use --edits 0"
                )
    finally:
        caller.close()
    time.sleep(len(plan.edited) / target.limits.broadcasts_per_second)  # what that makes the target broadcast is over then
    return plan


def author_of(target: Target) -> Session | None:
    """The administrator who edits; None where the profile has none."""
    return next(iter(target.available_sessions(1, "admin")), None)


def day_start(member: Member) -> None:
    """Before the first socket."""
    member.state = Visitors(member)


def open_day(member: Member, data: Mapping[str, Any]) -> None:
    """An act of the scenario: count, rate, begin (seconds since 1970)."""
    member.state.open_day(data["count"], data["rate"], data["begin"])
    member.status["there"] = True


def carry(member: Member, start: PlanStart) -> Caster:
    """The day begins: from here on every message is matched to its deed, and the visitors take their steps."""
    station, target, visitors, plan = member.station, member.target, member.state, start.plan
    if station is None or target is None or not isinstance(plan, DayPlan):
        raise TypeError("a day cannot be carried out here")
    matcher, author = DayMatcher(plan), author_of(target) if plan.habits.edits else None
    station.spare = sum(move.step == "come" for move in visitors.mine(plan)) + _SPARE
    patience = round(load_contract().benchmark.latency * 1e9)
    account = Account(
        start, plan, len(station.holders) + station.spare, target.readings, station.voter_sessions(), author,
        patience=patience, settle=round(plan.habits.settle * 1e9), evidence=station.evidence,
    )  # fmt: skip
    for slot, session in enumerate(station.holders):
        account.join(slot, session, 0)
    station.joined, station.audience, station.closing, station.watch_end = account.join, account.audience, account.closing, account.ended
    whole = PlanStart(plan, start.epoch, start.worker, start.workers, start.exclusion, matcher)
    station.begin(whole)
    gevent.spawn(visitors.live, plan, start.epoch / 1e9, account).link_exception(
        lambda greenlet: member.problem(f"the visitors cannot go on: {greenlet.exception}", ExitCode.INVALID)
    )
    return DayCaster(target, station, whole, member.report_call, plan, matcher, author)


def conduct(run: Conductor) -> None:
    """Those who are there in the beginning come first; then the day takes its course."""
    plan, settings = run.plan, run.settings
    if not isinstance(plan, DayPlan):
        raise TypeError("mixed is led by the plan of a day")
    run.gather()
    run.event("ramp_started")
    run.event("sockets", {"planned": plan.visits})
    run.tell_all("open_day", {"count": plan.present, "rate": settings.spawn_rate, "begin": time.time() + _LEAD})
    run.until(
        lambda: run.all("there"), plan.present / settings.spawn_rate + _GRACE, lambda: f"{run.sum('open')} of {plan.present} are there"
    )
    run.event("ramp_done", {"open": run.sum("open"), "refused": run.sum("refused")})
    if not run.sum("open"):
        run.give_up("no connection could be opened")
    run.cast()


PLANNING = Planning(make=make, read=DayPlan.of, carry=carry)
