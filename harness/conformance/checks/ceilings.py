"""How many features one connection may watch: more and more are asked for, until a server refuses (A22).

These are helpers of checks, no checks: the rules are in test_sub.py. The rule here: what refuses something else, such as the size of a
message, the rate or ids of no feature, says nothing about the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.conformance import Broken, Connection, Inconclusive, NotTestable, Stage
from harness.conformance.checks.listening import can, subscribe
from harness.conformance.checks.reactions import Reaction, reaction
from harness.target import Session
from schemas import Limits

__all__ = ["Step", "at_once", "at_the_limit", "ceiling", "made_up", "step", "too_many"]

_PROBED = 10_000  # ids up to which a limit on subscriptions is looked for
_AT_ONCE = 2_000  # ids in one message at most
_ID_BYTES = 20  # of one made-up id with its quotes and comma
_MADE = 300  # features that are made at most to try a declared limit with


@dataclass(frozen=True)
class Step:
    """What a SUBSCRIBE drew that brought the number of features asked for to `total`."""

    total: int
    drew: Reaction

    def __str__(self) -> str:
        return f"{self.drew} at {self.total} ids"


def made_up(count: int, start: int = 0) -> list[str]:
    """Ids of no feature, in the form that ids of features often have."""
    return [f"clnone{number:09}" for number in range(start, start + count)]


def step(stage: Stage, connection: Connection, ids: Sequence[str], total: int) -> Step:
    """Send one SUBSCRIBE and look for an answer until a Ping sent after it was answered."""
    return Step(total, reaction(stage, connection, lambda socket: subscribe(socket, *ids), patient=False))


def at_once(limits: Limits) -> int:
    """How many made-up ids may go in one message and stay well below the largest one."""
    return max(1, min(_AT_ONCE, limits.message_bytes // (2 * _ID_BYTES)))


def ceiling(stage: Stage, session: Session) -> Step:
    """Ask for more and more features on one connection: what came of the first time that was not met with silence.

    Raises NotTestable when ids of no feature are not taken at all, or nothing came up to the bound.
    """
    connection = stage.connect(session, name="asks for more and more")
    most = at_once(stage.limits)
    total = 1
    seen = step(stage, connection, made_up(1), total)
    if not seen.drew.quiet:
        raise NotTestable(f"ids of no feature are not taken, so their number cannot be tried ({seen})")
    # As few messages as a window allows: growing, then the same size until the bound.
    sizes = [min(size, most) for size in (9, 90, 900)] + [most] * (stage.limits.rate_messages - 5)
    for size in sizes:
        if total >= _PROBED:
            break
        seen = step(stage, connection, made_up(size, total), total := total + size)
        if not seen.drew.quiet:
            return seen
    raise NotTestable(f"{total} features were asked for without a refusal: no limit was found")


def too_many(stage: Stage, seen: Step) -> None:
    """Raises Broken unless a refusal is SUBSCRIPTION_LIMIT; NotTestable when another limit came first."""
    wanted = stage.contract.errors.subscription_limit
    if seen.drew.close in stage.contract.close.protocol:
        raise NotTestable(f"the size of the message was refused before the number of ids ({seen})")
    if seen.drew.code == stage.contract.errors.rate_limit_exceeded:
        raise Inconclusive("the message rate was limited before the number of ids was")
    if seen.drew.code != wanted:
        raise Broken(f"ERROR {wanted} to too many ids", str(seen))


def at_the_limit(stage: Stage, session: Session, ids: Sequence[str]) -> None:
    """All of the ids but one are taken, and the last is not, be it asked for by itself or with the others."""
    limit, most = len(ids) - 1, at_once(stage.limits)
    connection = stage.connect(session, name="asks for one more")
    parts = [ids[start : min(start + most, limit)] for start in range(0, limit, most)]
    if len(parts) >= stage.limits.rate_messages:
        raise NotTestable(f"{limit} subscriptions take more messages than one window allows")
    for part in parts:
        seen = step(stage, connection, part, limit)
        if not seen.drew.quiet:
            if len(part) == 1 or not step(stage, stage.connect(session, name="asks for one"), ids[:1], 1).drew.quiet:
                raise NotTestable(f"ids of no feature are not taken, so their number cannot be tried ({seen})")
            raise Broken(f"as many as {limit} ids to be taken", str(seen), connection)
    seen = step(stage, connection, ids[limit:], limit + 1)
    if seen.drew.quiet and ids[0] == made_up(1)[0]:
        # Some do not count ids of no feature: only real ones show it then.
        if limit >= _MADE or not can(stage, "UA", "AF"):
            raise NotTestable(f"{limit + 1} ids of no feature were taken; whether real ones are counted would take as many features")
        at_the_limit(stage, session, [stage.feature() for _ in range(limit + 1)])
        return
    too_many(stage, seen)
    if limit < most:
        alone = stage.connect(session, name="asks for all at once")
        too_many(stage, step(stage, alone, ids, limit + 1))
