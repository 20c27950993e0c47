"""Whole servers with faults in this process's loop, on free ports and seeded once: what starts is what `--fault` starts."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

from schemas import load_contract
from server_under_test import app, seed
from server_under_test.parts import Parts
from server_under_test.settings import read_settings
from server_under_test.state import StateDir, cookie_secret

__all__ = ["CONTRACT", "Served", "seeded", "serving"]

CONTRACT = load_contract()
PATIENCE = 30.0  # seconds until a thing that must come is called missing


def flags(state: Path, **more: object) -> list[str]:
    given = {"port": 0, "state_dir": state, "users": 3, "admins": 2, "features": 3, **more}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def seeded(directory: Path) -> Path:
    """A state directory to be copied: the hashing of passwords is not what is tested here."""
    settings = read_settings(flags(directory), {}, CONTRACT.limits)
    with StateDir(settings.state_dir) as state:
        cookies = Parts().cookies(CONTRACT.cookie, cookie_secret(settings, state), secure=False)
        with closing(app._open_store(Parts().store, state.path / "roadmap.db")) as store:
            seed.prepare(store, state, settings, cookies)
    return directory


@dataclass(frozen=True)
class Served:
    """A server and a client of it."""

    base_url: str
    sessions: list[dict[str, str]]
    client: ClientSession

    def headers(self, role: str, user: int = 0) -> dict[str, str]:
        """The Cookie header of the `user`th user of a role."""
        users = list(dict.fromkeys(each["userId"] for each in self.sessions if each["role"] == role))
        session = next(each for each in self.sessions if each["userId"] == users[user])
        return {"Cookie": f"{session['name']}={session['value']}"}

    async def call(self, method: str, path: str, headers: dict[str, str], body: object = None) -> tuple[int, Any]:
        """Status and JSON body of one request."""
        async with self.client.request(method, self.base_url + path, headers=headers, json=body) as answer:
            return answer.status, await answer.json()

    async def status_of_handshake(self, headers: dict[str, str], query: str = "") -> int:
        """101, or what else a handshake is answered with."""
        key = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with self.client.get(self.base_url + CONTRACT.path + query, headers={**key, **headers}) as answer:
            answer.close()
            return answer.status

    @asynccontextmanager
    async def socket(self, role: str, user: int = 0) -> AsyncIterator[ClientWebSocketResponse]:
        async with self.client.ws_connect(self.base_url + CONTRACT.path, headers=self.headers(role, user)) as opened:
            yield opened

    async def first_feature(self) -> str:
        _, listed = await self.call("GET", "/api/roadmap/features", self.headers("regular"))
        return str(listed["features"][0]["id"])


@asynccontextmanager
async def serving(template: Path, directory: Path, *faults: str, **more: object) -> AsyncIterator[Served]:
    """A server with these faults, for the length of a test."""
    shutil.copytree(template, directory)
    settings = read_settings([*flags(directory, **more), *(f"--fault={name}" for name in faults)], {}, CONTRACT.limits)
    parts = app._parts(settings)
    assert (parts == Parts()) is not bool(faults)
    asked = asyncio.Event()
    with StateDir(settings.state_dir) as state:
        cookies = parts.cookies(CONTRACT.cookie, cookie_secret(settings, state), secure=False)
        with closing(app._open_store(parts.store, state.path / "roadmap.db")) as store:
            seed.prepare(store, state, settings, cookies)
            running = asyncio.create_task(app._run(settings, CONTRACT, parts, state, store, cookies, None, asked))
            try:
                async with asyncio.timeout(PATIENCE):
                    while not state.ready.exists():
                        assert not running.done(), running.exception()
                        await asyncio.sleep(0.005)
                facts = json.loads(state.ready.read_text())
                assert facts.get("faults", []) == list(faults)
                async with asyncio.timeout(PATIENCE), ClientSession() as client:
                    yield Served(facts["base_url"], json.loads(state.sessions.read_text()), client)
            finally:
                asked.set()
                async with asyncio.timeout(PATIENCE):
                    await running
