"""Section ERR: what a server says to messages that it cannot use, to whom, and what it survives (contract lines 288-331 and 398-406).

Each input goes over a socket of its own: the readings allow a server to close it, and the message rate is limited.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime

from harness.conformance import Broken, Connection, Inconclusive, Message, Recorded, Refused, Stage, clause
from harness.conformance.checks.ballots import about
from harness.conformance.checks.listening import can, exclusive
from harness.conformance.checks.monsters import lives, monsters, while_it_reads
from harness.conformance.checks.reactions import json_of, reaction, text_of
from harness.net.frames import Opcode
from harness.target import Session
from schemas import validate_server

_NOTHING = {"type": "UNSUBSCRIBE", "featureIds": ["nothing-of-the-kind"]}


def invalid(stage: Stage, *inputs: tuple[str, str]) -> None:
    """Each text draws INVALID_MESSAGE; a Close or silence is a warning whatever the reading of A16."""
    stage.reading("malformed_input")
    wanted = stage.contract.errors.invalid_message
    for what, text in inputs:
        connection = stage.connect(stage.user(), name=what)
        seen = reaction(stage, connection, text_of(text), besides=stage.contract.errors.rate_limit_exceeded)
        if seen.code != wanted:
            raise Broken(f"ERROR {wanted} to {what}", str(seen), connection, soft=True)


def provoked(stage: Stage) -> list[tuple[Connection, Message]]:
    """Every ERROR that could be drawn: by garbage, by an unknown type, by ids of the wrong kind, and by too many messages."""
    found: list[tuple[Connection, Message]] = []
    for what, text in (
        ("text that is no JSON", "this is no JSON"),
        ("an unknown type", json.dumps({"type": "NO_SUCH_TYPE"})),
        ("ids that are no strings", json.dumps({"type": "SUBSCRIBE", "featureIds": [1, None]})),
        ("an array", "[]"),
    ):
        connection = stage.connect(stage.user(), name=what)
        seen = reaction(stage, connection, text_of(text), patient=False)
        if seen.error is not None:
            found.append((connection, seen.error))
    connection = stage.connect(stage.user(), name="too many messages")
    seen = reaction(stage, connection, lambda connection: excess(stage, connection))
    if seen.error is not None:
        found.append((connection, seen.error))
    if not found:
        raise Inconclusive("no ERROR came, whatever was sent (see RATE-02)")
    return found


def excess(stage: Stage, connection: Connection) -> None:
    """A few messages more than a connection may send in a window."""
    for _ in range(stage.limits.rate_messages + 2):
        connection.send_json(_NOTHING)


@clause("ERR-01")
def test_form(stage: Stage) -> None:
    """Code and message are strings, there is a timestamp, and a context is an object."""
    for connection, message in provoked(stage):
        wrong = [problem for problem in validate_server(message, strict=False) if problem.path != "code" or problem.rule != "enum"]
        if wrong:
            raise Broken("an ERROR of the declared form", wrong[0].text, connection)


@clause("ERR-02")
def test_codes(stage: Stage) -> None:
    """The code is one of the table, or of those that the profile lists."""
    stage.reading("error_codes")
    known = stage.contract.errors.all | stage.target.error_codes
    for connection, message in provoked(stage):
        if message.get("code") not in known:
            raise Broken(f"a code among {', '.join(sorted(known))}", f"{message.get('code')!r:.60}", connection)


@clause("ERR-03")
def test_only_to_the_offender(stage: Stage) -> None:
    """Another tab of the same session and another user hear nothing of it."""
    session = stage.user()
    others = [stage.connect(session, name="the same session")]
    if stage.ground.people.has("regular", 2):
        others.append(stage.connect(stage.user(1), name="another user"))
    marks = [other.mark() for other in others]
    drawn: set[str] = set()
    for what, send in (
        ("sends garbage", text_of("this is no JSON")),
        ("sends too much", lambda connection: excess(stage, connection)),
    ):
        offender = stage.connect(session, name=what)
        seen = reaction(stage, offender, send)
        drawn |= {seen.code} - {""}
    if not drawn:
        raise Inconclusive("no ERROR came that could have gone astray (see RATE-02)")
    for other, mark in zip(others, marks, strict=True):
        stage.no_reply(
            other,
            lambda message: message.get("type") == "ERROR" and message.get("code") in drawn,
            since=mark,
            expected="no ERROR on a socket that sent nothing",
        )


@clause("ERR-04")
def test_not_json(stage: Stage) -> None:
    """Text that is no JSON draws INVALID_MESSAGE."""
    invalid(
        stage,
        ("text that is no JSON", "this is no JSON"),
        ("JSON that is cut off", '{"type":"SUBSCRIBE","featureIds":["a"'),
        ("single quotes", "{'type':'PONG'}"),
        ("two objects in one text", '{"type":"SUBSCRIBE","featureIds":[]}{"type":"SUBSCRIBE","featureIds":[]}'),
        ("an empty text", ""),
    )


@clause("ERR-05")
def test_unknown_type(stage: Stage) -> None:
    """A type that the contract does not give to clients draws INVALID_MESSAGE."""
    for kind in ("NO_SUCH_TYPE", "", "constructor", "__proto__", "VOTE_UPDATE", "FEATURE_CREATED"):
        invalid(stage, (f"a message of type {kind!r}", json.dumps({"type": kind, "featureIds": ["a"]})))


@clause("ERR-06")
def test_no_type(stage: Stage) -> None:
    """A type that is absent or no string draws INVALID_MESSAGE."""
    invalid(stage, ("an empty object", "{}"), ("a message without a type", json.dumps({"featureIds": ["a"]})))
    for value in (None, 7, True, ["SUBSCRIBE"], {"type": "SUBSCRIBE"}):
        shown = json.dumps(value)
        invalid(stage, (f"the type {shown}", json.dumps({"type": value, "featureIds": ["a"]})))


@clause("ERR-07")
def test_feature_ids(stage: Stage) -> None:
    """SUBSCRIBE and UNSUBSCRIBE want an array of strings."""
    for kind in ("SUBSCRIBE", "UNSUBSCRIBE"):
        invalid(stage, (f"{kind} without featureIds", json.dumps({"type": kind})))
        for value in (None, "a", 7, {"0": "a"}, [7], ["a", None], [["a"]], [{"id": "a"}]):
            invalid(stage, (f"{kind} with featureIds {json.dumps(value)}", json.dumps({"type": kind, "featureIds": value})))


@clause("ERR-08")
def test_no_object(stage: Stage) -> None:
    """JSON whose top level is no object draws INVALID_MESSAGE."""
    message = json.dumps({"type": "SUBSCRIBE", "featureIds": ["a"]})
    for text in ("[]", f"[{message}]", "7", "null", "true", '"SUBSCRIBE"'):
        invalid(stage, (f"the JSON {text:.20}", text))


@clause("ERR-09")
def test_binary(stage: Stage) -> Recorded:
    """What a binary frame draws."""
    connection = stage.connect(stage.user())
    message = json.dumps({"type": "SUBSCRIBE", "featureIds": ["nothing-of-the-kind"]}).encode()
    seen = reaction(stage, connection, lambda connection: connection.send_frame(Opcode.BINARY, message), patient=False)
    return Recorded(f"a binary frame draws {seen}")


@clause("ERR-10")
def test_goes_on(stage: Stage) -> None:
    """The socket outlives its mistakes and is still told of votes."""
    reading = stage.reading("malformed_input")
    connection = stage.connect(stage.user())
    for text in ("this is no JSON", json.dumps({"type": "NO_SUCH_TYPE"}), "[]"):
        seen = reaction(stage, connection, text_of(text), patient=reading == "error")
        if seen.close is not None:
            raise Broken("the socket to stay open after a message that cannot be used", str(seen), connection)
        feature, mark = stage.feature(), connection.mark()
        stage.vote(stage.user(1), feature)
        stage.expect(connection, about(feature), "votes after a message that cannot be used", mark)


def forged(kind: str, marker: str, stage: Stage) -> Message:
    """A server's message of this type about something that is not there."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    texts = {"title": marker, "description": marker, "status": stage.contract.messages.feature_status[0]}
    maker = {"createdById": marker, "createdBy": {"name": marker}, "createdAt": now, "updatedAt": now}
    bodies: dict[str, Message] = {
        "VOTE_UPDATE": {"featureId": marker, "voteCount": 1, "voterId": marker, "action": stage.contract.messages.vote_actions[0]},
        "FEATURE_UPDATE": {"featureId": marker, "changes": {"title": marker}},
        "FEATURE_CREATED": {"feature": {"id": marker, **texts, "voteCount": 0, **maker}},
        "FEATURE_DELETED": {"featureId": marker},
        "ERROR": {"code": stage.contract.errors.server_error, "message": marker},
    }
    return {"type": kind, **bodies[kind], "timestamp": now}


@clause("ERR-11")
def test_no_relay(stage: Stage) -> None:
    """What a client sends under a server's type reaches nobody, whoever the client is."""
    marker = f"forged-{secrets.token_hex(6)}"
    viewers = [stage.connect(stage.user(1), name="another user"), stage.connect(stage.user(), name="the same session")]
    senders: list[Session] = [stage.user()]
    if stage.ground.people.has("admin", 1):
        senders.append(stage.admin())
        viewers.append(stage.connect(stage.admin(), name="administrator"))
    marks = [viewer.mark() for viewer in viewers]
    for sender in senders:
        for kind in stage.contract.messages.server:
            if kind == "PING":  # it would not be known from the server's own
                continue
            # A socket each: the first may be closed for it.
            connection = stage.connect(sender, name=f"forges {kind}")
            message = forged(kind, marker, stage)
            reaction(stage, connection, json_of(message), patient=False)
    for viewer, mark in zip(viewers, marks, strict=True):
        stage.no_reply(viewer, lambda message: marker in json.dumps(message), since=mark, expected="nothing of what another client made up")


@clause("ERR-12")
def test_survives(stage: Stage) -> None:
    """Whatever one client sends, the server and all other sockets live on, and are told of votes."""
    stage.may_kill = True
    (session,) = exclusive(stage)
    others = [stage.connect(session, name="the same session"), stage.connect(stage.user(1), name="another user")]
    for what, payload in monsters(stage.limits):
        opened = admitted(stage, session, what, others)

        def look(what: str = what) -> None:
            for other in others:
                lives(stage, other, what)

        while_it_reads(stage, opened, payload, look)
    last = admitted(stage, session, "afterwards", others)
    if can(stage, "V"):
        feature, viewers = stage.feature(), (others[0], last)
        marks = [viewer.mark() for viewer in viewers]
        stage.vote(stage.user(1), feature)
        for viewer, mark in zip(viewers, marks, strict=True):
            stage.expect(viewer, about(feature), "votes after all of them", mark)


def admitted(stage: Stage, session: Session, name: str, others: list[Connection]) -> Connection:
    """A further socket of the one who sent all that. Raises Inconclusive when only this client is turned away, as may well be."""
    opened = stage.try_connect(session, name=name)
    if not isinstance(opened, Refused):
        return opened
    for other in others:
        lives(stage, other, "what was sent")
    if opened.status is not None and isinstance(stage.try_connect(stage.user(1), name="another client"), Connection):
        raise Inconclusive(f"the client that sent all that is not let in again ({opened.problem}), so no more could be tried")
    raise Broken("new sockets after what was sent", f"none opens: {opened.problem}", others)


@clause("ERR-13")
def test_for_people(stage: Stage) -> Recorded:
    """Whether the text is for people."""
    texts = {str(message.get("code")): message.get("message") for _, message in provoked(stage)}
    said = "; ".join(f"{code}: {text!r:.100}" for code, text in sorted(texts.items()))
    odd = [code for code, text in texts.items() if not isinstance(text, str) or " " not in text.strip()]
    return Recorded(said + (f" (not a sentence for people: {', '.join(odd)})" if odd else ""))


@clause("ERR-15")
def test_extra_properties(stage: Stage) -> Recorded:
    """Whether properties beyond the schema are tolerated."""
    connection = stage.connect(stage.user())
    message = {"type": "SUBSCRIBE", "featureIds": ["nothing-of-the-kind"], "requestId": 1}
    seen = reaction(stage, connection, json_of(message), patient=False)
    plain = stage.connect(stage.user(), name="without extra properties")
    without = reaction(stage, plain, json_of({"type": "SUBSCRIBE", "featureIds": ["nothing-of-the-kind"]}), patient=False)
    if seen.code and seen.code == without.code:
        return Recorded(f"cannot be told apart: a SUBSCRIBE without them draws {without} as well")
    return Recorded(f"a SUBSCRIBE with an undeclared property draws {seen}")
