"""Section CLS: how connections end, begun by either side (contract lines 56-66)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.conformance import Broken, Connection, Inconclusive, Message, NotTestable, Opened, Policy, Recorded, Stage, clause
from harness.conformance.checks.abuse import abuse, abuse_seconds
from harness.net.frames import CLOSE, TEXT
from harness.net.handshake import Refused
from harness.target import Session

_EXCESS = {"type": "UNSUBSCRIBE", "featureIds": ["nothing-of-the-kind"]}
_ENDS_WITHIN = 2.0  # seconds, of CLS-01
_UP_WITHIN = 30.0  # seconds in which a server that was started has to answer


@clause("CLS-01")
def test_close_is_echoed(stage: Stage) -> None:
    """A client's goodbye is answered in kind, and TCP ends soon after."""
    connection = stage.connect(stage.user())
    code = stage.contract.close.normal
    began = time.monotonic()
    connection.close(code, "User left roadmap page")
    echoed = connection.wait_close_frame(stage.within(_ENDS_WITHIN))
    closed = connection.wait_closed(stage.within(_ENDS_WITHIN))
    if echoed is None:
        raise Broken(f"a Close {code} in return", "none came", connection)
    if closed is None or closed.ended_by == "client" or closed.ended_at - began > stage.within(_ENDS_WITHIN):
        raise Broken(f"the end of TCP within {_ENDS_WITHIN:g} s", "it was still open" if closed is None else "it came later", connection)
    if closed.code != code:
        raise Broken(f"a Close {code} in return", f"Close {closed.code}", connection)


@dataclass(frozen=True)
class Shutdown:
    """One graceful stop, seen from all sides; the server may stop only once in a run, so three clauses share it."""

    ready: list[Connection]
    slow: Connection
    attempts: list[str]
    accepted_then_dropped: list[str]
    again: Recorded | NotTestable


def shutdown(stage: Stage) -> Shutdown:
    """Stop the server once a run, with sockets open, while new ones knock; start it again if the profile can.

    So after the run the target is up again, as it was found; a profile without the hook `start` leaves it down.
    """
    return stage.once("shutdown", lambda: _stop(stage))  # type: ignore[no-any-return]


def _stop(stage: Stage) -> Shutdown:
    sessions = [stage.user(0), stage.user(0)]
    ready = [stage.connect(session, name=f"open socket {number}") for number, session in enumerate(sessions, 1)]
    # One that does not answer the Close keeps the server in its shutdown, so that there is one to be looked at.
    slow = stage.connect(stage.user(0), name="slow socket", policy=Policy(answer_close=False))
    attempts: list[str] = []
    dropped: list[str] = []
    over = threading.Event()

    def knock() -> None:
        ready[0].wait_close_frame(stage.limits.shutdown_grace + stage.patience)
        while not over.is_set():
            opened = stage.handshake(cookies=[sessions[0].cookie_header()], origin=stage.target.origin, timeout=2.0)
            if isinstance(opened, Opened):
                connection = stage.over(opened, role="regular", name=f"latecomer {len(attempts)}")
                closed = connection.wait_closed(stage.limits.shutdown_grace + 1.0)
                dropped.append("accepted" + (f", then ended with {closed.code}" if closed else " and kept"))
            attempts.append(str(opened.status))
            over.wait(0.05)

    with stage.ground.may_be_down():
        knocking = threading.Thread(target=knock, daemon=True)
        knocking.start()
        stage.done("stop", stage.caller("stop"))
        for connection in (*ready, slow):
            connection.wait_closed(stage.limits.shutdown_grace + stage.patience)
        over.set()
        knocking.join(stage.limits.shutdown_grace + stage.patience)
        again = _start(stage, sessions[0])
    return Shutdown(ready, slow, attempts, dropped, again)


def _start(stage: Stage, session: Session) -> Recorded | NotTestable:
    """Start the server again: whether the same session is let in, or why that cannot be told. What went before is judged either way."""
    if stage.target.hook("start") is None:
        return NotTestable("the server was not started again", "start")
    started = stage.call("start", stage.caller("start")).answer
    if not started.ok:
        return NotTestable(f"the hook does not work, and the target is down: {started.problem}", "start")
    deadline = time.monotonic() + _UP_WITHIN
    while True:
        opened = stage.try_connect(session, name="after the restart", timeout=2.0)
        if isinstance(opened, Connection):
            return Recorded("the same session is let in again")
        if opened.status is not None and opened.status < 500:
            return Recorded(f"the same session is refused with HTTP {opened.status}")
        if time.monotonic() > deadline:
            return NotTestable(f"no handshake was answered within {_UP_WITHIN:g} s of the start: {opened.problem}", "start")
        time.sleep(0.1)


@clause("CLS-02", alone="stop", waits=lambda limits: 2 * limits.shutdown_grace)
def test_stop_says_goodbye(stage: Stage) -> None:
    """A graceful stop says so on every socket, also on one that does not answer."""
    seen = shutdown(stage)
    code = stage.contract.close.going_away
    for connection in (*seen.ready, seen.slow):
        frame = connection.wait_close_frame(0.0)
        closed = connection.closed
        if frame is None:
            raise Broken(f"Close {code} before TCP ends", "TCP ended without one" if closed else "neither Close nor end", connection)
        if closed is not None and closed.code != code:
            raise Broken(f"Close {code} on a graceful stop", f"Close {closed.code}", connection)


@clause("CLS-03", alone="stop", waits=lambda limits: 2 * limits.shutdown_grace)
def test_no_admission_while_stopping(stage: Stage) -> None:
    """Who comes during the stop is turned away, and not let in to be dropped."""
    seen = shutdown(stage)
    if not seen.attempts:
        raise Inconclusive("the server was gone before a new handshake could be tried")
    if seen.accepted_then_dropped:
        raise Broken("new handshakes turned away during the shutdown", seen.accepted_then_dropped[0])


@clause("CLS-04", waits=abuse_seconds)
def test_persistent_abuse(stage: Stage) -> None:
    """Too many messages, window after window, end in the close code for a policy violation."""
    stage.reading("rate_window")
    connection = stage.connect(stage.user())
    abuse(stage, connection, _EXCESS)
    closed = connection.wait_closed(stage.patience)
    code = stage.contract.close.policy_violation
    if closed is None:
        raise Broken(f"Close {code} after {stage.limits.persistent_windows} windows of abuse", "the connection is still open", connection)
    if closed.code != code:
        raise Broken(f"Close {code}", f"Close {closed.code} {closed.reason}".strip(), connection)


@clause("CLS-05", waits=lambda limits: limits.revalidate_every, idle=True)
def test_revoked_session_is_closed(stage: Stage) -> None:
    """A socket whose session was revoked is closed with the code for an invalid session."""
    stage.reading("session_end")
    (session,) = stage.disposable()
    connection = stage.connect(session)
    stage.revoke(session)
    closed = connection.wait_closed(stage.within(stage.limits.revalidate_every))
    code = stage.contract.close.session_invalid
    if closed is None:
        raise Broken(f"Close {code} within {stage.limits.revalidate_every:g} s", "the connection is still open", connection)
    if closed.code != code:
        raise Broken(f"Close {code}", f"Close {closed.code} {closed.reason}".strip(), connection)


@clause("CLS-06", waits=abuse_seconds)
def test_closes_for_the_observer(stage: Stage) -> None:
    """Provoke closes that the server begins: their codes are judged by the observer, as those of all connections are."""
    silent = stage.connect(stage.user(), policy=Policy(answer_ping=False), name="never answers")
    wrong = stage.connect(stage.user(), name="sends an unmasked frame")
    wrong.send_frame(TEXT, b"{}", masked=False)
    abuser = stage.connect(stage.user(), name="sends too much")
    abuse(stage, abuser, _EXCESS)
    if all(connection.wait_close_frame(1.0) is None for connection in (wrong, abuser, silent)):
        raise Inconclusive("the server began no close, whatever was done to it")


@clause("CLS-07")
def test_nothing_after_close(stage: Stage) -> None:
    """Sockets that have said goodbye while votes go on; the observer watches what follows the server's Close everywhere."""
    leaver = stage.connect(stage.user(), name="leaver")
    leaver.close(stage.contract.close.normal)
    if leaver.wait_close_frame(stage.patience) is None:
        raise Inconclusive("the server sent no Close frame after which something could have come (see CLS-01)")
    leaver.wait_closed(stage.patience)
    frames = leaver.frames()
    at = next(number for number, frame in enumerate(frames) if frame.direction == "in" and frame.opcode == CLOSE)
    late = [frame for frame in frames[at + 1 :] if frame.direction == "in" and frame.opcode < CLOSE]
    if late:
        raise Broken("nothing after the server's Close frame", f"{len(late)} data frames", leaver)


@clause("CLS-08", alone="stop", hooks=("start",))
def test_back_after_restart(stage: Stage) -> Recorded:
    """Whether the same session is let in after a restart is recorded."""
    again = shutdown(stage).again
    if isinstance(again, NotTestable):
        raise again
    return again


def about(feature: str) -> Callable[[Message], bool]:
    """Recognises messages about one feature."""
    return lambda message: message.get("featureId") == feature


@clause("CLS-09")
def test_others_go_on(stage: Stage) -> None:
    """However one client leaves, the others are still told of votes, and new ones are let in."""
    stays = stage.connect(stage.user(1), name="stays")
    for how in ("close", "reset", "mid-frame"):
        leaver = stage.connect(stage.user(0), name=f"leaves by {how}")
        if how == "close":
            leaver.close(stage.contract.close.normal)
        elif how == "reset":
            leaver.abort()
        else:
            leaver.send_raw(b"\x81\xfe\x01\x00half")
            leaver.abort()
        feature = stage.feature()
        mark = stays.mark()
        stage.vote(stage.user(2), feature)
        stage.expect(stays, about(feature), f"a vote seen after another left by {how}", mark)
        opened = stage.try_connect(stage.user(0), name=f"comes after {how}")
        if isinstance(opened, Refused):
            if opened.phase == "timeout":
                raise stage.no_answer(opened)
            raise Broken(f"new sockets after another left by {how}", opened.problem, stays)
