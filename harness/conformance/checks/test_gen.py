"""Section GEN: what holds for every frame, and for the protocol below the messages (contract lines 92-331 and 425, RFC 6455).

The observer judges GEN-01 to GEN-07 and GEN-09 on all frames of the run; the checks here make the target speak.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from harness.conformance import Broken, Connection, Frame, SendError, Stage, clause
from harness.conformance.checks.provoked import listen, speaks
from harness.conformance.checks.rfc6455 import CASES, Case, Must
from harness.net.frames import CLOSE, PING, PONG, TEXT, parse_close

_AT_ONCE = 6  # connections
_ENOUGH = 3  # broken cases of one group, after which the others say nothing new
_NO_CODE = 1005  # how a Close frame without a code is read (RFC 6455 section 7.1.5)


@clause("GEN-01")
def test_texts_of_one_object(stage: Stage) -> None:
    """Every data frame is UTF-8 text with one JSON object."""
    speaks(stage)


@clause("GEN-02")
def test_known_types(stage: Stage) -> None:
    """Every message is of a defined type."""
    speaks(stage)


@clause("GEN-03")
def test_schemas(stage: Stage) -> None:
    """Every message keeps the schema of its type."""
    speaks(stage)


@clause("GEN-04")
def test_declared_properties(stage: Stage) -> None:
    """No message has a property that the contract does not declare."""
    speaks(stage)


@clause("GEN-05")
def test_forms_of_timestamps(stage: Stage) -> None:
    """Timestamps are RFC 3339 with a zone, and best in UTC with milliseconds."""
    speaks(stage, "VOTE_UPDATE", "ERROR", "FEATURE_UPDATE")


@clause("GEN-06")
def test_times_of_timestamps(stage: Stage) -> None:
    """Timestamps are near the moment of arrival."""
    speaks(stage, "VOTE_UPDATE", "ERROR", "FEATURE_UPDATE")


@clause("GEN-07")
def test_ids(stage: Stage) -> None:
    """Ids are texts and not empty."""
    speaks(stage, "VOTE_UPDATE", "FEATURE_UPDATE")


@clause("GEN-09")
def test_no_session_value(stage: Stage) -> None:
    """No frame, a Close included, has a session's token in it."""
    speaks(stage)
    for connection in listen(stage):
        for frame in connection.frames():
            if frame.direction == "in" and stage.ground.secrets.within(frame.payload):
                raise Broken("no session value in any frame", "the value of a session cookie stands in a frame", connection)


@clause("GEN-08")
def test_frames_from_the_server(stage: Stage) -> None:
    """What the server sends are themselves frames as the RFC wants them: unmasked, whole, with no reserved bit or opcode."""
    speaks(stage)
    for connection in listen(stage):
        legal(connection)


@clause("GEN-08")
@pytest.mark.parametrize("group", CASES)
def test_protocol(stage: Stage, group: str) -> None:
    """Each case of the group, on a socket of its own, has the end that the RFC wants."""
    session = stage.user(0)
    errors = errors_for_one(stage, stage.connect(session, name="the message in one frame"))
    broken: list[tuple[Broken, Connection]] = []

    def play(case: Case) -> None:
        if len(broken) < _ENOUGH:
            connection = stage.connect(session, name=case.name)
            try:
                judge(stage, connection, case, errors)
            except Broken as found:
                broken.append((found, connection))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(play, CASES[group]))
    if broken:
        worst, where = min(broken, key=lambda each: each[0].soft)
        rest = [named(connection, stage) for _, connection in broken if connection is not where]
        observed = worst.observed + (f" (and broken too: {'; '.join(rest)})" if rest else "")
        raise Broken(worst.expected, observed, [connection for _, connection in broken], soft=worst.soft)


def judge(stage: Stage, connection: Connection, case: Case, errors: int) -> None:
    """Play the case and look at what follows. Raises Broken. `errors` is how many ERRORs a message as in the case draws by itself."""
    mark = connection.mark()
    with contextlib.suppress(SendError), connection.in_one_piece():  # the server may have had enough before the last frame
        for wire in case.frames:
            if case.chopped:
                for byte in wire.encoded():
                    connection.send_raw(bytes([byte]))
            else:
                connection.send_frame(wire.opcode, wire.payload, **wire.broken)
    if case.must is Must.LIVE:
        lives(stage, connection, case, errors, mark)
    else:
        ends(stage, connection, case)
    legal(connection)


def lives(stage: Stage, connection: Connection, case: Case, errors: int, mark: int) -> None:
    """The connection answers the case's last Ping and one more, and took a whole message for what it was."""
    pings = [wire.payload for wire in case.frames if wire.opcode == PING]
    fence = os.urandom(8)
    for payload in (*pings[-1:], fence):
        if payload == fence:
            with contextlib.suppress(SendError):
                connection.ping(fence)
        if connection.wait_for(partial(_is_pong, payload), stage.patience, mark) is None:
            ended = connection.closed
            code = ended.code if ended else None
            if case.bulky and ended:
                return
            how = f"Close {code}" if ended else f"no Pong with the payload of the Ping within {stage.patience:g} s"
            raise Broken(f"after {named(connection, stage)}: {case.must.value}", how, connection, soft=case.lenient)
    texts = sum(wire.opcode == TEXT for wire in case.frames)
    drawn = sum(frame.type == "ERROR" for frame in connection.frames(mark))
    if case.whole and not case.bulky and drawn > errors * texts:
        what = f"{named(connection, stage)} to be taken as the same message in one plain frame is"
        raise Broken(what, f"{drawn} ERROR messages, and {errors * texts} for the same otherwise", connection)


def _is_pong(payload: bytes, frame: Frame) -> bool:
    return frame.opcode == PONG and frame.payload == payload


def ends(stage: Stage, connection: Connection, case: Case) -> None:
    """The connection is closed in the way that the case wants."""
    expected = f"after {named(connection, stage)}: {case.must.value}"
    frame = connection.wait_close_frame(stage.patience)
    if frame is None:
        if connection.closed is None:
            raise Broken(expected, f"the connection was still open after {stage.patience:g} s", connection, soft=case.lenient)
        if case.must is Must.END:
            raise Broken(expected, "the end of TCP without a Close frame", connection)
        return
    code, _ = parse_close(frame.payload)
    if case.must is Must.FAIL and code not in stage.contract.close.protocol:
        raise Broken(expected, f"Close {code}", connection, soft=True)
    if case.must is Must.END:
        sent = next(parse_close(wire.payload)[0] for wire in case.frames if wire.opcode == CLOSE)
        if code not in (sent, stage.contract.close.normal, _NO_CODE):
            raise Broken(f"{expected} with the code {sent} or {stage.contract.close.normal}", f"Close {code}", connection, soft=True)
        if late := [each for each in connection.frames(frame.index + 1) if each.direction == "in" and each.opcode < CLOSE]:
            raise Broken("no data frame after the server's Close (section 1.4)", f"{len(late)} data frames", connection)


def errors_for_one(stage: Stage, connection: Connection) -> int:
    """How many ERRORs the plain message draws, which should be none: that is for other clauses to judge, not for GEN-08."""
    plain = next(case for case in CASES["framing"] if case.whole)
    connection.send_frame(TEXT, plain.frames[0].payload)
    connection.ping(b"plain")
    connection.wait_for(lambda frame: frame.payload == b"plain", stage.patience)
    connection.wait_type("ERROR", stage.grace)
    return sum(frame.type == "ERROR" for frame in connection.frames())


def legal(connection: Connection) -> None:
    """Every frame that the server sent keeps the rules itself."""
    for frame in connection.frames():
        if frame.direction == "in" and frame.problems:
            raise Broken("frames from the server that keep RFC 6455", frame.problems[0], connection)


def named(connection: Connection, stage: Stage) -> str:
    """The case, as its socket is called."""
    return connection.name.removeprefix(stage.name).strip()
