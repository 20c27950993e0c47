"""The server against its own profile, with the harness's means: what fails here is this server's fault, and no gate's."""

from __future__ import annotations

import time

import pytest

from harness.net.connection import Policy
from harness.net.frames import Opcode
from harness.net.handshake import Opened, Refused, raw_handshake
from tests.other_server.conftest import Start
from tests.other_server.play import CONTRACT, WAIT, Play, code_of
from tests.other_server.profile import SETS

TWO = pytest.mark.parametrize("name", ["contrary", "register"])
ALL = pytest.mark.parametrize("name", SETS)


@ALL
def test_a_vote_reaches_others_and_not_the_session_that_cast_it(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        feature = play.feature()
        same, other = play.connect(play.user(0)), play.connect(play.user(0, 1))
        stranger, admin = play.connect(play.user(1)), play.connect(play.admin())
        counts = [play.call(hook, play.user(0), featureId=feature).count for hook in ("vote", "unvote")]
        assert counts == [1, 0]
        for viewer in (stranger, admin):
            play.told(viewer, feature, "VOTE_UPDATE")
        for viewer in (same, other, stranger):
            play.fence(viewer, play.user(2))
        tabs = {"same": same, "other": other, "stranger": stranger}
        heard = {who: [each for each in play.about(tab, feature) if each["type"] == "VOTE_UPDATE"] for who, tab in tabs.items()}
        silent = {"user": {"same", "other"}, "session": {"same"}, "none": set()}[play.target.readings.get("exclusion", "session")]
        assert {who for who, messages in heard.items() if not messages} == silent
        last = heard["stranger"][-1]
        assert (last["voteCount"], last["action"]) == (0, CONTRACT.messages.vote_actions[1])
        told = play.target.readings.get("voter_id") != "optional"
        assert last.get("voterId") == (play.user(0).user_id if told else None)
        assert play.call("read", play.user(3), featureId=feature).count == 0
        assert play.refused("unvote", play.user(0), featureId=feature) == 409
        assert play.refused("vote", play.user(0), featureId="nowhere") == 404
        assert play.refused("vote", None, featureId=feature) == 401


@ALL
def test_a_burst_in_the_shape_of_the_reading(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        shape = play.target.readings.get("batch_shape", "coalesce")
        voters = [play.user(k) for k in range(1, 6)]
        # Five threads may straddle a window of 10 ms; some burst does not.
        for _ in range(20):
            feature, viewer = play.feature(), play.connect(play.user(0))
            play.burst(feature, voters)
            play.fence(viewer, play.user(1))
            updates = [message for message in play.about(viewer, feature) if message["type"] == "VOTE_UPDATE"]
            assert updates[-1]["voteCount"] == 5
            frames = [frame for frame in viewer.frames() if feature.encode() in frame.payload and b"VOTE_UPDATE" in frame.payload]
            batches = [frame for frame in frames if frame.type not in CONTRACT.messages.server]
            if shape == "frames":
                assert (len(updates), len(frames), batches) == (5, 5, [])
                return
            if shape == "coalesce":
                assert not batches
            else:
                assert len(updates) == 5
                assert all(isinstance(frame.json(), list) is (shape == "array") for frame in batches)
            if len(frames) < 5:
                assert batches or shape == "coalesce"
                return
        raise AssertionError("nothing was ever batched")


@TWO
def test_what_administrators_do_and_who_is_told(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        everyone = play.target.readings.get("admin_events") == "everyone"
        author, colleague = play.connect(play.admin(0)), play.connect(play.admin(1))
        viewer = play.connect(play.user(0))
        feature = play.feature()
        made = play.told(colleague, feature, "FEATURE_CREATED")["feature"]
        assert (made["createdById"], made["createdBy"]) == (play.admin().user_id, {"name": play.admin().user_name})
        assert made["createdAt"] <= made["updatedAt"]
        planned = CONTRACT.messages.feature_status[1]
        play.call("update", play.admin(), featureId=feature, status=planned, title="for a test")
        play.call("update", play.admin(), featureId=feature, status=planned)
        for each in (colleague, viewer):
            assert play.told(each, feature, "FEATURE_UPDATE")["changes"] == {"status": planned}
        play.call("delete", play.admin(), featureId=feature)
        play.told(colleague, feature, "FEATURE_DELETED")
        for each in (author, viewer):
            play.fence(each, play.user(2))
        kinds = [message["type"] for message in play.about(viewer, feature)]
        assert kinds == (["FEATURE_CREATED"] if everyone else []) + ["FEATURE_UPDATE"] + (["FEATURE_DELETED"] if everyone else [])
        own = [message["type"] for message in play.about(author, feature)]
        assert own == ([] if name == "contrary" else ["FEATURE_CREATED", "FEATURE_UPDATE", "FEATURE_DELETED"])
        assert play.refused("create", play.user(0), title="no", description="", status=planned) == 403
        assert play.refused("delete", play.admin(), featureId=feature) == 404


@TWO
def test_a_change_of_role(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        session = play.user(5)
        before, rival = play.connect(session), play.connect(play.admin(1))
        play.call("change_role", play.admin(), subject=session, role="admin")
        feature = str(play.call("create", session, title="mine", description="", status=CONTRACT.messages.feature_status[0]).id)
        play.told(rival, feature, "FEATURE_CREATED")
        after = play.connect(session)
        feature = play.feature()
        play.told(after, feature, "FEATURE_CREATED")
        play.fence(before, play.user(2))
        assert bool(play.about(before, feature)) is (name == "contrary")
        play.call("change_role", play.admin(), subject=session, role="regular")
        assert play.refused("delete", session, featureId=feature) == 403


@TWO
def test_heartbeat(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        limits, slack = play.target.limits, 1.5
        tabs = [play.connect(play.user(0)), play.connect(play.user(1))]
        silent = play.connect(play.user(2), Policy(answer_ping=False))
        dead = play.connect(play.user(3), Policy(answer_ping=False))
        for tab in tabs:
            assert tab.wait_for(lambda f: f.type == "PING", limits.heartbeat_interval + WAIT) is not None
        dead.blackhole()
        ping = silent.wait_type("PING", limits.heartbeat_interval + WAIT)
        closed = silent.wait_closed(WAIT)
        assert ping is not None
        assert closed is not None
        assert closed.code == CONTRACT.close.policy_violation
        assert limits.heartbeat_timeout * 0.9 <= closed.at - ping.at <= limits.heartbeat_timeout + slack
        reaped = dead.wait_reaped(WAIT)
        assert reaped is not None
        assert reaped - dead.opened_at <= limits.heartbeat_interval + limits.heartbeat_timeout + 2 * slack
        for tab in tabs:
            first, second = tab.wait_type("PING", WAIT), None
            assert first is not None
            second = tab.wait_type("PING", limits.heartbeat_interval + WAIT, first.index + 1)
            assert second is not None
            assert first.payload == b'{"type":"PING"}'
            assert abs(second.at - first.at - limits.heartbeat_interval) <= slack
            assert tab.closed is None


@ALL
def test_the_rate_limit(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        limits, feature = play.target.limits, play.feature()
        viewer, sibling = play.connect(play.user(0)), play.connect(play.user(0, 1))
        ask = {"type": "SUBSCRIBE", "featureIds": [feature]}
        # One message less than the limit: in one set a PONG counts too, and on a busy machine it may fall into this window.
        for _ in range(limits.rate_messages - 1):
            viewer.send_json(ask)
        play.call("vote", play.user(1), featureId=feature)
        play.told(viewer, feature, "VOTE_UPDATE")
        assert viewer.wait_type("ERROR", 0.0) is None
        # A bucket has filled a little meanwhile: an allowance and one more is over the limit in every model.
        for _ in range(limits.rate_messages + 2):
            viewer.send_json(ask)
        error = play.error(viewer, CONTRACT.errors.rate_limit_exceeded)
        assert error["context"]["limit"] == limits.rate_messages
        assert viewer.closed is None
        play.call("unvote", play.user(1), featureId=feature)
        play.told(viewer, feature, "VOTE_UPDATE", viewer.mark() - 1)
        assert sibling.wait_type("ERROR", 0.0) is None
        began = time.monotonic()
        while viewer.wait_close_frame(0.02) is None:
            assert time.monotonic() - began < WAIT
            viewer.send_json(ask)
        assert code_of(viewer) == CONTRACT.close.policy_violation
        assert sibling.closed is None


@ALL
def test_a_session_that_ends(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        session = play.user(4)
        viewer, other = play.connect(session), play.connect(play.user(4, 1))
        play.call("revoke", play.admin(), subject=session)
        revoked = time.monotonic()
        play.error(viewer, CONTRACT.errors.session_expired)
        assert code_of(viewer) == CONTRACT.close.session_invalid
        took = time.monotonic() - revoked
        pushed = play.target.readings.get("session_end") == "pushed"
        assert took <= play.target.limits.revalidate_every + WAIT
        if pushed:
            assert other.closed is None
        frames = [frame for frame in viewer.frames() if frame.direction == "in"]
        assert frames[-1].opcode == Opcode.CLOSE
        play.fence(other, play.user(2))
        assert _refused_as(play, play.knock(session)) == ("close" if _closes(play) else "http")


def _closes(play: Play) -> bool:
    return play.target.readings.get("auth_refusal") == "close4401"


def _refused_as(play: Play, opened: object) -> str:
    """How a handshake without a session was refused, which has to be one of the two ways."""
    if isinstance(opened, Refused):
        assert opened.status == CONTRACT.auth_refusal_status, opened.problem
        return "http"
    assert not isinstance(opened, Opened)
    assert code_of(opened) == CONTRACT.close.session_invalid  # type: ignore[arg-type]
    assert not [frame for frame in opened.frames() if frame.message is not None]  # type: ignore[attr-defined]
    return "close"


@TWO
def test_who_is_let_in(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        target, session = play.target, play.user(0)
        value = session.value.get_secret_value()
        wanted = "close" if _closes(play) else "http"
        assert _refused_as(play, play.knock(None)) == wanted
        for at in (6, len(value) // 3, len(value) - 1):
            forged = value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]
            assert _refused_as(play, play.knock(None, headers=[f"Cookie: {session.name}={forged}"])) == wanted
        assert _refused_as(play, play.knock(None, headers=[f"Cookie: x{session.name}={value}"])) == wanted
        for cookies in (f'a=1; {session.name}="{value}"', f"{session.name}={value}; b=2"):
            play.knock(None, headers=[f"Cookie: {cookies}"]).ping()
        plain = raw_handshake(target.ws_url, upgrade=False, timeout=WAIT, cookies=[session.cookie_header()])
        assert isinstance(plain, Refused)
        assert plain.status == 426
        stranger = raw_handshake(target.ws_url, origin="https://elsewhere.example", timeout=WAIT, cookies=[session.cookie_header()])
        assert stranger.status == (403 if target.readings.get("origin") != "unchecked" else 101)
        if isinstance(stranger, Opened):
            stranger.close()


@ALL
def test_what_is_no_message(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        reading = play.target.readings.get("malformed_input", "error")
        for text in ("no JSON", "[1]", "null", '{"type":7}', '{"type":"VOTE_UPDATE"}', '{"type":"SUBSCRIBE","featureIds":[1]}', "[" * 5000):
            viewer = play.connect(play.user(0))
            viewer.send_text(text)
            if reading == "error":
                play.error(viewer, CONTRACT.errors.invalid_message)
            elif reading == "close":
                assert code_of(viewer) == 1007
            if reading != "close":
                play.fence(viewer, play.user(2))
                assert viewer.closed is None
        assert len([f for f in viewer.frames() if f.type == "ERROR"]) == (reading == "error")


def test_what_the_library_refuses(server: Start) -> None:
    with Play(server("contrary")) as play:
        for frame, code in (((Opcode.BINARY, b"x"), 1003), ((Opcode.TEXT, b"\xff"), 1007), ((Opcode.TEXT, b"x" * 70_000), 1009)):
            viewer = play.connect(play.user(0))
            viewer.send_frame(*frame)
            assert code_of(viewer) == code


@ALL
def test_subscriptions(server: Start, name: str) -> None:
    with Play(server(name)) as play:
        ignored = play.target.readings.get("subscriptions") == "ignored"
        first, second, third = play.feature(), play.feature(), play.feature()
        viewer, voter = play.connect(play.user(0)), play.user(1)
        viewer.send_json({"type": "SUBSCRIBE", "featureIds": [first], "extra": True})
        viewer.send_json({"type": "SUBSCRIBE", "featureIds": [second]})
        viewer.send_json({"type": "UNSUBSCRIBE", "featureIds": [first, "unknown"]})
        too_many = [f"id-{number}" for number in range(play.target.limits.subscriptions)]
        viewer.send_json({"type": "SUBSCRIBE", "featureIds": too_many})
        play.error(viewer, CONTRACT.errors.subscription_limit)
        mark = viewer.mark()
        for feature in (first, third, second):
            play.call("vote", voter, featureId=feature)
        play.told(viewer, second, "VOTE_UPDATE", mark)
        assert [bool(play.about(viewer, each)) for each in (first, second, third)] == ([True] * 3 if ignored else [False, True, False])
        if not ignored:
            viewer.send_json({"type": "UNSUBSCRIBE", "featureIds": [second]})
            viewer.send_text("a fence")
            if play.target.readings.get("malformed_input", "error") == "error":
                play.error(viewer, CONTRACT.errors.invalid_message, mark)
            play.call("unvote", voter, featureId=third)
            everything = name == "register"
            if everything:
                play.told(viewer, third, "VOTE_UPDATE", mark)
            assert bool(play.about(viewer, third)) is everything
