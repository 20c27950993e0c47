"""Makes a target say everything it can say without long waits, so that the observer has something to judge.

For the clauses of all frames, whose checks have nothing to ask of a target but that it speaks.
"""

from __future__ import annotations

import contextlib

from harness.conformance import Connection, Inconclusive, NotTestable, Stage, unpack
from harness.conformance.checks.ballots import about
from harness.conformance.outcome import Ending
from harness.errors import UsageError
from harness.net.frames import CLOSE
from harness.target import Session

__all__ = ["listen", "speaks", "watching_admin"]


def watching_admin(stage: Stage) -> Session:
    """An administrator's session that is not the one with which the stage makes changes, where there is another (A19)."""
    try:
        return stage.admin(1)
    except NotTestable:
        pass
    try:
        return stage.another_session(stage.admin())
    except NotTestable:
        return stage.admin()


def listen(stage: Stage) -> list[Connection]:
    """Sockets that were on while the target was made to speak, once a run: whatever of it the target offers is tried."""
    return stage.once("everything that is said", lambda: _provoke(stage))  # type: ignore[no-any-return]


def speaks(stage: Stage, *kinds: str) -> None:
    """Inconclusive when none of these messages came (any, without an argument): then nothing was there to be judged."""
    frames = [frame for connection in listen(stage) for frame in connection.frames() if frame.direction == "in" and frame.opcode < CLOSE]
    found = {str(message.get("type")) for frame in frames for message in unpack(frame)}
    if not frames or (kinds and not found & set(kinds)):
        raise Inconclusive(f"the target sent no {' or '.join(kinds) or 'message'} that could be judged")


def _provoke(stage: Stage) -> list[Connection]:
    offender = stage.connect(stage.user(0), name="offender")
    regular = stage.connect(stage.user(0), name="regular viewer")
    sockets = [offender, regular]
    admin = None
    with contextlib.suppress(Ending, UsageError):
        admin = stage.connect(watching_admin(stage), name="administrator")
        sockets.append(admin)
    _errors(stage, offender)
    with contextlib.suppress(Ending, UsageError):
        stage.ground.require(("U2", "V"), ())
        feature = stage.feature()
        for vote in (stage.vote, stage.unvote):
            mark = regular.mark()
            vote(stage.user(1), feature)
            stage.wait_message(regular, about(feature), None, mark)
    if admin is not None:
        with contextlib.suppress(Ending, UsageError):
            stage.ground.require(("AF",), ())
            made, _ = stage.create()
            stage.update(made, status=stage.contract.messages.feature_status[-1], title="Seen by everybody")
            stage.wait_message(regular, lambda message: message.get("type") == "FEATURE_UPDATE" and message.get("featureId") == made)
            stage.delete(made)
            admin.wait_type("FEATURE_DELETED", stage.patience)
    return sockets


def _errors(stage: Stage, offender: Connection) -> None:
    """An ERROR for what is no message, and one for too many."""
    with contextlib.suppress(Exception):  # it may be closed on us at any moment
        offender.send_text("this is no JSON")
        offender.wait_type("ERROR", stage.grace)
        for _ in range(stage.limits.rate_messages + 1):
            offender.send_json({"type": "UNSUBSCRIBE", "featureIds": ["of no feature"]})
        offender.ping(b"heard")
        offender.wait_for(lambda frame: frame.payload == b"heard", stage.patience)
