"""Probes: what a target's behaviour tells about which permitted reading of an ambiguity it follows.

A probe runs once a process, when a check first asks for its reading and the profile declares none. It answers None where it
cannot tell, and then the default holds. A behaviour that no reading permits is never called a reading: the check shall find it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from harness.conformance.ground import Ground
from harness.conformance.messages import unpack
from harness.conformance.outcome import NotTestable
from harness.conformance.stage import Stage
from harness.net.connection import Connection
from harness.net.handshake import Opened
from harness.target.session import Session
from schemas import load_clauses

__all__ = ["PROBES", "TOLD_BY_CHECKS"]

_LONE = 5  # votes far apart, of which the quickest tells whether a target holds votes back
_ELSEWHERE = "https://elsewhere.example"


@contextlib.contextmanager
def _stage(ground: Ground, clause: str) -> Iterator[Stage]:
    stage = Stage(ground, load_clauses()[clause], "probe")
    try:
        yield stage
    finally:
        stage.close()


def _auth_refusal(ground: Ground) -> str | None:
    """A handshake without a cookie: an HTTP status, or an upgrade and the close code for an invalid session."""
    with _stage(ground, "HS-02") as stage:
        opened = stage.handshake()
        if not isinstance(opened, Opened):
            return "http401" if opened.status == stage.contract.auth_refusal_status else None
        closed = stage.over(opened).wait_closed(stage.within(1.0))
        return "close4401" if closed is not None and closed.code == stage.contract.close.session_invalid else None


def _exclusion(ground: Ground) -> str | None:
    """One vote, and which sockets are told: of the voting session, of the user's other session, of somebody else."""
    ground.require(("U2", "V"), ())
    with _stage(ground, "VOTE-06") as stage:
        voter, feature = stage.user(), stage.feature()
        own, stranger = stage.connect(voter, name="voter"), stage.connect(stage.user(1), name="stranger")
        try:
            other = stage.connect(stage.another_session(voter), name="voter's other session")
        except NotTestable:
            other = None
        stage.vote(voter, feature)
        fences = [stage.vote_fence(each, voter=stage.user(2)) for each in (own, stranger, *([other] if other else []))]
        told: list[bool] = []
        for each, fence in zip((own, stranger, *([other] if other else [])), fences, strict=True):
            if stage.wait_message(each, fence()) is None:
                return None
            told.append(any(message.get("featureId") == feature for frame in each.frames() for message in unpack(frame)))
        if not told[1]:
            return None
        if told[0]:
            return "none"
        return None if other is None else "session" if told[2] else "user"


def _admin_events(ground: Ground) -> str | None:
    """A feature made and deleted: is a regular user told of both, or of neither? One without the other is no reading."""
    ground.require(("UA", "AF", "V"), ())
    with _stage(ground, "FCRE-02") as stage:
        viewer = stage.connect(stage.user())
        made, _ = stage.create()
        stage.delete(made)
        if stage.wait_message(viewer, stage.vote_fence(viewer)()) is None:
            return None
        kinds = {str(message.get("type")) for frame in viewer.frames() for message in unpack(frame) if made in str(message)}
        admin_only = stage.contract.messages.admin_only
        return "everyone" if admin_only <= kinds else "admins" if not admin_only & kinds else None


def _subscriptions(ground: Ground) -> str | None:
    """Is a SUBSCRIBE ever seen to keep the votes on other features away?"""
    ground.require(("U2", "V"), ())
    with _stage(ground, "SUB-03") as stage:
        inside, outside = stage.feature(), stage.feature()
        viewer = stage.connect(stage.user())
        return "filter" if stage.subscribed(viewer, [inside], stage.user(1), outside) else "ignored"


def _batch_shape(ground: Ground) -> str | None:
    """Several votes at once on two features: in what frames do they come? One for each vote is a batch only if they were held back."""
    ground.require(("U2", "V"), ())
    with _stage(ground, "BAT-05") as stage:
        voters = [stage.user(k) for k in range(1, 5) if ground.people.has("regular", k + 1)]
        features = [stage.feature(), stage.feature()]
        viewer = stage.connect(stage.user())
        calls = stage.burst([("vote", voter, feature) for feature in features for voter in voters])
        if stage.wait_message(viewer, stage.vote_fence(viewer, voter=voters[0])()) is None:
            return None
        frames = [frame for frame in viewer.frames() if any(message.get("featureId") in features for message in unpack(frame))]
        values = [frame.json() for frame in frames]
        if any(isinstance(value, list) for value in values):
            return "array"
        if any(isinstance(value, dict) and value.get("type") not in stage.contract.messages.server for value in values):
            return "envelope"
        if len(frames) < len(calls):
            return "coalesce"
        return "frames" if _held_back(stage, viewer, voters[0], stage.feature()) > ground.target.limits.batch_window / 2 else None


def _held_back(stage: Stage, viewer: Connection, voter: Session, feature: str) -> float:
    """The shortest time, in seconds, from the answer to a lone vote until it was told."""
    waits = []
    for number in range(_LONE):
        mark = viewer.mark()
        called = (stage.unvote if number % 2 else stage.vote)(voter, feature)
        seen = stage.wait_message(viewer, lambda message: message.get("featureId") == feature, None, mark)
        if seen is not None:
            waits.append(seen.at - called.answered_at)
        time.sleep(stage.grace)
    return min(waits, default=0.0)


def _malformed_input(ground: Ground) -> str | None:
    """A text that is no JSON: an ERROR, a Close frame, or nothing?"""
    with _stage(ground, "ERR-04") as stage:
        viewer = stage.connect(stage.user())
        viewer.send_text("this is no JSON")
        viewer.ping(b"fence")
        viewer.wait_for(lambda frame: frame.payload == b"fence" or frame.type == "ERROR", stage.patience)
        if stage.wait_message(viewer, lambda message: message.get("type") == "ERROR", stage.grace) is not None:
            return "error"
        closed = viewer.wait_close_frame(stage.grace)
        return "close" if closed is not None else "ignore"


def _cookie_name(ground: Ground) -> str | None:
    """Of the session that is used: the profile may say one name, and the target set the other."""
    with _stage(ground, "HS-06") as stage:
        plain = stage.contract.cookie
        return {plain: "plain", f"__Secure-{plain}": "secure_prefix"}.get(stage.user().name)


def _admin_echo(ground: Ground) -> str | None:
    """A feature made, edited and deleted: is its author told of all that somebody else is told of, or of nothing?"""
    ground.require(("UA", "AF", "V"), ())
    with _stage(ground, "FUPD-07") as stage:
        author = stage.admin()
        try:
            other = stage.admin(1)
        except NotTestable:
            other = stage.another_session(author)
        own, witness = stage.connect(author, name="the author"), stage.connect(other, name="another administrator")
        made, _ = stage.create(author)
        stage.update(made, author, status=stage.contract.messages.feature_status[1])
        stage.delete(made, author)
        if any(stage.wait_message(each, stage.vote_fence(each)()) is None for each in (own, witness)):
            return None
        told, known = (
            {str(message.get("type")) for frame in each.frames() for message in unpack(frame) if made in str(message)}
            for each in (own, witness)
        )
        return None if not known else "included" if told == known else "excluded" if not told else None


def _origin(ground: Ground) -> str | None:
    """A handshake from a page that the target cannot know, with a session that it takes from a client that names no origin."""
    with _stage(ground, "HS-11") as stage:
        cookies = [stage.user().cookie_header()]
        if not isinstance(stage.handshake(cookies=cookies), Opened):
            return None
        return "unchecked" if isinstance(stage.handshake(cookies=cookies, origin=_ELSEWHERE), Opened) else "allow_list"


PROBES: dict[str, Callable[[Ground], str | None]] = {
    "auth_refusal": _auth_refusal,
    "exclusion": _exclusion,
    "admin_events": _admin_events,
    "subscriptions": _subscriptions,
    "batch_shape": _batch_shape,
    "malformed_input": _malformed_input,
    "cookie_name": _cookie_name,
    "admin_echo": _admin_echo,
    "origin": _origin,
}
"""By the key of the ambiguity. A probe that raises an outcome cannot tell."""

TOLD_BY_CHECKS = {"rate_context": "RATE-09"}
"""Readings that a check finds out by itself, for what it judges shows them."""
