"""Section SUB: a client may ask for the updates of some features only, and gets no answer but those (contract lines 335-359)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.conformance import Broken, Connection, Inconclusive, Message, NotTestable, Recorded, Stage, clause
from harness.conformance.checks.announcements import unique, updated
from harness.conformance.checks.ballots import about
from harness.conformance.checks.ceilings import at_once, at_the_limit, ceiling, made_up, step, too_many
from harness.conformance.checks.listening import Audience, can, error, exclusive, filtering, reply, subscribe
from harness.target import Session


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


@clause("SUB-08")
def test_after_too_many(stage: Stage) -> Recorded:
    """Whether what was subscribed to before outlives a refusal, and whether a part of the refused set is watched."""
    if not filtering(stage):
        raise NotTestable("a SUBSCRIBE has no effect (the reading ignored)")
    audience = Audience(stage, apart=True)
    refused = ceiling(stage, audience.sessions[0])
    if refused.drew.error is None or refused.total + 1 > at_once(stage.limits):
        raise NotTestable(f"the limit is not to be had with one message ({refused})")
    before, among, outside = (stage.feature() for _ in range(3))
    audience.subscribed([before], outside)
    seen = step(stage, audience.viewer, [among, *made_up(refused.total)], refused.total + 1)
    if seen.drew.error is None:
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
    return Recorded(f"an empty list draws {empty.drew}; an id of no feature {unknown.drew}")


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
