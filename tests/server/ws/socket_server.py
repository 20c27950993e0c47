"""The smallest application around the socket side, as a process of its own: `python -m tests.server.ws.socket_server`.

It prints its port, then serves until it is ended. Who connects says who they are in headers (X-Session, X-User,
X-Admin), and may ask for a slow handshake (X-Delay, seconds). `POST /vote` and `POST /storm` reach the hub;
`GET /figures` answers with the counters and the resident memory in bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import psutil
from aiohttp import web

from schemas import Limits, load_contract
from server_under_test.hub import Hub
from server_under_test.identity import Identity
from server_under_test.upgrade import accept

__all__ = ["SessionTable", "make_app"]


class SessionTable:
    """Which sessions stand: all of them, until one is revoked or given another role."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.admins: dict[str, bool] = {}
        self.known: dict[str, Identity] = {}

    def sign_in(self, headers: Any) -> Identity:
        session = headers.get("X-Session", "session")
        identity = Identity(session, headers.get("X-User", f"user-{session}"), "A Name", "X-Admin" in headers, 4e9)
        self.known[session] = identity
        return identity

    def revalidate(self, session_id: str) -> Identity | None:
        if session_id in self.gone:
            return None
        identity = self.known[session_id]
        return dataclasses.replace(identity, admin=self.admins.get(session_id, identity.admin))


def make_app(limits: Limits, sessions: SessionTable, *, make_hub: Callable[..., Hub] = Hub) -> tuple[web.Application, Hub]:
    hub = make_hub(limits, revalidate=sessions.revalidate)
    app = web.Application()

    async def socket(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(float(request.headers.get("X-Delay", "0")))
        return await accept(request, hub, sessions.sign_in(request.headers))

    async def vote(request: web.Request) -> web.Response:
        q = request.query
        hub.vote(q["feature"], int(q["count"]), q.get("voter", "v"), q.get("session", "nobody"), q.get("action", "add"))
        return web.Response()

    async def figures(request: web.Request) -> web.Response:
        gc.collect()
        return web.json_response(
            {
                **dataclasses.asdict(hub.counters),
                "connections": hub.connections,
                "rss": psutil.Process().memory_info().rss,
                "cpu": time.process_time(),
            }
        )

    async def storm(request: web.Request) -> web.Response:
        """So many broadcasts a second for so many seconds, straight into the hub."""
        rate, seconds = float(request.query["rate"]), float(request.query["seconds"])
        started, sent, worst = time.monotonic(), 0, 0.0
        while (due := started + sent / rate) < started + seconds:
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            worst = max(worst, time.monotonic() - due)
            hub.vote(f"feature-{sent % 50}", sent, "voter-0123456789", "nobody", "add")
            sent += 1
        return web.json_response({"sent": sent, "seconds": time.monotonic() - started, "worst_slip": worst})

    app.router.add_get("/ws", socket)
    app.router.add_post("/vote", vote)
    app.router.add_get("/figures", figures)
    app.router.add_post("/storm", storm)
    app.on_shutdown.append(lambda _: hub.stop())
    return app, hub


async def serve(limits: Limits) -> None:
    app, _ = make_app(limits, SessionTable())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--limits", default="{}", help="a JSON object of limits to change")
    parser.add_argument("--asyncio", action="store_true", help="the standard library's loop in place of uvloop")
    options = parser.parse_args()
    limits = dataclasses.replace(load_contract().limits, **json.loads(options.limits))
    if options.asyncio:
        asyncio.run(serve(limits))
    else:
        import uvloop

        uvloop.run(serve(limits))


if __name__ == "__main__":
    main()
