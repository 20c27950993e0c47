"""Section RATE, how much one connection may send (contract lines 385-390 and 427-430). How much all are told is in test_rate_of_all.py.

The rule here: windows move in ways that the contract leaves open (A08), so a check sends whole allowances at one stroke, judges only
what holds in every model, and tries again on a fresh socket where the stroke fell apart or across the edge of a window.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from harness.conformance import Broken, Connection, Inconclusive, NotTestable, Recorded, Refused, Stage, clause
from harness.conformance.checks.abuse import abuse, abuse_seconds
from harness.conformance.checks.allowance import (
    TRIES,
    errors,
    fenced,
    how_over,
    is_limited,
    over,
    pongs,
    some_message,
    stroke,
    throttled,
    welcome,
)
from harness.conformance.checks.heartbeats import is_ping
from harness.net.frames import Opcode
from harness.target import Session
from schemas import Limits

_SECONDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|seconds?|m|min)?\s*", re.IGNORECASE)
_UNITS = {"ms": 0.001, "m": 60.0, "min": 60.0}


def one_window(limits: Limits) -> float:
    return 1.1 * limits.rate_window


# ---- the allowance


@clause("RATE-01")
def test_whole_allowance(stage: Stage) -> None:
    """A whole allowance at one stroke draws no ERROR."""
    connection = stage.connect(stage.user())
    count = stage.limits.rate_messages
    welcome(stage, connection, some_message(stage), count, f"{count} messages in one burst")


@clause("RATE-02")
def test_one_too_many(stage: Stage) -> None:
    """One message more than the allowance draws RATE_LIMIT_EXCEEDED."""
    code, count = stage.contract.errors.rate_limit_exceeded, stage.limits.rate_messages + 1
    message = some_message(stage)
    found: Broken | None = None
    for _ in range(TRIES):
        connection = stage.connect(stage.user())
        mark = connection.mark()
        at_once = stroke(stage, connection, message, count)
        if stage.wait_message(connection, lambda each: is_limited(stage, each), stage.patience, mark) is not None:
            return
        if at_once:
            told = ", ".join(str(each.message.get("code")) for each in errors(stage, connection, mark)) or "no ERROR"
            ended = f", and {how_over(connection)}" if over(connection) else ""
            found = Broken(f"{code} for {count} messages in one burst", told + ended, connection)
    raise found or Inconclusive("this machine was too busy to send a burst at one stroke: give it less to do, and run this again")


@clause("RATE-03")
def test_first_excess_is_forgiven(stage: Stage) -> None:
    """The first message over the limit does not end the connection."""
    connection = stage.connect(stage.user())
    mark = connection.mark()
    stroke(stage, connection, some_message(stage), stage.limits.rate_messages + 1)
    stage.wait_message(connection, lambda each: is_limited(stage, each), stage.patience, mark)
    if not fenced(stage, connection, mark):
        raise Broken("the connection to survive one message too many", how_over(connection), connection)


@clause("RATE-04", waits=abuse_seconds)
def test_abuse_ends_the_connection(stage: Stage) -> None:
    """Abuse that goes on ends in the close code for a policy violation."""
    stage.reading("rate_window")
    limits, code = stage.limits, stage.contract.close.policy_violation
    connection = stage.connect(stage.user())
    lasted = abuse(stage, connection, some_message(stage))
    closed = connection.wait_close_frame(stage.patience)
    if closed is None and connection.closed is None:
        rows = f"{limits.persistent_windows} windows of {limits.rate_window:g} s"
        raise Broken(f"Close {code} after {rows} with {limits.persistent_factor} times the limit", f"open after {lasted:.1f} s", connection)
    ended = connection.wait_closed(stage.patience)
    said = ended.code if ended is not None else int.from_bytes(closed.payload[:2], "big") if closed is not None else None
    if said != code:
        raise Broken(f"Close {code} for abuse that goes on", f"Close {said}", connection)


@clause("RATE-05", waits=one_window)
def test_silence_clears(stage: Stage) -> None:
    """After more than a window of silence a whole allowance is welcome again."""
    message = some_message(stage)
    connection, _, _ = throttled(stage, stage.user(), message)
    wait = stage.window(stage.limits.rate_window).latest
    if connection.wait_close_frame(wait) is not None or over(connection):
        raise Broken("the connection to survive one message too many", how_over(connection), connection)
    count = stage.limits.rate_messages
    welcome(stage, connection, message, count, f"{count} messages after {wait:.1f} s of silence")


@clause("RATE-06")
def test_limit_is_per_connection(stage: Stage) -> None:
    """Who exceeds the limit does so alone: siblings of the same session and others have their own allowance."""
    mine, other = stage.own_user()[0], stage.user()
    message, count = some_message(stage), stage.limits.rate_messages
    sibling = stage.connect(mine, name="sibling")
    stranger = stage.connect(other, name="another user's")
    throttled(stage, mine, message, name="offender")
    welcome(stage, sibling, message, count, f"{count} messages on another socket of the same session")
    welcome(stage, stranger, message, count, f"{count} messages on another user's socket")


@clause("RATE-07")
def test_excess_subscribe_waits(stage: Stage) -> None:
    """A SUBSCRIBE over the limit does not take effect at once."""
    if stage.reading("subscriptions") == "ignored":
        raise NotTestable("SUBSCRIBE never has an effect on this target, so one over the limit cannot be told from others")
    stage.reading("rate_window")
    inside, outside = stage.feature(), stage.feature()
    viewer_of, voter = stage.user(0), stage.user(1)
    for _ in range(TRIES):
        viewer = stage.connect(viewer_of)
        mark = viewer.mark()
        at_once = stroke(stage, viewer, {"type": "SUBSCRIBE", "featureIds": [inside]}, stage.limits.rate_messages + 1)
        viewer.send_json({"type": "SUBSCRIBE", "featureIds": [outside]})
        if not fenced(stage, viewer, mark):
            raise Inconclusive(f"{how_over(viewer)} for the excess, so its effect cannot be seen: see RATE-03")
        if at_once and any(is_limited(stage, each.message) for each in errors(stage, viewer, mark)):
            break
    else:
        raise Inconclusive("messages over the limit drew no ERROR, so no SUBSCRIBE is known to have been over it: see RATE-02")
    stage.absent(
        viewer,
        lambda message: message.get("featureId") == outside,
        since=mark,
        fence=_two_votes(stage, viewer, voter, outside, inside),
        expected="no effect of a SUBSCRIBE over the limit",
    )
    if stage.limits.rate_window <= 2.0:  # a longer window is not waited for: which of the two it was is only for the reader
        viewer.wait_close_frame(stage.window(stage.limits.rate_window).latest)
        mark = viewer.mark()
        stage.unvote(voter, outside)
        late = stage.wait_message(viewer, lambda message: message.get("featureId") == outside, 5 * stage.grace, mark)
        stage.note("a throttled SUBSCRIBE " + ("takes effect late" if late is not None else "is dropped"))


def _two_votes(stage: Stage, viewer: Connection, voter: Session, outside: str, inside: str) -> Any:
    """A fence: a vote on what was refused, then one on what is watched."""

    def fire() -> Any:
        stage.vote(voter, outside)
        return stage.vote_fence(viewer, voter, inside)()

    return fire


@clause("RATE-08", waits=one_window)
def test_model_of_the_window(stage: Stage) -> Recorded:
    """How the window moves is recorded: after one message, the rest much later, how many more are heard when the first has aged?"""
    limits, message = stage.limits, some_message(stage)
    connection = stage.connect(stage.user())
    began = time.monotonic()
    connection.send_json(message)
    connection.wait_close_frame(0.8 * limits.rate_window)
    stroke(stage, connection, message, limits.rate_messages - 1)
    connection.wait_close_frame(max(0.0, began + 1.1 * limits.rate_window - time.monotonic()))
    heard = 0
    for _ in range(limits.rate_messages):
        mark = connection.mark()
        connection.send_json(message)
        if not fenced_soon(stage, connection, mark):
            raise Inconclusive("the connection did not answer, so the model of its window cannot be told")
        if any(is_limited(stage, each.message) for each in errors(stage, connection, mark)):
            break
        heard += 1
    late = time.monotonic() - began - 1.1 * limits.rate_window
    model = "sliding" if heard <= 2 else "fixed" if heard == limits.rate_messages else "bucket"
    stage.readings["rate_window"] = f"{model} (detected)"
    return Recorded(
        f"of a new allowance {heard} messages were heard {1.1 + late / limits.rate_window:.1f} windows after the first and "
        f"{0.3 + late / limits.rate_window:.1f} after the others: like a {model} window"
    )


def fenced_soon(stage: Stage, connection: Connection, since: int) -> bool:
    """As `fenced`, without looking on for long."""
    payload = os.urandom(8)
    connection.ping(payload)
    wait = stage.within(stage.limits.rate_window)
    return connection.wait_for(lambda frame: frame.opcode == Opcode.PONG and frame.payload == payload, wait, since) is not None


@clause("RATE-09")
def test_context_tells_the_rule(stage: Stage) -> None:
    """Where the ERROR tells limit and window, they are those of the rule."""
    reading = stage.reading("rate_context")
    connection, _, told = throttled(stage, stage.user(), some_message(stage))
    context = told[0].message.get("context")
    if not isinstance(context, dict):
        return
    limits = stage.limits
    if "limit" in context and context["limit"] != limits.rate_messages:
        raise Broken(f"context.limit {limits.rate_messages}, where there is one", f"{context['limit']!r:.60}", connection)
    if "window" not in context or is_window(context["window"], limits.rate_window):
        return
    # The example's own number is a reading that shows itself: only a profile that declares the rule rules it out.
    if is_window(context["window"], stage.contract.rate_example_window) and (
        reading == "example" or "declared" not in stage.readings["rate_context"]
    ):
        stage.readings["rate_context"] = "example (detected)" if reading != "example" else stage.readings["rate_context"]
        return
    raise Broken(f"context.window {limits.rate_window:g} s, where there is one", f"{context['window']!r:.60}", connection)


def is_window(value: object, seconds: float) -> bool:
    """Whether a window in a context may mean so many seconds."""
    return any(abs(each - seconds) <= 0.001 for each in seconds_of(value))


def seconds_of(value: object) -> list[float]:
    """What a window may mean in seconds: "10s", 10, 10000 (ms)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return []
    if isinstance(value, str):
        match = _SECONDS.fullmatch(value)
        if match is None:
            return []
        number, unit = float(match[1]), (match[2] or "").lower()
        return [number * _UNITS.get(unit, 1.0)] if unit else [number, number / 1000]
    return [float(value), value / 1000]


@clause("RATE-10")
def test_do_pongs_count(stage: Stage) -> Recorded:
    """Whether a PONG counts is recorded."""
    stage.reading("pong_rate")
    message, count = some_message(stage), stage.limits.rate_messages
    connection = stage.connect(stage.user())
    mark = connection.mark()
    stroke(stage, connection, message, count - 1)
    stroke(stage, connection, {"type": "PONG"}, 2)
    stroke(stage, connection, message, 1)
    fenced(stage, connection, mark)
    if any(is_limited(stage, each.message) for each in errors(stage, connection, mark)):
        return Recorded(f"a PONG counts: {count} messages and 2 PONGs are too many")
    return Recorded(f"a PONG does not count: {count} messages and 2 PONGs draw no ERROR (exempt)")


@clause("RATE-11")
def test_do_invalid_messages_count(stage: Stage) -> Recorded:
    """Whether invalid messages count is recorded."""
    connection = stage.connect(stage.user())
    mark = connection.mark()
    count = stage.limits.rate_messages
    stroke(stage, connection, {"type": "NOTHING_OF_THE_KIND"}, count)
    stroke(stage, connection, some_message(stage), 1)
    if not fenced(stage, connection, mark):
        return Recorded(f"whether invalid messages count cannot be told: {how_over(connection)}")
    if any(is_limited(stage, each.message) for each in errors(stage, connection, mark)):
        return Recorded(f"invalid messages count: one valid message after {count} invalid ones is too many")
    return Recorded(f"invalid messages do not count: one valid message after {count} of them draws no ERROR")


# ---- what throttling does


@clause("RATE-12")
def test_throttled_client_is_told(stage: Stage) -> None:
    """A throttled client still receives broadcasts."""
    message = some_message(stage)
    (feature,) = message["featureIds"]
    connection, _, _ = throttled(stage, stage.user(0), message)
    mark = connection.mark()
    stage.vote(stage.user(1), feature)
    stage.expect(connection, lambda each: each.get("featureId") == feature, "a broadcast to a client that is throttled", mark)


@clause("RATE-12", waits=lambda limits: limits.heartbeat_interval)
def test_throttled_client_is_pinged(stage: Stage) -> None:
    """A throttled client still receives PING: it goes on exceeding the limit a little until one comes, as one does to its neighbour."""
    limits, message = stage.limits, some_message(stage)
    neighbour = stage.connect(stage.user(), name="neighbour")
    connection, mark, _ = throttled(stage, stage.user(), message)
    until = connection.opened_at + 2 * limits.heartbeat_interval
    # Half as much again as the limit in each window: always throttled, and far from the abuse that is closed.
    gap = limits.rate_window / (1.5 * limits.rate_messages)
    while connection.wait_for(is_ping, gap, mark) is None:
        if over(connection):
            raise Inconclusive(f"{how_over(connection)} before a PING was due: see RATE-03")
        if time.monotonic() > until:
            if not any(is_ping(frame) for frame in neighbour.frames()):
                raise Inconclusive("no PING came to a client that is not throttled either: see HB-01")
            raise Broken("a PING to a throttled client", "none came, while its neighbour got one", (connection, neighbour))
        connection.send_json(message)


@clause("RATE-13")
def test_errors_are_not_multiplied(stage: Stage) -> None:
    """Each message over the limit draws one ERROR at most; a PONG that went out among them may be over it too."""
    excess = 3
    connection, mark, _ = throttled(stage, stage.user(), some_message(stage), excess)
    told, most = len(errors(stage, connection, mark)), excess + pongs(connection, connection.opened_at)
    if told > most:
        raise Broken(f"at most {most} ERRORs for {most} messages over the limit", f"{told} ERRORs", connection)


@clause("RATE-14")
def test_does_reconnecting_clear(stage: Stage) -> Recorded:
    """Whether a new connection has a new allowance is recorded."""
    (session,) = stage.own_user()
    message, count = some_message(stage), stage.limits.rate_messages
    connection, _, _ = throttled(stage, session, message)
    connection.close(stage.contract.close.normal)
    connection.wait_closed(stage.patience)
    again = stage.try_connect(session, name="again")
    if isinstance(again, Refused):
        return Recorded(f"a client that exceeded the limit is not let in again at once: {again.problem}")
    mark = again.mark()
    stroke(stage, again, message, count)
    fenced(stage, again, mark)
    if any(is_limited(stage, each.message) for each in errors(stage, again, mark)):
        return Recorded("a new connection inherits the count of the old one")
    return Recorded("a new connection has a new allowance: reconnecting evades the limit")
