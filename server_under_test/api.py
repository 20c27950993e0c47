"""The HTTP routes: sign-in, features and votes for everyone signed in, edits and session control for administrators.

One rule holds throughout: the store commits first and the hub hears of it after, so nothing is broadcast that did not
happen, and a refused request broadcasts nothing. Requests leave nothing behind in memory.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Set
from typing import Literal

from aiohttp import hdrs, web

from schemas import Contract
from server_under_test import bodies
from server_under_test.auth import CookieJar, SignInLimiter, new_id, new_token
from server_under_test.errors import ApiError, bad_body, json_response
from server_under_test.gate import Gate, Handler, SignedInHandler
from server_under_test.hub import Hub
from server_under_test.identity import Identity
from server_under_test.metrics import Metrics
from server_under_test.passwords import DECOY, verify_password
from server_under_test.settings import Settings
from server_under_test.store import Account, SessionRow, Store, VoteConflictError, iso_time
from server_under_test.upgrade import accept

__all__ = ["Api"]

# Lengths in characters; ours, the contract has no word on them.
_TITLE, _DESCRIPTION, _ID, _EMAIL, _PASSWORD = 200, 5000, 64, 254, 128
_HANDSHAKE_CODES = {426: "UPGRADE_REQUIRED", 503: "UNAVAILABLE"}
_ROLES = ("regular", "admin")


class Api:
    """All routes over one store and one hub."""

    def __init__(self, settings: Settings, contract: Contract, store: Store, hub: Hub, cookies: CookieJar, metrics: Metrics) -> None:
        self._settings = settings
        self._contract = contract
        self._store = store
        self._hub = hub
        self._cookies = cookies
        self._metrics = metrics
        self._gate = Gate(contract, store, cookies, metrics, settings.allowed_origins)
        self._sign_ins = SignInLimiter(settings.sign_in_attempts, settings.sign_in_window)
        self._stopping = False
        self._add, self._remove = contract.messages.vote_actions

    def stop_accepting(self) -> None:
        """Refuse new sockets from now on: the server is going away."""
        self._stopping = True

    def application(self) -> web.Application:
        """The aiohttp application with every route."""
        app = web.Application(client_max_size=self._settings.body_bytes)
        feature = "/api/roadmap/features/{id}"
        signed_in: tuple[tuple[str, str, Literal["session", "admin"], SignedInHandler], ...] = (
            ("POST", f"{feature}/vote", "session", self._vote),
            ("DELETE", f"{feature}/vote", "session", self._unvote),
            ("GET", feature, "session", self._show_feature),
            ("PATCH", feature, "admin", self._edit_feature),
            ("DELETE", feature, "admin", self._delete_feature),
            ("GET", "/api/roadmap/features", "session", self._list_features),
            ("POST", "/api/roadmap/features", "admin", self._create_feature),
            ("GET", "/api/auth/get-session", "session", self._show_session),
            ("POST", "/api/auth/sign-out", "session", self._sign_out),
            ("POST", "/api/admin/sessions/revoke", "admin", self._revoke_sessions),
            ("PATCH", "/api/admin/users/{id}", "admin", self._edit_user),
        )
        public: tuple[tuple[str, str, Handler], ...] = (
            ("POST", "/api/auth/sign-in/email", self._sign_in),
            ("GET", "/healthz", self._health),
            ("GET", "/metrics", self._show_metrics),
        )
        gate, add_route = self._gate, app.router.add_route
        methods: dict[str, set[str]] = {self._contract.path: {"GET"}}
        add_route("GET", self._contract.path, self._socket)
        for method, path, access, handler in signed_in:
            methods.setdefault(path, set()).add(method)
            add_route(method, path, gate.signed_in(method, path, handler, access))
        for method, path, open_handler in public:
            methods.setdefault(path, set()).add(method)
            add_route(method, path, gate.public(method, path, open_handler))
        for path, allowed in methods.items():
            add_route("*", path, gate.public("other", path, _method_refuser(allowed)))
        add_route("*", "/{rest:.*}", gate.public("other", "unknown", _not_found))
        return app

    async def _json(
        self,
        request: web.Request,
        required: Mapping[str, bodies.Check],
        optional: Mapping[str, bodies.Check] | None = None,
    ) -> dict[str, object]:
        body = await bodies.read_json(request, self._settings.body_bytes)
        bodies.fields(body, required, optional)
        return body

    # Socket

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        path = self._contract.path
        try:
            identity = self._gate.caller(request)
            self._gate.check_origin(request)
            if self._stopping:
                raise ApiError(503, "UNAVAILABLE", "the server is shutting down; connect again later")
            return await accept(request, self._hub, identity)
        except web.HTTPException as refusal:
            headers = {name: value for name, value in refusal.headers.items() if name != hdrs.CONTENT_TYPE}
            code = _HANDSHAKE_CODES.get(refusal.status, "BAD_HANDSHAKE")
            response = ApiError(refusal.status, code, (refusal.text or "").strip(), headers).response()
        except Exception as error:
            response = self._gate.answer(error, "GET", path)
        return self._gate.counted(response, "GET", path)

    # Sessions

    async def _sign_in(self, request: web.Request) -> web.Response:
        self._gate.check_origin(request)
        wait = self._sign_ins.wait(request.remote or "", time.monotonic())
        if wait:
            code = self._contract.errors.rate_limit_exceeded
            headers = {"Retry-After": str(math.ceil(wait))}
            raise ApiError(429, code, f"too many sign-ins: try again in {wait:.1f} s", headers)
        body = await self._json(request, {"email": bodies.text(_EMAIL), "password": bodies.text(_PASSWORD)})
        account = self._store.account(str(body["email"]).lower())
        stored = DECOY if account is None else account.password_hash
        right = await asyncio.to_thread(verify_password, str(body["password"]), stored)
        if account is None or not right:
            raise ApiError(401, "INVALID_CREDENTIALS", "e-mail or password is wrong")
        token, lifetime = new_token(), self._settings.session_lifetime
        row = SessionRow(token, new_id(), account.id)
        self._store.add_sessions([row], expires_at=time.time() + lifetime, seeded=False)
        headers = {hdrs.SET_COOKIE: self._cookies.set_cookie(token, int(lifetime))}
        return json_response({"user": _user(account)}, headers=headers)

    async def _show_session(self, _request: web.Request, caller: Identity) -> web.Response:
        session = {"id": caller.session_id, "userId": caller.user_id, "expiresAt": iso_time(caller.expires_at)}
        return json_response({"session": session, "user": _user(self._store.user(caller.user_id))})

    async def _sign_out(self, _request: web.Request, caller: Identity) -> web.Response:
        self._store.end_sessions(session_id=caller.session_id)
        self._hub.session_ended(caller.session_id)
        return json_response({"success": True}, headers={hdrs.SET_COOKIE: self._cookies.clear_cookie()})

    async def _revoke_sessions(self, request: web.Request, _caller: Identity) -> web.Response:
        """`{sessionId}` or `{userId}`; with `push: false` the hub is not told and finds out at re-validation."""
        one_id = bodies.text(_ID)
        body = await self._json(request, {}, {"sessionId": one_id, "userId": one_id, "push": bodies.flag})
        if ("sessionId" in body) == ("userId" in body):
            raise bad_body("exactly one of sessionId and userId is needed")
        if "sessionId" in body:
            ended = self._store.end_sessions(session_id=str(body["sessionId"]))
        else:
            ended = self._store.end_sessions(user_id=str(body["userId"]))
        if not ended:
            raise ApiError(404, "NOT_FOUND", "there is no session to revoke")
        if body.get("push", True):
            for session_id in ended:
                self._hub.session_ended(session_id)
        return json_response({"revoked": ended})

    async def _edit_user(self, request: web.Request, _caller: Identity) -> web.Response:
        body = await self._json(request, {"role": bodies.one_of(_ROLES)})
        user_id = request.match_info["id"]
        self._store.set_admin(user_id, body["role"] == "admin")
        return json_response({"user": _user(self._store.user(user_id))})

    # Features and votes

    async def _list_features(self, _request: web.Request, caller: Identity) -> web.Response:
        return json_response({"features": self._store.features(caller.user_id)})

    async def _show_feature(self, request: web.Request, caller: Identity) -> web.Response:
        return json_response(self._store.feature(request.match_info["id"], caller.user_id))

    async def _create_feature(self, request: web.Request, caller: Identity) -> web.Response:
        statuses = self._contract.messages.feature_status
        checks = {"title": bodies.text(_TITLE), "description": bodies.text(_DESCRIPTION, empty=True)}
        body = await self._json(request, checks, {"status": bodies.one_of(statuses)})
        feature_id = new_id()
        row = (feature_id, str(body["title"]), str(body["description"]), str(body.get("status", statuses[0])))
        self._store.add_features([row], creator_id=caller.user_id, now=time.time())
        shown = self._store.feature(feature_id, caller.user_id)
        self._hub.feature_created({name: value for name, value in shown.items() if name != "hasVoted"})
        return json_response(shown, 201)

    async def _edit_feature(self, request: web.Request, caller: Identity) -> web.Response:
        checks = {
            "title": bodies.text(_TITLE),
            "description": bodies.text(_DESCRIPTION, empty=True),
            "status": bodies.one_of(self._contract.messages.feature_status),
        }
        body = await self._json(request, {}, checks)
        if not body:
            raise bad_body(f"at least one of {', '.join(checks)} is needed")
        feature_id = request.match_info["id"]
        wanted = {name: str(value) for name, value in body.items()}
        changes = self._store.update_feature(feature_id, wanted, time.time())
        if changes:
            self._hub.feature_updated(feature_id, changes)
        return json_response(self._store.feature(feature_id, caller.user_id))

    async def _delete_feature(self, request: web.Request, _caller: Identity) -> web.Response:
        feature_id = request.match_info["id"]
        self._store.delete_feature(feature_id)
        self._hub.feature_deleted(feature_id)
        return json_response({"id": feature_id})

    async def _vote(self, request: web.Request, caller: Identity) -> web.Response:
        feature_id = request.match_info["id"]
        try:
            count = self._store.add_vote(feature_id, caller.user_id)
        except VoteConflictError:
            raise ApiError(409, "ALREADY_VOTED", "you have voted for this feature already") from None
        return self._voted(feature_id, count, caller, self._add, True)

    async def _unvote(self, request: web.Request, caller: Identity) -> web.Response:
        feature_id = request.match_info["id"]
        try:
            count = self._store.remove_vote(feature_id, caller.user_id)
        except VoteConflictError:
            raise ApiError(409, "NOT_VOTED", "you have not voted for this feature") from None
        return self._voted(feature_id, count, caller, self._remove, False)

    def _voted(self, feature_id: str, count: int, caller: Identity, action: str, has_voted: bool) -> web.Response:
        self._metrics.votes[action] += 1
        self._hub.vote(feature_id, count, caller.user_id, caller.session_id, action)
        return json_response({"featureId": feature_id, "voteCount": count, "hasVoted": has_voted})

    # Operation

    async def _health(self, _request: web.Request) -> web.Response:
        self._store.fact("seeded")  # a database that cannot be read is not healthy
        return json_response({"status": "stopping" if self._stopping else "ok", "connections": self._hub.connections})

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        body, content_type = self._metrics.page()
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


def _user(account: Account) -> dict[str, object]:
    role = "admin" if account.admin else "regular"
    return {"id": account.id, "name": account.name, "email": account.email, "role": role}


def _method_refuser(allowed: Set[str]) -> Handler:
    methods = ", ".join(sorted(allowed))

    async def refuse(_request: web.Request) -> web.Response:
        raise ApiError(405, "METHOD_NOT_ALLOWED", f"allowed here: {methods}", {hdrs.ALLOW: methods})

    return refuse


async def _not_found(_request: web.Request) -> web.Response:
    raise ApiError(404, "NOT_FOUND", "there is no such page; the API lives under /api")
