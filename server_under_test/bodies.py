"""Request bodies: read within the size limit, then checked field by field.

A refusal names the first field that is wrong and what is allowed there; unknown fields are refused, since a misspelt
optional field would otherwise be ignored in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson
from aiohttp import web

from server_under_test.errors import ApiError, bad_body

__all__ = ["Check", "fields", "flag", "one_of", "read_json", "text"]

# A check returns None when the value is good, else what is allowed, to follow "must be ".
Check = Callable[[object], str | None]


def text(longest: int, *, empty: bool = False) -> Check:
    """A string of at most `longest` characters, not blank unless `empty`."""
    allowed = f"a {'' if empty else 'non-empty '}string of at most {longest} characters"

    def check(value: object) -> str | None:
        good = isinstance(value, str) and len(value) <= longest and (empty or bool(value.strip()))
        return None if good else allowed

    return check


def one_of(values: Sequence[str]) -> Check:
    """One of a few words."""
    allowed = f"one of {', '.join(values)}"
    return lambda value: None if isinstance(value, str) and value in values else allowed


def flag(value: object) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "true or false"


async def read_json(request: web.Request, limit: int) -> dict[str, object]:
    """The body as a JSON object. Raises ApiError: 413 past `limit` bytes, 400 when it is anything else."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limit) from None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise bad_body("the body must be a JSON object in UTF-8") from None
    if not isinstance(body, dict):
        raise bad_body("the body must be a JSON object")
    return body


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "BODY_TOO_LARGE", f"the body must be at most {limit} bytes")


def fields(body: Mapping[str, object], required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> None:
    """Check every field of `body`. Raises ApiError 400 that names the field."""
    known = {**required, **(optional or {})}
    for name in body:
        if name not in known:
            raise bad_body(f"{name[:64]!r} is not a field here: the fields are {', '.join(known)}")
    for name, check in known.items():
        if name not in body:
            if name in required:
                raise bad_body(f"{name} is missing")
            continue
        allowed = check(body[name])
        if allowed is not None:
            raise bad_body(f"{name} must be {allowed}")
