"""Section BAT: votes that come close together (contract lines 148, 393-394 and 442-443).

No check can make votes reach a server at a given moment. So a check tries a few times, lets a batch that it saw acquit, and
convicts only where the times of the calls and of the frames leave no room for a batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from harness.conformance import Broken, Connection, Frame, Inconclusive, Message, NotTestable, Recorded, Stage, clause, unpack
from harness.conformance.checks.ballots import Ballot, about, apart, held, settled, volley, voters
from harness.target import Session

_VOTES = 5  # of BAT-01
_TRIES = 5
_PAIRS = 30
_SURELY = 0.8  # of a window: two votes told in less were not batched, however roughly the server keeps time
_APART = 3  # batch windows, of BAT-02
_ALONE = 7  # votes of BAT-02: with fewer a window that is a little too long would not show
_ORDERS = 2
_LONGER = 4
_NOISE = 0.05  # seconds that a frame may take at best, beyond any batching


def toggles(voter: Session, feature: str, count: int) -> list[Ballot]:
    """One user's votes and withdrawals in turn."""
    return [("unvote" if number % 2 else "vote", voter, feature) for number in range(count)]


def odd(people: Sequence[Session]) -> int:
    """How often each has to vote and withdraw, so that there are votes enough and everybody's stands in the end."""
    return -(-_VOTES // len(people)) | 1


def frames_about(stage: Stage, viewer: Connection, features: Sequence[str], since: int) -> list[Frame]:
    """The frames that tell of these features, alone or in a batch, once a later vote by the second user has arrived; at least one."""
    mark = viewer.mark()
    if stage.wait_message(viewer, stage.vote_fence(viewer, voter=stage.user(1))(), None, mark) is None:
        raise Inconclusive("a later vote did not arrive, so what is missing proves nothing (see VOTE-01)")
    apart(stage)
    wanted = [about(feature) for feature in features]
    found = [frame for frame in viewer.frames(since) if any(each(message) for message in unpack(frame) for each in wanted)]
    if not found:
        raise Broken("the votes in a batch, or each by itself", "no VOTE_UPDATE at all", viewer)
    return found


@dataclass(frozen=True)
class Pair:
    """Two votes on one feature, the second cast when the frame of the first had come. Seconds."""

    both: float
    """From the first call to the frame of the second vote."""
    held: float
    """The longer of the two waits between an answer and its frame."""


def pair(stage: Stage, viewer: Connection, voter: Session, feature: str) -> Pair:
    """Vote, see it announced, withdraw, see that announced."""
    calls, frames = [], []
    for hook, _, _ in toggles(voter, feature, 2):
        mark = viewer.mark()
        calls.append(stage.done(hook, voter, featureId=feature))
        frames.append(stage.expect(viewer, about(feature), "a VOTE_UPDATE", mark))
    held = [frame.at - call.answered_at for call, frame in zip(calls, frames, strict=True)]
    return Pair(frames[1].at - calls[0].called_at, max(held))


@clause("BAT-01")
def test_close_votes_share_a_frame(stage: Stage) -> None:
    """Five or more votes on one feature at about the same time come in fewer frames, or held back and together."""
    viewer, window = stage.connect(stage.user(0)), stage.limits.batch_window
    people = voters(stage, _VOTES)
    for _ in range(_TRIES):
        feature, mark = stage.feature(), viewer.mark()
        calls = volley(stage, [toggles(voter, feature, odd(people)) for voter in people])
        if len(frames_about(stage, viewer, [feature], mark)) < len(calls):
            return
    # As many frames as votes: no batches at all, plain frames that are sent together, or a machine too slow for the votes to meet.
    # However a window is begun, two votes less than a window apart cannot both have been told before it was over.
    feature, pairs = stage.feature(), []
    volley(stage, [toggles(people[0], feature, 2)])
    for _ in range(_PAIRS):
        apart(stage)
        stage.ground.pace.wait(2)
        pairs.append(pair(stage, viewer, people[0], feature))
        if pairs[-1].both < _SURELY * window:
            what = f"two votes, each told in a frame of its own, within {pairs[-1].both * 1000:.1f} ms"
            raise Broken(f"votes within {window * 1000:g} ms in one frame, or held back to be sent together", what, viewer)
    if median(each.held for each in pairs) < window / 2:
        quickest = min(each.both for each in pairs)
        raise Inconclusive(f"two votes took {quickest * 1000:.1f} ms at best, too slow for a window of {window * 1000:g} ms to be seen")


@clause("BAT-02", waits=lambda limits: _ALONE * _APART * limits.batch_window)
def test_votes_apart_come_alone(stage: Stage) -> None:
    """Votes with three windows between them come each in a frame of its own."""
    viewer, voter = stage.connect(stage.user(0)), stage.user(1)
    # A busy machine may hold one vote back until the next has come, or make the votes come further apart than they should.
    failed = 0
    for _ in range(_TRIES):
        feature, mark = stage.feature(), viewer.mark()
        calls = [stage.vote(voter, feature)]
        stage.ground.pace.wait(_ALONE)
        for hook, _, _ in toggles(voter, feature, _ALONE)[1:]:
            time.sleep(_APART * stage.limits.batch_window)
            calls.append(stage.done(hook, voter, featureId=feature))
        count = len(frames_about(stage, viewer, [feature], mark))
        gaps = [later.called_at - earlier.called_at for earlier, later in pairwise(calls[1:])]
        failed += count < _ALONE
        if count >= _ALONE and max(gaps) < (_APART + 1) * stage.limits.batch_window:
            return
        if failed > _TRIES // 2:
            expected = f"{_ALONE} frames for {_ALONE} votes of which each came {_APART} batch windows after the last"
            raise Broken(expected, f"{count} frames", viewer)


@clause("BAT-03")
def test_batches_lose_nothing(stage: Stage) -> None:
    """Many votes at once on several features: each is reported, and the last count is the API's."""
    viewers = [stage.connect(stage.user(0), name="first tab"), stage.connect(stage.user(0), name="second tab")]
    features, people = [stage.feature() for _ in range(3)], voters(stage, _VOTES)
    for hook in ("vote", "unvote"):
        marks = [viewer.mark() for viewer in viewers]
        # Not all withdraw: a feature that ends where it began might rightly go unmentioned.
        who = people if hook == "vote" else people[: max(1, len(people) // 2)]
        volley(stage, [[(hook, voter, feature) for feature in features] for voter in who])
        counts = {feature: stage.count(feature) for feature in features}
        settled(stage, [(viewer, each, counts[each], mark) for viewer, mark in zip(viewers, marks, strict=True) for each in features])


@clause("BAT-04")
def test_lone_vote_is_not_held_back(stage: Stage) -> None:
    """A vote with none near it is told at once, or by the end of its batch window; the quickest of several counts."""
    viewer, feature, voter = stage.connect(stage.user(0)), stage.feature(), stage.user(1)
    window = stage.limits.batch_window
    bound = window + min(stage.target.tolerance.slack, max(_NOISE, window))
    delays: list[float] = []
    for number in range(2 * _TRIES):
        mark, hook = viewer.mark(), ("vote", "unvote")[number % 2]
        called = (stage.vote if hook == "vote" else stage.unvote)(voter, feature)
        seen = stage.expect(viewer, about(feature), "a VOTE_UPDATE", mark)
        delays.append(seen.at - called.answered_at)
        if delays[-1] <= bound:
            return
        time.sleep(_APART * window)
    what = f"{min(delays):.3f} s at best, of {len(delays)} votes"
    raise Broken(f"at most {window:g} s of delay (accepted: {bound:.3g} s) for a lone vote", what, viewer)


@clause("BAT-05")
def test_shape_of_a_batch(stage: Stage) -> Recorded:
    """In what frames votes on two features come that are cast at once."""
    reading = stage.reading("batch_shape")
    viewer, features = stage.connect(stage.user(0)), [stage.feature(), stage.feature()]
    people, mark = voters(stage, _VOTES), viewer.mark()
    each = [[toggles(voter, feature, odd(people)) for feature in features] for voter in people]
    calls = volley(stage, [[ballot for together in zip(*mine, strict=True) for ballot in together] for mine in each])
    frames = frames_about(stage, viewer, features, mark)
    values = [frame.json() for frame in frames]
    if any(isinstance(value, list) for value in values):
        shape = "JSON arrays, which the contract's own client loses"
    elif any(isinstance(value, dict) and value.get("type") != "VOTE_UPDATE" for value in values):
        shape = "envelopes of a type of their own, which the contract's own client loses"
    elif len(frames) < len(calls):
        shape = "plain updates, coalesced per feature"
    else:
        shape = "plain updates, one for each vote"
    return Recorded(f"{len(calls)} votes on {len(features)} features at once came in {len(frames)} frames: {shape} ({reading})")


@clause("BAT-06")
def test_exclusion_inside_a_batch(stage: Stage) -> None:
    """When votes of two clients are batched, each is told the other's part and not its own."""
    reading = stage.reading("exclusion")
    if reading == "connection":
        raise NotTestable("only the connection that the request names is left out, and hooks name none", "vote")
    both, first = [stage.user(0), stage.user(1)], stage.user(2)
    sockets = [stage.connect(session, name=f"voter {name}") for session, name in zip(both, "AB", strict=True)]
    viewer = stage.connect(_bystander(stage), name="viewer")
    mixed = [0, 0]
    # On a busy machine it takes longer until votes meet in a window; where none are ever merged there is nothing to wait for.
    merges = stage.reading("batch_shape") != "frames"
    for attempt in range(_ORDERS * _TRIES * (_LONGER if merges else 1)):
        feature, turn = stage.feature(), attempt % len(mixed)
        marks, mark = [socket.mark() for socket in sockets], viewer.mark()
        # The first vote opens a window, in which the other two meet.
        order = [first, *(both[::-1] if turn else both)]
        volley(stage, [[("vote", voter, feature) for voter in order]])
        frames = frames_about(stage, viewer, [feature], mark)
        total = held(stage, viewer, feature, mark)
        for session, socket, since in zip(both, sockets, marks, strict=True):
            told_of_others(stage, socket, session, feature, since, total, soft=reading == "none")
        mixed[turn] += len(frames) < len(order)
        if min(mixed) >= 2 or (attempt >= _ORDERS * _TRIES and max(mixed)):
            return
    if merges and not max(mixed):
        raise Inconclusive("votes of two clients never came in one batch, so nothing was seen of exclusion inside one")


def told_of_others(stage: Stage, socket: Connection, session: Session, feature: str, since: int, total: object, *, soft: bool) -> None:
    """One of two late voters of three got what the other did, whose vote makes at most one less than all, and nothing of its own."""
    if not isinstance(total, int | float):
        raise Inconclusive("the viewer was told no count to go by (see VOTE-14)")

    def late(message: Message) -> bool:
        count = message.get("voteCount")
        return about(feature)(message) and isinstance(count, int | float) and count >= total - 1

    what = f"an update with the other client's vote, {total - 1:g} or more"
    stage.expect(socket, late, what, since)
    apart(stage)
    told = [seen.message for seen in stage.messages(socket, about(feature), since)]
    if any("voterId" in message and message["voterId"] == session.user_id for message in told):
        raise Broken("the others' votes only", "an update that names the client itself", socket, soft=soft)
    if len(told) > 2 and not any("voterId" in message for message in told):
        raise Broken("an update for each of two other votes at most", f"{len(told)} updates", socket, soft=soft)


def _bystander(stage: Stage) -> Session:
    """Somebody who does not vote here."""
    try:
        return stage.user(3)
    except NotTestable:
        return stage.admin()
