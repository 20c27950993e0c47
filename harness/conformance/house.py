"""A full house: as many sockets as the target admits, held through two heartbeats, and what happens at the door meanwhile.

One experiment for all clauses on the connection limit, since filling a house is what takes time. Each step is written down as it went;
judging is the checks'. The rule: the steps are ordered so that a fault of one leaves the others as they were.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from harness.conformance.crowd import Crowd, Ended, Refusal, room, viewers
from harness.conformance.host import HostLoad, HostWatch
from harness.conformance.outcome import Ending, Inconclusive
from harness.conformance.stage import Stage
from harness.measure.resources import CommandProbe, ProcessProbe, PrometheusProbe, ResourceProbe
from harness.net.handshake import Opened
from harness.target import Target
from schemas import Limits

__all__ = ["SLOT_FREE_WITHIN", "House", "full_house", "hold_seconds"]

SLOT_FREE_WITHIN = 2.0  # seconds, of LIM-04
_PROBE_SECONDS = 5.0
_KNOCKS = 3  # tries at the door of a full house
_NOTICED = 0.6  # seconds in which we surely notice that a socket has ended
_STRANGERS = 8  # handshakes without a session, of LIM-06
_BACKLOG = 200  # broadcasts that may be on their way before a vote
_MADE_FREE = 4  # slots made free for LIM-06: fewer than the strangers could take


@dataclass
class House:
    """wanted: sockets that should fit beside those of other checks; sockets: how many did. Durations are seconds.

    short: why fewer, in the target's answer. beyond: what became of the one that was too many, None where it was not tried. told,
    pinged: how many of `sockets` got the broadcast at the limit, and a PING. freed: how long a slot took to be free again, by the way
    in which its socket ended; None when it was not in time. strangers_took: slots that handshakes without a session took.
    """

    wanted: int
    sockets: int = 0
    short: str = ""
    beyond: Refusal | str | None = None
    vote_problem: str | None = None
    told: int = 0
    pinged: int = 0
    held: float = 0.0
    ended: tuple[Ended, ...] = ()
    freed: dict[str, float | None] = field(default_factory=dict)
    door_problem: str | None = None
    strangers_took: int | None = None
    memory_before: int | None = None
    memory_after: int | None = None
    memory_problem: str | None = None
    host: HostLoad | None = None

    def blame_stall(self, what: str, seconds: float) -> None:
        """Raise Inconclusive when this machine stood still for longer than `seconds`, which may be the cause of `what`."""
        problem = self.host.stalled(seconds) if self.host is not None else None
        if problem is not None:
            raise Inconclusive(f"{what}, but {problem}: run this again on a quiet machine")


def hold_seconds(limits: Limits) -> float:
    """How long the house is held: two heartbeats and the time for the last PONG."""
    return 2 * limits.heartbeat_interval + limits.heartbeat_timeout


def full_house(stage: Stage) -> House:
    """Fill the target once a process, and write down what happened."""
    return stage.once("full house", lambda: _filled(stage))  # type: ignore[no-any-return]


def _filled(stage: Stage) -> House:
    with stage.ground.places:
        return _held(stage)


def _held(stage: Stage) -> House:
    house = House(room(stage))
    memory = _Memory(stage.target, house)
    watch = HostWatch(stage.target.resources.find_pid())
    with Crowd(stage, viewers(stage), house.wanted + _STRANGERS) as crowd:
        house.memory_before = memory.read()
        refused = crowd.fill(house.wanted, stage.patience)
        filled = time.monotonic()
        house.sockets = len(crowd)
        if refused:
            if not any(each.answered for each in refused):
                raise Inconclusive(f"{len(crowd)} of {house.wanted} sockets opened, and the next was not answered: {refused[0].text}")
            house.short = refused[0].text
        house.memory_after = memory.read()
        _one_more(stage, crowd, house)
        _tell_all(stage, crowd, house)
        while time.monotonic() < filled + hold_seconds(stage.limits) and stage.ground.lost is None:
            time.sleep(0.1)
        house.held = time.monotonic() - filled
        house.ended = tuple(crowd.ear.ended)
        house.memory_after = memory.read() or house.memory_after
        house.pinged = len(np.unique(crowd.ear.rows().of(crowd.ear.numbers("PING")).slot))
        house.host = watch.load()
        if _top_up(stage, crowd):
            _free_slots(stage, crowd, house)
            if _top_up(stage, crowd):
                _strangers(stage, crowd, house)
    return house


def _one_more(stage: Stage, crowd: Crowd, house: House) -> None:
    """The one that is too many; it leaves again if it was let in. That counts only while all the others are there still."""
    if house.short:
        return
    for _ in range(_KNOCKS):
        before = room(stage)
        knocked = crowd.knock(crowd.session(0))
        if not isinstance(knocked, Refusal):
            time.sleep(_NOTICED)
            knocked.opened.close()
        if room(stage) == before and len(crowd) == house.wanted:
            house.beyond = knocked if isinstance(knocked, Refusal) else "it was let in"
            return
        if crowd.fill(house.wanted, stage.patience):
            return


def _tell_all(stage: Stage, crowd: Crowd, house: House) -> None:
    """One vote by somebody who watches nowhere: whom does it reach?"""
    try:
        if stage.target.hook("vote") is None:
            house.vote_problem = "the profile has no hook vote"
            return
        feature = stage.feature()
        stage.vote(stage.user(2 if stage.ground.people.has("regular", 4) else 1), feature)
    except Ending as ending:
        house.vote_problem = str(ending)
        return
    # Late is not absent: an earlier check may have left announcements behind that leave before votes.
    deadline = time.monotonic() + stage.patience + _BACKLOG / stage.limits.broadcasts_per_second
    while time.monotonic() < deadline and house.told < house.sockets:
        time.sleep(0.05)
        about = [n for n, said in enumerate(crowd.ear.messages) if any(each.get("featureId") == feature for each in said)]
        house.told = len(np.unique(crowd.ear.rows().of(about).slot))


def _top_up(stage: Stage, crowd: Crowd) -> bool:
    """Whether the target is full now, at whatever number: slots can only be told where the next socket is refused."""
    for _ in range(max(0, room(stage) - len(crowd)) + 2):
        refused = crowd.admit()
        if refused is not None:
            return refused.answered
    return False


def _free_slots(stage: Stage, crowd: Crowd, house: House) -> None:
    for way, abrupt in (("a clean close", False), ("a reset", True)):
        if not crowd.slots:
            return
        crowd.depart(crowd.slots[-1], abrupt=abrupt)
        house.freed[way] = _until(lambda: crowd.admit() is None, stage.within(SLOT_FREE_WITHIN))


def _strangers(stage: Stage, crowd: Crowd, house: House) -> None:
    """Make slots free, see that one of them is, let strangers knock more often than there are others, and see whether these are left."""
    leaving = crowd.slots[-_MADE_FREE:]
    for slot in leaving:
        crowd.depart(slot, abrupt=False)
    if len(leaving) < _MADE_FREE or _until(lambda: crowd.admit() is None, stage.patience) is None:
        house.door_problem = "slots that were given back were not free again: see LIM-04"
        return
    for number in range(_STRANGERS):
        opened = stage.handshake(cookies=[f"{stage.target.cookie}=nobody{number}"] if number % 2 else [], origin=stage.target.origin)
        if isinstance(opened, Opened):
            _seen_out(opened)
    left = sum(_until(lambda: crowd.admit() is None, SLOT_FREE_WITHIN) is not None for _ in range(_MADE_FREE - 1))
    house.strangers_took = _MADE_FREE - 1 - left


def _seen_out(opened: Opened) -> None:
    """A stranger who was let in only to be closed, as one reading of A01 permits."""
    with contextlib.suppress(OSError):
        opened.sock.settimeout(SLOT_FREE_WITHIN)
        while opened.sock.recv(4096):
            pass
    opened.close()


def _until(holds: Callable[[], bool], seconds: float) -> float | None:
    """After how many seconds it held first; None when it did not in time. It is tried once at least."""
    began = time.monotonic()
    while True:
        if holds():
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            return None
        time.sleep(0.05)


class _Memory:
    """Resident memory of the target, where the profile says how to read it."""

    def __init__(self, target: Target, house: House) -> None:
        self._house = house
        self._probe = _probe(target)
        if self._probe is None:
            house.memory_problem = "the profile says nothing under [resources]"

    def read(self) -> int | None:
        """Bytes; None, with the problem in the house, when they cannot be read."""
        if self._probe is None:
            return None
        sample = self._probe.sample(time.monotonic())
        if sample is None or sample.rss is None:
            self._house.memory_problem = self._probe.problem
            return None
        return sample.rss


def _probe(target: Target) -> ResourceProbe | None:
    resources, pid = target.resources, target.resources.find_pid()
    if pid is not None:
        return ProcessProbe(pid)
    if resources.metrics_url is not None:
        return PrometheusProbe(resources.metrics_url, _PROBE_SECONDS)
    return CommandProbe(resources.command, _PROBE_SECONDS) if resources.command else None
