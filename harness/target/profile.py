"""The profile as types: which tables and keys a TOML file may have, what each may hold, and what holds when it is left
out.

Everything the bundled server offers is the default, so that a profile of a server with the same API has four lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError

__all__ = [
    "DEFAULT_HOOKS",
    "PLACEHOLDERS",
    "Account",
    "CommandHook",
    "CommandSessions",
    "FileSessions",
    "HttpHook",
    "LoginSessions",
    "Profile",
    "ResourcesTable",
    "Tls",
    "ToleranceTable",
    "checked",
]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1)]
Statuses = Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(strict=False, min_length=1)]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Caller = Literal["voter", "admin", "owner", "none"]
Role = Literal["regular", "admin"]
Word = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


_T = TypeVar("_T", bound=_Table)


class Profile(_Table):
    """The top level; its tables are checked one by one with the types below."""

    name: Word
    base_url: Word
    ws_path: str | None = None
    ws_url: str | None = None
    cookie: Word | None = None
    origin: str | None = None
    time_scale: Positive = 1.0
    headers: dict[str, str] = {}
    tls: dict[str, Any] = {}
    sessions: dict[str, Any]
    hooks: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    readings: dict[str, Any] = {}
    levels: dict[str, Any] = {}
    extra_error_codes: tuple[Word, ...] = Field(default=(), strict=False)
    limits: dict[str, Any] = {}
    tolerance: dict[str, Any] = {}


class Tls(_Table):
    ca_file: Word | None = None
    verify: bool = True


class Account(_Table):
    """One row of sessions.users; with `count`, {n} in the e-mail runs from `first`."""

    email: Word
    password: str | None = None
    password_env: Word | None = None
    role: Role = "regular"
    count: Annotated[int, Field(ge=1)] = 1
    first: int = 1


class LoginSessions(_Table):
    """Sign in over HTTP, `attempts` times in each `window` seconds: better-auth's own limit by default."""

    source: Literal["login"]
    users: Annotated[tuple[dict[str, Any], ...], Field(strict=False, min_length=1)]
    method: Method = "POST"
    path: Word = "/api/auth/sign-in/email"
    headers: dict[str, str] = {}
    body: dict[str, Any] = {"email": "{email}", "password": "{password}"}
    expect: Statuses = (200,)
    attempts: Annotated[int, Field(ge=1)] = 3
    window: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    per_user: Annotated[int, Field(ge=1)] = 1
    user_id: str = "user.id"
    user_name: str = "user.name"
    lookup: str = "/api/auth/get-session"
    session_id: str = "session.id"
    lookup_user_id: str = "user.id"
    lookup_user_name: str = "user.name"


class FileSessions(_Table):
    source: Literal["cookies-file"]
    path: Word


class CommandSessions(_Table):
    source: Literal["command"]
    command: Texts
    timeout: Positive = 60.0


class HttpHook(_Table):
    method: Method
    path: Annotated[str, Field(pattern=r"^(/|https?://)")]
    headers: dict[str, str] = {}
    body: Any = None
    session: Caller
    expect: Statuses = (200,)
    count: str | None = None
    id: str | None = None
    items: str | None = None
    item_id: Word = "id"
    item_count: str = "voteCount"
    item_status: str = "status"
    item_voted: str = "hasVoted"


class CommandHook(_Table):
    command: Texts
    timeout: Positive = 30.0
    session: Caller = "none"
    expect: Annotated[tuple[int, ...], Field(strict=False, min_length=1)] = (0,)
    count: str | None = None
    id: str | None = None
    items: str | None = None
    item_id: Word = "id"
    item_count: str = "voteCount"
    item_status: str = "status"
    item_voted: str = "hasVoted"


class ResourcesTable(_Table):
    pid: Annotated[int, Field(ge=1)] | None = None
    pid_file: Word | None = None
    metrics_url: Word | None = None
    command: Texts | None = None


class ToleranceTable(_Table):
    """seconds: slack around each moment of the contract; scale multiplies it; clock_skew: between the two clocks."""

    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    scale: Positive = 1.0
    clock_skew: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0


_FEATURE = "/api/roadmap/features/{featureId}"

DEFAULT_HOOKS: Mapping[str, Mapping[str, Any]] = {
    "vote": {"method": "POST", "path": f"{_FEATURE}/vote", "session": "voter", "expect": [200, 201], "count": "voteCount"},
    "unvote": {"method": "DELETE", "path": f"{_FEATURE}/vote", "session": "voter", "count": "voteCount"},
    "create": {
        "method": "POST",
        "path": "/api/roadmap/features",
        "body": {"title": "{title}", "description": "{description}", "status": "{status}"},
        "session": "admin",
        "expect": [200, 201],
        "id": "id",
    },
    "update": {
        "method": "PATCH",
        "path": _FEATURE,
        "body": {"title": "{title}", "description": "{description}", "status": "{status}"},
        "session": "admin",
    },
    "delete": {"method": "DELETE", "path": _FEATURE, "session": "admin", "expect": [200, 204]},
    "read": {"method": "GET", "path": _FEATURE, "session": "voter", "count": "voteCount"},
    "list": {"method": "GET", "path": "/api/roadmap/features", "session": "voter", "items": "features"},
    "revoke": {
        "method": "POST",
        "path": "/api/admin/sessions/revoke",
        "body": {"sessionId": "{sessionId}"},
        "session": "admin",
    },
    "change_role": {
        "method": "PATCH",
        "path": "/api/admin/users/{userId}",
        "body": {"role": "{role}"},
        "session": "admin",
    },
}

_WHO = frozenset({"userId", "sessionId"})
_TEXTS = frozenset({"title", "description", "status"})
PLACEHOLDERS: Mapping[str, tuple[frozenset[str], tuple[frozenset[str], ...]]] = {
    # hook: what it may use, and sets of which it must use at least one each
    "vote": (_WHO | {"featureId"}, (frozenset({"featureId"}),)),
    "unvote": (_WHO | {"featureId"}, (frozenset({"featureId"}),)),
    "create": (_WHO | _TEXTS, (frozenset({"title"}),)),
    "update": (_WHO | _TEXTS | {"featureId"}, (frozenset({"featureId"}), _TEXTS)),
    "delete": (_WHO | {"featureId"}, (frozenset({"featureId"}),)),
    "read": (_WHO | {"featureId"}, (frozenset({"featureId"}),)),
    "list": (_WHO, ()),
    "revoke": (_WHO | {"sessionToken"}, (_WHO | {"sessionToken"},)),
    "change_role": (_WHO | {"role"}, (frozenset({"userId"}), frozenset({"role"}))),
    "stop": (frozenset(), ()),
    "start": (frozenset(), ()),
}


_SHOWN = frozenset({"literal_error", "greater_than", "greater_than_equal", "less_than_equal", "finite_number"})
_WORDS = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "tuple_type": "must be an array",
    "list_type": "must be an array",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "finite_number": "must be a finite number",
}


def checked(model: type[_T], data: Mapping[str, Any], where: str, prefix: str = "") -> _T:
    """`data` as `model`. Raises UsageError that names `where` (the file), the key under `prefix`, and what is
    allowed.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as failed:
        errors = failed.errors(include_url=False)
    error, more = errors[0], len(errors) - 1
    key = prefix + ".".join(str(part) for part in error["loc"])
    what, do = _explained(model, error)
    what += f" (and {more} more of its keys are wrong)" if more else ""
    raise UsageError(what, f"{where}: {key}", do)


def _explained(model: type[_Table], error: Any) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    known = ", ".join(model.model_fields)
    if kind == "extra_forbidden":
        return "there is no such key", f"allowed here: {known}"
    if kind == "missing":
        return "the key is missing", f"add it; allowed here: {known}"
    if kind == "string_pattern_mismatch":
        return "must begin with / or be an http:// or https:// URL", "write for example /api/roadmap/features"
    shown = f"{str(error['input'])[:40]!r} is not allowed" if kind in _SHOWN else ""
    if kind == "literal_error":
        return shown, f"allowed: {context['expected']}"
    for name, word in (("gt", "greater than"), ("ge", "at least"), ("le", "at most")):
        if name in context:
            return shown, f"it must be {word} {context[name]:g}"
    text = _WORDS.get(kind, error["msg"])
    return text, "mend the value"
