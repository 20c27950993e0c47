"""Section UNS: a client takes a subscription back, and gets no answer to that (contract lines 363-381)."""

from __future__ import annotations

from harness.conformance import Broken, Inconclusive, Recorded, Stage, clause
from harness.conformance.checks.listening import Audience, error, exclusive, filtering, reply, subscribe, unsubscribe


def watching_two(stage: Stage) -> tuple[Audience, str, str, str]:
    """A socket that watches two features and is known to: (audience, first, second, a feature it does not watch)."""
    audience = Audience(stage)
    first, second, outside = (stage.feature() for _ in range(3))
    audience.subscribed([first, second], outside, inside=second)
    heard = audience.hears([outside, first], [first])
    if first not in heard.all:
        raise Inconclusive("of two features subscribed to at once only one is heard of (see SUB-02)")
    if outside in heard.some:
        raise Inconclusive("votes on a feature that is not subscribed to come all the same (see SUB-03)")
    return audience, first, second, outside


@clause("UNS-01")
def test_one_of_two(stage: Stage) -> None:
    """The one falls silent and the other goes on."""
    if not filtering(stage):
        audience = Audience(stage)
        first, second = stage.feature(), stage.feature()
        subscribe(audience.viewer, first, second)
        unsubscribe(audience.viewer, first)
        audience.must_hear(second, "the votes on the feature that is still subscribed to")
        return
    audience, first, second, _ = watching_two(stage)
    unsubscribe(audience.viewer, first)
    heard = audience.until([first, second], lambda heard: first not in heard.some or second not in heard.all, due=[second])
    if second not in heard.all:
        raise Broken("the feature that is still subscribed to goes on", "it fell silent too", audience.viewer)
    if first in heard.some:
        raise Broken("the feature unsubscribed falls silent", "its votes kept coming", audience.viewer)


@clause("UNS-02")
def test_no_answer(stage: Stage) -> None:
    """Nothing answers an UNSUBSCRIBE."""
    viewer = stage.connect(stage.user())
    first, second, kept = (stage.feature() for _ in range(3))
    subscribe(viewer, first, second, kept)
    stage.no_reply(viewer, lambda message: False, since=0)
    mark = viewer.mark()
    for asked in (first, second):
        unsubscribe(viewer, asked)
        stage.no_reply(viewer, reply(stage, first, second, kept), since=mark, expected="no answer to an UNSUBSCRIBE")
    fence = stage.vote_fence(viewer, voter=stage.user(1), feature=kept)
    stage.absent(viewer, reply(stage, first, second), since=mark, fence=fence, expected="no answer to an UNSUBSCRIBE")


@clause("UNS-03")
def test_the_last_one(stage: Stage) -> Recorded:
    """What a client hears that has unsubscribed from all it had subscribed to."""
    if not filtering(stage):
        return Recorded("everything, as before: a SUBSCRIBE has no effect (the reading ignored)")
    audience, first, second, outside = watching_two(stage)
    unsubscribe(audience.viewer, first, second)
    before = frozenset({first, second})
    heard = audience.until([first, outside, second], lambda heard: heard.some != before).some
    what = {3: "everything", 0: "nothing"}.get(len(heard), f"{len(heard)} of the 2 features that it had watched and of another")
    return Recorded(f"after the last UNSUBSCRIBE a client hears {what}")


@clause("UNS-04")
def test_never_subscribed(stage: Stage) -> None:
    """It does nothing for a client that watches others, nor for one that watches none in particular."""
    audience = Audience(stage)
    inside, outside, never = (stage.feature() for _ in range(3))
    if filtering(stage):
        audience.subscribed([inside], outside)
        if outside in audience.hears([outside, inside], [inside]).some:
            raise Inconclusive("votes on a feature that is not subscribed to come all the same (see SUB-03)")
    else:
        subscribe(audience.viewer, inside)
    beside = stage.connect(exclusive(stage)[0], name="never subscribed")
    for connection in (audience.viewer, beside):
        mark = connection.mark()
        unsubscribe(connection, never, "nothing-of-the-kind")
        stage.no_reply(connection, error, since=mark, expected="no ERROR to an UNSUBSCRIBE of what was not watched")
    heard = audience.hears([outside, never, inside], [inside])
    if inside not in heard.all:
        raise Broken("the features watched to go on", "they fell silent when another was unsubscribed", audience.viewer)
    if filtering(stage) and heard.some != {inside}:
        raise Broken("nothing of features that are not watched", "they came when one of them was unsubscribed", audience.viewer)
    for feature in (outside, never):
        audience.must_hear(feature, "every vote, on a socket that never subscribed", beside)


@clause("UNS-05")
def test_again(stage: Stage) -> None:
    """A feature that was unsubscribed can be subscribed to again."""
    if not filtering(stage):
        audience = Audience(stage)
        first = stage.feature()
        for send in (subscribe, unsubscribe, subscribe):
            send(audience.viewer, first)
        audience.must_hear(first, "the votes on a feature subscribed to again")
        return
    audience, first, second, _ = watching_two(stage)
    unsubscribe(audience.viewer, first)
    heard = audience.until([first, second], lambda heard: first not in heard.some, due=[second])
    if first in heard.some:
        raise Inconclusive("the UNSUBSCRIBE was never seen to take effect (see UNS-01)")
    subscribe(audience.viewer, first)
    heard = audience.until([first, second], lambda heard: first in heard.all, due=[second])
    if first not in heard.all:
        raise Broken("the votes on a feature subscribed to again", "it stayed silent", audience.viewer)
