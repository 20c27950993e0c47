"""For a sample of faults, through real sockets: the faulty server does what the fault says, and the sound one what the contract says.

A scenario plays the same on both and returns what it saw. Nothing in it depends on how fast a machine is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from schemas import Limits
from server_under_test.faults import faulty_parts
from server_under_test.hub import Hub
from tests.server.ws.live import CONTRACT, LIMITS, Live, Op, Peer, live, run, until

CODES, ERRORS = CONTRACT.close, CONTRACT.errors
ADD, REMOVE = CONTRACT.messages.vote_actions
STRICT = dataclasses.replace(LIMITS, rate_messages=2, persistent_factor=2, persistent_windows=1)
BRISK = dataclasses.replace(LIMITS, heartbeat_interval=0.2)
TINY = dataclasses.replace(LIMITS, connections=1)

Scenario = Callable[[Live], Coroutine[Any, Any, object]]


async def until_fence(server: Live, peer: Peer, feature: str = "fence") -> list[Any]:
    """What comes before a vote that this peer must be told of."""
    server.vote(feature, 77)
    found: list[Any] = []
    while not (found and found[-1].get("voteCount") == 77):
        found.append(await peer.message())
    return found[:-1]


async def answered(peer: Peer) -> list[Any]:
    """What comes before the answer to a ping: whatever this peer's messages drew."""
    peer.send_frame(Op.PING, b"fence")
    found: list[Any] = []
    while (frame := await peer.frame()) != (Op.PONG, b"fence"):
        found.append(json.loads(frame[1]))
    return found


async def ending(peer: Peer) -> int:
    """The code of the Close frame behind whatever else comes."""
    while (frame := await peer.frame())[0] is not Op.CLOSE:
        pass
    return int.from_bytes(frame[1][:2], "big")


async def ping_properties(server: Live) -> object:
    peer = await server.connect()
    return sorted(await peer.message())


async def unasked_pong(server: Live) -> object:
    peer = await server.connect()
    peer.send({"type": "PONG"})
    return [message["code"] for message in await answered(peer)]


async def long_ping(server: Live) -> object:
    peer = await server.connect()
    peer.send_frame(Op.PING, bytes(125))
    return len((await peer.frame())[1])


async def echo_of_close(server: Live) -> object:
    peer = await server.connect()
    peer.close(CODES.normal)
    return await peer.close_frame()


async def abuse(server: Live) -> object:
    peer = await server.connect()
    for _ in range(4):
        peer.send("x")
    return await ending(peer)


async def revoked(server: Live) -> object:
    peer = await server.connect("gone")
    server.hub.session_ended("gone")
    return await ending(peer)


async def fragments(server: Live) -> object:
    peer = await server.connect()
    peer.send_frame(Op.TEXT, b'{"type":', fin=False)
    peer.send_frame(Op.CONT, b'"PONG"}')
    peer.send_frame(Op.PING, b"after")
    return (await peer.frame())[0]


async def withdrawal(server: Live) -> object:
    voter = await server.connect("voter")
    server.vote("a", 0, "voter", REMOVE)
    return [message["action"] for message in await until_fence(server, voter)]


async def count_told(server: Live) -> object:
    peer = await server.connect()
    server.vote("a", 5)
    return (await peer.expect("VOTE_UPDATE"))["voteCount"]


async def three_at_once(server: Live) -> object:
    peer = await server.connect()
    for count in (1, 2, 3):
        server.vote("a", count, f"s{count}")
    return [message["voteCount"] for message in await until_fence(server, peer)]


async def own_in_batch(server: Live) -> object:
    voter = await server.connect("voter")
    server.vote("a", 1, "other")
    server.vote("a", 2, "voter")
    return [message["voterId"] for message in await until_fence(server, voter)]


async def new_feature(server: Live) -> object:
    regular = await server.connect("regular")
    server.hub.feature_created({"id": "new"})
    return [message["type"] for message in await until_fence(server, regular)]


async def error_of_another_tab(server: Live) -> object:
    offender, sibling = await server.connect("same"), await server.connect("same")
    offender.send("x")
    await offender.error()
    return [message["type"] for message in await answered(sibling)]


async def filtered(server: Live) -> object:
    peer = await server.connect()
    peer.send({"type": "SUBSCRIBE", "featureIds": ["a", "fence"]})
    await answered(peer)
    server.vote("b", 1)
    server.vote("c", 1)
    return [message["featureId"] for message in await until_fence(server, peer)]


async def after_reconnect(server: Live) -> object:
    peer = await server.connect("same")
    peer.send({"type": "SUBSCRIBE", "featureIds": ["fence"]})
    await answered(peer)
    peer.drop()
    await until(lambda: server.hub.connections == 0)
    again = await server.connect("same")
    server.vote("b", 1)
    return [message["featureId"] for message in await until_fence(server, again)]


async def whole_allowance(server: Live) -> object:
    peer = await server.connect()
    for _ in range(LIMITS.rate_messages):
        peer.send({"type": "SUBSCRIBE", "featureIds": []})
    return [message["code"] for message in await answered(peer)]


async def excess_subscribe(server: Live) -> object:
    peer = await server.connect()
    for _ in range(LIMITS.rate_messages):
        peer.send({"type": "SUBSCRIBE", "featureIds": ["fence"]})
    peer.send({"type": "SUBSCRIBE", "featureIds": ["b"]})
    assert [message["code"] for message in await answered(peer)] == [ERRORS.rate_limit_exceeded]
    server.vote("b", 1)
    return [message["featureId"] for message in await until_fence(server, peer)]


async def one_too_many(server: Live) -> object:
    await server.connect()
    try:
        await server.connect()
    except AssertionError:
        return "refused"
    return "admitted"


async def slot_after_reset(server: Live) -> object:
    (await server.connect()).drop()
    await until(lambda: server.hub.connections == 0)
    try:
        await server.connect()
    except AssertionError:
        return "refused"
    return "admitted"


async def second_tab(server: Live) -> object:
    first, second = await server.connect("same"), await server.connect("same")
    server.vote("fence", 1)
    await first.expect("VOTE_UPDATE")
    server.hub.feature_updated("x", {"title": "fence"})
    return (await second.message())["type"]


CASES: list[tuple[str, Scenario, Limits, object, object]] = [
    ("ping-with-timestamp", ping_properties, BRISK, ["type"], ["timestamp", "type"]),
    ("unasked-pong-is-an-error", unasked_pong, LIMITS, [], [ERRORS.invalid_message]),
    ("long-control-pong-cut", long_ping, LIMITS, 125, 64),
    ("close-echoed-with-other-code", echo_of_close, LIMITS, CODES.normal, CODES.going_away),
    ("abuse-closed-as-going-away", abuse, STRICT, CODES.policy_violation, CODES.going_away),
    ("revoked-closed-as-violation", revoked, LIMITS, CODES.session_invalid, CODES.policy_violation),
    ("fragments-refused", fragments, LIMITS, Op.PONG, Op.CLOSE),
    ("withdrawer-told", withdrawal, LIMITS, [], [REMOVE]),
    ("count-from-before-the-vote", count_told, LIMITS, 5, 4),
    ("nothing-is-batched", three_at_once, LIMITS, [3], [1, 2, 3]),
    ("own-vote-in-batch", own_in_batch, LIMITS, ["user-other"], ["user-voter"]),
    ("regulars-told-of-created", new_feature, LIMITS, [], ["FEATURE_CREATED"]),
    ("error-to-all-tabs", error_of_another_tab, LIMITS, [], ["ERROR"]),
    ("filter-acts-once", filtered, LIMITS, [], ["c"]),
    ("subscription-outlives-connection", after_reconnect, LIMITS, ["b"], []),
    ("allowance-one-too-small", whole_allowance, LIMITS, [], [ERRORS.rate_limit_exceeded]),
    ("excess-still-acts", excess_subscribe, LIMITS, [], ["b"]),
    ("limit-unenforced", one_too_many, TINY, "refused", "admitted"),
    ("slot-kept-after-reset", slot_after_reset, TINY, "admitted", "refused"),
    ("second-tab-untold", second_tab, LIMITS, "VOTE_UPDATE", "FEATURE_UPDATE"),
]


@pytest.mark.parametrize(("name", "scenario", "limits", "sound", "faulty"), CASES, ids=[case[0] for case in CASES])
def test_a_fault_changes_what_it_says(name: str, scenario: Scenario, limits: Limits, sound: object, faulty: object) -> None:
    async def seen(hub: type[Hub]) -> object:
        async with live(limits, make_hub=hub) as server:
            return await scenario(server)

    async def test() -> None:
        assert await seen(Hub) == sound
        assert await seen(faulty_parts([name]).hub) == faulty

    run(test)
