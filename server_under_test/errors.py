"""What can go wrong in a request or at the start, as types that carry the words for the person who must act.

Every refusal of the HTTP API has the same shape, `{"error": {"code", "message"}}`, and its codes are these.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web

__all__ = ["ApiError", "StartError", "bad_body", "json_response"]

_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


class StartError(Exception):
    """The server cannot start as asked. Its text is one sentence and holds no secret."""


class ApiError(Exception):
    """A refused request: HTTP status, a stable code for programs, a message for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}")
        self._status = status
        self._body = {"error": {"code": code, "message": message}}
        self._headers = headers

    def response(self) -> web.Response:
        """The refusal as JSON. After 413 the connection ends: the unread rest of the body is not worth reading."""
        response = json_response(self._body, self._status, self._headers)
        if self._status == 413:
            response.force_close()
        return response


def bad_body(message: str) -> ApiError:
    """400 for a body that is not as documented; the message names the field and what is allowed."""
    return ApiError(400, "INVALID_BODY", message)


def json_response(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`data` as a JSON response that no cache keeps."""
    every = _HEADERS if headers is None else {**_HEADERS, **headers}
    return web.Response(body=orjson.dumps(data), status=status, headers=every)
