"""Section VOTE: who is told of a vote, of what, and when (contract lines 96-148)."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
import time
from datetime import datetime
from urllib.parse import urlsplit

from pydantic import SecretStr

from harness.conformance import Broken, Connection, Inconclusive, NotTestable, Recorded, Stage, clause
from harness.conformance.checks.ballots import about, announced, apart, held, settled, volley, voters
from harness.errors import UsageError
from harness.target import Session
from schemas import is_timestamp

_APART = 1.0  # seconds, of VOTE-11
_SAMPLES = 6
_ROUNDS = 3
_STAMP = 0.25  # seconds by which a timestamp may precede its cause on one host, for clocks are slewed
_NEVER_ISSUED = "TJm4RqUuXnE8wQyZ0kPcVbL7sHdGf2Aa.d2hvIHNpZ25lZCB0aGlzPyBub2JvZHkgZGlkLCBldmVyIQ%3D%3D"


def audience(stage: Stage) -> list[Connection]:
    """Sockets that have to be told of other users' votes: two tabs, one opened again, and one of a third user."""
    left = stage.connect(stage.user(0), name="leaves and comes back")
    left.close(stage.contract.close.normal)
    left.wait_closed(stage.patience)
    found = [stage.connect(stage.user(0), name=name) for name in ("first tab", "second tab", "opened again")]
    with contextlib.suppress(NotTestable):
        found.append(stage.connect(stage.user(2), name="another viewer"))
    return found


def each_is_told(stage: Stage, hook: str, action: str) -> None:
    """Every socket of the audience gets the update of one vote or unvote of the second user."""
    viewers, feature, voter = audience(stage), stage.feature(), stage.user(1)
    if hook == "unvote":
        stage.vote(voter, feature)
        for viewer in viewers:
            stage.wait_message(viewer, about(feature))
        apart(stage)
    marks = [viewer.mark() for viewer in viewers]
    (stage.vote if hook == "vote" else stage.unvote)(voter, feature)
    for viewer, mark in zip(viewers, marks, strict=True):
        what = f"a VOTE_UPDATE, action {action}, on the socket {viewer.name.removeprefix(stage.name).strip()!r}"
        stage.expect(viewer, about(feature, action), what, mark)


@clause("VOTE-01")
def test_add_is_broadcast(stage: Stage) -> None:
    """A vote reaches every other client, whichever socket of theirs."""
    each_is_told(stage, "vote", stage.contract.messages.vote_actions[0])


@clause("VOTE-02")
def test_remove_is_broadcast(stage: Stage) -> None:
    """A withdrawn vote reaches every other client as a remove."""
    each_is_told(stage, "unvote", stage.contract.messages.vote_actions[1])


@clause("VOTE-03")
def test_count_is_the_true_one(stage: Stage) -> None:
    """voteCount is what the API says after the vote, a step up or down from before."""
    viewer, feature, people = stage.connect(stage.user(0)), stage.feature(), voters(stage, 2)
    before = stage.count(feature)
    for hook, voter, step in [*(("vote", voter, 1) for voter in people), ("unvote", people[0], -1)]:
        count = announced(stage, viewer, hook, voter, feature).message.get("voteCount")
        true = stage.count(feature)
        if count != true:
            raise Broken(f"voteCount {true}, as the API says after the {hook}", f"{count!r}", viewer)
        if true != before + step:
            raise Broken(f"a count that goes from {before} to {before + step} with the {hook}", f"{count!r}", viewer)
        before = true
        apart(stage)


@clause("VOTE-04")
def test_voter_id_is_the_voters(stage: Stage) -> Recorded | None:
    """A voterId names the user who voted, whoever that is and whatever they did."""
    viewer, feature, people = stage.connect(stage.user(0)), stage.feature(), voters(stage, 2)
    named = 0
    for hook, voter in [*(("vote", voter) for voter in people), *(("unvote", voter) for voter in people)]:
        if voter.user_id is None:
            raise NotTestable("the profile does not tell the ids of its users: add userId to the sessions", "sessions")
        message = announced(stage, viewer, hook, voter, feature).message
        if "voterId" in message:
            named += 1
            if message["voterId"] != voter.user_id:
                raise Broken(f"voterId {voter.user_id}, who made the {hook}", f"voterId {message['voterId']!r}", viewer)
        apart(stage)
    return None if named else Recorded("no VOTE_UPDATE names its voter, so none names a wrong one (see VOTE-05)")


@clause("VOTE-05")
def test_voter_is_named(stage: Stage) -> Recorded | None:
    """A client can tell its own votes by the voterId."""
    optional = stage.reading("voter_id") == "optional"
    viewer, feature = stage.connect(stage.user(0)), stage.feature()
    for hook in ("vote", "unvote"):
        message = announced(stage, viewer, hook, stage.user(1), feature).message
        if "voterId" not in message:
            if optional:
                return Recorded(f"no voterId after the {hook}, which the declared reading leaves open")
            raise Broken("a voterId", f"none after the {hook}", viewer)
        apart(stage)
    return None


def excluded(stage: Stage, voter: Session) -> tuple[list[Connection], str]:
    """The sockets that must not be told of a vote by this session, and the reading that says so."""
    reading = stage.reading("exclusion")
    if reading == "connection":
        raise NotTestable("only the connection that the request names is left out, and hooks name none", "vote")
    own = [stage.connect(voter, name=name) for name in ("voter's first tab", "voter's second tab")]
    if reading == "user":
        with contextlib.suppress(NotTestable):
            own.append(stage.connect(stage.another_session(voter), name="voter's other session"))
    return own, reading


@clause("VOTE-06")
def test_voter_is_left_out(stage: Stage) -> None:
    """The client that voted is not told of its own vote, nor of its withdrawal, in any tab."""
    voter, feature = stage.user(0), stage.feature()
    own, reading = excluded(stage, voter)
    marks = [tab.mark() for tab in own]
    stage.vote(voter, feature)
    apart(stage)
    stage.unvote(voter, feature)
    for tab, mark in zip(own, marks, strict=True):
        try:
            fence = stage.vote_fence(tab, voter=stage.user(1))
            stage.absent(tab, about(feature), since=mark, fence=fence, expected="no VOTE_UPDATE for the client's own vote")
        except Broken as broken:
            raise Broken(broken.expected, broken.observed, tab, soft=reading == "none") from None


@clause("VOTE-07")
def test_who_else_is_told(stage: Stage) -> Recorded:
    """Which other sockets of the voter hear of the vote."""
    voter, feature = stage.user(0), stage.feature()
    sockets = {"a socket of the voting session": stage.connect(voter, name="same session")}
    sockets["a second one"] = stage.connect(voter, name="same session, second tab")
    with contextlib.suppress(NotTestable):
        sockets["one of another session of the same user"] = stage.connect(stage.another_session(voter), name="other session")
    stage.vote(voter, feature)
    for connection in sockets.values():
        if stage.wait_message(connection, stage.vote_fence(connection, voter=stage.user(1))()) is None:
            raise Inconclusive("a socket was not even told of somebody else's vote, so its silence says nothing")
    apart(stage)
    told = [f"{what}: {'told' if held(stage, each, feature) is not None else 'not told'}" for what, each in sockets.items()]
    return Recorded("of the own vote: " + "; ".join(told))


@clause("VOTE-08")
def test_latency_until_arrival(stage: Stage) -> Recorded | None:
    """From the call to the frame less than the contract's seconds pass, every time."""
    viewer, feature = stage.connect(stage.user(0)), stage.feature()
    longest = 0.0
    for number in range(_SAMPLES):
        hook, mark = ("vote", "unvote")[number % 2], viewer.mark()
        called = (stage.vote if hook == "vote" else stage.unvote)(stage.user(1), feature)
        seen = stage.wait_message(viewer, about(feature), None, mark)
        took = (seen.at if seen else time.monotonic()) - called.called_at
        longest = max(longest, took)
        if seen is None or took > stage.within(stage.contract.benchmark.latency):
            late = f"{took:.2f} s" if seen else f"none within {took:.2f} s"
            if seen and stage.reading("latency") == "stamped":
                return Recorded(f"{late} from the call to the arrival; the declared reading judges the timestamp instead (VOTE-09)")
            raise Broken(f"a VOTE_UPDATE less than {stage.contract.benchmark.latency:g} s after the call", late, viewer)
        apart(stage)
    return None


def skew(stage: Stage) -> float:
    """Seconds by which the target's clock may differ from ours: none where both are one."""
    host = urlsplit(stage.target.base_url).hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return 0.0 if here else stage.target.tolerance.clock_skew


@clause("VOTE-09")
def test_latency_by_timestamp(stage: Stage) -> None:
    """The message's own timestamp lies between its cause and the contract's seconds after it."""
    viewer, feature = stage.connect(stage.user(0)), stage.feature()
    allowed, limit = skew(stage), stage.contract.benchmark.latency
    for number in range(_SAMPLES):
        hook, mark = ("vote", "unvote")[number % 2], viewer.mark()
        called = (stage.vote if hook == "vote" else stage.unvote)(stage.user(1), feature)
        message = stage.expect(viewer, about(feature), "a VOTE_UPDATE", mark).message
        text = message.get("timestamp")
        if not isinstance(text, str) or not is_timestamp(text):
            raise Inconclusive("the timestamp cannot be read (see GEN-05)")
        after = datetime.fromisoformat(text).timestamp() - called.called_wall
        if not -allowed - _STAMP - precision(text) <= after < limit + allowed:
            order = f"{after:.3f} s after" if after >= 0 else f"{-after:.3f} s before"
            raise Broken(f"a timestamp from 0 to {limit:g} s after the call, clock skew of {allowed:g} s allowed", f"{order} it", viewer)
        apart(stage)


def precision(timestamp: str) -> float:
    """Seconds that the timestamp may have lost by being cut off where it ends: 1 without a fraction, 0.001 with milliseconds."""
    fraction = re.search(r"\.(\d+)", timestamp)
    return 10.0 ** -len(fraction[1]) if fraction else 1.0


@clause("VOTE-10")
def test_rejected_vote_is_silent(stage: Stage) -> None:
    """What the API turns down is not announced: a second vote, no vote to withdraw, an unknown feature, nobody's session."""
    viewer, voter, voted = stage.connect(stage.user(0)), stage.user(1), stage.feature()
    announced(stage, viewer, "vote", voter, voted)
    apart(stage)
    mark = viewer.mark()
    forged = dataclasses.replace(voter, value=SecretStr(_NEVER_ISSUED))
    attempts: tuple[tuple[str, Session | None, str], ...] = (
        ("vote", voter, voted),
        ("unvote", voter, stage.feature()),
        ("vote", voter, f"{voted}-which-is-not-there"),
        ("vote", forged, stage.feature()),
        ("vote", None, stage.feature()),
    )
    refused = set()
    for hook, session, where in attempts:
        with contextlib.suppress(UsageError):  # a hook that cannot even be written without a user
            answer = stage.call(hook, session, featureId=where).answer
            if not answer.ok and 0 < answer.status < 500:
                refused.add(where)
    if not refused:
        raise Inconclusive("of five votes that should have been turned down none was")
    stage.absent(
        viewer,
        lambda message: message.get("type") == "VOTE_UPDATE" and message.get("featureId") in refused,
        since=mark,
        fence=stage.vote_fence(viewer, voter=voter),
        expected="no VOTE_UPDATE for a vote that was turned down",
    )


@clause("VOTE-11", waits=lambda limits: 2 * _APART + 2 * limits.batch_window)
def test_exactly_once(stage: Stage) -> None:
    """Each of several votes that are well apart is announced once to each socket."""
    viewers, feature, voter = audience(stage), stage.feature(), stage.user(1)
    marks = [viewer.mark() for viewer in viewers]
    hooks = ("vote", "unvote", "vote")
    for number, hook in enumerate(hooks):
        if number:
            time.sleep(_APART)
        (stage.vote if hook == "vote" else stage.unvote)(voter, feature)
    for viewer, mark in zip(viewers, marks, strict=True):
        if stage.wait_message(viewer, stage.vote_fence(viewer, voter=voter)()) is None:
            raise Inconclusive("a later vote did not arrive either, so what is missing proves nothing")
        apart(stage)
        count = len(stage.messages(viewer, about(feature), mark))
        if count != len(hooks):
            raise Broken(f"{len(hooks)} updates for {len(hooks)} votes {_APART:g} s apart", f"{count} updates", viewer)


@clause("VOTE-12")
def test_voter_without_a_socket(stage: Stage) -> None:
    """A vote counts for the audience though its voter has never opened a socket."""
    (voter,) = stage.own_user()
    announced(stage, stage.connect(stage.user(0)), "vote", voter, stage.feature())


@clause("VOTE-13")
def test_every_role_is_told(stage: Stage) -> None:
    """Regular users and administrators alike."""
    viewers = {
        "a regular user": stage.connect(stage.user(0), name="regular"),
        "an administrator": stage.connect(stage.admin(), name="admin"),
    }
    feature = stage.feature()
    for hook, action in zip(("vote", "unvote"), stage.contract.messages.vote_actions, strict=True):
        marks = {who: viewer.mark() for who, viewer in viewers.items()}
        (stage.vote if hook == "vote" else stage.unvote)(stage.user(1), feature)
        for who, viewer in viewers.items():
            stage.expect(viewer, about(feature, action), f"a VOTE_UPDATE, action {action}, for {who}", marks[who])
        apart(stage)


@clause("VOTE-14")
def test_counts_for_the_observer(stage: Stage) -> None:
    """Votes up from nothing and down to it again; the observer judges the counts of all sockets."""
    viewer, feature = stage.connect(stage.user(0)), stage.feature()
    for hook in ("vote", "unvote"):
        announced(stage, viewer, hook, stage.user(1), feature)
        apart(stage)


@clause("VOTE-15")
def test_counts_converge(stage: Stage) -> None:
    """Several users vote and unvote at once: what every viewer holds in the end is the API's count."""
    feature, people = stage.feature(), voters(stage, 4)
    viewers = [stage.connect(stage.user(0), name=name) for name in ("first tab", "second tab")]
    with contextlib.suppress(NotTestable):
        viewers.append(stage.connect(stage.admin(), name="admin"))
    half = people[: (len(people) + 1) // 2]
    for _ in range(_ROUNDS):
        marks = [viewer.mark() for viewer in viewers]
        volley(stage, [[("vote", voter, feature)] for voter in people])
        volley(stage, [[("unvote", voter, feature)] for voter in half])
        volley(stage, [[("unvote" if voter not in half else "vote", voter, feature)] for voter in people])
        true = stage.count(feature)
        settled(stage, [(viewer, feature, true, mark) for viewer, mark in zip(viewers, marks, strict=True)])
        volley(stage, [[("unvote", voter, feature)] for voter in half])
        apart(stage)


@clause("VOTE-16")
def test_order_for_the_observer(stage: Stage) -> None:
    """Many votes on one feature, close together and not; the observer compares the timestamps on each socket."""
    stage.reading("ordering")
    viewer, feature, people = stage.connect(stage.user(0)), stage.feature(), voters(stage, 4)
    for hook in ("vote", "unvote", "vote"):
        stage.burst([(hook, voter, feature) for voter in people])
        apart(stage)
    for hook in ("unvote", "vote"):
        announced(stage, viewer, hook, people[0], feature)
        apart(stage)
