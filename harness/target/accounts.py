"""From the [sessions] table to a source of sessions: who signs in with what, or where the cookies are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr

from harness.errors import UsageError
from harness.target.hooks import compiled_headers
from harness.target.http import HttpClient
from harness.target.login import Login, LoginSource
from harness.target.profile import Account, CommandSessions, FileSessions, LoginSessions, checked
from harness.target.sources import CommandSource, FileSource, Source
from harness.target.text import TextError, compile_json, compile_text, variable
from harness.target.where import Where, text_error

__all__ = ["session_source"]


def session_source(
    data: Mapping[str, Any],
    where: Where,
    cookie: str,
    base_url: str,
    common: Mapping[str, str],
    client: Callable[[], HttpClient],
) -> Source:
    kind, at = data.get("source"), str(where.file)
    if kind == "cookies-file":
        return FileSource(where.near(checked(FileSessions, data, at, "sessions.").path), where.at("sessions.path"), cookie)
    if kind == "command":
        command = checked(CommandSessions, data, at, "sessions.")
        directory = where.file.absolute().parent
        return CommandSource(command.command, command.timeout, directory, where.at("sessions.command"), cookie)
    if kind != "login":
        what = "the key is missing" if kind is None else "there is no such source of sessions"
        raise UsageError(what, where.at("sessions.source"), "allowed: login, cookies-file, command")
    table = checked(LoginSessions, data, at, "sessions.")
    if not table.path.startswith(("/", "http://", "https://")):
        do = "write for example /api/auth/sign-in/email"
        raise UsageError("must begin with / or be an http:// or https:// URL", where.at("sessions.path"), do)
    fields = frozenset({"email", "password"})
    try:
        body = compile_json(table.body, fields, where.environ)
    except TextError as error:
        raise text_error(error, where.at("sessions.body")) from None
    login = Login(
        where=where.at("sessions"),
        base_url=base_url,
        cookie=cookie,
        method=table.method,
        path=table.path,
        body=body,
        headers=compiled_headers(table.headers, fields, where.environ, where.at("sessions.headers")),
        expect=table.expect,
        attempts=table.attempts,
        window=table.window,
        user_id=table.user_id,
        user_name=table.user_name,
        lookup=table.lookup,
        session_id=table.session_id,
        lookup_user_id=table.lookup_user_id,
        lookup_user_name=table.lookup_user_name,
        common=common,
    )
    accounts = [row for number, user in enumerate(table.users) for row in _accounts(user, f"sessions.users.{number}", where)]
    return LoginSource(login, accounts, table.per_user, client)


def _accounts(data: Mapping[str, Any], key: str, where: Where) -> list[tuple[str, SecretStr, str]]:
    account = checked(Account, data, str(where.file), f"{key}.")
    if (account.password is None) == (account.password_env is None):
        what = "the password is missing" if account.password is None else "the password is given twice"
        raise UsageError(what, where.at(f"{key}.password_env"), "name the variable that holds it: password_env = ...")
    if account.password is not None and not re.fullmatch(r"\$\{ENV:\w+\}", account.password):
        what = "a password is written into the file"
        raise UsageError(what, where.at(f"{key}.password"), "put it into a variable, and write password_env = ...")
    name = account.password_env or (account.password or "")[6:-1]
    try:
        password = SecretStr(variable(name, where.environ))
        holes = frozenset({"n"}) if account.count > 1 or "{n}" in account.email else frozenset()
        email = compile_text(account.email, holes, where.environ)
        if account.count > 1 and not email.holes:
            raise TextError("count is given, but the e-mail has no {n}", "write for example load-{n}@example.org")
    except TextError as error:
        raise text_error(error, where.at(f"{key}.email" if "e-mail" in error.what else f"{key}.password_env")) from None
    numbers = range(account.first, account.first + account.count)
    return [(email.fill({"n": number}), password, account.role) for number in numbers]
