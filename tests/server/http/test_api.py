"""The HTTP API of a real server, and what its sockets hear of it.

Absence is proven with a fence: after the thing that must not be broadcast comes one that must, and it arrives first.
"""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from schemas import load_contract
from tests.server.conftest import Launcher, Running

CONTRACT = load_contract()
WAIT = 30.0
FIELDS = {"id", "title", "description", "status", "voteCount", "createdById", "createdBy", "createdAt", "updatedAt"}
NEW = {"title": "A feature of the tests", "description": "Says nothing."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for this module. Tests that end sessions or change roles use a user of their own, from 5 up."""
    with Launcher(tmp_path_factory.mktemp("api")) as launch:
        yield launch(allowed_origin="https://app.example.org", revalidate_every=3600)


def cookie(session: Mapping[str, str]) -> dict[str, str]:
    return {"Cookie": f"{session['name']}={session['value']}"}


@contextmanager
def socket(server: Running, session: Mapping[str, str]) -> Iterator[ClientConnection]:
    with connect(server.ws_url, additional_headers=cookie(session), open_timeout=WAIT, proxy=None) as opened:
        yield opened


def heard(opened: ClientConnection) -> dict[str, Any]:
    """The next message that is not a heartbeat."""
    while True:
        message: dict[str, Any] = json.loads(opened.recv(timeout=WAIT))
        if message["type"] != "PING":
            return message


def fresh_feature(server: Running) -> str:
    """A feature that no other test knows."""
    answer = server.call("POST", "/api/roadmap/features", server.session("admin"), NEW)
    assert answer.status == 201
    feature_id = answer.body["id"]
    assert isinstance(feature_id, str)
    return feature_id


# Features


def test_the_list_has_every_feature_with_the_contracts_fields(server: Running) -> None:
    features = server.call("GET", "/api/roadmap/features", server.session()).body["features"]
    assert len(features) >= 12
    assert all(set(each) == FIELDS | {"hasVoted"} and set(each["createdBy"]) == {"name"} for each in features)
    assert {each["status"] for each in features} == set(CONTRACT.messages.feature_status)
    assert all(re.fullmatch(r"cl[a-z0-9]{23}", each["id"]) for each in features)
    one = server.call("GET", f"/api/roadmap/features/{features[0]['id']}", server.session()).body
    assert one == features[0]


def test_create_edit_and_delete_are_shown_and_told(server: Running) -> None:
    admin = server.session("admin")
    with socket(server, admin) as tab:
        made = server.call("POST", "/api/roadmap/features", admin, {**NEW, "status": "PLANNED"})
        assert made.status == 201
        assert set(made.body) == FIELDS | {"hasVoted"}
        assert (made.body["voteCount"], made.body["createdById"]) == (0, admin["userId"])
        told = heard(tab)
        assert told["type"] == "FEATURE_CREATED"
        assert told["feature"] == {name: made.body[name] for name in FIELDS}
        assert made.body["createdAt"] <= made.body["updatedAt"] <= told["timestamp"]

        path = f"/api/roadmap/features/{made.body['id']}"
        edited = server.call("PATCH", path, admin, {"title": NEW["title"], "status": "SHIPPED"})
        assert edited.body == {**made.body, "status": "SHIPPED", "updatedAt": edited.body["updatedAt"]}
        told = heard(tab)
        assert (told["type"], told["changes"]) == ("FEATURE_UPDATE", {"status": "SHIPPED"})

        silent = server.call("PATCH", path, admin, {"status": "SHIPPED"})
        assert (silent.status, silent.body) == (200, edited.body)
        assert server.call("DELETE", path, admin).body == {"id": made.body["id"]}
        told = heard(tab)  # the fence: nothing came of the edit that changed nothing
        assert (told["type"], told["featureId"]) == ("FEATURE_DELETED", made.body["id"])
        assert server.call("GET", path, admin).status == 404


def test_a_vote_counts_once_and_a_refused_one_is_not_told(server: Running) -> None:
    feature, voter, watcher = fresh_feature(server), server.session(user=0), server.session(user=1)
    path = f"/api/roadmap/features/{feature}"
    with socket(server, watcher) as tab:
        voted = server.call("POST", f"{path}/vote", voter)
        assert (voted.status, voted.body) == (200, {"featureId": feature, "voteCount": 1, "hasVoted": True})
        told = heard(tab)
        assert (told["type"], told["voteCount"], told["action"]) == ("VOTE_UPDATE", 1, "add")
        assert told["voterId"] == voter["userId"]

        again = server.call("POST", f"{path}/vote", voter)
        assert (again.status, again.code) == (409, "ALREADY_VOTED")
        assert server.call("GET", path, voter).body["hasVoted"] is True
        assert server.call("GET", path, watcher).body["hasVoted"] is False

        gone = server.call("DELETE", f"{path}/vote", voter)
        assert (gone.status, gone.body) == (200, {"featureId": feature, "voteCount": 0, "hasVoted": False})
        told = heard(tab)  # the fence: the refused vote was not told
        assert (told["voteCount"], told["action"]) == (0, "remove")

        never = server.call("DELETE", f"{path}/vote", voter)
        assert (never.status, never.code) == (409, "NOT_VOTED")
        assert server.call("POST", f"{path}/vote", server.session("admin")).body["voteCount"] == 1
        told = heard(tab)
        assert (told["voteCount"], told["voterId"]) == (1, server.session("admin")["userId"])


# Who may do what

EVERYONE = [
    ("GET", "/api/roadmap/features", None),
    ("GET", "/api/roadmap/features/nope", None),
    ("POST", "/api/roadmap/features/nope/vote", None),
    ("DELETE", "/api/roadmap/features/nope/vote", None),
    ("GET", "/api/auth/get-session", None),
    ("POST", "/api/auth/sign-out", None),
]
ADMINS = [
    ("POST", "/api/roadmap/features", NEW),
    ("PATCH", "/api/roadmap/features/nope", {"title": "x"}),
    ("DELETE", "/api/roadmap/features/nope", None),
    ("POST", "/api/admin/sessions/revoke", {"userId": "nope"}),
    ("PATCH", "/api/admin/users/nope", {"role": "admin"}),
]


@pytest.mark.parametrize(("method", "path", "body"), [*EVERYONE, *ADMINS, ("GET", CONTRACT.path, None)])
def test_without_a_valid_session_nothing_is_allowed(server: Running, method: str, path: str, body: object) -> None:
    good = server.session()
    flipped = {**good, "value": ("a" if good["value"][0] != "a" else "b") + good["value"][1:]}
    for session in (None, flipped, {**good, "name": "session"}):
        answer = server.call(method, path, session, body)
        assert (answer.status, answer.code) == (CONTRACT.auth_refusal_status, "UNAUTHORIZED")


@pytest.mark.parametrize(("method", "path", "body"), ADMINS)
def test_regular_users_are_refused_what_administrators_do(server: Running, method: str, path: str, body: object) -> None:
    answer = server.call(method, path, server.session(), body)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")


@pytest.mark.parametrize(("method", "path", "body"), [EVERYONE[1], EVERYONE[2], EVERYONE[3], *ADMINS[1:]])
def test_what_does_not_exist_is_not_found(server: Running, method: str, path: str, body: object) -> None:
    answer = server.call(method, path, server.session("admin"), body)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")


def test_foreign_pages_are_refused_and_the_servers_own_are_not(server: Running) -> None:
    session = server.session(user=4)
    path = f"/api/roadmap/features/{fresh_feature(server)}/vote"
    foreign = server.call("POST", path, session, headers={"Origin": "https://evil.example"})
    assert (foreign.status, foreign.code) == (403, "FOREIGN_ORIGIN")
    assert server.call("POST", path, session, headers={"Origin": server.base_url}).status == 200
    assert server.call("DELETE", path, session, headers={"Origin": "https://app.example.org"}).status == 200


@pytest.mark.parametrize("origin", [None, "own", "https://app.example.org"])
def test_pages_that_may_open_a_socket(server: Running, origin: str | None) -> None:
    headers = cookie(server.session()) | ({} if origin is None else {"Origin": origin.replace("own", server.base_url)})
    with connect(server.ws_url, additional_headers=headers, proxy=None, open_timeout=WAIT) as opened:
        assert opened.ping().wait(WAIT)


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_pages_that_may_not_open_a_socket(server: Running, origin: str) -> None:
    headers = cookie(server.session()) | {"Origin": origin}
    with pytest.raises(InvalidStatus) as caught:
        connect(server.ws_url, additional_headers=headers, proxy=None, open_timeout=WAIT)
    assert caught.value.response.status_code == 403


def test_a_plain_get_on_the_socket_is_told_to_upgrade(server: Running) -> None:
    answer = server.call("GET", CONTRACT.path, server.session())
    assert (answer.status, answer.code) == (426, "UPGRADE_REQUIRED")
    assert answer.headers["Upgrade"] == "websocket"


# Bodies


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff", "JSON"),
        ([], "object"),
        ({"description": "x"}, "title is missing"),
        ({"title": "x"}, "description is missing"),
        ({**NEW, "title": 1}, "title must be"),
        ({**NEW, "title": "  "}, "title must be"),
        ({**NEW, "title": "x" * 201}, "title must be"),
        ({**NEW, "description": None}, "description must be"),
        ({**NEW, "status": "DONE"}, "status must be one of TODO"),
        ({**NEW, "statu": "TODO"}, "'statu' is not a field"),
        (b'{"title": "\\ud800", "description": ""}', "JSON"),
    ],
)
def test_a_bad_body_is_refused_with_the_name_of_the_field(server: Running, body: object, word: str) -> None:
    answer = server.call("POST", "/api/roadmap/features", server.session("admin"), body)
    assert (answer.status, answer.code) == (400, "INVALID_BODY")
    assert word in answer.body["error"]["message"]
    assert set(answer.body["error"]) == {"code", "message"}


def test_an_edit_needs_something_to_change(server: Running) -> None:
    path = f"/api/roadmap/features/{fresh_feature(server)}"
    for body in ({}, {"voteCount": 99}, {"status": None}):
        assert server.call("PATCH", path, server.session("admin"), body).status == 400


def test_a_body_past_the_limit_is_refused(server: Running) -> None:
    body = {"title": "x", "description": "x" * 70_000}
    answer = server.call("POST", "/api/roadmap/features", server.session("admin"), body)
    assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")


def test_a_body_past_the_limit_is_refused_even_when_its_length_is_not_told(server: Running) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=WAIT)
    try:
        chunks = iter([b"x" * 10_000] * 7)
        connection.request("POST", "/api/roadmap/features", chunks, cookie(server.session("admin")), encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "BODY_TOO_LARGE")
    finally:
        connection.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["title", "description", "status", "x"]), json_values) | json_values)
def test_no_body_makes_the_server_fail(server: Running, body: object) -> None:
    path = f"/api/roadmap/features/{'nope'}"
    answer = server.call("PATCH", path, server.session("admin"), body)
    assert answer.status in {400, 404}


def test_unknown_pages_and_methods(server: Running) -> None:
    assert server.call("GET", "/api/nothing").code == "NOT_FOUND"
    wrong = server.call("PUT", "/api/roadmap/features", server.session(), {})
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, POST")
    assert server.call("POST", CONTRACT.path, server.session()).status == 405


# Sessions


def accounts(server: Running) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads((server.state_dir / "accounts.json").read_text())
    return listed


def test_sign_in_use_sign_out_and_the_limit(start_server: Launcher) -> None:
    server = start_server(sign_in_attempts=5, sign_in_window=600)
    account = next(each for each in accounts(server) if each["role"] == "admin")
    entry = {"email": account["email"].upper(), "password": account["password"]}
    answer = server.call("POST", "/api/auth/sign-in/email", body=entry)
    assert answer.status == 200
    assert answer.body["user"] == {
        "id": account["userId"], "name": account["userName"], "email": account["email"], "role": "admin"
    }  # fmt: skip
    name, _, rest = answer.headers["Set-Cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert name == CONTRACT.cookie
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    session = {"name": name, "value": value}
    shown = server.call("GET", "/api/auth/get-session", session).body
    assert shown["user"]["id"] == shown["session"]["userId"] == account["userId"]
    with socket(server, session) as tab:
        out = server.call("POST", "/api/auth/sign-out", session)
        assert out.status == 200
        assert "Max-Age=0" in out.headers["Set-Cookie"]
        assert_session_ended(tab)
    assert server.call("GET", "/api/auth/get-session", session).status == 401

    for wrong in ({**entry, "password": "wrong"}, {**entry, "email": "nobody@roadmap.test"}):
        refused = server.call("POST", "/api/auth/sign-in/email", body=wrong)
        assert (refused.status, refused.code) == (401, "INVALID_CREDENTIALS")
        assert "Set-Cookie" not in refused.headers
    assert server.call("POST", "/api/auth/sign-in/email", body={"email": "x"}).status == 400
    foreign = server.call("POST", "/api/auth/sign-in/email", body=entry, headers={"Origin": "https://evil.example"})
    assert foreign.status == 403
    assert server.call("POST", "/api/auth/sign-in/email", body=entry).status == 200
    too_many = server.call("POST", "/api/auth/sign-in/email", body=entry)
    assert (too_many.status, too_many.code) == (429, CONTRACT.errors.rate_limit_exceeded)
    assert 1 <= int(too_many.headers["Retry-After"]) <= 600
    log = server.log.read_text()
    assert value not in log
    assert account["password"] not in log


def assert_session_ended(tab: ClientConnection) -> None:
    """The socket is told and then closed as the contract says."""
    message = heard(tab)
    assert (message["type"], message["code"]) == ("ERROR", CONTRACT.errors.session_expired)
    with pytest.raises(ConnectionClosed) as caught:
        tab.recv(timeout=WAIT)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == CONTRACT.close.session_invalid


def test_revoking_with_push_ends_sockets_at_once_and_only_the_right_ones(server: Running) -> None:
    admin, first, second = server.session("admin"), server.session(user=5), server.session(user=5, number=1)
    with socket(server, first) as revoked, socket(server, second) as other:
        answer = server.call("POST", "/api/admin/sessions/revoke", admin, {"sessionId": first["sessionId"]})
        assert answer.body == {"revoked": [first["sessionId"]]}
        assert_session_ended(revoked)
        assert server.call("GET", "/api/auth/get-session", first).status == 401
        server.call("POST", f"/api/roadmap/features/{fresh_feature(server)}/vote", admin)
        assert heard(other)["type"] == "VOTE_UPDATE"
        answer = server.call("POST", "/api/admin/sessions/revoke", admin, {"userId": first["userId"]})
        assert answer.body == {"revoked": [second["sessionId"]]}
        assert_session_ended(other)


def test_revoking_without_push_leaves_the_socket_for_revalidation(server: Running) -> None:
    admin, session = server.session("admin"), server.session(user=6)
    with socket(server, session) as tab:
        body = {"sessionId": session["sessionId"], "push": False}
        assert server.call("POST", "/api/admin/sessions/revoke", admin, body).status == 200
        assert server.call("POST", f"/api/roadmap/features/{fresh_feature(server)}/vote", admin).status == 200
        assert heard(tab)["type"] == "VOTE_UPDATE"
    with pytest.raises(InvalidStatus) as caught:
        connect(server.ws_url, additional_headers=cookie(session), proxy=None, open_timeout=WAIT)
    assert caught.value.response.status_code == CONTRACT.auth_refusal_status


def test_revalidation_finds_a_session_that_was_revoked_in_silence(start_server: Launcher) -> None:
    server = start_server(revalidate_every=1)
    session = server.session()
    with socket(server, session) as tab:
        body = {"userId": session["userId"], "push": False}
        assert server.call("POST", "/api/admin/sessions/revoke", server.session("admin"), body).status == 200
        assert_session_ended(tab)


@pytest.mark.parametrize("body", [{}, {"sessionId": "a", "userId": "b"}, {"sessionId": 1}, {"userId": "a", "push": "no"}])
def test_revoking_needs_exactly_one_target(server: Running, body: object) -> None:
    assert server.call("POST", "/api/admin/sessions/revoke", server.session("admin"), body).status == 400


def test_a_role_can_be_changed(server: Running) -> None:
    admin, user = server.session("admin"), server.session(user=7)
    path = f"/api/admin/users/{user['userId']}"
    assert server.call("PATCH", path, admin, {"role": "owner"}).status == 400
    assert server.call("PATCH", path, admin, {"role": "admin"}).body["user"]["role"] == "admin"
    assert server.call("POST", "/api/roadmap/features", user, NEW).status == 201
    assert server.call("PATCH", path, admin, {"role": "regular"}).body["user"]["role"] == "regular"
    assert server.call("POST", "/api/roadmap/features", user, NEW).status == 403


def test_an_expired_session_is_no_session(server: Running) -> None:
    session = server.session(user=8)
    assert server.call("GET", "/api/auth/get-session", session).status == 200
    other = sqlite3.connect(server.state_dir / "roadmap.db", isolation_level=None, timeout=WAIT)
    try:
        changed = other.execute("UPDATE sessions SET expires_at = ? WHERE id = ?", (time.time(), session["sessionId"]))
        assert changed.rowcount == 1
    finally:
        other.close()
    assert server.call("GET", "/api/auth/get-session", session).status == 401


# Operation


def test_health_and_metrics_tell_what_happened(server: Running) -> None:
    with socket(server, server.session()):
        health = server.call("GET", "/healthz")
        assert (health.status, health.body["status"]) == (200, "ok")
        assert health.body["connections"] >= 1
        page = server.call("GET", "/metrics").body
    assert re.search(r"^roadmap_connections [1-9]", page, re.MULTILINE)
    assert 'roadmap_http_requests_total{method="GET",route="/healthz",status="200"}' in page
    assert "process_resident_memory_bytes" in page
