"""What every HTTP route shares: who may pass, how a failure is answered, and the count of the answers.

One wrapper around each handler instead of a chain of middlewares: a vote is handled a hundred times a second beside a
fan-out to a thousand sockets, on the same core.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from aiohttp import hdrs, web

from schemas import Contract
from server_under_test.auth import CookieJar, origin_allowed
from server_under_test.errors import ApiError
from server_under_test.identity import Identity
from server_under_test.metrics import Metrics
from server_under_test.store import Store, StoreError, UnknownFeatureError, UnknownUserError

__all__ = ["Gate", "Handler", "Route", "SignedInHandler"]

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.Response]]
SignedInHandler = Callable[[web.Request, Identity], Awaitable[web.Response]]
Route = Callable[[web.Request], Awaitable[web.Response]]

_SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_QUIET_SECONDS = 1.0  # between two log lines on a failing database: a log that fills a pipe would stop the server


class Gate:
    """Guards handlers. One for a server."""

    def __init__(self, contract: Contract, store: Store, cookies: CookieJar, metrics: Metrics, allowed_origins: frozenset[str]) -> None:
        self._contract = contract
        self._store = store
        self._cookies = cookies
        self._metrics = metrics
        self._allowed_origins = allowed_origins
        self._quiet_until = 0.0

    def public(self, method: str, path: str, handler: Handler) -> Route:
        """A route for everyone. `method` and `path` are its labels on the metrics page."""

        async def serve(request: web.Request) -> web.Response:
            try:
                response = await handler(request)
            except Exception as error:
                response = self.answer(error, method, path)
            return self.counted(response, method, path)

        return serve

    def signed_in(self, method: str, path: str, handler: SignedInHandler, access: Literal["session", "admin"]) -> Route:
        """A route for holders of a valid session, or for administrators only."""
        admin_only = access == "admin"

        async def serve(request: web.Request) -> web.Response:
            try:
                caller = self.caller(request)
                if admin_only and not caller.admin:
                    raise ApiError(403, "FORBIDDEN", "only an administrator may do this")
                response = await handler(request, caller)
            except Exception as error:
                response = self.answer(error, method, path)
            return self.counted(response, method, path)

        return serve

    def caller(self, request: web.Request) -> Identity:
        """Who asks. Raises ApiError 401 without a valid session, 403 for a foreign page that would act for one."""
        token = self._cookies.token(request.headers.getall(hdrs.COOKIE, ()))
        caller = None if token is None else self._store.session(token, time.time())
        if caller is None:
            raise ApiError(self._contract.auth_refusal_status, "UNAUTHORIZED", "a valid session cookie is needed")
        if request.method not in _SAFE_METHODS:
            self.check_origin(request)
        return caller

    def check_origin(self, request: web.Request) -> None:
        """Raises ApiError 403 when a page of another origin sent this request."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not origin_allowed(origin, scheme=request.scheme, host=request.host, allowed=self._allowed_origins):
            raise ApiError(403, "FOREIGN_ORIGIN", "pages of this origin may not use this server (--allowed-origin)")

    def counted(self, response: web.Response, method: str, path: str) -> web.Response:
        """The same response, counted."""
        self._metrics.requests[method, path, response.status] += 1
        return response

    def answer(self, error: Exception, method: str, path: str) -> web.Response:
        """A failure as JSON; unexpected ones are logged and told to nobody. Re-raises a lost connection."""
        match error:
            case ApiError():
                return error.response()
            case UnknownFeatureError() | UnknownUserError():
                what = "feature" if isinstance(error, UnknownFeatureError) else "user"
                return ApiError(404, "NOT_FOUND", f"there is no {what} with this id").response()
            case web.RequestPayloadError():
                return ApiError(400, "INVALID_BODY", "the body ended early or its encoding is broken").response()
            case ConnectionError():
                raise error
            case StoreError():
                now = time.monotonic()
                if now >= self._quiet_until:
                    self._quiet_until = now + _QUIET_SECONDS
                    log.error("%s; requests are answered with 500 until it recovers", error)
            case _:
                log.error("%s %s failed", method, path, exc_info=error)
        code = self._contract.errors.server_error
        return ApiError(500, code, "the server failed; your request was not carried out").response()
