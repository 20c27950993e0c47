"""Section HB: PING from the server, PONG from the client, and what becomes of those who are silent (contract lines 35-55).

The rule here: delays of our own make a check try again on a fresh socket, and end it without a verdict when they go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from harness.conformance import Bounds, Broken, Frame, Inconclusive, Message, Policy, Recorded, Stage, clause
from harness.conformance.casting import Cast, capacity_wait, cast_at_capacity
from harness.conformance.checks.heartbeats import (
    end_of,
    ended_how,
    is_ping,
    next_ping,
    one_cycle,
    pong,
    pong_frames,
    three_cycles,
    two_cycles,
    watch_silence,
)
from harness.net.frames import Opcode, parse_close
from schemas import parse

_ANSWERS_NO_PING = Policy(answer_ping=False)
_ANSWERS_NO_PING_OF_ANY_KIND = Policy(answer_ping=False, answer_control_ping=False)
_TRIES = 3
_NINE_TENTHS = 0.9  # of the timeout, of HB-07
_TIMELY = 0.97  # of the timeout: a PONG of ours that went out later says nothing about the target
_TCP_ENDS_WITHIN = 35.0  # seconds after the Close: the longest close timeout of the usual libraries is 30


# ---- PING


@clause("HB-01", waits=lambda limits: limits.heartbeat_interval)
def test_first_ping(stage: Stage) -> None:
    """The first PING comes within one interval of the opening."""
    connection = stage.connect(stage.user())
    interval = stage.limits.heartbeat_interval
    due = stage.window(interval if stage.reading("heartbeat_phase") == "connection" else 0.0, interval)
    ping = connection.wait_for(is_ping, due.latest + 1.0)
    if ping is None:
        raise Broken(f"a PING {due} after the opening", ended_how(connection) + ", and no PING came", connection)
    after = ping.at - connection.opened_at
    if after not in due:
        raise Broken(f"a PING {due} after the opening", f"the first after {after:.2f} s", connection)


@clause("HB-02", waits=lambda limits: 4 * limits.heartbeat_interval)
def test_gaps(stage: Stage) -> None:
    """PINGs come one interval apart, neither sooner nor later."""
    connection = stage.connect(stage.user())
    due = stage.window(stage.limits.heartbeat_interval)
    last = next_ping(stage, connection)
    for number in ("first", "second", "third"):
        ping = connection.wait_for(is_ping, due.latest + 1.0, last.index + 1)
        if ping is None:
            raise Broken(f"the {number} gap between PINGs to be {due}", f"no further PING: {ended_how(connection)}", connection)
        if ping.at - last.at not in due:
            raise Broken(f"the {number} gap between PINGs to be {due}", f"{ping.at - last.at:.2f} s", connection)
        last = ping


@clause("HB-03", waits=lambda limits: limits.heartbeat_interval)
def test_form_of_ping(stage: Stage) -> None:
    """A PING is one text frame that holds its type and nothing else."""
    connection = stage.connect(stage.user())
    try:
        ping = next_ping(stage, connection)
    except Inconclusive:
        if any(frame.direction == "in" and frame.opcode == Opcode.PING for frame in connection.frames()):
            raise Broken("a PING message", "Ping frames of the protocol, which a page never sees, and no message", connection) from None
        raise
    if ping.opcode != Opcode.TEXT or not ping.fin or ping.message != ping.payload:
        kind = "fragments" if ping.opcode == Opcode.CONTINUATION else f"a frame with opcode {ping.opcode}"
        raise Broken("one whole TEXT frame", kind, connection)
    said = parse(ping.message)
    if said != {"type": "PING"}:
        raise Broken('{"type": "PING"} and no other property', f"{said!r:.120}", connection)


# ---- PONG


@clause("HB-04", waits=three_cycles)
def test_answering_client_stays(stage: Stage) -> None:
    """Who answers each PING stays for three cycles."""
    connection = stage.connect(stage.user())
    lasting = three_cycles(stage.limits)
    ended = end_of(connection, stage.within(lasting))
    if connection.unanswered:
        raise Inconclusive("a PONG of ours could not be sent, for the server did not read")
    if ended is not None:
        after = ended - connection.opened_at
        raise Broken(f"the connection open after {lasting:g} s", f"{ended_how(connection)} after {after:.2f} s", connection)


@clause("HB-05", waits=one_cycle)
def test_silence_is_closed(stage: Stage) -> None:
    """A PING without a PONG ends the connection when the timeout is over, not before and not much later."""
    stage.reading("pong_deadline")
    due = stage.window(stage.limits.heartbeat_timeout)
    for policy in (_ANSWERS_NO_PING, _ANSWERS_NO_PING_OF_ANY_KIND):
        mute = stage.connect(stage.user(), policy=policy)
        ping = next_ping(stage, mute)
        lasted = watch_silence(stage, mute, ping)
        if lasted is not None or not pong_frames(mute, ping):
            break
        stage.note("Pong frames of the protocol keep a connection alive too: see HB-09")
    if lasted is None or lasted not in due:
        how = "it is still open" if lasted is None else f"{ended_how(mute)} after {lasted:.2f} s"
        raise Broken(f"the end of the connection {due} after the PING", how, mute)


@clause("HB-06", waits=one_cycle)
def test_code_of_silence(stage: Stage) -> Recorded:
    """With which code a missed heartbeat is closed is recorded."""
    mute = stage.connect(stage.user(), policy=_ANSWERS_NO_PING)
    if watch_silence(stage, mute, next_ping(stage, mute)) is None:
        raise Inconclusive("the connection was not closed although the PONG never came: see HB-05")
    frame = mute.wait_close_frame(0.0)
    if frame is None:
        return Recorded("a missed heartbeat ends TCP without a Close frame")
    code, reason = parse_close(frame.payload)
    if code == stage.contract.close.normal:
        raise Broken("a code that does not say that all went well", f"Close {code} on a missed heartbeat", mute)
    return Recorded(f"a missed heartbeat ends in Close {code}" + (f", reason {reason!r:.80}" if reason else ""))


@clause("HB-07", waits=two_cycles)
def test_late_pong_counts(stage: Stage) -> None:
    """A PONG late in its time still counts."""
    timeout = stage.limits.heartbeat_timeout
    found: Broken | None = None
    for _ in range(_TRIES):
        late = stage.connect(stage.user(), policy=_ANSWERS_NO_PING)
        ping = next_ping(stage, late)
        if end_of(late, max(0.0, ping.at + _NINE_TENTHS * timeout - time.monotonic())) is not None:
            after = end_of(late, 0.0) or ping.at
            found = Broken(
                f"the connection open until {timeout:g} s after the PING", f"{ended_how(late)} after {after - ping.at:.2f} s", late
            )
            continue
        answer = pong(late)
        if answer.at - ping.at > _TIMELY * timeout:
            continue  # we were late ourselves
        lasted = watch_silence(stage, late, ping)
        if lasted is None:
            return
        after = answer.at - ping.at
        what = f"a PONG {after:.2f} s after the PING, of {timeout:g} s, to count"
        found = Broken(what, f"{ended_how(late)} {lasted:.2f} s after the PING", late)
    if found is None:
        raise Inconclusive("this machine was too busy to send a PONG at the right moment: give it less to do, and run this again")
    raise found


@clause("HB-08", waits=lambda limits: two_cycles(limits) + limits.heartbeat_interval)
def test_pong_answers_one_ping(stage: Stage) -> None:
    """PONGs of an earlier cycle do not answer a later PING."""
    stage.reading("pong_deadline")
    for spare in (1, 0):
        skips = stage.connect(stage.user(), policy=_ANSWERS_NO_PING)
        first = next_ping(stage, skips)
        pong(skips)
        for _ in range(spare):
            pong(skips)  # nothing asked for it, and it must not be kept for the next PING
        if end_of(skips, stage.grace) is None:
            break  # a server that bears no spare PONG is tried without it: that is for HB-11 to judge
    second = next_ping(stage, skips, first.index + 1)
    if watch_silence(stage, skips, second) is None:
        if pong_frames(skips, second):
            raise Inconclusive("Pong frames, which answered Ping frames of the server, may have kept it alive: see HB-09")
        due = stage.window(stage.limits.heartbeat_timeout)
        raise Broken(f"the end of the connection {due} after the PING that was skipped", "it is still open", skips)


@clause("HB-09", waits=one_cycle)
def test_pong_frame_as_answer(stage: Stage) -> Recorded:
    """Whether a Pong frame of the protocol stands in for a PONG is recorded."""
    connection = stage.connect(stage.user(), policy=_ANSWERS_NO_PING)
    ping = next_ping(stage, connection)
    connection.send_frame(Opcode.PONG, b"")
    lasted = watch_silence(stage, connection, ping)
    if lasted is None:
        return Recorded("a Pong frame without a PONG message is taken for a sign of life")
    return Recorded(f"a Pong frame does not stand in for a PONG message: {ended_how(connection)} after {lasted:.1f} s")


@clause("HB-10", waits=lambda limits: limits.heartbeat_interval + 2 * limits.heartbeat_timeout)
def test_traffic_as_answer(stage: Stage) -> Recorded:
    """Whether other messages stand in for a PONG is recorded."""
    stage.reading("pong_deadline")
    connection = stage.connect(stage.user(), policy=_ANSWERS_NO_PING)
    ping = next_ping(stage, connection)
    message = {"type": "UNSUBSCRIBE", "featureIds": ["nothing-of-the-kind"]}
    timeout = stage.limits.heartbeat_timeout
    connection.send_json(message)
    end_of(connection, timeout / 2)
    if connection.closed is None and connection.wait_close_frame(0.0) is None:
        connection.send_json(message)
    lasted = watch_silence(stage, connection, ping)
    if lasted is not None:
        return Recorded(f"other messages do not stand in for a PONG: {ended_how(connection)} {lasted:.1f} s after the PING (after_ping)")
    ended = end_of(connection, timeout)
    if ended is None:
        return Recorded("other messages stand in for a PONG: the connection lives on")
    return Recorded(f"other messages prolong the time for a PONG: the end came {ended - ping.at:.1f} s after the PING (after_traffic)")


@clause("HB-11", waits=lambda limits: 3 * max(limits.heartbeat_interval, limits.rate_window))
def test_unasked_pongs(stage: Stage) -> None:
    """The contract's own client sends a PONG every so often, asked or not: the server bears it."""
    connection = stage.connect(stage.user())
    contract = stage.contract
    every = contract.client.unsolicited_pong_every * stage.limits.heartbeat_interval / contract.limits.heartbeat_interval
    # No faster than the message rate bears even where PONGs count (A07), whatever a staging server's heartbeat is.
    every = max(every, stage.limits.rate_window)
    mark = connection.mark()
    for _ in range(3):
        pong(connection)
        ended = end_of(connection, every)
        if ended is not None:
            raise Broken("PONGs that nobody asked for to be borne", ended_how(connection), connection)
    stage.no_reply(connection, _is_error, since=mark, expected="no ERROR for PONGs that nobody asked for")


@clause("HB-12", waits=lambda limits: limits.heartbeat_interval)
def test_pong_draws_nothing(stage: Stage) -> None:
    """A PONG is met with silence."""
    connection = stage.connect(stage.user(), policy=_ANSWERS_NO_PING)
    next_ping(stage, connection)
    mark = connection.mark()
    pong(connection)
    legal = {*stage.contract.messages.server} - {"ERROR"}
    stage.no_reply(connection, lambda message: message.get("type") not in legal, since=mark, expected="no answer to a PONG")


@clause("HB-13", waits=lambda limits: limits.heartbeat_interval + limits.heartbeat_timeout)
def test_pong_of_a_throttled_client(stage: Stage) -> None:
    """A PONG counts even while the connection is throttled."""
    stage.reading("pong_rate")
    throttled = stage.connect(stage.user(), policy=_ANSWERS_NO_PING)
    ping = next_ping(stage, throttled)
    mark = throttled.mark()
    for _ in range(stage.limits.rate_messages + 2):
        throttled.send_json({"type": "UNSUBSCRIBE", "featureIds": ["nothing-of-the-kind"]})
    told = stage.wait_message(throttled, _is_error, stage.limits.heartbeat_timeout / 2, mark)
    if told is None:
        raise Inconclusive("no ERROR came although the message rate was exceeded, so nothing shows that the connection is throttled")
    if throttled.wait_close_frame(0.0) is not None or throttled.closed is not None:
        raise Inconclusive("the connection was ended for the messages before the PONG could be sent: see RATE-03")
    answer = pong(throttled)
    if answer.at - ping.at > _TIMELY * stage.limits.heartbeat_timeout:
        raise Inconclusive("our PONG went out too late to prove anything: this machine is too busy")
    lasted = watch_silence(stage, throttled, ping)
    if lasted is not None:
        raise Broken("the PONG of a throttled client to keep it alive", f"{ended_how(throttled)} {lasted:.2f} s after the PING", throttled)


@clause("HB-14", alone="load", waits=capacity_wait)
def test_gaps_under_load(stage: Stage) -> None:
    """The heartbeat keeps its time while broadcasts flow at the contract's rate."""
    seen: Cast = cast_at_capacity(stage)
    due = stage.window(stage.limits.heartbeat_interval)
    if not len(seen.ping_gaps):
        raise Inconclusive("no two PINGs came to one socket while broadcasts flowed: see HB-01 and HB-02")
    off = [gap for gap in seen.ping_gaps if float(gap) not in due]
    if off:
        seen.blame_stall("PINGs came at the wrong time", (due.latest - due.hi) / 2)
        if max(abs(float(gap) - stage.limits.heartbeat_interval) for gap in off) < stage.limits.heartbeat_interval / 3:
            seen.blame_host("PINGs came a little off their time")
        worst = max(off, key=lambda gap: abs(gap - stage.limits.heartbeat_interval))
        raise Broken(f"gaps between PINGs of {due}", f"{len(off)} of {len(seen.ping_gaps)} are off, the worst {worst:.2f} s")


@clause("HB-15")
def test_ping_of_the_client(stage: Stage) -> Recorded:
    """What a client's own PING gets is recorded."""
    connection = stage.connect(stage.user())
    mark = connection.mark()
    connection.send_json({"type": "PING"})
    legal = {*stage.contract.messages.server} - {"ERROR"}
    payload = os.urandom(8)
    connection.ping(payload)
    connection.wait_for(lambda frame: frame.opcode == Opcode.PONG and frame.payload == payload, stage.patience, mark)
    reply = stage.wait_message(connection, lambda message: message.get("type") not in legal, stage.grace, mark)
    if reply is not None:
        code = f" {reply.message.get('code')}" if reply.message.get("type") == "ERROR" else ""
        return Recorded(f"a PING from the client is answered with {reply.message.get('type')!s:.40}{code:.60}")
    if connection.wait_close_frame(0.0) is not None or connection.closed is not None:
        return Recorded(f"a PING from the client ends the connection: {ended_how(connection)}")
    return Recorded("a PING from the client is met with silence")


# ---- peers that vanish, and the protocol's own Ping


@clause("HB-16", waits=one_cycle)
def test_vanished_peer(stage: Stage) -> None:
    """A peer of which nothing comes any more, not even an answer to the Close, is given up."""
    silent = Policy(answer_ping=False, answer_control_ping=False, answer_close=False)
    gone = stage.connect(stage.user(), policy=silent, bounds=Bounds(linger=_TCP_ENDS_WITHIN))
    due = one_cycle(stage.limits)
    ended = end_of(gone, stage.within(due))
    if ended is None:
        raise Broken(f"a peer that vanished given up within {due:g} s", "the connection is still open", gone)
    closed = gone.wait_closed(_TCP_ENDS_WITHIN + 1.0)
    if closed is None or closed.ended_by == "client":
        raise Broken("TCP ended as well, although the Close goes unanswered", f"still open {_TCP_ENDS_WITHIN:g} s after the Close", gone)


@clause("HB-17")
def test_ping_frame(stage: Stage) -> None:
    """A Ping frame is answered with a Pong frame of the same payload."""
    connection = stage.connect(stage.user())
    for payload in (b"a payload", b"", os.urandom(125)):
        mark = connection.mark()
        connection.ping(payload)
        answer = connection.wait_for(_is_pong_frame(), stage.patience, mark)
        if answer is None:
            raise Broken(f"a Pong frame with the {len(payload)} bytes of the Ping", f"none: {ended_how(connection)}", connection)
        if answer.payload != payload:
            raise Broken(f"a Pong frame with the {len(payload)} bytes of the Ping", f"one with {len(answer.payload)} others", connection)


def _is_pong_frame() -> Callable[[Frame], bool]:
    return lambda frame: frame.opcode == Opcode.PONG


def _is_error(message: Message) -> bool:
    return message.get("type") == "ERROR"
