"""How a fault acts on a request that the API has turned down: a signal of the application, just before the answer leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import orjson
from aiohttp import web

__all__ = ["FEATURE", "FEATURES", "VOTE", "after_refusal"]

FEATURES = r"/api/roadmap/features"
FEATURE = rf"{FEATURES}/[^/]+"
VOTE = rf"{FEATURE}/vote"


def after_refusal(
    app: web.Application, path: str, methods: Collection[str], status: int, act: Callable[[web.Request, dict[str, Any]], None]
) -> web.Application:
    """Have `act(request, body)` done when a request is answered with `status`. Returns the same application.

    `path` is a regular expression for the whole path of the request.
    """

    async def look(request: web.Request, response: web.StreamResponse) -> None:
        if response.status == status and request.method in methods and re.fullmatch(path, request.path):
            act(request, await _body(request))

    app.on_response_prepare.append(look)
    return app


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
