"""Faults of section RATE: how much one connection may send, what becomes of the excess, and how much all are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from server_under_test.batcher import Ballot, Batcher, VoteBatch
from server_under_test.connection import Connection
from server_under_test.faults.assembly import FaultyConnection, FaultyHub, TracksThrottling
from server_under_test.faults.reach import REPLIES, broken
from server_under_test.faults.room import Room
from server_under_test.messages import ClientMessage
from server_under_test.ratelimit import RepeatOffence, SlidingWindow

__all__ = ["ROOM"]

ROOM = Room()

UNLIMITED = "no limit shows"
ENDED = "the first excess ends the connection"
EARLIER = "the allowance is used up sooner than they expect"
SHARED = "checks that send at the same time use up each other's allowance"


# ---- the allowance


@ROOM.fault("RATE-01", {"RATE-0[569]": EARLIER, "RATE-13": EARLIER, "SUB-07": EARLIER})
class AllowanceOneTooSmall(SlidingWindow):
    """The last message of a whole allowance is refused."""

    def __init__(self, limit: int, window: float) -> None:
        super().__init__(limit - 1, window)


@ROOM.fault("RATE-01", {"RATE-0[569]": EARLIER, "RATE-13": EARLIER, "SUB-*": EARLIER, "UNS-*": EARLIER})
class BurstsRefused(SlidingWindow):
    """More than half an allowance at one stroke is refused."""

    def __init__(self, limit: int, window: float) -> None:
        super().__init__(limit, window)
        self._burst = SlidingWindow(max(1, limit // 2), 0.1 * window)

    def offer(self, now: float) -> bool:
        return self._burst.offer(now) and super().offer(now)


@ROOM.fault("RATE-02", {"RATE-*": UNLIMITED, "HB-13": UNLIMITED, "ERR-0[123]": UNLIMITED})
class NoAllowance(SlidingWindow):
    """Any number of messages is heard."""

    def offer(self, now: float) -> bool:
        return True


@ROOM.fault("RATE-02", {"RATE-0[35679]": UNLIMITED, "RATE-1[234]": UNLIMITED})
class AllowanceOneTooLarge(SlidingWindow):
    """One message more than the allowance is heard."""

    def __init__(self, limit: int, window: float) -> None:
        super().__init__(limit + 1, window)


@ROOM.fault("RATE-02", {"RATE-*": UNLIMITED, "HB-13": UNLIMITED, "ERR-0[123]": UNLIMITED})
class ThrottledInSilence(FaultyConnection):
    """Messages over the limit are ignored without an ERROR."""

    def send_throttled(self) -> None:
        """Nothing is said."""


@ROOM.fault("RATE-03", {"RATE-*": ENDED, "HB-13": ENDED, "ERR-0[123]": ENDED, "GEN-0[1-7]": ENDED, "CLS-04": ENDED, "SUB-07": ENDED})
class FirstExcessCloses(FaultyConnection):
    """The first message over the limit ends the connection."""

    def send_throttled(self) -> None:
        super().send_throttled()
        self.close(self.hub.codes.policy_violation, "rate limit exceeded")


@ROOM.fault("RATE-04", {"CLS-04": "it ends the same abuse"})
class AbuseForgivenTooLong(RepeatOffence):
    """It takes three times as many windows of abuse until the connection ends."""

    def __init__(self, abuse: int, window: float, windows: int) -> None:
        super().__init__(abuse, window, 3 * windows)


@ROOM.fault("RATE-05")
class ThrottledForGood(SlidingWindow):
    """Who exceeded the limit once is not heard again."""

    _shut = False

    def offer(self, now: float) -> bool:
        heard = not self._shut and super().offer(now)
        self._shut = self._shut or not heard
        return heard


@ROOM.fault("RATE-05")
class ThrottledForThreeWindows(SlidingWindow):
    """Who exceeded the limit is heard again after three windows of silence only."""

    _shut_until = float("-inf")

    def offer(self, now: float) -> bool:
        if now < self._shut_until:
            return False
        heard = super().offer(now)
        if not heard:
            self._shut_until = now + 3 * self._window
        return heard


@ROOM.fault("RATE-06", broken(REPLIES, SHARED))
class OneAllowanceForAll(FaultyHub):
    """All connections share one allowance."""

    _shared: SlidingWindow | None = None

    def make_limiters(self) -> tuple[SlidingWindow, RepeatOffence]:
        window, offence = super().make_limiters()
        self._shared = self._shared or window
        return self._shared, offence


class SharesWithUser(FaultyConnection):
    def limited(self, message: ClientMessage) -> None:
        if self.window is None and isinstance(self.hub, OneAllowanceAUser):
            window, self.offence = self.hub.make_limiters()
            self.window = self.hub.allowances.setdefault(self.identity.user_id, window)
        super().limited(message)


@ROOM.fault("RATE-06", broken(REPLIES, SHARED), besides=(SharesWithUser,))
class OneAllowanceAUser(FaultyHub):
    """The connections of one user share one allowance."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.allowances: dict[str, SlidingWindow] = {}


# ---- the excess


@ROOM.fault("RATE-07")
class ExcessStillActs(FaultyConnection):
    """A message over the limit draws an ERROR and is obeyed all the same."""

    _last: ClientMessage | None = None

    def limited(self, message: ClientMessage) -> None:
        self._last = message
        super().limited(message)

    def send_throttled(self) -> None:
        super().send_throttled()
        if self._last is not None:
            self.act(self._last)


class OtherContext(FaultyConnection):
    """Tells of another limit than it keeps."""

    def context(self) -> dict[str, object]:
        return {}

    def send_error(self, code: str, message: str, context: dict[str, object] | None = None) -> None:
        told = {**(context or {}), **self.context()} if code == self.hub.errors.rate_limit_exceeded else context
        super().send_error(code, message, told)


@ROOM.fault("RATE-09")
class ContextWithOtherLimit(OtherContext):
    """The ERROR for too many messages tells of ten times the limit."""

    def context(self) -> dict[str, object]:
        return {"limit": 10 * self.hub.limits.rate_messages}


@ROOM.fault("RATE-09")
class ContextWithOtherWindow(OtherContext):
    """The ERROR for too many messages tells of a window three times as long."""

    def context(self) -> dict[str, object]:
        return {"window": f"{3 * self.hub.limits.rate_window:g}s"}


class OnlyUnthrottled(FaultyHub):
    """Keeps broadcasts from connections that are throttled."""

    def viewers(self, feature_id: str) -> Iterable[Connection]:
        return [one for one in super().viewers(feature_id) if not (isinstance(one, TracksThrottling) and one.throttled)]


@ROOM.fault("RATE-12", {"RATE-07": "its socket is throttled while it listens"}, besides=(TracksThrottling,))
class ThrottledHearsNoVotes(OnlyUnthrottled):
    """While a connection is throttled it is told of nothing."""


@ROOM.fault("RATE-12", {"RATE-04": "no PING comes, so none is missed"})
class ThrottledGetsNoPing(TracksThrottling):
    """While a connection is throttled it gets no PING."""

    def send_ping(self) -> None:
        if self.throttled:
            self.heartbeat.pong()
        else:
            super().send_ping()


@ROOM.fault("RATE-13")
class TwoErrorsForOneExcess(FaultyConnection):
    """A message over the limit draws two ERRORs."""

    def send_throttled(self) -> None:
        super().send_throttled()
        super().send_throttled()


# ---- the limit of all


@ROOM.fault("RATE-15", {"PERF-03": "at the full rate as well", "PERF-01": "what waits comes late"}, needs=("load",))
class MergesFromHalfTheCap(Batcher):
    """Votes are merged from half the cap on."""

    def __init__(self, window: float, cap: int) -> None:
        super().__init__(window, max(1, cap // 2))


class CountsVotes(FaultyHub):
    """Knows how many vote broadcasts there were in the last second."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._sent: deque[float] = deque()
        self._number = 0

    def busy(self, share: float) -> bool:
        """Count one more, and tell whether the last second had more than this share of the cap."""
        now = self.clock()
        self._number += 1
        self._sent.append(now)
        while self._sent[0] <= now - 1.0:
            self._sent.popleft()
        return len(self._sent) > share * self.limits.broadcasts_per_second


@ROOM.fault("RATE-15", {"PERF-03": "at the full rate as well", "RATE-16": "a last count may be among the lost"}, needs=("load",))
class LosesSomeNearTheCap(CountsVotes):
    """At more than half the cap every twentieth vote broadcast is lost."""

    def send_votes(self, batch: VoteBatch) -> None:
        if not self.busy(0.5) or self._number % 20:
            super().send_votes(batch)


@ROOM.fault("RATE-16", needs=("load",))
class CapUnenforced(Batcher):
    """Any number of broadcasts leaves in a second."""

    def __init__(self, window: float, cap: int) -> None:
        super().__init__(window, 1000 * cap)


@ROOM.fault("RATE-16", {"PERF-03": "a burst may exceed the cap for a moment"}, needs=("load",))
class DropsAboveTheCap(Batcher):
    """Votes above the cap are dropped in place of being merged."""

    def __init__(self, window: float, cap: int) -> None:
        super().__init__(window, cap)
        self._taken: deque[float] = deque()
        self._cap = cap

    def vote(self, now: float, feature_id: str, vote_count: int, ballot: Ballot) -> None:
        while self._taken and self._taken[0] <= now - 1.0:
            self._taken.popleft()
        if len(self._taken) < 1.1 * self._cap:
            self._taken.append(now)
            super().vote(now, feature_id, vote_count, ballot)
