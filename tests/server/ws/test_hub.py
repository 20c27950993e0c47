"""Whom each broadcast reaches, how it is batched and capped, and how everything ends: over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from server_under_test.allowance import Allowance
from server_under_test.identity import Identity

from .live import CONTRACT, LIMITS, Ended, Live, Op, Peer, live, run, until

CODES, ERRORS = CONTRACT.close, CONTRACT.errors
FEATURE = {
    "id": "f",
    "title": "Títle",
    "description": "d",
    "status": "TODO",
    "voteCount": 0,
    "createdById": "u",
    "createdBy": {"name": "Jane"},
    "createdAt": "2025-10-20T15:40:00.000Z",
    "updatedAt": "2025-10-20T15:40:00.000Z",
}


async def told(server: Live, peer: Peer) -> list[Any]:
    """Every message that has been caused for this peer: all up to a fence that no filter and no exclusion holds back."""
    await until(lambda: server.hub.backlog == 0)
    peer.send_frame(Op.PING, b"fence")
    messages = []
    while (frame := await peer.frame())[0] is not Op.PONG:
        messages.append(json.loads(frame[1]))
    return messages


def votes(messages: list[Any]) -> list[tuple[str, int, str, str]]:
    return [(m["featureId"], m["voteCount"], m["voterId"], m["action"]) for m in messages if m["type"] == "VOTE_UPDATE"]


async def heard(server: Live, *peers: Peer) -> None:
    """All that these peers have sent so far has been handled."""
    for peer in peers:
        peer.send_frame(Op.PING, b"sync")
        assert await peer.frame() == (Op.PONG, b"sync")


# --- whom it reaches ---


def test_a_vote_reaches_everybody_but_every_socket_of_the_voting_session() -> None:
    async def test() -> None:
        async with live() as server:
            voter, tab = await server.connect("voter"), await server.connect("voter")
            user, admin = await server.connect("user"), await server.connect("admin", admin=True)
            before = time.time()
            server.vote("f", 7, session="voter")
            for peer in (user, admin):
                message = await peer.expect("VOTE_UPDATE")
                stamp = datetime.fromisoformat(message.pop("timestamp")).timestamp()
                assert before - 0.002 <= stamp <= time.time()
                assert message == {
                    "type": "VOTE_UPDATE", "featureId": "f", "voteCount": 7, "voterId": "user-voter", "action": "add",
                }  # fmt: skip
            for peer in (voter, tab):
                assert await told(server, peer) == []

    run(test)


def test_a_feature_update_reaches_everybody_with_the_changes_alone_and_a_void_one_nobody() -> None:
    async def test() -> None:
        async with live() as server:
            user, admin = await server.connect("user"), await server.connect("admin", admin=True)
            server.hub.feature_updated("f", {})
            server.hub.feature_updated("f", {"status": "SHIPPED"})
            for peer in (user, admin):
                message = await peer.expect("FEATURE_UPDATE")
                assert (message["featureId"], message["changes"]) == ("f", {"status": "SHIPPED"})
                assert await told(server, peer) == []

    run(test)


def test_new_and_deleted_features_reach_administrators_alone_even_past_their_filter() -> None:
    async def test() -> None:
        async with live() as server:
            user, admin = await server.connect("user"), await server.connect("admin", admin=True)
            picky = await server.connect("picky", admin=True)
            picky.send({"type": "SUBSCRIBE", "featureIds": ["other"]})
            await heard(server, picky)
            server.hub.feature_created(FEATURE)
            server.hub.feature_deleted("f")
            for peer in (admin, picky):
                assert (await peer.expect("FEATURE_CREATED"))["feature"] == FEATURE
                assert (await peer.expect("FEATURE_DELETED"))["featureId"] == "f"
            assert await told(server, user) == []

    run(test)


# --- subscriptions ---


def test_subscriptions_add_up_are_idempotent_and_end_in_everything_again() -> None:
    async def test() -> None:
        async with live() as server:
            peer, sibling = await server.connect("s"), await server.connect("s")

            async def seen(*, after: dict[str, Any]) -> set[str]:
                peer.send(after)
                await heard(server, peer)
                for feature in "abc":
                    server.vote(feature, 1)
                    server.hub.feature_updated(feature, {"title": "t"})
                messages = await told(server, peer)
                updates = [m["featureId"] for m in messages if m["type"] == "FEATURE_UPDATE"]
                counted = [m["featureId"] for m in messages if m["type"] == "VOTE_UPDATE"]
                assert sorted(updates) == sorted(counted) == sorted(set(updates)), "one delivery an event"
                assert len(await told(server, sibling)) == 6, "a subscription is of one socket"
                return set(updates)

            def message(kind: str, *ids: str) -> dict[str, Any]:
                return {"type": kind, "featureIds": list(ids)}

            assert await seen(after={"type": "PONG"}) == {"a", "b", "c"}
            assert await seen(after=message("UNSUBSCRIBE", "a")) == {"a", "b", "c"}
            assert await seen(after=message("SUBSCRIBE")) == {"a", "b", "c"}
            assert await seen(after=message("SUBSCRIBE", "a", "unknown")) == {"a"}
            assert await seen(after=message("SUBSCRIBE", "b", "a")) == {"a", "b"}
            assert await seen(after=message("UNSUBSCRIBE", "a", "never")) == {"b"}
            assert await seen(after=message("UNSUBSCRIBE", "b")) == set()
            assert await seen(after=message("UNSUBSCRIBE", "unknown")) == {"a", "b", "c"}
            assert await seen(after=message("SUBSCRIBE", "c")) == {"c"}

    run(test)


def test_too_many_subscriptions_are_refused_whole_and_the_earlier_ones_still_work() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            most = [f"f{n}" for n in range(LIMITS.subscriptions)]
            peer.send({"type": "SUBSCRIBE", "featureIds": most})
            peer.send({"type": "SUBSCRIBE", "featureIds": ["f0"]})
            peer.send({"type": "SUBSCRIBE", "featureIds": ["new"]})
            error = await peer.error()
            assert error["code"] == ERRORS.subscription_limit
            assert error["context"] == {"limit": LIMITS.subscriptions, "requested": LIMITS.subscriptions + 1}
            server.vote("new", 1)
            server.vote("f99", 2)
            assert [one[:2] for one in votes(await told(server, peer))] == [("f99", 2)]

    run(test)


# --- batching ---


def test_votes_within_the_window_leave_as_one_and_nobody_is_shown_its_own() -> None:
    async def test() -> None:
        async with live(replace(LIMITS, batch_window=0.3)) as server:
            peers = {name: await server.connect(name) for name in ("a", "b", "c", "viewer")}
            server.vote("f", 1, "viewer")
            server.hub.send_due()  # the turn of the loop that the first vote came in is over
            for count, (name, action) in enumerate([("a", "add"), ("b", "add"), ("a", "remove"), ("c", "add")], 2):
                server.vote("f", count, name, action)
            seen = {name: votes(await told(server, peer)) for name, peer in peers.items()}
            first, last = ("f", 1, "user-viewer", "add"), ("f", 5, "user-c", "add")
            assert seen == {
                "viewer": [last],
                "a": [first, last],
                "b": [first, last],
                "c": [first, ("f", 5, "user-a", "remove")],
            }
            assert server.hub.counters.broadcasts == 2

    run(test)


def test_a_batch_of_one_session_alone_is_not_shown_to_it() -> None:
    async def test() -> None:
        async with live() as server:
            voter, viewer = await server.connect("voter"), await server.connect("viewer")
            for count in range(5):
                server.vote("f", count, "voter")
                server.hub.send_due()
            assert [count for _, count, _, _ in votes(await told(server, viewer))] == [0, 4]
            assert await told(server, voter) == []

    run(test)


def test_past_the_cap_the_last_count_of_every_feature_still_arrives_and_no_second_exceeds_it() -> None:
    async def test() -> None:
        limits = replace(LIMITS, broadcasts_per_second=20)
        async with live(limits) as server:
            peer = await server.connect()
            arrivals: list[float] = []
            final: dict[str, int] = {}
            for n in range(200):
                server.vote(f"f{n % 10}", n)
            while sorted(final.values()) != list(range(190, 200)):
                message = await peer.expect("VOTE_UPDATE")
                arrivals.append(time.monotonic())
                final[message["featureId"]] = message["voteCount"]
            bound = Allowance.most_in_a_second(limits.broadcasts_per_second)
            assert len(arrivals) <= bound
            assert server.hub.backlog == 0

    run(test)


def test_nothing_about_a_deleted_feature_follows_its_deletion() -> None:
    async def test() -> None:
        async with live() as server:
            admin = await server.connect(admin=True)
            for count in range(3):
                server.vote("f", count)
            server.hub.feature_updated("f", {"title": "t"})
            server.hub.feature_deleted("f")
            server.vote("f", 9)
            kinds = [message["type"] for message in await told(server, admin)]
            assert kinds[-1] == "FEATURE_DELETED"

    run(test)


def test_timestamps_of_one_feature_never_fall() -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect(admin=True)
            server.hub.feature_created(FEATURE)
            for n in range(5):
                server.vote("f", n)
                server.hub.feature_updated("f", {"title": str(n)})
                await asyncio.sleep(0.01)
            stamps = [message["timestamp"] for message in await told(server, peer)]
            assert len(stamps) >= 7
            assert stamps == sorted(stamps)

    run(test)


# --- bad company ---


def test_a_broadcast_into_connections_that_are_just_going_away_harms_nobody() -> None:
    async def test() -> None:
        async with live() as server:
            stays = await server.connect("stays")
            going = [await server.connect(f"g{n}") for n in range(20)]
            connections = [one for one in server.hub._open if one.session_id != "stays"]
            for n, connection in enumerate(connections):
                if n % 2:
                    connection.transport.abort()
                else:
                    connection.transport.close()
            for n in range(10):
                server.vote(f"f{n}", n)
                server.hub.send_due()
            assert [count for _, count, _, _ in votes(await told(server, stays))] == list(range(10))
            for peer in going:
                assert (await peer.end()).code is None
            await until(lambda: server.hub.connections == 1)
            assert server.hub.counters.internal_errors == 0

    run(test)


def test_a_broadcast_into_a_transport_that_is_gone_harms_nobody() -> None:
    async def test() -> None:
        async with live() as server:
            gone, stays = await server.connect("gone"), await server.connect("stays")
            (connection,) = [one for one in server.hub._open if one.session_id == "gone"]
            gone.drop()
            await until(lambda: server.hub.connections == 1)
            server.hub._open[connection] = None  # as if nobody had told us
            server.vote("f", 1)
            await stays.expect("VOTE_UPDATE")
            assert server.hub.connections == 1
            server.hub._ending.clear()

    run(test)


def test_a_slow_reader_is_cut_off_at_the_backlog_and_nobody_else_notices() -> None:
    async def test() -> None:
        # A cap that spaces nothing out, and a grace that would keep what is not cut off at once.
        limits = replace(LIMITS, backlog_bytes=200_000, broadcasts_per_second=100_000, shutdown_grace=3600.0)
        async with live(limits) as server:
            slow, quick = await server.connect("slow"), await server.connect("quick")
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            sizes: list[int] = []
            (connection,) = [one for one in server.hub._open if one.session_id == "slow"]
            received = 0
            while server.hub.connections == 2:
                server.hub.feature_updated("f", {"description": "x" * 60_000})
                server.hub.send_due()
                sizes.append(connection.transport.get_write_buffer_size() + len(connection.waiting or b""))
                await quick.expect("FEATURE_UPDATE")
                received += 1
                assert received < 2000, "the slow reader is never cut off"
            assert max(sizes[:-1]) > limits.backlog_bytes - 70_000, "cut off exactly when one more frame would not do"
            assert max(sizes) <= limits.backlog_bytes
            await until(lambda: not server.hub._ending)
            assert server.hub.counters.slow_readers_cut == 1
            server.vote("f", 1)
            await quick.expect("VOTE_UPDATE")

    run(test)


def test_whoever_reads_on_in_time_gets_everything_in_order() -> None:
    async def test() -> None:
        limits = replace(LIMITS, backlog_bytes=100_000_000, broadcasts_per_second=100_000)
        async with live(limits) as server:
            slow = await server.connect("slow")
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            (connection,) = server.hub._open
            sent = 0
            while len(connection.waiting or b"") < 500_000:
                server.hub.feature_updated("f", {"title": f"{sent}", "description": "x" * 10_000})
                server.hub.send_due()
                sent += 1
                await asyncio.sleep(0)
            assert connection.transport.get_write_buffer_size() < 100_000, "what waits is not a write of its own for each frame"
            slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for number in range(sent):
                assert (await slow.expect("FEATURE_UPDATE"))["changes"]["title"] == f"{number}"
            await until(lambda: connection.waiting is None)
            server.hub.feature_updated("f", {"title": "after"})
            assert (await slow.expect("FEATURE_UPDATE"))["changes"] == {"title": "after"}
            assert server.hub.counters.slow_readers_cut == 0

    run(test)


def test_a_broadcast_that_cannot_be_built_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with live() as server:
            peer = await server.connect()
            server.hub.feature_updated("f", {"title": "\ud800"})
            server.hub.feature_updated("f", {"title": "fine"})
            assert (await peer.expect("FEATURE_UPDATE"))["changes"] == {"title": "fine"}
            assert server.hub.counters.internal_errors == 1

    run(test)
    assert "could not be sent" in caplog.text


# --- the end ---


def test_stop_says_1001_to_everybody_refuses_the_next_and_is_soon_done() -> None:
    async def test() -> None:
        async with live() as server:
            peers = [await server.connect(f"s{n}") for n in range(30)]
            started = time.monotonic()
            stopping = asyncio.create_task(server.hub.stop())
            await asyncio.sleep(0)
            await server.refused()
            for peer in peers:
                assert await peer.close_frame() == CODES.going_away
                peer.close(CODES.going_away)
            await stopping
            for peer in peers:
                await peer.end()
            assert time.monotonic() - started < LIMITS.shutdown_grace + 5
            await server.hub.stop()

    run(test)


def test_stop_does_not_wait_longer_than_the_grace_for_those_who_do_not_answer() -> None:
    async def test() -> None:
        limits = replace(LIMITS, shutdown_grace=0.5)
        async with live(limits) as server:
            peers = [await server.connect(f"s{n}") for n in range(200)]
            deaf, polite = peers[:50], peers[50:]
            started = time.monotonic()
            stopping = asyncio.create_task(server.hub.stop())

            async def answer(peer: Peer) -> None:
                assert await peer.close_frame() == CODES.going_away
                peer.close(CODES.going_away)
                await peer.end()

            await asyncio.gather(*map(answer, polite))
            await stopping
            took = time.monotonic() - started
            assert limits.shutdown_grace - 0.01 <= took < limits.shutdown_grace + 10
            for peer in deaf:
                assert await peer.close_frame() == CODES.going_away
                with pytest.raises(Ended):
                    await peer.message()

    run(test)


def test_the_runners_own_shutdown_closes_the_sockets_and_does_not_hang_on_them() -> None:
    async def test() -> None:
        limits = replace(LIMITS, shutdown_grace=0.3)
        async with live(limits) as server:
            peer = await server.connect()
            started = time.monotonic()
            await server.runner.cleanup()  # aiohttp would wait 60 s for a connection that it still knows
            assert time.monotonic() - started < 30
            assert await peer.close_frame() == CODES.going_away

    run(test)


def test_a_session_value_shows_in_no_representation() -> None:
    assert "secret-session" not in repr(Identity("secret-session", "u", "n", False, 0.0))
