"""What the checks on votes share: how a vote's announcement is recognised, and what a socket holds when all have come.

These are helpers of checks, no checks: the rules are in test_vote.py and test_bat.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from harness.conformance import Broken, Connection, Message, NotTestable, Seen, Stage
from harness.target import Session
from harness.target.call import Called

__all__ = ["Ballot", "about", "announced", "apart", "held", "settled", "volley", "voters"]

Ballot = tuple[str, Session, str]
"""The hook ("vote" or "unvote"), who calls it, and the feature."""

_LOOK = 0.02  # seconds between two looks at what a socket holds


def about(feature: str, action: str | None = None) -> Callable[[Message], bool]:
    """Whether a message is a VOTE_UPDATE of this feature, and of this action where one is given."""

    def wanted(message: Message) -> bool:
        ours = message.get("type") == "VOTE_UPDATE" and message.get("featureId") == feature
        return ours and (action is None or message.get("action") == action)

    return wanted


def announced(stage: Stage, viewer: Connection, hook: str, voter: Session, feature: str) -> Seen:
    """Vote or unvote, and wait for its VOTE_UPDATE, which at least names no other action; Broken when none comes."""
    mark = viewer.mark()
    add, remove = stage.contract.messages.vote_actions
    action = add if hook == "vote" else remove
    (stage.vote if hook == "vote" else stage.unvote)(voter, feature)

    def wanted(message: Message) -> bool:
        return about(feature)(message) and message.get("action", action) == action

    return stage.expect(viewer, wanted, f"a VOTE_UPDATE for the {hook}", mark)


def volley(stage: Stage, rounds: Sequence[Sequence[Ballot]]) -> list[Called]:
    """Ballots as close together as can be: each list in order, all lists at once, over connections that are open already."""
    ready = threading.Barrier(len(rounds))

    def cast(ballots: Sequence[Ballot]) -> list[Called]:
        if stage.target.hook("read") is not None:
            stage.call("read", ballots[0][1], featureId=ballots[0][2])  # opens this thread's connection
        ready.wait(stage.patience)
        return [stage.done(hook, voter, featureId=feature) for hook, voter, feature in ballots]

    for hook, voter, feature in {ballot[1:]: ballot for ballots in rounds for ballot in reversed(ballots)}.values():
        if hook == "vote":
            stage.unvoted(voter, feature)
    stage.ground.pace.wait(sum(map(len, rounds)))
    with ThreadPoolExecutor(len(rounds)) as pool:
        return [called for done in pool.map(cast, rounds) for called in done]


def apart(stage: Stage) -> None:
    """Let the batch window of the last vote pass, so that the next is alone."""
    time.sleep(stage.grace)


def voters(stage: Stage, most: int) -> list[Session]:
    """Up to `most` users besides the first, who is the viewer; at least one. Raises NotTestable when there is none."""
    found = [stage.user(1)]
    while len(found) < most:
        try:
            found.append(stage.user(len(found) + 1))
        except NotTestable:
            break
    return found


def held(stage: Stage, viewer: Connection, feature: str, since: int = 0) -> object:
    """The voteCount that this client has by now; None when it was told of none."""
    told = stage.messages(viewer, about(feature), since)
    return told[-1].message.get("voteCount") if told else None


def settled(stage: Stage, due: Sequence[tuple[Connection, str, int, int]]) -> None:
    """Each (viewer, feature, voteCount, since): that count is the last one told, in the time that a broadcast has, and stays it.

    Raises Broken for the first of them for which it is not.
    """
    deadline = time.monotonic() + stage.patience
    while True:
        wrong = _wrong(stage, due)
        if not wrong:
            apart(stage)
            wrong = _wrong(stage, due)
            if not wrong:
                return
        if time.monotonic() > deadline:
            viewer, feature, count, since = wrong[0]
            last = held(stage, viewer, feature, since)
            raise Broken(
                f"voteCount {count} at last, as the API says", "no update of this feature" if last is None else f"{last!r}", viewer
            )
        time.sleep(_LOOK)


def _wrong(stage: Stage, due: Sequence[tuple[Connection, str, int, int]]) -> list[tuple[Connection, str, int, int]]:
    return [each for each in due if held(stage, each[0], each[1], each[3]) != each[2]]
