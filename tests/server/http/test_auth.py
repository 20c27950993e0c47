"""Cookies: what was signed verifies, what was touched does not, and the request's first cookie of the name decides."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.auth import CookieJar, SignInLimiter, new_id, new_token, origin_allowed

NAME = load_contract().cookie
SECRET = "a secret of the tests"
JAR = CookieJar(NAME, SECRET, secure=False)

tokens = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64)
other_names = st.text(string.ascii_letters + "_-.", min_size=1).filter(lambda name: name != NAME)
other_values = st.text(string.ascii_letters + string.digits + '%."=_-', max_size=20)
others = st.lists(st.tuples(other_names, other_values), max_size=6)


def test_the_signature_is_the_one_better_auth_makes() -> None:
    digest = hmac.new(SECRET.encode(), b"token", hashlib.sha256).digest()
    expected = "token." + base64.b64encode(digest).decode()
    assert unquote(JAR.sign("token")) == expected
    assert JAR.sign("token") == expected.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


@given(tokens)
def test_a_signed_token_verifies_encoded_or_not(token: str) -> None:
    assert JAR.verify(JAR.sign(token)) == token
    assert JAR.verify(unquote(JAR.sign(token))) == token


@given(tokens, st.booleans(), st.data())
def test_no_single_changed_byte_verifies(token: str, encoded: bool, data: st.DataObject) -> None:
    value = JAR.sign(token) if encoded else unquote(JAR.sign(token))
    at = data.draw(st.integers(0, len(value) - 1))
    changed = data.draw(st.characters(min_codepoint=0x21, max_codepoint=0xFF))
    assume(changed != value[at])
    assert JAR.verify(value[:at] + changed + value[at + 1 :]) is None


@given(tokens)
def test_no_letter_may_change_its_case(token: str) -> None:
    value = JAR.sign(token)
    assert "%3D" in value
    for at in range(len(value)):
        changed = value[:at] + value[at].swapcase() + value[at + 1 :]
        assert changed == value or JAR.verify(changed) is None


@given(tokens, st.data())
def test_no_byte_may_be_missing_or_added(token: str, data: st.DataObject) -> None:
    value = JAR.sign(token)
    at = data.draw(st.integers(0, len(value) - 1))
    assert JAR.verify(value[:at] + value[at + 1 :]) is None
    assert JAR.verify(value[:at] + data.draw(st.sampled_from(string.printable)) + value[at:]) is None


@given(st.text(max_size=80))
def test_garbage_is_refused_without_an_exception(value: str) -> None:
    assert JAR.verify(value) is None
    assert JAR.token([f"{NAME}={value}"]) is None


@given(tokens)
def test_another_secret_does_not_verify(token: str) -> None:
    assert CookieJar(NAME, SECRET + "!", secure=False).verify(JAR.sign(token)) is None


@given(tokens, others, others, st.booleans(), st.sampled_from(["; ", ";", " ; "]))
def test_the_cookie_is_found_among_others_in_any_order(
    token: str, before: list[tuple[str, str]], after: list[tuple[str, str]], quoted: bool, joint: str
) -> None:
    value = f'"{JAR.sign(token)}"' if quoted else JAR.sign(token)
    pairs = [*before, (NAME, value), *after]
    assert JAR.token([joint.join(f"{name}={each}" for name, each in pairs)]) == token
    assert JAR.token([f"{name}={each}" for name, each in pairs]) == token


@given(tokens, tokens)
def test_the_first_cookie_of_the_name_wins(first: str, second: str) -> None:
    assert JAR.token([f"{NAME}={JAR.sign(first)}; {NAME}={JAR.sign(second)}"]) == first
    assert JAR.token([f"{NAME}=nonsense; {NAME}={JAR.sign(second)}"]) is None


@pytest.mark.parametrize("header", ["", ";", "=", NAME, f"{NAME}=", f"x{NAME}={{}}", f"{NAME.upper()}={{}}", f"{NAME}x={{}}"])
def test_no_cookie_of_the_name_is_no_session(header: str) -> None:
    assert JAR.token([header.format(JAR.sign("token"))]) is None


def test_under_https_the_cookie_has_the_prefix_and_only_that_one_counts() -> None:
    secure = CookieJar(NAME, SECRET, secure=True)
    value = secure.sign("token")
    assert secure.name == f"__Secure-{NAME}"
    assert secure.token([f"{NAME}={value}"]) is None
    assert secure.token([f"{NAME}={value}; __Secure-{NAME}={value}"]) == "token"
    assert JAR.token([f"__Secure-{NAME}={value}"]) is None


@pytest.mark.parametrize("secure", [False, True])
def test_the_attributes_of_a_set_cookie_header(secure: bool) -> None:
    jar = CookieJar(NAME, SECRET, secure=secure)
    first, *attributes = jar.set_cookie("token", 60).split("; ")
    assert first == f"{jar.name}={quote(unquote(jar.sign('token')), safe='')}"
    expected = {"Max-Age=60", "Path=/", "HttpOnly", "SameSite=Lax"} | ({"Secure"} if secure else set())
    assert set(attributes) == expected
    assert jar.clear_cookie().startswith(f"{jar.name}=; Max-Age=0; ")


def test_the_secret_is_not_in_the_repr() -> None:
    assert SECRET not in repr(JAR)


def test_tokens_and_ids_are_fresh_and_shaped_as_documented() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len({new_id() for _ in range(100)}) == 100
    assert {len(new_token()), len(new_id())} == {32, 25}
    assert new_id().startswith("cl")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://localhost:3000", True),
        ("HTTP://LOCALHOST:3000", True),
        ("https://app.example.org", True),
        ("https://localhost:3000", False),
        ("http://localhost:3001", False),
        ("http://localhost", False),
        ("http://localhost:3000.evil.example", False),
        ("https://app.example.org.evil.example", False),
        ("http://evil.example/http://localhost:3000", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_origins(origin: str | None, allowed: bool) -> None:
    listed = frozenset({"https://app.example.org"})
    assert origin_allowed(origin, scheme="http", host="localhost:3000", allowed=listed) is allowed


@given(st.integers(1, 5), st.floats(0.1, 100), st.lists(st.floats(0, 50), max_size=40))
def test_never_more_than_the_allowed_sign_ins_start_in_one_window(attempts: int, window: float, gaps: list[float]) -> None:
    limiter, now, start, taken = SignInLimiter(attempts, window), 1000.0, None, 0
    for gap in gaps:
        now += gap
        if start is None or now >= start + window:
            start, taken = now, 0
        wait = limiter.wait("192.0.2.1", now)
        if taken < attempts:
            assert wait == 0
            taken += 1
        else:
            assert wait == pytest.approx(start + window - now)
            assert wait > 0


def test_addresses_are_limited_apart_and_old_ones_are_forgotten() -> None:
    limiter = SignInLimiter(1, 10.0)
    assert limiter.wait("192.0.2.1", 0.0) == 0
    assert limiter.wait("192.0.2.2", 0.0) == 0
    assert limiter.wait("192.0.2.1", 1.0) == pytest.approx(9.0)
    for number in range(5000):
        limiter.wait(f"2001:db8::{number:x}", 100.0 + number)
    assert len(limiter._seen) <= 1024
