"""What a clause needs of a target, tried before it is relied on: hooks, users of each kind, and what the user permits.

A hook that answers as it should and does nothing is worse than none: votes are counted, and edits undone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.conformance.catalogue import HOOKS_OF
from harness.conformance.client_side import BY_HAND
from harness.conformance.outcome import NotTestable
from schemas import load_hooks

if TYPE_CHECKING:
    from harness.conformance.ground import Ground

__all__ = ["how_to_have", "need_of"]

_HOW_CLIENT = (
    "no client was named: add --client 'COMMAND {url}', a command that starts yours against the address that takes the place of {url}, "
    f"or --client {BY_HAND} to open the address yourself"
)


def how_to_have(ground: Ground, name: str) -> str:
    """What to do to have a hook that the profile lacks."""
    return f"the profile has no hook {name}: add [hooks.{name}] to {ground.target.source.name} (see roadmap-harness init)"


def need_of(ground: Ground, need: str) -> None:
    """Raises NotTestable, naming the hook, when the target lacks what a clause's need stands for, or it does not do what it says."""
    for name in HOOKS_OF.get(need, ()):
        if ground.target.hook(name) is None:
            raise NotTestable(how_to_have(ground, name), name)
    people = {"U": ("regular", 1), "U2": ("regular", 2), "UA": ("admin", 1)}.get(need)
    if people is not None and not ground.people.has(*people):
        if need == "U" and ground.people.has("admin", 1):
            return
        raise NotTestable(f"it takes {load_hooks()[need]}: add one under [sessions] of {ground.target.source.name}", "sessions")
    options = ground.options
    missing = {
        "CAP": "" if options.capacity else "opening as many sockets as the limit allows was not permitted: add --capacity",
        "PID": "" if ground.target.resources.known else "the profile says nothing under [resources]",
        "N2": "" if options.second_url else "no second instance was named: add --second-url",
        "CL": "" if options.client else _HOW_CLIENT,
        "FI": "no hook makes a server fail inside",
    }.get(need, "")
    if missing:
        raise NotTestable(missing, need)
    probe = {"V": _probe_votes, "AF": _probe_edits}.get(need)
    if probe is not None:
        probe(ground)


def _probe_votes(ground: Ground) -> None:
    """One vote, seen in the count where that can be read, and withdrawn."""
    feature = ground.features.take("Trial of the vote hook")
    person = ground.people.share("regular", ())
    session = person.sessions[0]
    try:
        if not feature.made:
            ground.call("unvote", session, featureId=feature.id)
        before = _count(ground, feature.id)
        voted = ground.call("vote", session, featureId=feature.id).answer
        if not voted.ok:
            raise NotTestable(f"the hook does not work: {voted.problem}", "vote")
        if before is not None and not _reaches(ground, feature.id, before):
            raise NotTestable(f"the vote was answered as done, and yet the count stays at {before}", "vote")
        withdrawn = ground.call("unvote", session, featureId=feature.id).answer
        if not withdrawn.ok:
            raise NotTestable(f"the hook does not work: {withdrawn.problem}", "unvote")
    finally:
        ground.people.give_back(person)
        ground.features.give_back(feature)


def _reaches(ground: Ground, feature: str, before: int) -> bool:
    deadline = time.monotonic() + ground.contract.benchmark.latency
    while (now := _count(ground, feature)) is None or now == before:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _count(ground: Ground, feature: str) -> int | None:
    if ground.target.hook("read") is None:
        return None
    answer = ground.call_as("read", "regular", featureId=feature).answer
    if not answer.ok:
        raise NotTestable(f"the hook does not work: {answer.problem}", "read")
    return answer.count


def _probe_edits(ground: Ground) -> None:
    statuses = ground.contract.messages.feature_status
    made = ground.call_as("create", "admin", title="Trial of the admin hooks", description="", status=statuses[0]).answer
    if not made.ok or made.id is None:
        raise NotTestable(f"the hook does not work: {made.problem or 'it tells no id'}", "create")
    edited = ground.call_as("update", "admin", featureId=made.id, status=statuses[1]).answer
    deleted = ground.call_as("delete", "admin", featureId=made.id).answer
    for name, answer in (("update", edited), ("delete", deleted)):
        if not answer.ok:
            raise NotTestable(f"the hook does not work: {answer.problem}", name)
