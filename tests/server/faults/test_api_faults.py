"""The same for faults on the HTTP side: a sound server and a faulty one, whole, with real sessions and requests."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import ClientWebSocketResponse

from .serving import CONTRACT, Served, serving

FEATURES = "/api/roadmap/features"

Scenario = Callable[[Served], Coroutine[Any, Any, object]]


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    """A server freezes what is in memory when it starts, for it means to stay; this process goes on with other tests."""
    yield
    gc.unfreeze()


async def until_fence(server: Served, *sockets: ClientWebSocketResponse) -> list[list[Any]]:
    """What each socket is told before an edit by the second administrator, whose socket is none of them."""
    feature = await server.first_feature()
    await server.call("PATCH", f"{FEATURES}/{feature}", server.headers("admin", 1), {"title": "fence"})
    seen: list[list[Any]] = []
    for socket in sockets:
        told: list[Any] = []
        while not told or told[-1].get("changes") != {"title": "fence"}:
            told.append(await socket.receive_json())
        seen.append(told[:-1])
    return seen


async def revoked_session(server: Served) -> object:
    headers = server.headers("regular", 2)
    before = await server.status_of_handshake(headers)
    session = next(each for each in server.sessions if headers["Cookie"].endswith(each["value"]))
    await server.call("POST", "/api/admin/sessions/revoke", server.headers("admin"), {"sessionId": session["sessionId"]})
    return before, await server.status_of_handshake(headers)


async def token_in_query(server: Served) -> object:
    value = server.headers("regular")["Cookie"].partition("=")[2]
    return await server.status_of_handshake({}, f"?token={value}")


async def altered_signature(server: Served) -> object:
    name, _, value = server.headers("regular")["Cookie"].partition("=")
    token, _, signature = value.partition(".")
    other = "B" if signature[5] == "A" else "A"
    return await server.status_of_handshake({"Cookie": f"{name}={token}.{signature[:5]}{other}{signature[6:]}"})


async def quoted(server: Served) -> object:
    name, _, value = server.headers("regular")["Cookie"].partition("=")
    return await server.status_of_handshake({"Cookie": f'{name}="{value}"'})


async def second_vote(server: Served) -> object:
    path = f"{FEATURES}/{await server.first_feature()}/vote"
    assert (await server.call("POST", path, server.headers("regular")))[0] == 200
    async with server.socket("regular", 1) as viewer:
        assert (await server.call("POST", path, server.headers("regular")))[0] == 409
        (told,) = await until_fence(server, viewer)
        return [message["type"] for message in told]


async def refused_edit(server: Served) -> object:
    async with server.socket("regular", 1) as viewer:
        path = f"{FEATURES}/{await server.first_feature()}"
        assert (await server.call("PATCH", path, server.headers("regular"), {"title": "forged"}))[0] == 403
        (told,) = await until_fence(server, viewer)
        return [message["changes"] for message in told]


async def own_edit(server: Served) -> object:
    async with server.socket("admin") as author, server.socket("regular") as viewer:
        path = f"{FEATURES}/{await server.first_feature()}"
        assert (await server.call("PATCH", path, server.headers("admin"), {"title": "mine"}))[0] == 200
        return [[message["changes"]["title"] for message in told] for told in await until_fence(server, author, viewer)]


async def token_told(server: Served) -> object:
    value = server.headers("regular")["Cookie"].partition("=")[2]
    async with server.socket("regular") as offender:
        await offender.send_str("this is no JSON")
        return value.partition(".")[0] in await offender.receive_str()


ADMITTED, REFUSED = 101, CONTRACT.auth_refusal_status

CASES: list[tuple[str, Scenario, object, object]] = [
    ("revoked-session-admitted", revoked_session, (ADMITTED, REFUSED), (ADMITTED, ADMITTED)),
    ("query-token-accepted", token_in_query, REFUSED, ADMITTED),
    ("signature-ignored", altered_signature, REFUSED, ADMITTED),
    ("quoted-cookie-refused", quoted, ADMITTED, REFUSED),
    ("second-vote-announced", second_vote, [], ["VOTE_UPDATE"]),
    ("refused-edit-announced", refused_edit, [], [{"title": "forged"}]),
    ("author-untold", own_edit, [["mine"], ["mine"]], [[], ["mine"]]),
    ("token-in-errors", token_told, False, True),
]


@pytest.mark.parametrize(("name", "scenario", "sound", "faulty"), CASES, ids=[case[0] for case in CASES])
def test_a_fault_changes_what_it_says(name: str, scenario: Scenario, sound: object, faulty: object, template: Path, tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(template, tmp_path / "sound") as server:
            assert await scenario(server) == sound
        async with serving(template, tmp_path / "faulty", name) as server:
            assert await scenario(server) == faulty

    uvloop.run(test())
