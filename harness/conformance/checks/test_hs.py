"""Section HS: who gets in, on what evidence, and what comes with it (contract lines 15-33 and 412-415)."""

from __future__ import annotations

import ssl
from typing import Any

from harness.conformance import Broken, Connection, NotTestable, Opened, Recorded, Refused, SendError, Stage, clause, unpack
from harness.target import Session

_NEVER_ISSUED = "TJm4RqUuXnE8wQyZ0kPcVbL7sHdGf2Aa.d2hvIHNpZ25lZCB0aGlzPyBub2JvZHkgZGlkLCBldmVyIQ%3D%3D"


def refused(stage: Stage, why: str, **request: Any) -> None:
    """The handshake is refused as the reading of A01 says; nothing else counts as a refusal for want of a session."""
    reading = stage.reading("auth_refusal")
    opened = stage.handshake(**request)
    status = stage.contract.auth_refusal_status
    if isinstance(opened, Refused):
        if opened.status is None:
            raise stage.no_answer(opened)
        if opened.status != status or reading == "close4401":
            raise Broken(f"{_how(stage, reading)} for {why}", f"HTTP {opened.status}")
        return
    connection = stage.over(opened)
    if reading == "http401":
        raise Broken(f"HTTP {status} for {why}, and no upgrade", f"HTTP {opened.status}: the socket opened", connection)
    closed = connection.wait_closed(stage.patience)
    if closed is None or closed.code != stage.contract.close.session_invalid:
        raise Broken(f"{_how(stage, reading)} for {why}", f"closed with {closed.code}" if closed else "it stayed open", connection)


def _how(stage: Stage, reading: str) -> str:
    status, close = f"HTTP {stage.contract.auth_refusal_status}", f"an upgrade and Close {stage.contract.close.session_invalid}"
    return {"http401": status, "close4401": close}.get(reading, f"{status}, or {close}")


def cookie(session: Session, value: str | None = None, name: str | None = None) -> str:
    """One cookie as it stands in the header."""
    return f"{name or session.name}={session.value.get_secret_value() if value is None else value}"


def altered(value: str, at: int) -> str:
    """The value with one character replaced by another that the same alphabet has."""
    replaced = "A" if value[at] != "A" else "B"
    return value[:at] + replaced + value[at + 1 :]


def opens(stage: Stage, why: str, **request: Any) -> Connection:
    """The handshake opens."""
    opened = stage.handshake(**request)
    if isinstance(opened, Opened):
        return stage.over(opened, role="regular")
    if opened.status is None and opened.phase != "garbage":
        raise stage.no_answer(opened)
    raise Broken(f"101 for {why}", opened.problem)


def alive(stage: Stage, connection: Connection, what: str) -> None:
    """The socket answers a Ping frame."""
    mark = connection.mark()
    try:
        connection.ping(b"alive")
    except SendError:
        if connection.wait_closed(stage.patience) is None:
            raise  # it is there, and it is we who could not ask
    if connection.wait_for(lambda frame: frame.payload == b"alive", stage.patience, mark) is None:
        raise Broken(
            f"{what} to answer", "no Pong came" + (f": closed with {connection.closed.code}" if connection.closed else ""), connection
        )


@clause("HS-01")
def test_valid_session_opens(stage: Stage) -> None:
    """A valid session opens a socket that answers, and the accept value belongs to the key."""
    opened = stage.try_connect(stage.user())
    if isinstance(opened, Refused):
        if opened.status is None and opened.phase != "invalid":
            raise stage.no_answer(opened)
        raise Broken("101 with the Sec-WebSocket-Accept that belongs to the key", opened.problem)
    alive(stage, opened, "the open socket")


@clause("HS-02")
def test_no_cookie(stage: Stage) -> None:
    """Without a cookie nobody gets in."""
    refused(stage, "a handshake without a cookie")


@clause("HS-03")
def test_token_never_issued(stage: Stage) -> None:
    """A value that no server ever signed gets nobody in, nor garbage, nor an empty one."""
    session = stage.user()
    refused(stage, "a token that was never issued", cookies=[cookie(session, _NEVER_ISSUED)])
    refused(stage, "a value that is no token", cookies=[cookie(session, "garbage")])
    refused(stage, "an empty value", cookies=[cookie(session, "")])


@clause("HS-04")
def test_revoked_session(stage: Stage) -> None:
    """A session that was good gets nobody in once it is revoked."""
    (session,) = stage.disposable()
    opens(stage, "the session, before it is revoked", cookies=[cookie(session)])
    stage.revoke(session)
    refused(stage, "a revoked session", cookies=[cookie(session)])


@clause("HS-05")
def test_one_byte_altered(stage: Stage) -> None:
    """One altered character in token or signature, or no signature, and the session is none."""
    session = stage.user()
    value = session.value.get_secret_value()
    token = value.rpartition(".")[0]
    if not token:
        raise NotTestable("the cookie's value has no signature that could be seen: it is one part, without a dot")
    refused(stage, "a token with one character altered", cookies=[cookie(session, altered(value, len(token) // 2))])
    refused(stage, "a signature with one character altered", cookies=[cookie(session, altered(value, len(token) + 5))])
    refused(stage, "a token without its signature", cookies=[cookie(session, token)])


@clause("HS-06")
def test_only_the_named_cookie(stage: Stage) -> None:
    """The token counts in the named cookie only, not under another name nor in the query."""
    stage.reading("cookie_name")
    session = stage.user()
    value = session.value.get_secret_value()
    refused(stage, "the token under another cookie's name", cookies=[cookie(session, name="session")])
    path = stage.target.ws_url.split("/", 3)[-1]
    for name in ("token", session.name):
        refused(stage, f"the token in the query, as {name}", resource=f"/{path}?{name}={value}")


@clause("HS-07")
def test_among_other_cookies(stage: Stage) -> None:
    """The session cookie is found among others, in any order, in quotes or not."""
    session = stage.user()
    ours, quoted = cookie(session), cookie(session, f'"{session.value.get_secret_value()}"')
    for why, cookies in (
        ("the session cookie before another", [ours, "theme=dark"]),
        ("the session cookie after others", ["theme=dark", "lang=en", ours]),
        ("the session cookie between others", ["a=1", ours, "b=2"]),
        ("the session cookie beside one of a similar name", [f"x{session.name}=nothing", ours]),
        ("the session cookie with its value in quotes", ["theme=dark", quoted]),
    ):
        opens(stage, why, cookies=cookies).abort()


@clause("HS-08")
def test_refused_peer_reads_nothing(stage: Stage) -> None:
    """Who is refused never sees a data frame."""
    opened = stage.handshake(cookies=[cookie(stage.user(), _NEVER_ISSUED)])
    if isinstance(opened, Refused):
        if opened.status is None:
            raise stage.no_answer(opened)
        return  # without an upgrade there are no frames
    stage.reading("auth_refusal")
    connection = stage.over(opened)
    connection.wait_closed(stage.within(1.0))
    data = [frame for frame in connection.frames() if frame.direction == "in" and frame.message is not None]
    if data:
        raise Broken("no data frame for a peer without a session", f"{len(data)} data frames", connection)


@clause("HS-09")
def test_plain_get(stage: Stage) -> Recorded:
    """What a request gets that asks for no upgrade is recorded."""
    answer = stage.handshake(upgrade=False, cookies=[cookie(stage.user())])
    if answer.status is None:
        raise stage.no_answer(answer)
    odd = "" if 400 <= answer.status < 500 else ", which is odd: a 4xx such as 426 would tell the client what is missing"
    return Recorded(f"a plain GET is answered with HTTP {answer.status}{odd}")


@clause("HS-10")
def test_two_tabs(stage: Stage) -> None:
    """Two sockets of one session live side by side."""
    session = stage.user()
    tabs = [stage.connect(session, name="first tab"), stage.connect(session, name="second tab")]
    for tab in tabs:
        alive(stage, tab, tab.name)
    if tabs[0].closed is not None:
        raise Broken("both tabs to stay open", f"the first was closed with {tabs[0].closed.code}", tabs)


@clause("HS-11")
def test_foreign_origin(stage: Stage) -> Recorded:
    """Whether a page from elsewhere gets in with the user's cookie is recorded."""
    stage.reading("origin")
    opened = stage.handshake(origin="https://elsewhere.example", cookies=[cookie(stage.user())])
    if isinstance(opened, Opened):
        return Recorded("a foreign Origin with a valid cookie is let in: any page that a user visits can read their stream (unchecked)")
    if opened.status is None:
        raise stage.no_answer(opened)
    return Recorded(f"a foreign Origin is refused with HTTP {opened.status} (allow_list)")


@clause("HS-12")
def test_extensions(stage: Stage) -> Recorded:
    """Compression is declined or properly negotiated, and no sub-protocol is chosen unasked."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    opened = stage.handshake(headers=[offer], origin=stage.target.origin, cookies=[cookie(stage.user())])
    if isinstance(opened, Refused):
        if opened.status is None:
            raise stage.no_answer(opened)
        raise Broken("permessage-deflate declined or negotiated", opened.problem)
    agreed, chosen = opened.headers.get("Sec-WebSocket-Extensions"), opened.headers.get("Sec-WebSocket-Protocol")
    if chosen is not None:
        raise Broken("no sub-protocol, for none was offered", f"Sec-WebSocket-Protocol: {chosen}")
    if agreed is None:
        return Recorded("permessage-deflate is declined")
    if opened.headers.tokens("Sec-WebSocket-Extensions")[0].split(";")[0].strip() != "permessage-deflate":
        raise Broken("an extension that was offered", f"Sec-WebSocket-Extensions: {agreed}")
    return Recorded(f"permessage-deflate is negotiated: {agreed}")


@clause("HS-13")
def test_wss(stage: Stage) -> None:
    """Over TLS the chain verifies and the cookie works."""
    if not stage.target.ws_url.startswith("wss:"):
        raise NotTestable("the target is not served over wss")
    context = stage.target.tls_context()
    if context is None or context.verify_mode is not ssl.CERT_REQUIRED:
        raise NotTestable("the profile says tls.verify = false, so the chain was not verified", "tls")
    opened = stage.try_connect(stage.user())
    if isinstance(opened, Refused):
        raise Broken("a chain that verifies, and 101 for a valid cookie", opened.problem)


@clause("HS-14", waits=lambda limits: 0.5)
def test_no_greeting(stage: Stage) -> None:
    """What comes right after the opening is of a defined type."""
    connection = stage.connect(stage.user())
    payload = b"greeted?"
    connection.ping(payload)
    connection.wait_for(lambda frame: frame.payload == payload, stage.patience)
    connection.wait_for(lambda frame: frame.message is not None and frame.type not in stage.contract.messages.server, 0.5)
    for frame in connection.frames():
        if frame.direction != "in" or frame.message is None:
            continue
        # A batch is other checks' votes, in whatever shape; its shape is GEN-01's and GEN-02's matter.
        types = [message.get("type") for message in unpack(frame)] or [frame.type]
        strange = [type_ for type_ in types if type_ not in stage.contract.messages.server]
        if strange:
            known = ", ".join(stage.contract.messages.server)
            raise Broken(f"messages of a defined type only ({known})", f"type {strange[0]} right after the opening", connection)
