"""Section CLI: the tool is the server, and a client under test is judged (contract lines 68-88 and 455-580).

Durations are those of the client's own clock: the contract's, times --client-scale.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from harness.conformance import Broken, Inconclusive, NotTestable, Recorded, Stage, clause
from harness.conformance.client_side import Attempt, Door, Play
from harness.conformance.client_side.scenes import Down, calibrated, delays, down, early, in_the_air, misfit, recovered
from schemas import Limits, load_contract

_PINGS = 3
_PHASE = 0.1  # of the interval: a client's own PONGs, one an interval from its opening, then never look like answers
_LEAVES = 5.0  # seconds in which a client closes its connection when it is told to
_LATE = 1.0  # seconds that a busy machine may cost


def _scale(limits: Limits) -> float:
    """The pace of the clock that these limits are on."""
    return limits.heartbeat_interval / load_contract().limits.heartbeat_interval


def _series(limits: Limits) -> float:
    """How long a client tries to come back, and how long one looks whether it has given up."""
    rules = load_contract().client
    due = [min(rules.reconnect_base * 2.0**index, rules.reconnect_cap) for index in range(rules.reconnect_attempts)]
    return (sum(due) + load_contract().benchmark.reconnect_latest) * _scale(limits)


def _patiently(limits: Limits) -> float:
    """As `_series`, after a loss that it recovered from; both scenes are played at once."""
    return 2 * _series(limits)


def _silence(limits: Limits) -> float:
    """A loss, and a silence some times as long."""
    return 7 * load_contract().client.reconnect_base * _scale(limits)


def _seconds(stage: Stage, seconds: float) -> str:
    scale = stage.client.scale
    return f"{seconds:.3g} s" + ("" if scale == 1 else f" (of its own clock {seconds / scale:.3g} s)")


def _listed(found: list[float]) -> str:
    return ", ".join(f"{delay:.3g}" for delay in found) + " s" if found else "none"


def answered(stage: Stage, play: Play, attempt: Attempt, **extra: object) -> float | None:
    """Send a PING; seconds to the PONG, None when none came in time or the connection ended."""
    sent = attempt.send({"type": "PING", **extra})
    due = stage.within(stage.client.limits.heartbeat_timeout)
    play.server.wait(lambda: attempt.received("PONG", sent) or not attempt.live, due)
    pongs = attempt.received("PONG", sent)
    return pongs[0].at - sent if pongs else None


def ending(attempt: Attempt) -> str:
    """How a connection stands, for people."""
    if attempt.live:
        return "the connection is open"
    return f"the client ended the connection with {attempt.close_code}" if attempt.close_code else "the connection ended"


@clause("CLI-01", waits=lambda limits: _PINGS * limits.heartbeat_interval + limits.heartbeat_timeout)
def test_pings_are_answered(stage: Stage) -> None:
    """Each PING is answered by a PONG in time."""
    limits = stage.client.limits
    with stage.play("heartbeat") as play:
        attempt = play.first()
        due = time.monotonic() + _PHASE * limits.heartbeat_interval
        for number in range(1, _PINGS + 1):
            play.server.wait(lambda: not attempt.live, due - time.monotonic())
            if not attempt.live:
                raise Broken(f"a connection that lasts for {_PINGS} PINGs", f"before PING {number}, {ending(attempt)}")
            took = answered(stage, play, attempt)
            allowed = stage.within(limits.heartbeat_timeout)
            if took is None or took > allowed:
                said = f"none; {ending(attempt)}" if took is None else f"it came after {took:.3g} s"
                raise Broken(f"a PONG within {limits.heartbeat_timeout:g} s of PING {number}", said)
            due += limits.heartbeat_interval


@clause("CLI-02", waits=lambda limits: _series(limits) + load_contract().benchmark.reconnect_latest * _scale(limits))
def test_comes_back(stage: Stage) -> None:
    """After a connection was cut off the client tries again, and after Close 1001 it should."""
    client, reading = stage.client, stage.reading("reconnect")
    lost = down(stage)
    stage.show(lost.play)
    found = delays(lost)
    if not found:
        raise Broken(f"an attempt to connect within {client.latest:g} s of the loss", f"none within {stage.within(client.latest):.3g} s")
    stage.note(f"the first delay is {_seconds(stage, found[0])}")
    latest = stage.within(client.rules.reconnect_base if reading == "sample" else client.latest)
    if found[0] > latest:
        raise Broken(f"an attempt within {latest:.3g} s of the loss", f"the first came after {_seconds(stage, found[0])}")
    # Jitter is advised, and takes up to a half: only the reading that names the window is to the letter.
    earliest = client.earliest if reading == "window" else client.rules.reconnect_base / 2
    if early(found[0], earliest):
        raise Broken(f"a first delay of {earliest:.3g} s at least", _seconds(stage, found[0]), soft=True)
    with stage.play("going away") as play:
        first = play.first()
        first.close(stage.contract.close.going_away, "Server shutting down")
        if play.next_attempt(first.number, stage.within(client.latest)) is None:
            raise Broken(f"an attempt to connect after Close {stage.contract.close.going_away}", "none came", soft=True)


@clause("CLI-03", waits=_series)
def test_delays_double(stage: Stage) -> None:
    """The delays double, up to the cap."""
    client, reading = stage.client, stage.reading("reconnect")
    lost = down(stage)
    stage.show(lost.play)
    # Beyond the contract's attempts there should be none: those are CLI-04's.
    found = delays(lost)[: client.rules.reconnect_attempts]
    if len(found) < 3:
        raise Inconclusive(f"the client made {len(found)} attempts, too few to see their delays grow (see CLI-02 and CLI-04)")
    why = misfit(found, client, reading, _LATE)
    if why is not None:
        raise Broken(
            f"delays that double from {client.rules.reconnect_base:g} s up to {client.rules.reconnect_cap:g} s", f"{_listed(found)}; {why}"
        )
    stage.note(f"the delays are {_listed(found)}")


@clause("CLI-04", waits=_patiently)
def test_gives_up(stage: Stage) -> None:
    """It gives up after the contract's number of failed attempts, and counts anew once it was connected."""
    most = stage.client.rules.reconnect_attempts
    expected = f"{most} attempts, and then none"
    with ThreadPoolExecutor(1) as ahead:
        recovery = ahead.submit(recovered, stage)
        lost = down(stage)
        stage.show(lost.play)
        made = len(lost.attempts)
        if made == 0:
            raise Inconclusive("the client never tries again (see CLI-02)")
        if made != most:
            raise Broken(expected, f"{made} attempts{_no_end(lost)}; delays: {_listed(delays(lost))}")
        seen = recovery.result()
    stage.show(seen.play)
    made = len(seen.again.attempts)
    if made != most:
        told = f"after {seen.refused} failures and a success {made} attempts{_no_end(seen.again)}"
        raise Broken(f"after a success again {expected}", told)


def _no_end(lost: Down) -> str:
    return ", and no end" if lost.cut_short else ""


@clause("CLI-05", waits=_silence)
def test_stays_away(stage: Stage) -> None:
    """A client that said goodbye does not come back."""
    code = stage.contract.close.normal
    with stage.play("leaving") as play:
        open_now, delay = calibrated(stage, play)
        play.tell("disconnect", "leave the page")
        play.server.wait(lambda: any(not each.live for each in open_now), stage.client.patience if stage.client.by_hand else _LEAVES)
        attempt = next((each for each in open_now if not each.live), None)
        if attempt is None:
            told = (
                "the client does not close its connection when `disconnect` is written to its standard input: let it understand that line"
            )
            raise NotTestable(told, "CL")
        if attempt.close_code != code:
            raise NotTestable(f"told to disconnect, the client ended with {attempt.close_code} and not with {code}", "CL")
        again = play.next_attempt(len(play.attempts), stage.within(3 * delay))
        if again is not None and attempt.ended_at is not None:
            raise Broken(f"no attempt after its own Close {code}", f"one {_seconds(stage, again.at - attempt.ended_at)} later")


@clause("CLI-06", waits=_patiently)
def test_one_socket_a_failure(stage: Stage) -> None:
    """One failure, one new socket: never two attempts at once, never two connections after a recovery."""
    reading, said = stage.reading("client_model"), ""
    with ThreadPoolExecutor(1) as ahead:
        recovery = ahead.submit(recovered, stage)
        lost = down(stage)
        stage.show(lost.play)
        if not lost.attempts:
            raise Inconclusive("the client never tries again (see CLI-02)")
        doubled = in_the_air(lost.attempts)
        if doubled:
            said = f"attempt {doubled[0].number} began while the one before it was under way, {len(doubled)} such of {len(lost.attempts)}"
        else:
            seen = recovery.result()
            stage.show(seen.play)
            if len(seen.back) > 1:
                said = f"{len(seen.back)} connections open at once after a recovery"
    if said and reading == "sample-buggy":
        raise Recorded(f"as the contract's sample does it: {said}")
    if said:
        raise Broken("one new socket for each failure", said)


@clause("CLI-07", waits=lambda limits: 2 * _silence(limits))
def test_invalid_session_ends_it(stage: Stage) -> None:
    """An invalid session is not tried again and again, whether ERROR announces the close or not; the log-in itself is out of sight."""
    close, code = stage.contract.close, stage.contract.errors.session_expired
    _expire(stage, f"{code}, then Close {close.session_invalid}", _error(code, "Your session has expired."))
    _expire(stage, f"Close {close.session_invalid} alone", None)


def _expire(stage: Stage, title: str, announced: dict[str, object] | None) -> None:
    with stage.play(title) as play:
        open_now, delay = calibrated(stage, play)
        play.set_door(lambda _: Door(stage.contract.auth_refusal_status))
        for attempt in open_now:
            if announced is not None:
                attempt.send(announced)
            attempt.close(stage.contract.close.session_invalid, "Session expired")
        begin = len(play.attempts)
        play.server.wait(lambda: len(play.attempts) >= begin + 2, stage.within(6 * delay))
        tried = len(play.attempts) - begin
        if tried >= 2:
            raise Broken("no further attempts with the session that is no longer valid", f"{tried} within {6 * delay:.3g} s of {title}")
        if tried:
            stage.note(f"one further attempt after {title}")
        login = [line for line in play.server.requests if "login" in line]
        if login:
            stage.note(f"it asked for {login[0]}")


def _error(code: str, text: str, **more: object) -> dict[str, object]:
    return {"type": "ERROR", "code": code, "message": text, **more, "timestamp": _now()}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


@clause("CLI-08")
def test_unknown_messages(stage: Stage) -> None:
    """What a client does not know it passes over: it goes on to answer PINGs on the same connection."""
    vote = {"type": "VOTE_UPDATE", "featureId": "f1", "voteCount": 3, "voterId": "u1", "action": "add", "timestamp": _now()}
    edit: dict[str, object] = {
        "type": "FEATURE_UPDATE",
        "featureId": "f1",
        "changes": {"status": "PLANNED", "colour": "blue"},
        "timestamp": _now(),
    }
    stimuli: dict[str, dict[str, object]] = {
        "a message of unknown type": {"type": "ROADMAP_ARCHIVED", "featureId": "f1", "timestamp": _now()},
        "a VOTE_UPDATE with a property more": {**vote, "weight": {"total": 7}},
        "a FEATURE_UPDATE with a change more": edit,
    }
    with stage.play("unknown messages") as play:
        attempt = play.first()
        if answered(stage, play, attempt) is None:
            raise Inconclusive("the client answers no PING even before (see CLI-01), so one cannot see whether anything breaks it")
        for what, message in stimuli.items():
            attempt.send(message)
            if answered(stage, play, attempt) is None:
                raise Broken(f"a PONG after {what}", f"none; {ending(attempt)}")
        if answered(stage, play, attempt, sentAt=_now()) is None:
            raise Broken("a PONG after a PING with a property more", f"none; {ending(attempt)}")


@clause("CLI-09", waits=lambda limits: 2.5 * limits.rate_window)
def test_message_rate(stage: Stage) -> None:
    """It keeps to the message rate from its opening on, and sends less after RATE_LIMIT_EXCEEDED. Answers to PING do not count."""
    limits, code = stage.client.limits, stage.contract.errors.rate_limit_exceeded
    window = limits.rate_window
    with stage.play("message rate") as play:
        attempt = play.first()
        answered(stage, play, attempt)
        _watch(play, attempt, 1.5 * window)
        rule = {"limit": limits.rate_messages, "window": f"{window:g}s"}
        told = attempt.send(_error(code, "Too many requests. Please slow down.", context=rule))
        settled = told + max(0.1 * window, _LATE / 4)  # what was on its way is not held against it
        _watch(play, attempt, settled + window - time.monotonic())
        times = [line.at for each in play.attempts for line in each.received()]
        answers = [pong.at for pong in attempt.received("PONG")][:1]
        times = sorted(at for at in times if at not in answers)
    # A shorter window than the contract's: on their way the messages of one that just keeps the limit may draw together.
    most = max((sum(at <= other < at + 0.95 * window for other in times) for at in times), default=0)
    if most > limits.rate_messages:
        raise Broken(f"{limits.rate_messages} messages in {window:g} s at most", f"{most}")
    before = sum(told - window <= at < told for at in times)
    after = sum(settled <= at < settled + window for at in times)
    if before >= 4 and after > 0.75 * before:
        raise Broken(f"fewer messages after {code}", f"{before} in the {window:g} s before and {after} in the {window:g} s after it")
    stage.note(f"at most {most} messages in {window:g} s; {before} before {code} and {after} after it")


def _watch(play: Play, attempt: Attempt, seconds: float) -> None:
    play.server.wait(lambda: not attempt.live, seconds)
    if not attempt.live:
        play.server.wait(lambda: False, min(seconds, play.client.limits.rate_window))


@clause("CLI-10", waits=_patiently)
def test_subscribes_again(stage: Stage) -> Recorded:
    """Whether subscriptions are renewed on a new connection."""
    seen = recovered(stage)
    stage.show(seen.play)
    before = [line.message or {} for line in seen.first.received("SUBSCRIBE")]
    after = [line.message or {} for attempt in seen.back for line in attempt.received("SUBSCRIBE")]
    if not before:
        return Recorded(
            "the client subscribed to nothing, also when told `subscribe ID` on its standard input"
            + (", but does so after a reconnect" if after else "")
        )
    wanted = {str(id_) for message in before for id_ in message.get("featureIds", ())}
    renewed = {str(id_) for message in after for id_ in message.get("featureIds", ())}
    if wanted <= renewed:
        return Recorded("the client subscribes again after a reconnect")
    return Recorded(f"the client does not subscribe again after a reconnect ({len(wanted & renewed)} of {len(wanted)} ids)")
