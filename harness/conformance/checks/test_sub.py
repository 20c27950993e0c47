"""Section SUB: a client may ask for the updates of some features only, and gets no answer but those (contract lines 335-359)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from harness.conformance import Broken, Connection, Inconclusive, Message, NotTestable, Recorded, SendError, Stage, clause
from harness.conformance.checks.announcements import unique, updated
from harness.conformance.checks.ballots import about
from harness.conformance.checks.listening import Audience, can, error, exclusive, filtering, reply, subscribe
from harness.net.frames import Opcode
from harness.target import Session
from schemas import Limits

_PROBED = 10_000  # ids up to which a limit on subscriptions is looked for
_AT_ONCE = 2_000  # ids in one message at most
_ID_BYTES = 20  # of one made-up id with its quotes and comma
_MADE = 300  # features that are made at most to try a declared limit with


def everything(stage: Stage, voter: Session, feature: str, viewers: Sequence[Connection], what: str) -> None:
    """A vote on the feature and its withdrawal; each viewer must be told of both."""
    for cast, action in zip((stage.vote, stage.unvote), stage.contract.messages.vote_actions, strict=True):
        marks = [viewer.mark() for viewer in viewers]
        cast(voter, feature)
        for viewer, mark in zip(viewers, marks, strict=True):
            stage.expect(viewer, about(feature, action), what, mark)


@clause("SUB-01")
def test_no_answer(stage: Stage) -> None:
    """Nothing answers a SUBSCRIBE, be it the first, a second, or one for several."""
    viewer = stage.connect(stage.user())
    features = [stage.feature() for _ in range(3)]
    mark = viewer.mark()
    for asked in ([features[0]], [features[0]], features[1:]):
        subscribe(viewer, *asked)
        stage.no_reply(viewer, reply(stage, *features), since=mark, expected="no answer to a SUBSCRIBE")
    # An answer that takes its time: a vote that this socket is told of marks the end of the wait.
    fence = stage.vote_fence(viewer, voter=stage.user(1), feature=features[-1])
    stage.absent(viewer, reply(stage, *features[:-1]), since=mark, fence=fence, expected="no answer to a SUBSCRIBE")


@clause("SUB-02")
def test_what_was_asked_for(stage: Stage) -> None:
    """Votes on every feature asked for arrive, and edits of it too."""
    viewer, voter = stage.connect(stage.user(), name="subscriber"), stage.user(1)
    beside = stage.connect(stage.user(1), name="no subscription")
    features, outside = [stage.feature() for _ in range(3)], stage.feature()

    def all_arrive() -> None:
        for feature in features:
            for cast, action in zip((stage.vote, stage.unvote), stage.contract.messages.vote_actions, strict=True):
                mark = viewer.mark()
                cast(voter, feature)
                stage.expect(viewer, about(feature, action), "the votes on a feature subscribed to", mark)
        if can(stage, "UA", "AF"):
            title, mark, mark_beside = unique("Edited"), viewer.mark(), beside.mark()
            stage.update(features[0], title=title)
            wanted = updated(features[0], "title", title)
            # Edits that nobody is told of are no matter of subscriptions (FUPD-02).
            if stage.wait_message(beside, wanted, None, mark_beside) is not None:
                stage.expect(viewer, wanted, "the edits of a feature subscribed to", mark)

    # Whether or not it has taken effect already, these are to arrive; and once more when it surely has.
    subscribe(viewer, *features)
    all_arrive()
    if filtering(stage) and stage.subscribed(viewer, features, voter, outside):
        all_arrive()


@clause("SUB-03")
def test_nothing_else(stage: Stage) -> Recorded | None:
    """Votes on other features stay away, and edits of them too, of those made later as well."""
    if not filtering(stage):
        return Recorded("a SUBSCRIBE has no effect: everyone is told of everything (the reading ignored)")
    viewer, voter = stage.connect(stage.user()), stage.user(1)
    inside, others = stage.feature(), [stage.feature(), stage.feature()]
    if not stage.subscribed(viewer, [inside], voter, others[0]):
        raise Broken("no votes on features that were not asked for", "they kept coming", viewer)
    others.append(stage.feature())
    mark = viewer.mark()
    for cast in (stage.vote, stage.unvote):
        for feature in others:
            cast(voter, feature)
    if can(stage, "UA", "AF"):
        stage.update(others[0], status=stage.contract.messages.feature_status[-1])
    stage.absent(
        viewer,
        lambda message: message.get("featureId") in others,
        since=mark,
        fence=stage.vote_fence(viewer, voter=voter, feature=inside),
        expected="no updates of features that were not asked for",
    )
    return None


@clause("SUB-04")
def test_everything_without(stage: Stage) -> None:
    """A client that never subscribed is told of every feature, be others subscribed or not."""
    audience = Audience(stage, apart=True)
    features = [stage.feature() for _ in range(3)]
    subscribe(audience.viewer, features[0])
    for feature in features:
        everything(stage, audience.voter, feature, [audience.beside], "every vote, on a socket that never subscribed")


@clause("SUB-05")
def test_adds_up(stage: Stage) -> None:
    """A second SUBSCRIBE adds to the first."""
    audience = Audience(stage)
    first, second, outside = (stage.feature() for _ in range(3))
    if filtering(stage):
        audience.subscribed([first], outside)
        subscribe(audience.viewer, second)
        audience.until([second], lambda heard: second in heard.all)
    else:
        subscribe(audience.viewer, first)
        subscribe(audience.viewer, second)
    audience.must_hear(second, "the votes on the feature that was added")
    audience.must_hear(first, "the votes on the feature of the first SUBSCRIBE, after a second one")


@clause("SUB-06")
def test_twice_is_once(stage: Stage) -> None:
    """Subscribing again to the same feature delivers nothing twice."""
    viewer, voter = stage.connect(stage.user()), stage.user(1)
    feature, outside = stage.feature(), stage.feature()
    if filtering(stage) and not stage.subscribed(viewer, [feature], voter, outside):
        raise Inconclusive("the SUBSCRIBE was never seen to take effect (see SUB-02 and SUB-03)")
    for _ in range(2):
        mark = viewer.mark()
        subscribe(viewer, feature)
        # The Pong comes after the SUBSCRIBE has been read.
        stage.no_reply(viewer, error, since=mark, expected="no ERROR to a repeated SUBSCRIBE")
    for cast, action in zip((stage.vote, stage.unvote), stage.contract.messages.vote_actions, strict=True):
        mark = viewer.mark()
        cast(voter, feature)
        stage.expect(viewer, about(feature, action), "the vote on a feature subscribed to several times", mark)
        stage.no_reply(viewer, error, since=mark, expected="no ERROR")
        told = stage.messages(viewer, about(feature, action), mark)
        if len(told) != 1:
            raise Broken("one VOTE_UPDATE for one vote", f"{len(told)} of them", viewer)


@dataclass(frozen=True)
class Step:
    """What a SUBSCRIBE drew that brought the number of features asked for to `total`: an ERROR, a Close code, or neither."""

    total: int
    error: Message | None = None
    close: int | None = None

    @property
    def quiet(self) -> bool:
        return self.error is None and self.close is None

    def __str__(self) -> str:
        if self.error is not None:
            return f"ERROR {self.error.get('code')} at {self.total} ids"
        return f"silence at {self.total} ids" if self.close is None else f"a Close {self.close} at {self.total} ids"


def made_up(count: int, start: int = 0) -> list[str]:
    """Ids of no feature, in the form that ids of features often have."""
    return [f"clnone{number:09}" for number in range(start, start + count)]


def step(stage: Stage, connection: Connection, ids: Sequence[str], total: int) -> Step:
    """Send one SUBSCRIBE and look for an answer until a Ping sent after it was answered."""
    mark, payload = connection.mark(), os.urandom(8)
    with contextlib.suppress(SendError):  # it may be closed before all is out
        subscribe(connection, *ids)
        connection.ping(payload)
        connection.wait_for(lambda frame: frame.payload == payload or frame.type == "ERROR", stage.patience, mark)
    frame = connection.wait_for(lambda frame: frame.type == "ERROR" or frame.opcode == Opcode.CLOSE, stage.grace, mark)
    if frame is not None and frame.opcode != Opcode.CLOSE:
        return Step(total, frame.json())
    closed = connection.wait_closed(stage.patience) if frame is not None else connection.closed
    return Step(total) if closed is None else Step(total, close=closed.code)


def at_once(limits: Limits) -> int:
    """How many made-up ids may go in one message and stay well below the largest one."""
    return max(1, min(_AT_ONCE, limits.message_bytes // (2 * _ID_BYTES)))


def ceiling(stage: Stage, session: Session) -> Step:
    """Ask for more and more features on one connection: what came of the first time that was not met with silence.

    Raises NotTestable when ids of no feature are not taken at all, or nothing came up to the bound.
    """
    connection = stage.connect(session, name="asks for more and more")
    most = at_once(stage.limits)
    total = 1
    seen = step(stage, connection, made_up(1), total)
    if not seen.quiet:
        raise NotTestable(f"ids of no feature are not taken, so their number cannot be tried ({seen})")
    # As few messages as a window allows: growing, then the same size until the bound.
    sizes = [min(size, most) for size in (9, 90, 900)] + [most] * (stage.limits.rate_messages - 5)
    for size in sizes:
        if total >= _PROBED:
            break
        seen = step(stage, connection, made_up(size, total), total := total + size)
        if not seen.quiet:
            return seen
    raise NotTestable(f"{total} features were asked for without a refusal: no limit was found")


def too_many(stage: Stage, seen: Step) -> None:
    """Raises Broken unless a refusal is SUBSCRIPTION_LIMIT; NotTestable when another limit came first."""
    wanted = stage.contract.errors.subscription_limit
    if seen.close in stage.contract.close.protocol:
        raise NotTestable(f"the size of the message was refused before the number of ids ({seen})")
    if seen.error is not None and seen.error.get("code") == stage.contract.errors.rate_limit_exceeded:
        raise Inconclusive("the message rate was limited before the number of ids was")
    if seen.error is None or seen.error.get("code") != wanted:
        raise Broken(f"ERROR {wanted} to too many ids", str(seen))


@clause("SUB-07")
def test_too_many(stage: Stage) -> None:
    """More ids than the limit draw SUBSCRIPTION_LIMIT, in one message or in several; as many as it draw nothing."""
    (session,) = exclusive(stage)
    if stage.reading("subscription_limit") == "declared":
        at_the_limit(stage, session, made_up(stage.limits.subscriptions + 1))
        return
    seen = ceiling(stage, session)
    too_many(stage, seen)
    if seen.total <= at_once(stage.limits):
        alone = stage.connect(session, name="asks for as many at once")
        too_many(stage, step(stage, alone, made_up(seen.total), seen.total))


def at_the_limit(stage: Stage, session: Session, ids: Sequence[str]) -> None:
    """All of the ids but one are taken, and the last is not, be it asked for by itself or with the others."""
    limit, most = len(ids) - 1, at_once(stage.limits)
    connection = stage.connect(session, name="asks for one more")
    parts = [ids[start : min(start + most, limit)] for start in range(0, limit, most)]
    if len(parts) >= stage.limits.rate_messages:
        raise NotTestable(f"{limit} subscriptions take more messages than one window allows")
    for part in parts:
        seen = step(stage, connection, part, limit)
        if not seen.quiet:
            if len(part) == 1 or not step(stage, stage.connect(session, name="asks for one"), ids[:1], 1).quiet:
                raise NotTestable(f"ids of no feature are not taken, so their number cannot be tried ({seen})")
            raise Broken(f"as many as {limit} ids to be taken", str(seen), connection)
    seen = step(stage, connection, ids[limit:], limit + 1)
    if seen.quiet and ids[0] == made_up(1)[0]:
        # Some do not count ids of no feature: only real ones show it then.
        if limit >= _MADE or not can(stage, "UA", "AF"):
            raise NotTestable(f"{limit + 1} ids of no feature were taken; whether real ones are counted would take as many features")
        at_the_limit(stage, session, [stage.feature() for _ in range(limit + 1)])
        return
    too_many(stage, seen)
    if limit < most:
        alone = stage.connect(session, name="asks for all at once")
        too_many(stage, step(stage, alone, ids, limit + 1))


@clause("SUB-08")
def test_after_too_many(stage: Stage) -> Recorded:
    """Whether what was subscribed to before outlives a refusal, and whether a part of the refused set is watched."""
    if not filtering(stage):
        raise NotTestable("a SUBSCRIBE has no effect (the reading ignored)")
    audience = Audience(stage, apart=True)
    refused = ceiling(stage, audience.sessions[0])
    if refused.error is None or refused.total + 1 > at_once(stage.limits):
        raise NotTestable(f"the limit is not to be had with one message ({refused})")
    before, among, outside = (stage.feature() for _ in range(3))
    audience.subscribed([before], outside)
    seen = step(stage, audience.viewer, [among, *made_up(refused.total)], refused.total + 1)
    if seen.error is None:
        raise Inconclusive(f"the SUBSCRIBE was not refused: {seen}")
    heard = audience.hears([outside, among, before], [before]).some
    told = [
        "earlier subscriptions still work" if before in heard else "earlier subscriptions are lost",
        "the refused set was applied in part" if among in heard and outside not in heard else "the refused set was not applied",
    ]
    if outside in heard:
        told[1] = "and everything is delivered again"
    return Recorded(f"after {seen}: {', '.join(told)}")


@clause("SUB-09")
def test_empty_and_unknown(stage: Stage) -> Recorded:
    """What an empty list draws, and ids of no feature."""
    empty = step(stage, stage.connect(stage.user(), name="asks for nothing"), [], 0)
    unknown = step(stage, stage.connect(stage.user(), name="asks for what is not there"), made_up(1), 1)
    return Recorded(f"an empty list draws {str(empty).partition(' at ')[0]}; an id of no feature {str(unknown).partition(' at ')[0]}")


@clause("SUB-10")
def test_one_socket(stage: Stage) -> None:
    """The user's other sockets hear everything, and so does the next one that the client opens."""
    audience = Audience(stage, apart=True)
    inside, outside = stage.feature(), stage.feature()
    others = [stage.connect(audience.sessions[0], name="the same session")]
    others += [stage.connect(session, name="the user's other session") for session in audience.sessions[1:]]
    # Whoever was let in with this session before may have subscribed: that is no matter of these sockets either.
    everything(stage, audience.voter, outside, [audience.viewer, *others], "every vote, on a new connection of a client")
    if filtering(stage):
        audience.subscribed([inside], outside)
    else:
        subscribe(audience.viewer, inside)
    everything(stage, audience.voter, outside, others, "every vote, on another socket of a user who has subscribed on one")
    audience.viewer.close(stage.contract.close.normal)
    audience.viewer.wait_closed(stage.patience)
    again = stage.connect(audience.sessions[0], name="after reconnecting")
    everything(stage, audience.voter, outside, [again], "every vote, on a new connection of a client that had subscribed on an old one")


@clause("SUB-11")
def test_admin_who_watches_one(stage: Stage) -> Recorded:
    """Whether an administrator with a subscription still hears of new features."""
    if not filtering(stage):
        return Recorded("a SUBSCRIBE has no effect: an administrator is told of everything (the reading ignored)")
    admin, author = stage.admin(), stage.admin(1) if stage.ground.people.has("admin", 2) else stage.admin()
    viewer, inside, outside = stage.connect(admin), stage.feature(), stage.feature()
    if not stage.subscribed(viewer, [inside], stage.user(1), outside):
        raise Inconclusive("the SUBSCRIBE was never seen to take effect (see SUB-02 and SUB-03)")
    mark = viewer.mark()
    made, _ = stage.create(author)
    if stage.wait_message(viewer, stage.vote_fence(viewer, voter=stage.user(1), feature=inside)(), None, mark) is None:
        raise Inconclusive("a vote on the feature watched did not come either")

    def told(message: Message) -> bool:
        feature = message.get("feature")
        return message.get("type") == "FEATURE_CREATED" and isinstance(feature, dict) and feature.get("id") == made

    known = stage.wait_message(viewer, told, stage.grace, mark) is not None
    return Recorded(f"an administrator who watches one feature {'still receives' if known else 'no longer receives'} FEATURE_CREATED")
