"""Section SEC: how long a session lasts, who sees what, and what is shown (contract lines 410-430)."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from functools import partial

from harness.conformance import Broken, Connection, Inconclusive, Message, NotTestable, Opened, Recorded, Stage, clause
from harness.conformance.checks.ballots import about
from harness.conformance.checks.provoked import speaks, watching_admin
from harness.conformance.outcome import Ending
from harness.net.frames import PONG
from harness.target import Session
from schemas import Limits

_LOOKS = 60  # votes, or new features, in the time between two re-validations
_SOONEST = 0.25  # seconds between two of them
_CYCLES = 2  # of SEC-03


def one_cycle(limits: Limits) -> float:
    return limits.revalidate_every


@dataclass(frozen=True)
class Expiry:
    """What became of a socket whose session was revoked. Times in seconds since the revocation was answered."""

    connection: Connection
    session: Session
    ended_after: float | None
    """When its Close came, or the end of TCP; None when neither came in time."""
    told_after: float | None
    """When an ERROR told of the end of the session; None when none did."""
    votes: int
    seen: int
    valid: bool
    """The session was still good for the API at the end."""


def expiry(stage: Stage) -> Expiry:
    """Revoke a session once a run, with votes going on; several clauses look at what follows."""
    stage.reading("session_end")
    return stage.once("the end of a session", lambda: _expire(stage))  # type: ignore[no-any-return]


def _expire(stage: Stage) -> Expiry:
    (session,) = stage.disposable()
    connection = stage.connect(session, name="revoked")
    poll = Poll(stage, connection)
    revoked = stage.revoke(session).answered_at
    limit = revoked + stage.within(stage.limits.revalidate_every)
    while connection.closed is None and time.monotonic() < limit:
        if connection.wait_close_frame(min(_gap(stage), max(0.0, limit - time.monotonic()))) is not None:
            break
        poll.vote()
    ended = connection.wait_close_frame(0.0)
    told = connection.wait_for(lambda frame: _expired(stage, frame.json()), 0.0)
    closed = connection.closed
    moment = ended.at if ended else closed.at if closed else None
    return Expiry(
        connection,
        session,
        None if moment is None else max(0.0, moment - revoked),
        None if told is None else max(0.0, told.at - revoked),
        poll.cast,
        poll.seen(),
        moment is None and _still_good(stage, session),
    )


def _expired(stage: Stage, message: object) -> bool:
    return isinstance(message, dict) and message.get("type") == "ERROR" and message.get("code") == stage.contract.errors.session_expired


def _gap(stage: Stage) -> float:
    return max(_SOONEST, stage.limits.revalidate_every / _LOOKS)


class Poll:
    """Another user's vote now and then, where the target offers votes: each is an event that a revoked session should not see."""

    def __init__(self, stage: Stage, connection: Connection) -> None:
        self._stage, self._connection = stage, connection
        self._feature = ""
        self.cast = 0
        with contextlib.suppress(Ending):
            stage.ground.require(("U2", "V"), ())
            self._voter, self._feature = stage.user(1), stage.feature()
        self._mark = connection.mark()

    def vote(self) -> None:
        """Cast the vote, or withdraw it."""
        if self._feature:
            with contextlib.suppress(Ending):
                (self._stage.unvote if self.cast % 2 else self._stage.vote)(self._voter, self._feature)
                self.cast += 1

    def seen(self) -> int:
        """How many the socket was told of."""
        return len(self._stage.messages(self._connection, about(self._feature), self._mark)) if self._feature else 0


def _still_good(stage: Stage, session: Session) -> bool:
    """Whether the session is let in after its revocation: then the hook revoked nothing."""
    if stage.target.hook("list") is not None:
        return stage.call("list", session).answer.ok
    return isinstance(stage.handshake(cookies=[session.cookie_header()], origin=stage.target.origin), Opened)


def unlike_a_revocation(seen: Expiry) -> None:
    """NotTestable when the hook does not do what it says."""
    if seen.valid:
        raise NotTestable("the hook was answered as done, and yet the session is still good for the API", "revoke")


@clause("SEC-01", waits=one_cycle, idle=True)
def test_revoked_session_ends(stage: Stage) -> None:
    """A socket ends when its session has, at the next re-validation at the latest."""
    seen = expiry(stage)
    if seen.ended_after is None:
        unlike_a_revocation(seen)
        due = stage.limits.revalidate_every
        raise Broken(f"the end of the socket within {due:g} s of the revocation", "it was still open", seen.connection)


@clause("SEC-02", waits=one_cycle, idle=True)
def test_expiry_is_told(stage: Stage) -> None:
    """An ERROR says that the session has ended, before the Close."""
    seen = expiry(stage)
    if seen.ended_after is None:
        unlike_a_revocation(seen)
    if seen.told_after is None:
        if seen.ended_after is None:
            raise Inconclusive("the socket was not closed, so nothing had to come before it (see SEC-01)")
        raise Broken(f"an ERROR {stage.contract.errors.session_expired} before the close", "the close without it", seen.connection)


@clause("SEC-03", waits=lambda limits: _CYCLES * limits.revalidate_every, idle=True)
def test_valid_session_stays(stage: Stage) -> None:
    """Sockets of sessions that are good outlive two re-validations."""
    sockets = [stage.connect(stage.user(0), name="regular")]
    with contextlib.suppress(NotTestable):
        sockets.append(stage.connect(stage.admin(), name="administrator"))
    every = stage.limits.revalidate_every
    for socket in sockets:
        until = socket.opened_at + stage.within(_CYCLES * every)
        ended = socket.wait_close_frame(until - time.monotonic())
        if ended is None and socket.closed is None:
            continue
        after = (ended.at if ended else time.monotonic()) - socket.opened_at
        closed = socket.wait_closed(stage.within(1.0))
        code = closed.code if closed else None
        if after < stage.window(every).earliest and code != stage.contract.close.session_invalid:
            raise Inconclusive(f"a socket ended with {code} after {after:.1f} s, before any re-validation was due (see HB-04)")
        raise Broken(f"a socket that is open after {_CYCLES} re-validations", f"Close {code} after {after:.1f} s", socket)


@clause("SEC-04", waits=one_cycle, idle=True)
def test_exposure(stage: Stage) -> Recorded:
    """For how long a revoked session is served, and with what."""
    seen = expiry(stage)
    events = f"{seen.seen} of the {seen.votes} votes cast meanwhile" if seen.votes else "no vote was cast meanwhile"
    if seen.ended_after is None:
        unlike_a_revocation(seen)
        return Recorded(f"a revoked session was still served after {stage.within(stage.limits.revalidate_every):g} s: {events}")
    return Recorded(f"a revoked session was served for {seen.ended_after:.2f} s: {events}")


@clause("SEC-05", waits=one_cycle, idle=True)
def test_other_session_stays(stage: Stage) -> None:
    """The user's other session goes on when one is revoked."""
    stage.reading("session_end")
    revoked, kept = stage.disposable(sessions=2)
    doomed, sibling = stage.connect(revoked, name="revoked"), stage.connect(kept, name="other session")
    answered = stage.revoke(revoked).answered_at
    until = answered + stage.within(stage.limits.revalidate_every)
    ended = sibling.wait_close_frame(until - time.monotonic())
    if ended is None and sibling.closed is None:
        if doomed.wait_close_frame(0.0) is None and doomed.closed is None:
            raise Inconclusive("the revoked session was not ended either (see SEC-01)")
        return
    if not _still_good(stage, kept):
        raise NotTestable("the hook ends all sessions of the user, the other one too: let it name a sessionId", "revoke")
    closed = sibling.wait_closed(stage.within(1.0))
    raise Broken("the socket of the user's other session to stay", f"Close {closed.code if closed else 'frame'}", [sibling, doomed])


@clause("SEC-06")
def test_roles_for_the_observer(stage: Stage) -> None:
    """Regular users and administrators listen while features come and go; the observer looks at who is told."""
    reading = stage.reading("admin_events")
    stage.connect(stage.user(0), name="regular"), stage.connect(stage.user(1), name="another regular")
    admin = stage.connect(watching_admin(stage), name="administrator")
    made, _ = stage.create()
    stage.update(made, status=stage.contract.messages.feature_status[-1])
    stage.delete(made)
    for kind in sorted(stage.contract.messages.admin_only):
        if stage.wait_message(admin, partial(_of, kind, made)) is None and reading != "everyone":
            raise Inconclusive(f"not even the administrator was told {kind}, so nobody was tried (see FCRE-01, FDEL-01)")
    time.sleep(stage.grace)


def _of(kind: str, feature: str, message: Message) -> bool:
    return message.get("type") == kind and feature in str(message)


@clause("SEC-08")
def test_exposure_for_the_observer(stage: Stage) -> None:
    """Votes, edits and new features; the observer looks for names and personal data in all of them."""
    speaks(stage, "VOTE_UPDATE", "FEATURE_UPDATE", *stage.contract.messages.admin_only)


@clause("SEC-07", waits=one_cycle, idle=True)
def test_role_changes(stage: Stage) -> Recorded:
    """When a promoted user begins to see what is for administrators, and a demoted one ceases to."""
    if stage.reading("admin_events") == "everyone":
        return Recorded("everybody is told what administrators are told, so a change of role shows in nothing")
    (rising,), (falling,) = stage.disposable(), stage.disposable()
    try:
        stage.change_role(falling, "admin")
        # Not observed: their role is not the one that their sessions had in the profile.
        sockets = {"promotion": stage.connect(rising, observed=False), "demotion": stage.connect(falling, observed=False)}
        admin = stage.connect(watching_admin(stage), name="administrator")
        changed = {"promotion": stage.change_role(rising, "admin"), "demotion": stage.change_role(falling, "regular")}
        until = time.monotonic() + stage.within(stage.limits.revalidate_every) + 2 * _gap(stage)
        found: dict[str, float] = {}
        while len(found) < len(sockets) and time.monotonic() < until:
            told = _told(stage, admin, sockets)
            for what, wanted in (("promotion", True), ("demotion", False)):
                if told[what] is wanted:
                    found.setdefault(what, time.monotonic() - changed[what].answered_at)
            time.sleep(_gap(stage))
        with stage.ground.places:
            afresh = {what: stage.connect(session, observed=False) for what, session in (("promotion", rising), ("demotion", falling))}
        after = _told(stage, admin, afresh)
    finally:
        for session in (rising, falling):
            with contextlib.suppress(Ending):
                stage.change_role(session, "regular")
    words = {True: "yes", False: "no"}
    on_open = [f"{what} takes effect on an open socket {_when(found.get(what))}" for what in sockets]
    again = "; ".join(f"after {what} and a reconnect, administrator messages: {words[after[what]]}" for what in after)
    return Recorded("; ".join([*on_open, again]))


def _when(after: float | None) -> str:
    return "not within a re-validation" if after is None else f"after {after:.1f} s"


def _told(stage: Stage, admin: Connection, sockets: dict[str, Connection]) -> dict[str, bool]:
    """Make a feature that an administrator is told of, and see who else is."""
    made, _ = stage.create()
    new = partial(_of, "FEATURE_CREATED", made)
    if stage.wait_message(admin, new) is None:
        raise Inconclusive("not even an administrator was told of a new feature (see FCRE-01)")
    for socket in sockets.values():
        if not _answers(stage, socket):
            raise Inconclusive("a socket whose user's role had changed did not answer a Ping any more, so its silence says nothing")
    time.sleep(stage.grace)
    told = {what: bool(stage.messages(socket, new)) for what, socket in sockets.items()}
    stage.delete(made)
    return told


def _answers(stage: Stage, socket: Connection) -> bool:
    """Whether a Ping frame is answered: what was sent to this socket before has come by then."""
    payload, mark = os.urandom(8), socket.mark()
    socket.ping(payload)
    return socket.wait_for(lambda frame: frame.opcode == PONG and frame.payload == payload, stage.patience, mark) is not None
