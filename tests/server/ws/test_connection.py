"""One connection over a real socket: heartbeat, rate limit, invalid input, closing, session."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from server_under_test.hub import Hub

from .live import CONTRACT, LIMITS, Live, Op, Peer, handshake, live, run, until

ERRORS, CODES = CONTRACT.errors, CONTRACT.close
BRISK = replace(LIMITS, heartbeat_interval=0.3, heartbeat_timeout=0.25)
LENIENT = replace(BRISK, heartbeat_timeout=1.5)  # for those who answer: a busy machine does not make them late
CYCLES = 7  # as many as outlast that timeout, which a PONG that is not honoured would not


async def fence(server: Live, peer: Peer) -> None:
    """A vote that this peer must be told of: whatever was to come before it has come."""
    server.vote("fence", 0)
    message = await peer.expect("VOTE_UPDATE")
    assert message["featureId"] == "fence"


# --- heartbeat ---


def test_pings_come_on_time_as_exactly_that_message_and_answers_keep_the_connection() -> None:
    async def test() -> None:
        async with live(LENIENT) as server:
            opened = time.monotonic()
            peer = await server.connect()
            for cycle in range(1, CYCLES + 1):
                opcode, payload = await peer.frame()
                assert time.monotonic() - opened >= cycle * LENIENT.heartbeat_interval - 0.002
                assert opcode is Op.TEXT
                assert json.loads(payload) == {"type": "PING"}
                peer.send({"type": "PONG"})
            await fence(server, peer)
            assert server.hub.counters.heartbeats_missed == 0

    run(test)


@pytest.mark.parametrize("traffic", ["silence", "subscribe", "control pong", "pong before the ping"])
def test_a_ping_that_no_pong_answers_ends_the_connection_at_the_timeout_and_not_before(traffic: str) -> None:
    async def test() -> None:
        async with live(BRISK) as server:
            before = time.monotonic()  # and not when the PING is seen: a busy machine sees it late
            peer = await server.connect()
            if traffic == "pong before the ping":
                peer.send({"type": "PONG"})
            await peer.expect("PING")
            if traffic == "subscribe":
                peer.send({"type": "SUBSCRIBE", "featureIds": ["a"]})
            if traffic == "control pong":
                peer.send_frame(Op.PONG, b"")
            ended = await peer.end()
            assert time.monotonic() - before >= BRISK.heartbeat_interval + BRISK.heartbeat_timeout - 0.002
            assert ended.code == CODES.policy_violation
            assert server.hub.connections == 0
            assert server.hub.counters.heartbeats_missed == 1

    run(test)


def test_a_peer_that_vanished_without_a_word_loses_its_slot_and_then_its_socket() -> None:
    async def test() -> None:
        async with live(replace(BRISK, shutdown_grace=0.2)) as server:
            peer = await server.connect()
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # neither reads nor answers nor ends
            await until(lambda: server.hub.connections == 0)
            await until(lambda: not server.hub._ending)

    run(test)


def test_a_peer_that_never_answers_our_close_is_cut_off_after_the_grace() -> None:
    async def test() -> None:
        async with live(replace(BRISK, shutdown_grace=0.6)) as server:
            peer = await server.connect("deaf")
            closed = time.monotonic()
            server.hub.session_ended("deaf")
            assert (await peer.error())["code"] == ERRORS.session_expired
            assert (await peer.end()).code == CODES.session_invalid
            assert time.monotonic() - closed >= 0.6 - 0.002

    run(test)


def test_unsolicited_pongs_are_welcome_unlimited_and_unanswered() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            for _ in range(LIMITS.rate_messages * 5):
                peer.send({"type": "PONG"})
            peer.send_frame(Op.PING, b"last")
            assert await peer.frame() == (Op.PONG, b"last")
            await fence(server, peer)
            for _ in range(LIMITS.rate_messages):
                peer.send({"type": "SUBSCRIBE", "featureIds": ["fence"]})
            peer.send("the first too many")
            assert (await peer.error())["code"] == ERRORS.rate_limit_exceeded

    run(test)


def test_a_pong_is_honoured_while_the_connection_is_throttled() -> None:
    async def test() -> None:
        async with live(LENIENT) as server:
            peer = await server.connect()
            for _ in range(LIMITS.rate_messages + 2):
                peer.send({"type": "SUBSCRIBE", "featureIds": ["fence"]})
            for _ in range(2):
                assert (await peer.error())["code"] == ERRORS.rate_limit_exceeded
            for _ in range(CYCLES):
                await peer.expect("PING")
                peer.send({"type": "PONG"})
            await fence(server, peer)

    run(test)


def test_heartbeats_and_broadcasts_do_not_disturb_each_other() -> None:
    async def test() -> None:
        async with live(LENIENT) as server:
            opened = time.monotonic()
            peer = await server.connect()
            pings, votes = 0, 0
            while pings < 3:
                server.vote(f"f{votes % 50}", votes)
                votes += 1
                await asyncio.sleep(1 / LIMITS.broadcasts_per_second)
                while peer.reader._buffer:  # type: ignore[attr-defined]
                    if (await peer.message())["type"] == "PING":
                        pings += 1
                        peer.send({"type": "PONG"})
                        assert time.monotonic() - opened >= pings * LENIENT.heartbeat_interval - 0.002
            assert server.hub.counters.heartbeats_missed == 0

    run(test)


# --- rate limit ---


def test_one_too_many_is_answered_once_each_and_ignored_and_later_all_is_well() -> None:
    async def test() -> None:
        limits = replace(LIMITS, rate_window=1.0)
        async with live(limits) as server:
            peer, other = await server.connect(), await server.connect()
            for _ in range(limits.rate_messages):
                peer.send({"type": "SUBSCRIBE", "featureIds": ["fence"]})
            peer.send({"type": "SUBSCRIBE", "featureIds": ["ignored"]})
            peer.send("ignored as well")
            for _ in range(2):
                error = await peer.error()
                assert error["code"] == ERRORS.rate_limit_exceeded
                assert error["context"] == {"limit": limits.rate_messages, "window": "1s"}
            server.vote("ignored", 1)
            await fence(server, peer)
            other.send({"type": "SUBSCRIBE", "featureIds": ["fence"]})  # a sibling of the same session is unaffected
            assert (await other.expect("VOTE_UPDATE"))["featureId"] == "ignored"
            assert (await other.expect("VOTE_UPDATE"))["featureId"] == "fence"
            await asyncio.sleep(limits.rate_window + 0.1)
            peer.send("heard again")
            assert (await peer.error())["code"] == ERRORS.invalid_message
            await fence(server, other)

    run(test)


def test_the_window_of_the_contract_is_written_as_the_contract_does() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            for _ in range(LIMITS.rate_messages + 1):
                peer.send("x")
            codes = [(await peer.error())["code"] for _ in range(LIMITS.rate_messages)]
            assert codes == [ERRORS.invalid_message] * LIMITS.rate_messages, "invalid messages count"
            assert (await peer.error())["context"] == {"limit": 10, "window": "10s"}

    run(test)


def test_persistent_abuse_ends_in_1008_after_the_last_error_and_hurts_nobody_else() -> None:
    async def test() -> None:
        limits = replace(LIMITS, rate_window=0.2)
        async with live(limits) as server:
            peer, other = await server.connect(), await server.connect()
            started = time.monotonic()

            async def abuse() -> None:
                while server.hub.connections == 2:
                    for _ in range(limits.rate_messages):
                        peer.send("x")
                    await asyncio.sleep(limits.rate_window / 10)

            abuser = asyncio.create_task(abuse())
            errors = 0
            while True:
                opcode, payload = await peer.frame()
                if opcode is Op.CLOSE:
                    break
                errors += json.loads(payload)["type"] == "ERROR"
            await abuser
            assert int.from_bytes(payload[:2], "big") == CODES.policy_violation
            assert time.monotonic() - started >= (limits.persistent_windows - 1) * limits.rate_window
            assert errors == server.hub.counters.messages_received
            await fence(server, other)

    run(test)


# --- what is not a message ---


def test_nonsense_is_answered_and_the_connection_stays_useful() -> None:
    async def test() -> None:
        limits = replace(LIMITS, rate_messages=1000)
        async with live(limits) as server:
            peer = await server.connect()
            nonsense = ["x", "[]", '{"type":"PING"}', '{"type":"SUBSCRIBE"}', "[" * 50_000, '{"type":"SUBSCRIBE","featureIds":[1]}']
            for text in nonsense:
                peer.send(text)
                error = await peer.error()
                assert error["code"] == ERRORS.invalid_message
                assert set(error) == {"type", "code", "message", "timestamp"}
            peer.send_frame(Op.BINARY, b'{"type":"PONG"}')
            assert (await peer.error())["code"] == ERRORS.invalid_message
            peer.send({"type": "SUBSCRIBE", "featureIds": ["fence"]})
            await fence(server, peer)

    run(test)


def test_what_a_client_sends_never_reaches_another() -> None:
    async def test() -> None:
        async with live() as server:
            peer, other = await server.connect("a", admin=True), await server.connect("b", admin=True)
            for kind in CONTRACT.messages.server:
                peer.send({"type": kind, "featureId": "a", "voteCount": 1, "feature": {"id": "a"}})
                assert (await peer.error())["code"] == ERRORS.invalid_message
            await fence(server, other)

    run(test)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x81\xff" + (1 << 20).to_bytes(8, "big") + b"\0\0\0\0" + b" " * (1 << 20), 1009),
    ],
    ids=["unmasked", "reserved bit", "close 1005", "not UTF-8", "1 MiB"],
)
def test_a_violation_of_the_protocol_gets_its_close_code_even_with_input_still_flowing(data: bytes, code: int) -> None:
    async def test() -> None:
        async with live() as server:
            peer, other = await server.connect(), await server.connect()
            peer.writer.write(data)
            await until(lambda: server.hub.connections == 1)
            peer.writer.write(b"x" * 300_000)
            assert (await peer.end()).code == code
            assert not peer.reset, "input that is still on its way must not cost the peer our Close"
            await fence(server, other)

    run(test)


def test_a_failure_of_our_own_is_a_server_error_and_the_connection_stays(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Hub):
        def make_limiters(self):  # type: ignore[no-untyped-def]
            raise RuntimeError("a seeded defect")

    async def test() -> None:
        async with live(make_hub=Failing) as server:
            peer = await server.connect()
            peer.send("x")
            error = await peer.error()
            assert error["code"] == ERRORS.server_error
            assert "seeded" not in error["message"]
            await fence(server, peer)

    run(test)
    assert "a seeded defect" in caplog.text


# --- the end ---


@pytest.mark.parametrize("code", [CODES.normal, 1001, 3000, 4999])
def test_the_clients_close_is_echoed_and_tcp_ends(code: int) -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            peer.send_frame(Op.CLOSE, code.to_bytes(2, "big") + b"User left roadmap page")
            assert (await peer.end()).code == code
            await until(lambda: server.hub.connections == 0)
            assert not server.hub._ending

    run(test)


def test_an_empty_close_is_echoed_empty() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            peer.send_frame(Op.CLOSE, b"")
            assert await peer.frame() == (Op.CLOSE, b"")
            assert (await peer.end()).code is None

    run(test)


def test_nothing_that_follows_a_close_is_heard() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            peer.send_frame(Op.CLOSE, CODES.normal.to_bytes(2, "big"))
            peer.send("nonsense")
            peer.send_frame(Op.PING, b"x")
            assert (await peer.end()).code == CODES.normal
            assert server.hub.counters.messages_received == 0

    run(test)


def test_a_control_ping_is_answered_with_its_payload_between_the_fragments_of_a_message() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            peer.send_frame(Op.TEXT, b'{"type":"SUBSCRIBE",', fin=False)
            peer.send_frame(Op.PING, b"payload \x00\xff")
            assert await peer.frame() == (Op.PONG, b"payload \x00\xff")
            peer.send_frame(Op.CONT, b'"featureIds":["fence"]}')
            await fence(server, peer)

    run(test)


@pytest.mark.parametrize("way", ["reset", "end of stream", "in the middle of a frame"])
def test_any_departure_frees_the_slot_and_leaves_the_others_alone(way: str) -> None:
    async def test() -> None:
        async with live() as server:
            peer, other = await server.connect(), await server.connect()
            if way == "in the middle of a frame":
                peer.writer.write(b"\x81\xfe\x10")
            if way == "reset":
                peer.drop()
            else:
                peer.writer.write_eof()
                assert (await peer.end()).code is None
            server.vote("g", 1)
            assert (await other.expect("VOTE_UPDATE"))["featureId"] == "g"
            await until(lambda: server.hub.connections == 1)

    run(test)


# --- session ---


def test_a_session_found_gone_is_told_so_and_closed_with_4401_and_only_that_session() -> None:
    async def test() -> None:
        limits = replace(LIMITS, revalidate_every=0.1)
        async with live(limits) as server:
            peer, other = await server.connect("gone"), await server.connect("stays")
            await until(lambda: server.hub.counters.sessions_revalidated >= 4)
            server.sessions.gone.add("gone")
            error = await peer.error()
            assert error["code"] == ERRORS.session_expired
            assert await peer.close_frame() == CODES.session_invalid
            peer.close(CODES.session_invalid)
            await peer.end()
            await fence(server, other)
            assert server.hub.counters.sessions_expired == 1

    run(test)


def test_each_connection_is_revalidated_by_its_own_opening_time() -> None:
    async def test() -> None:
        limits = replace(LIMITS, revalidate_every=0.3)
        async with live(limits) as server:
            asked: list[tuple[str, float]] = []
            revalidate = server.hub.revalidate

            def spy(session: str):  # type: ignore[no-untyped-def]
                asked.append((session, time.monotonic()))
                return revalidate(session)

            server.hub.revalidate = spy
            opened = {}
            for name in ("a", "b"):
                opened[name] = time.monotonic()
                await server.connect(name)
                await asyncio.sleep(0.1)
            await until(lambda: len(asked) >= 6)
            for name in ("a", "b"):
                times = [at for session, at in asked if session == name]
                assert times[0] - opened[name] >= limits.revalidate_every - 0.002
                assert all(b - a >= limits.revalidate_every - 0.002 for a, b in pairwise(times))

    run(test)


def test_a_session_that_ends_closes_all_its_connections_at_once() -> None:
    async def test() -> None:
        async with live() as server:
            tabs, other = [await server.connect("mine") for _ in range(2)], await server.connect("other")
            server.hub.session_ended("mine")
            for tab in tabs:
                assert (await tab.error())["code"] == ERRORS.session_expired
                assert await tab.close_frame() == CODES.session_invalid
            assert server.hub.connections == 1
            await fence(server, other)

    run(test)


def test_a_new_role_counts_from_the_revalidation_that_sees_it() -> None:
    async def test() -> None:
        limits = replace(LIMITS, revalidate_every=0.2)
        async with live(limits) as server:
            peer = await server.connect("s")
            server.hub.feature_deleted("before")
            await fence(server, peer)
            server.sessions.admins["s"] = True
            seen = server.hub.counters.sessions_revalidated
            await until(lambda: server.hub.counters.sessions_revalidated > seen)
            server.hub.feature_deleted("after")
            assert (await peer.expect("FEATURE_DELETED"))["featureId"] == "after"

    run(test)


def test_a_store_that_fails_keeps_the_connection_until_it_can_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        limits = replace(LIMITS, revalidate_every=0.1)
        async with live(limits) as server:
            peer = await server.connect("s")
            revalidate, failures = server.hub.revalidate, 0

            def failing(session: str):  # type: ignore[no-untyped-def]
                nonlocal failures
                failures += 1
                raise OSError("the store is locked")

            server.hub.revalidate = failing
            await until(lambda: failures >= 2)
            await fence(server, peer)
            server.sessions.gone.add("s")
            server.hub.revalidate = revalidate
            assert (await peer.error())["code"] == ERRORS.session_expired

    run(test)
    assert "the store is locked" in caplog.text


def test_the_handshake_of_the_tests_is_one_a_browser_could_send() -> None:
    assert handshake({}).count(b"\r\n\r\n") == 1
