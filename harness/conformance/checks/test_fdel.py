"""Section FDEL: a feature removed, announced to administrators only, and silence about it from then on (contract lines 256-284)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.conformance import Message, NotTestable, Stage, clause
from harness.conformance.checks.announcements import (
    another_admin,
    edit_fence,
    everyone,
    in_time,
    must_tell,
    outsiders,
    refused,
    told,
    unique,
)
from harness.target import Session

_VOTES = 12  # by each of two voters at most, around one deletion


def removed(feature: str) -> Callable[[Message], bool]:
    """Recognises the FEATURE_DELETED of this feature."""
    return lambda message: message.get("type") == "FEATURE_DELETED" and message.get("featureId") == feature


def can_vote(stage: Stage) -> bool:
    """Whether the hooks of a voter are there and work, and there are two voters."""
    try:
        stage.ground.require(("U2", "V"), ())
    except NotTestable:
        return False
    return True


@clause("FDEL-01")
def test_admin_is_told(stage: Stage) -> None:
    """An administrator is told which feature is gone, whether it was fresh or had been edited."""
    author = stage.admin()
    viewer = another_admin(stage, author)
    for edited in (False, True):
        feature, _ = stage.create(author)
        if edited:
            stage.update(feature, author, title=unique("Edited"))
        mark = viewer.mark()
        stage.delete(feature, author)
        must_tell(stage, viewer, removed(feature), "a FEATURE_DELETED with the id of the feature removed", mark)


@clause("FDEL-02")
def test_regular_user_is_not_told(stage: Stage) -> None:
    """A regular user is told nothing of it, unless the reading announces it to everyone."""
    if stage.reading("admin_events") == "everyone":
        return
    author = stage.admin()
    viewers = outsiders(stage, author)
    gone = [stage.create(author)[0] for _ in range(2)]
    # Somebody who has voted on it might be thought to have a right to know.
    stage.vote(stage.user(), gone[0])
    marks = [viewer.mark() for viewer, _ in viewers]
    for feature in gone:
        stage.delete(feature, author)
    for (viewer, fence), mark in zip(viewers, marks, strict=True):
        stage.absent(
            viewer,
            lambda message: any(removed(feature)(message) for feature in gone),
            since=mark,
            fence=fence,
            expected="no FEATURE_DELETED for a regular user",
        )


@clause("FDEL-03")
def test_in_time(stage: Stage) -> None:
    """A deletion is announced within the contract's latency."""
    author = stage.admin()
    viewer = another_admin(stage, author)
    for _ in range(3):
        feature, _ = stage.create(author)
        mark = viewer.mark()
        called = stage.delete(feature, author)
        in_time(stage, called, viewer, removed(feature), mark, "FDEL-01")


def delete_amid_votes(stage: Stage, author: Session, feature: str) -> None:
    """Delete a feature while votes on it come faster than their batches leave, so that some are still waiting."""
    voters = [stage.user(0), stage.user(1)]
    under_way, over = threading.Semaphore(0), threading.Event()
    stage.ground.pace.wait(_VOTES)

    def keep_voting(voter: Session) -> None:
        try:
            for hook in itertools.islice(itertools.cycle(("vote", "unvote")), _VOTES):
                if over.is_set() or not stage.call(hook, voter, featureId=feature).answer.ok:
                    break
                under_way.release()
        finally:
            under_way.release(_VOTES)  # whoever waits for a vote shall not wait for ever

    with ThreadPoolExecutor(len(voters)) as pool:
        voting = [pool.submit(keep_voting, voter) for voter in voters]
        try:
            for _ in range(2 * len(voters)):
                under_way.acquire()
            stage.done("delete", author, featureId=feature)
        finally:
            over.set()
        for each in voting:
            each.result()


@clause("FDEL-04")
def test_silence_afterwards(stage: Stage) -> None:
    """What still waited to be announced goes with the feature, and what is tried afterwards is not announced either."""
    author, statuses = stage.admin(), stage.contract.messages.feature_status
    viewer, fence = another_admin(stage, author), edit_fence(stage, author)
    feature, _ = stage.create(author)
    mark = viewer.mark()
    if can_vote(stage):
        delete_amid_votes(stage, author, feature)
    else:
        stage.done("update", author, featureId=feature, status=statuses[1])
        stage.done("delete", author, featureId=feature)
    gone = told(stage, viewer, removed(feature), mark, "FDEL-01")
    attempts: tuple[tuple[str, dict[str, Any]], ...] = (("update", {"status": statuses[2]}), ("vote", {}), ("delete", {}))
    for hook, values in attempts:
        if hook != "vote" or can_vote(stage):
            stage.ground.pace.wait()
            stage.call(hook, stage.user() if hook == "vote" else author, featureId=feature, **values)

    def late(message: Message) -> bool:
        return message.get("featureId") == feature and message.get("type") in ("VOTE_UPDATE", "FEATURE_UPDATE")

    since = gone.frame.index + 1
    stage.absent(viewer, late, since=since, fence=fence, expected="no vote or edit of a feature after its FEATURE_DELETED")


@clause("FDEL-05")
def test_refused_deletion(stage: Stage) -> None:
    """A deletion that the API turns down is announced to nobody."""
    author, feature = stage.admin(), stage.feature()
    viewers = everyone(stage, author)
    if not stage.ground.people.has("admin", 2):
        viewers.append(another_admin(stage, author))
    marks, fence = [viewer.mark() for viewer in viewers], edit_fence(stage, author)
    refused(stage, "delete", stage.user(), featureId=feature)
    for viewer, mark in zip(viewers, marks, strict=True):
        stage.absent(viewer, removed(feature), since=mark, fence=fence, expected="no FEATURE_DELETED of a deletion that was turned down")
