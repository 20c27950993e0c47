"""Sessions by signing in: as many accounts as are asked for, no faster than the target allows, kept once they are had.

No error of this room shows a cookie, a password or what a target answered at sign-in.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import SecretStr

from harness.errors import LoginRefused, TargetUnreachable
from harness.target.hook import PreparedRequest, lookup
from harness.target.http import HttpAnswer, HttpClient, NoAnswerError
from harness.target.session import Session, cookie_problem
from harness.target.sources import distinct
from harness.target.text import Json, Template, fill_json

__all__ = ["Login", "LoginPace", "LoginSource"]

_TRIES = 5  # sign-ins that the target may put off before that counts as a refusal
_LONGEST = 60.0  # seconds of patience that a target may ask for


class LoginPace:
    """At most `attempts` sign-ins in any `window` seconds, counted from the end of each. Takes `now`, never sleeps."""

    def __init__(self, attempts: int, window: float) -> None:
        self._window = window
        self._ended: deque[float] = deque(maxlen=attempts)
        self._attempts = attempts
        self._not_before = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next sign-in may begin."""
        until = self._not_before
        if len(self._ended) == self._attempts:
            until = max(until, self._ended[0] + self._window)
        return max(0.0, until - now)

    def ended(self, now: float, retry_after: float = 0.0) -> None:
        """A sign-in ended at `now`; the target asked for `retry_after` seconds of patience."""
        self._ended.append(now)
        self._not_before = now + retry_after


@dataclass(frozen=True, slots=True)
class Login:
    """How to sign in: the request with {email} and {password}, and where to find who that is: in the answer (user_id, user_name), else
    in what `lookup` answers to the session (session_id, lookup_user_id, lookup_user_name).
    """

    where: str
    base_url: str
    cookie: str
    method: str
    path: str
    body: Json
    headers: Mapping[str, Template]
    expect: tuple[int, ...]
    attempts: int
    window: float
    user_id: str
    user_name: str
    lookup: str
    session_id: str
    lookup_user_id: str
    lookup_user_name: str
    common: Mapping[str, str] = field(repr=False)
    """Headers of every request to this target."""


@dataclass(frozen=True, slots=True)
class _Account:
    email: str
    password: SecretStr
    role: str


class LoginSource:
    """Signs in as many accounts as are asked for, no faster than the target allows, `per_user` times each."""

    def __init__(
        self,
        login: Login,
        accounts: Iterable[tuple[str, SecretStr, str]],
        per_user: int,
        client: Callable[[], HttpClient],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """accounts: (e-mail, password, role). client: makes the HTTP client, when it is needed."""
        rows = [_Account(*account) for account in accounts]
        self._plan = rows * per_user
        self._login, self._client, self._sleep = login, client, sleep
        self._pace = LoginPace(login.attempts, login.window)
        self._lock = threading.Lock()
        self._have: dict[int, Session] = {}

    def take(self, count: int, role: str | None) -> list[Session]:
        """Raises LoginRefused, TargetUnreachable or UsageError at the first account that cannot be signed in."""
        with self._lock:
            wanted = [place for place, account in enumerate(self._plan) if role is None or account.role == role][:count]
            missing = [place for place in wanted if place not in self._have]
            if missing:
                client = self._client()
                try:
                    for place in missing:
                        self._have[place] = self._sign_in(self._plan[place], client)
                finally:
                    client.close()
            return distinct(self._have[place] for place in wanted)

    def more(self) -> str:
        return "add accounts to sessions.users, or raise per_user to sign each in several times"

    def _sign_in(self, account: _Account, client: HttpClient) -> Session:
        login = self._login
        url = login.path if "://" in login.path else login.base_url + login.path
        known = {"email": account.email, "password": account.password.get_secret_value()}
        headers = {name: template.fill(known) for name, template in login.headers.items()}
        headers = {**login.common, "Content-Type": "application/json", "Accept": "application/json", **headers}
        request = PreparedRequest(login.method, url, headers, orjson.dumps(fill_json(login.body, known)))
        for attempt in range(_TRIES):
            self._sleep(self._pace.wait(time.monotonic()))
            answer = _sent(client, request, login)
            put_off = answer.status == 429 and attempt + 1 < _TRIES
            self._pace.ended(time.monotonic(), _patience(answer, login.window) if put_off else 0.0)
            if not put_off:
                break
        if answer.status not in login.expect:
            raise self._refused(account, answer.status)
        return self._session(account, answer, client)

    def _refused(self, account: _Account, status: int) -> LoginRefused:
        do = {
            404: "check sessions.path",
            429: "lower sessions.attempts or raise sessions.window",
        }.get(status, "check the e-mail, and the variable that holds its password")
        if status >= 500:
            do = "look into the target's log"
        wanted = " or ".join(map(str, self._login.expect))
        what = f"signing in as {account.email} was answered with HTTP {status} where {wanted} is expected"
        return LoginRefused(what, self._login.where, do)

    def _session(self, account: _Account, answer: HttpAnswer, client: HttpClient) -> Session:
        login = self._login
        name, value = _cookie(answer, login.cookie)
        if name is None or value is None:
            what = f"signing in as {account.email} was answered with HTTP {answer.status} but set no cookie {login.cookie}"
            raise LoginRefused(what, login.where, "give the cookie's name with cookie")
        problem = cookie_problem(name, value)
        if problem is not None:
            raise LoginRefused(f"{problem} (as the target set it for {account.email})", login.where, "mend the target")
        data = _json(answer.body)
        session = Session(name, SecretStr(value), account.role, _text(data, login.user_id), _text(data, login.user_name))
        if not login.lookup:
            return session
        headers = {**login.common, "Accept": "application/json", "Cookie": session.cookie_header()}
        try:
            seen = client.send(PreparedRequest("GET", login.base_url + login.lookup, headers, None))
        except NoAnswerError:
            return session
        told = _json(seen.body) if seen.status == 200 else None
        return dataclasses.replace(
            session,
            user_id=session.user_id or _text(told, login.lookup_user_id),
            user_name=session.user_name or _text(told, login.lookup_user_name),
            session_id=_text(told, login.session_id),
        )


def _sent(client: HttpClient, request: PreparedRequest, login: Login) -> HttpAnswer:
    try:
        return client.send(request)
    except NoAnswerError as error:
        do = f"is the server running? check base_url in {login.where.partition(':')[0]}"
        raise TargetUnreachable(f"signing in brought no answer: {error.problem}", request.url, do) from None


def _patience(answer: HttpAnswer, window: float) -> float:
    for name in ("Retry-After", "X-Retry-After"):
        text = (answer.headers.get(name) or "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text), _LONGEST)
    return window


def _cookie(answer: HttpAnswer, name: str) -> tuple[str | None, str | None]:
    """Name and value, verbatim, of the session cookie that an answer sets; over TLS its name may carry a prefix."""
    names = (name, f"__Secure-{name}", f"__Host-{name}")
    for line in answer.headers.all("Set-Cookie"):
        pair = line.partition(";")[0]
        key, equals, value = pair.partition("=")
        if equals and key.strip() in names and value.strip():
            return key.strip(), value.strip()
    return None, None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(data: Any, path: str) -> str | None:
    try:
        value = lookup(data, path)
    except KeyError:
        return None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
