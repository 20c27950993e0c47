"""Section LIM: as many sockets as the contract admits, and no more (contract lines 31-33 and 441).

The house is filled once for all of them, see harness.conformance.house; here it is judged.
"""

from __future__ import annotations

from harness.conformance import Broken, Inconclusive, NotTestable, Recorded, Stage, clause
from harness.conformance.crowd import Refusal
from harness.conformance.house import SLOT_FREE_WITHIN, House, full_house, hold_seconds


def at_the_limit(stage: Stage) -> House:
    """The house, when it is known to be full. Raises NotTestable under the reading that shows no ceiling, Inconclusive otherwise."""
    if stage.reading("connection_limit") == "floor":
        raise NotTestable("the profile declares that the ceiling cannot be seen (connection_limit = floor)")
    house = full_house(stage)
    if house.short:
        raise Inconclusive(f"only {house.sockets} of {house.wanted} sockets opened ({house.short}): see LIM-01")
    if house.beyond is None:
        raise Inconclusive("sockets of other checks came and went while the house was full: run this section by itself")
    if isinstance(house.beyond, Refusal) and not house.beyond.answered:
        raise Inconclusive(f"the handshake of one too many was not answered: {house.beyond.text}")
    return house


def with_a_ceiling(stage: Stage) -> House:
    """The house, for clauses that see slots come and go: at whatever number it was full."""
    if stage.reading("connection_limit") == "floor":
        raise NotTestable("the profile declares that the ceiling cannot be seen (connection_limit = floor)")
    house = full_house(stage)
    if not house.freed:
        raise Inconclusive("the target never refused a socket for want of room, so slots cannot be told: see LIM-02")
    return house


@clause("LIM-01", alone="load", waits=hold_seconds)
def test_all_are_admitted(stage: Stage) -> None:
    """As many sockets as the limit says are admitted, and live."""
    stage.reading("connection_limit")
    house = full_house(stage)
    limit = stage.limits.connections
    if house.short:
        others = f" beside {limit - house.wanted} of other checks" if limit > house.wanted else ""
        raise Broken(f"{limit} sockets admitted", f"{house.sockets}{others}, then {house.short}")
    if house.ended:
        first = house.ended[0]
        text = f"{len(house.ended)} were closed, the first with {first.code} {first.reason}".strip()
        house.blame_stall(text, stage.limits.heartbeat_timeout / 4)
        raise Broken(f"{house.sockets} sockets alive after {house.held:.0f} s", text)


@clause("LIM-02", alone="load", waits=hold_seconds)
def test_one_too_many(stage: Stage) -> None:
    """One more is refused, in whatever form."""
    house = at_the_limit(stage)
    if not isinstance(house.beyond, Refusal):
        house.blame_stall("one too many was let in", stage.limits.heartbeat_timeout / 4)
        raise Broken(f"socket number {stage.limits.connections + 1} refused", f"{house.beyond}")


@clause("LIM-03", alone="load", waits=hold_seconds)
def test_those_inside_are_served(stage: Stage) -> None:
    """At the limit, those inside still get broadcasts and PING."""
    house = full_house(stage)
    if house.short:
        raise Inconclusive(f"only {house.sockets} of {house.wanted} sockets opened ({house.short}): see LIM-01")
    if house.vote_problem is not None:
        raise Inconclusive(f"no vote could be cast: {house.vote_problem}")
    if house.told < house.sockets:
        house.blame_stall(f"a vote reached {house.told} of {house.sockets} sockets", stage.patience / 4)
        raise Broken(f"a vote to reach all {house.sockets} sockets", f"it reached {house.told}")
    if house.pinged < house.sockets:
        house.blame_stall(f"{house.pinged} of {house.sockets} sockets got a PING", stage.limits.heartbeat_interval / 4)
        raise Broken(f"a PING on each of {house.sockets} sockets within {house.held:.0f} s", f"on {house.pinged}")


@clause("LIM-04", alone="load", waits=hold_seconds)
def test_slots_become_free(stage: Stage) -> None:
    """The slot of a socket that ended is free again soon, however it ended."""
    house = with_a_ceiling(stage)
    for way, seconds in house.freed.items():
        if seconds is None:
            raise Broken(f"the slot free within {SLOT_FREE_WITHIN:g} s of {way}", "the next handshake was still refused")


@clause("LIM-05", alone="load", waits=hold_seconds)
def test_form_of_the_refusal(stage: Stage) -> Recorded:
    """How the one too many is refused is recorded."""
    house = at_the_limit(stage)
    return Recorded(f"at the limit a handshake gets {house.beyond.text if isinstance(house.beyond, Refusal) else 'in'}")


@clause("LIM-06", alone="load", waits=hold_seconds)
def test_strangers_take_no_slot(stage: Stage) -> None:
    """Handshakes without a session take up no slot."""
    house = with_a_ceiling(stage)
    if house.door_problem is not None or house.strangers_took is None:
        raise Inconclusive(house.door_problem or "the door could not be tried")
    if house.strangers_took:
        raise Broken("every slot left after handshakes without a session", f"{house.strangers_took} of them were taken")
