"""From the [hooks] table to hooks: the bundled server's calls where the profile is silent, the profile's own where it
speaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import UsageError
from harness.target.hook import HOOKS, Hook
from harness.target.profile import DEFAULT_HOOKS, PLACEHOLDERS, CommandHook, HttpHook, checked
from harness.target.session import Session
from harness.target.text import Json, Template, TextError, compile_json, compile_text, holes_of
from harness.target.where import text_error

__all__ = ["compiled_headers", "compiled_hooks"]

_SessionHeaders = Callable[[Session | None], dict[str, str]]
_OWN = {"cookie": "sessions bring it", "host": "the URL says it", "origin": "use the key origin"}
_SECRET_HOLE = "sessionToken"  # noqa: S105 - a name; what it stands for must not show in URLs and process lists


def compiled_headers(table: Mapping[str, str], allowed: frozenset[str], environ: Mapping[str, str], where: str) -> dict[str, Template]:
    """Headers as templates. Raises UsageError, also for a name that is not a header's or that the harness writes
    itself.
    """
    compiled = {}
    for name, text in table.items():
        at = f"{where}.{name}"
        if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name):
            raise UsageError("this is not a header's name", at, "letters, digits and - are usual")
        if name.lower() in _OWN:
            raise UsageError("the harness writes this header itself", at, f"leave it out: {_OWN[name.lower()]}")
        try:
            compiled[name] = compile_text(text, allowed, environ)
        except TextError as error:
            raise text_error(error, at) from None
    return compiled


def compiled_hooks(
    table: Mapping[str, Any], file: str, base_url: str, environ: Mapping[str, str], session_headers: _SessionHeaders
) -> dict[str, Hook]:
    """Every hook that the target has. Raises UsageError."""
    for name in table:
        if name not in HOOKS:
            raise UsageError("there is no such hook", f"{file}: hooks.{name}", f"allowed: {', '.join(HOOKS)}")
    hooks = {}
    for name in HOOKS:
        at, given = f"{file}: hooks.{name}", table.get(name, {})
        if given is False:
            continue
        if not isinstance(given, dict):
            raise UsageError("a hook is a table, or false when the target has none", at, 'write {method = "POST", path = ...}')
        if "command" in given:
            hooks[name] = _command(name, checked(CommandHook, given, file, f"hooks.{name}."), base_url, at)
        elif given or name in DEFAULT_HOOKS:
            merged = {**DEFAULT_HOOKS.get(name, {"method": "POST", "session": "admin"}), **given}
            hook = checked(HttpHook, merged, file, f"hooks.{name}.")
            hooks[name] = _http(name, hook, "body" in merged, base_url, environ, session_headers, at)
    return hooks


def _http(
    name: str,
    table: HttpHook,
    has_body: bool,
    base_url: str,
    environ: Mapping[str, str],
    session_headers: _SessionHeaders,
    at: str,
) -> Hook:
    allowed, needed = PLACEHOLDERS[name]
    try:
        path = compile_text(table.path, allowed - {_SECRET_HOLE}, environ)
        body: Json = compile_json(table.body, allowed, environ) if has_body else None
    except TextError as error:
        raise text_error(error, at) from None
    headers = compiled_headers(table.headers, allowed, environ, f"{at}.headers")
    used = path.holes | holes_of(body) | frozenset().union(*(template.holes for template in headers.values()))
    if not (name == "revoke" and table.session == "owner"):
        _must_use(needed, used, at)
    return Hook(
        name=name,
        session=table.session,
        base_url=base_url,
        where=at,
        method=table.method,
        path=path,
        headers=headers,
        body=body,
        has_body=has_body,
        expect=table.expect,
        count=table.count,
        id=table.id,
        items=table.items,
        item_id=table.item_id,
        item_count=table.item_count,
        item_status=table.item_status,
        item_voted=table.item_voted,
        session_headers=session_headers,
    )


def _command(name: str, table: CommandHook, base_url: str, at: str) -> Hook:
    allowed, needed = PLACEHOLDERS[name]
    try:
        argv = tuple(compile_text(argument, allowed - {_SECRET_HOLE}, {}) for argument in table.command)
    except TextError as error:
        raise text_error(error, f"{at}.command") from None
    _must_use(needed, frozenset().union(*(argument.holes for argument in argv)), f"{at}.command")
    return Hook(
        name=name,
        session=table.session,
        base_url=base_url,
        where=at,
        expect=table.expect,
        argv=argv,
        timeout=table.timeout,
        count=table.count,
        id=table.id,
        items=table.items,
        item_id=table.item_id,
        item_count=table.item_count,
        item_status=table.item_status,
        item_voted=table.item_voted,
    )


def _must_use(needed: tuple[frozenset[str], ...], used: frozenset[str], at: str) -> None:
    for group in needed:
        if not group & used:
            names = " or ".join(f"{{{name}}}" for name in sorted(group))
            raise UsageError(f"the hook never says {names}", at, "put it into path, body, headers or command")
