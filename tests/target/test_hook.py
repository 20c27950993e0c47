"""Hooks as pure functions: the request they make from any value, and what they read from any answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from harness.errors import UsageError
from harness.target import HOOKS, Hook, Session, Target, load_profile
from harness.target.hook import lookup

BASIC = 'name = "t"\nbase_url = "http://h:1"\n[sessions]\nsource = "cookies-file"\npath = "none.json"\n'
SESSION = Session("better-auth.session_token", SecretStr("tok%2Fen.sig%3D"), "regular", "u1", "Ada", "s1")
ADMIN = Session("better-auth.session_token", SecretStr("admin.sig"), "admin", "u2", "Bo", "s2")


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Target:
    file = tmp_path_factory.mktemp("profile") / "target.toml"
    file.write_text(BASIC)
    return load_profile(file, {})


def with_hooks(tmp_path: Path, text: str) -> Target:
    file = tmp_path / "target.toml"
    file.write_text(BASIC + text)
    return load_profile(file, {"KEY": "sesame-open"})


def hook(target: Target, name: str) -> Hook:
    found = target.hook(name)
    assert found is not None
    return found


@pytest.mark.parametrize(("entry", "voted"), [({"mine": True}, True), ({"mine": False}, False), ({"mine": "yes"}, None), ({}, None)])
def test_where_a_list_tells_of_the_callers_vote_can_be_said(tmp_path: Path, entry: dict[str, object], voted: bool | None) -> None:
    target = with_hooks(tmp_path, '[hooks.list]\nitem_voted = "mine"\n')
    answer = hook(target, "list").read(200, orjson.dumps({"features": [{"id": "f1", "hasVoted": True, **entry}]}))
    assert [item.voted for item in answer.items] == [voted]


@given(feature=st.text(min_size=1, max_size=40))
def test_any_feature_id_stays_one_part_of_the_path(default: Target, feature: str) -> None:
    request = hook(default, "vote").prepare(SESSION, featureId=feature)
    parts = urlsplit(request.url)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("http", "h:1", "", "")
    middle = parts.path.removeprefix("/api/roadmap/features/").removesuffix("/vote")
    assert "/" not in middle
    assert unquote(middle) == feature


@given(title=st.text(max_size=50), description=st.text(max_size=50))
def test_any_text_arrives_in_the_body(default: Target, title: str, description: str) -> None:
    request = hook(default, "create").prepare(ADMIN, title=title, description=description)
    assert orjson.loads(request.body or b"") == {"title": title, "description": description}
    assert request.headers["Content-Type"] == "application/json"


def test_the_requests_of_the_bundled_server(default: Target) -> None:
    made = {
        name: hook(default, name).prepare(ADMIN, subject=SESSION, featureId="f", title="t", description="d", status="TODO", role="admin")
        for name in HOOKS
        if default.hook(name) is not None
    }
    assert {name: (request.method, urlsplit(request.url).path) for name, request in made.items()} == {
        "vote": ("POST", "/api/roadmap/features/f/vote"),
        "unvote": ("DELETE", "/api/roadmap/features/f/vote"),
        "create": ("POST", "/api/roadmap/features"),
        "update": ("PATCH", "/api/roadmap/features/f"),
        "delete": ("DELETE", "/api/roadmap/features/f"),
        "read": ("GET", "/api/roadmap/features/f"),
        "list": ("GET", "/api/roadmap/features"),
        "revoke": ("POST", "/api/admin/sessions/revoke"),
        "change_role": ("PATCH", "/api/admin/users/u1"),
    }
    assert orjson.loads(made["revoke"].body or b"") == {"sessionId": "s1"}
    assert orjson.loads(made["change_role"].body or b"") == {"role": "admin"}
    assert made["vote"].body is None
    assert all(request.headers["Cookie"] == ADMIN.cookie_header() for request in made.values())
    assert all(request.headers["Origin"] == "http://h:1" for request in made.values())


def test_the_cookie_is_sent_verbatim_and_shown_nowhere(default: Target) -> None:
    request = hook(default, "vote").prepare(SESSION, featureId="f")
    assert request.headers["Cookie"] == "better-auth.session_token=tok%2Fen.sig%3D"
    shown = repr(request) + str(request) + repr(SESSION) + str(SESSION) + repr(hook(default, "vote")) + repr(default)
    assert "tok%2Fen" not in shown
    assert SESSION.token() == "tok/en"


def test_a_patch_has_only_what_was_given(default: Target) -> None:
    request = hook(default, "update").prepare(ADMIN, featureId="f", status="SHIPPED", title=None)
    assert orjson.loads(request.body or b"") == {"status": "SHIPPED"}


def test_a_value_that_is_not_known_is_named(default: Target) -> None:
    with pytest.raises(UsageError, match=r"hooks\.vote: the hook needs \{featureId\}"):
        hook(default, "vote").prepare(SESSION)
    nobody = Session("c", SecretStr("v"), "regular")
    with pytest.raises(UsageError, match=r"\{userId\}"):
        hook(default, "change_role").prepare(ADMIN, subject=nobody, role="admin")


def test_headers_secrets_and_own_words(tmp_path: Path) -> None:
    target = with_hooks(
        tmp_path,
        """[hooks.vote]
        method = "PUT"
        path = "/v?f={featureId}"
        headers = { X-Key = "k ${ENV:KEY}", X-User = "{userId}" }
        body = { vote = { feature = "{featureId}", secret = "${ENV:KEY}", braces = "{{x}}" } }
        expect = [202]
        count = "data.votes.0.n"
        session = "none"
        """,
    )
    request = hook(target, "vote").prepare(SESSION, featureId="a&b c")
    assert (request.method, request.url) == ("PUT", "http://h:1/v?f=a%26b%20c")
    assert request.headers["X-Key"] == "k sesame-open"
    assert request.headers["X-User"] == "u1"
    assert "Cookie" not in request.headers
    assert orjson.loads(request.body or b"") == {"vote": {"feature": "a&b c", "secret": "sesame-open", "braces": "{x}"}}
    assert "sesame-open" not in repr(request) + repr(target) + repr(hook(target, "vote"))
    assert hook(target, "vote").read(202, b'{"data":{"votes":[{"n":7}]}}').count == 7


def test_a_header_cannot_be_broken_into_two(tmp_path: Path) -> None:
    target = with_hooks(tmp_path, '[hooks.vote]\nheaders = { X-F = "{featureId}" }\n')
    with pytest.raises(UsageError, match="line break"):
        hook(target, "vote").prepare(SESSION, featureId="a\r\nCookie: b")


def test_a_command_hook_has_arguments_and_no_request(tmp_path: Path) -> None:
    target = with_hooks(tmp_path, '[hooks.vote]\ncommand = ["vote", "--on={featureId}", "{userId}"]\ncount = "n"\n')
    vote = hook(target, "vote")
    assert vote.is_command
    assert vote.command(SESSION, featureId="a b; rm") == ["vote", "--on=a b; rm", "u1"]
    assert vote.read(0, b'{"n":3}').count == 3
    assert vote.read(2, b"").problem == "vote answered exit status 2 where 0 is expected"
    with pytest.raises(UsageError, match="is a command"):
        vote.prepare(SESSION, featureId="a")
    with pytest.raises(UsageError, match="is an HTTP call"):
        hook(target, "unvote").command(SESSION, featureId="a")


def test_a_hook_that_is_false_is_missing(tmp_path: Path) -> None:
    target = with_hooks(tmp_path, "[hooks]\nvote = false\n")
    assert target.hook("vote") is None
    assert target.hook("stop") is None
    assert target.hook("unvote") is not None
    with pytest.raises(ValueError, match="there is no hook 'cote'"):
        target.hook("cote")


@given(status=st.integers(0, 999), body=st.binary(max_size=60) | st.sampled_from([b'{"voteCount":5}', b"[]", b"null"]))
def test_any_answer_can_be_read(default: Target, status: int, body: bytes) -> None:
    for name in HOOKS:
        one = default.hook(name)
        if one is None:
            continue
        answer = one.read(status, body)
        assert answer.status == status
        assert answer.ok == (answer.problem is None)
        assert not answer.ok or status in one.expect


@pytest.mark.parametrize(
    ("name", "status", "body", "problem"),
    [
        ("vote", 409, {}, "vote answered HTTP 409 where 200 or 201 is expected"),
        ("read", 200, {"votes": 1}, "read: no count at 'voteCount' ('voteCount' is missing) in the answer"),
        ("read", 200, {"voteCount": "1"}, "read: count at 'voteCount' in the answer is \"1\", not a whole number"),
        ("read", 200, {"voteCount": True}, "read: count at 'voteCount' in the answer is true, not a whole number"),
        ("vote", 200, {"voteCount": 1.5}, "vote: count at 'voteCount' in the answer is 1.5, not a whole number"),
        ("create", 201, {"id": None}, "create: id at 'id' in the answer is null, not a text"),
        ("list", 200, {"features": {}}, "list: items at 'features' in the answer is not an array"),
        ("list", 200, {"features": [{}]}, "list: items at 'features' in the answer has an entry without 'id'"),
    ],
)
def test_what_an_answer_lacks_is_named(default: Target, name: str, status: int, body: Any, problem: str) -> None:
    answer = hook(default, name).read(status, orjson.dumps(body))
    assert (answer.ok, answer.problem) == (False, problem)


def test_what_answers_say(default: Target) -> None:
    assert hook(default, "vote").read(200, b'{"voteCount":43}').count == 43
    assert hook(default, "vote").read(200, b"{}").ok
    assert hook(default, "vote").read(200, b"not json").ok
    assert hook(default, "create").read(201, b'{"id":7}').id == "7"
    assert hook(default, "delete").read(204, b"").ok
    items = hook(default, "list").read(200, b'[{"id":"a","voteCount":2,"status":"TODO"},{"id":"b","voteCount":"x"}]').items
    assert [(item.id, item.count, item.status) for item in items] == [("a", 2, "TODO"), ("b", None, None)]
    assert not hook(default, "read").read(200, b"not json").ok


def test_dotted_paths() -> None:
    data = {"data": {"feature": {"id": "x"}}, "list": [{"n": 1}]}
    assert lookup(data, "data.feature.id") == "x"
    assert lookup(data, "list.0.n") == 1
    assert lookup(data, "") is data
    for path in ("data.nobody", "list.1", "list.x", "data.feature.id.more", "list.²"):
        with pytest.raises(KeyError):
            lookup(data, path)
