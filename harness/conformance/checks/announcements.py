"""What the checks of the administrators' events share: who looks on, an edit as a fence, a latency, and calls that are to be refused.

The rule here: an announcement is recognised by what the check itself made, for other checks make features at the same time.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from harness.conformance import Broken, Connection, Fence, Inconclusive, Message, NotTestable, Seen, Stage
from harness.target import Session
from harness.target.call import Called
from schemas import is_timestamp

__all__ = [
    "another_admin",
    "changes_of",
    "edit_fence",
    "everyone",
    "in_time",
    "must_tell",
    "onlooker",
    "outsiders",
    "refused",
    "told",
    "unique",
    "updated",
]

_LATE = 4  # times the latency that is waited, to tell what comes late from what never comes


def unique(what: str) -> str:
    """A text that nothing else on the target has."""
    return f"{what} {secrets.token_hex(6)}"


def changes_of(message: Message) -> dict[str, Any]:
    """The `changes` of a FEATURE_UPDATE; empty when they are no object."""
    changes = message.get("changes")
    return changes if isinstance(changes, dict) else {}


def updated(feature: str, key: str = "", value: str = "") -> Callable[[Message], bool]:
    """Recognises a FEATURE_UPDATE of this feature, that changes `key` to `value` where one is given."""

    def wanted(message: Message) -> bool:
        about = message.get("type") == "FEATURE_UPDATE" and message.get("featureId") == feature
        return about and (not key or changes_of(message).get(key) == value)

    return wanted


def another_admin(stage: Stage, author: Session) -> Connection:
    """An administrator's socket that is not the author's if it can be helped: another one's, another session's, else the author's own.

    Raises NotTestable when only the author's own is left and the reading leaves that out.
    """
    if stage.ground.people.has("admin", 2):
        return stage.connect(stage.admin(1), name="another administrator")
    if stage.reading("admin_echo") == "excluded":
        raise NotTestable("it takes a second administrator, for the one who makes a change is left out", "sessions")
    try:
        return stage.connect(stage.another_session(author), name="the administrator's other session")
    except NotTestable:
        return stage.connect(author, name="the administrator")


def onlooker(stage: Stage, author: Session) -> Connection:
    """One socket that is told of edits, not the author's if it can be helped."""
    if stage.ground.people.has("admin", 2) or not stage.ground.people.has("regular", 1):
        return another_admin(stage, author)
    return stage.connect(stage.user(), name="regular user")


def everyone(stage: Stage, author: Session) -> list[Connection]:
    """A regular user's socket and an administrator's."""
    viewers = [stage.connect(stage.user(), name="regular user")] if stage.ground.people.has("regular", 1) else []
    if not viewers or stage.ground.people.has("admin", 2):
        viewers.append(another_admin(stage, author))
    return viewers


def edit_fence(stage: Stage, author: Session) -> Fence:
    """A fence of edits, for where votes need not be possible: the author changes the status of a feature that no check judges."""
    feature = stage.feature()
    states = itertools.cycle(stage.contract.messages.feature_status[1:])

    def fire() -> Callable[[Message], bool]:
        status = next(states)
        stage.update(feature, author, status=status)
        return updated(feature, "status", status)

    return fire


def must_tell(stage: Stage, viewer: Connection, wanted: Callable[[Message], bool], what: str, since: int) -> None:
    """Raises Broken with `what` when it does not come at all; whether it came in time is a clause of its own."""
    longest = _LATE * stage.contract.benchmark.latency
    if stage.wait_message(viewer, wanted, longest, since) is None:
        raise Broken(what, "the connection ended" if viewer.closed is not None else f"nothing of the kind within {longest:g} s", viewer)


def told(stage: Stage, viewer: Connection, wanted: Callable[[Message], bool], since: int, see: str, within: float | None = None) -> Seen:
    """The message, for a check that is not about whether it comes at all: without it Inconclusive, and `see` is the clause to look at."""
    seen = stage.wait_message(viewer, wanted, within, since)
    if seen is None:
        raise Inconclusive(f"nothing was announced that could be looked at (see {see})")
    return seen


def outsiders(stage: Stage, author: Session) -> list[tuple[Connection, Fence | None]]:
    """Sockets of regular users, each with the fence that it must be told of: the usual one where there are people enough for it."""
    has = stage.ground.people.has
    viewer = stage.connect(stage.user(), name="regular user")
    if has("regular", 3):
        return [(viewer, None), (stage.connect(stage.user(1), name="another regular user"), None)]
    return [(viewer, stage.vote_fence(viewer, voter=stage.user(1)) if has("regular", 2) else edit_fence(stage, author))]


def in_time(stage: Stage, called: Called, viewer: Connection, wanted: Callable[[Message], bool], since: int, see: str) -> None:
    """Raises Broken when the message comes, or under the reading `stamped` is stamped, too long after the call began."""
    limit = stage.contract.benchmark.latency
    seen = told(stage, viewer, wanted, since, see, _LATE * limit)
    took, what = seen.at - called.called_at, "it came"
    if stage.reading("latency") == "stamped":
        stamp = seen.message.get("timestamp")
        if not isinstance(stamp, str) or not is_timestamp(stamp):
            raise Inconclusive("the message has no timestamp to measure by (see GEN-05)")
        took, what = datetime.fromisoformat(stamp).timestamp() - called.called_wall - stage.target.tolerance.clock_skew, "it was stamped"
    if took >= limit:
        raise Broken(f"less than {limit:g} s after the call", f"{what} {took:.2f} s after it", viewer)


def refused(stage: Stage, hook: str, session: Session, **values: Any) -> None:
    """Call an administrator's hook as somebody who may not. Raises NotTestable unless the API turns it down."""
    found = stage.target.hook(hook)
    if found is not None and (found.is_command or found.session == "none"):
        raise NotTestable(f"the hook {hook} acts for no particular session, so that nothing is turned down", hook)
    stage.ground.pace.wait()
    answer = stage.call(hook, session, **values).answer
    if answer.ok:
        if hook == "create" and answer.id is not None:
            stage.delete(answer.id)
        raise NotTestable(f"the API lets a regular user {hook} features, so that nothing is turned down", hook)
    if answer.status == 0:
        raise Inconclusive(answer.problem or f"the hook {hook} was not answered")
    if answer.status < 400:
        raise Inconclusive(f"the API answered HTTP {answer.status}, which does not tell whether it turned the call down")
