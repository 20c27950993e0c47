"""From a TOML file to a Target: read, checked key by key, the environment put in. Nothing is asked of the target here.

Whatever is wrong is a UsageError that names the file, the key and what is allowed, and never shows what the
environment held.
"""

from __future__ import annotations

import dataclasses
import os
import re
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.net.handshake import tls_context
from harness.target.accounts import session_source
from harness.target.hook import Hook
from harness.target.hooks import compiled_headers, compiled_hooks
from harness.target.http import HttpClient
from harness.target.model import Resources, Target, Tolerance
from harness.target.profile import (
    Profile,
    ResourcesTable,
    Tls,
    ToleranceTable,
    checked,
)
from harness.target.session import cookie_problem
from harness.target.text import TextError, env_names, put_in
from harness.target.where import Where, text_error
from schemas import Level, Limits, load_clauses, load_contract, load_readings

__all__ = ["load_profile", "target_of"]

_PLAIN = re.compile(r"name|base_url|ws_path|ws_url|cookie|origin|tls\.ca_file|sessions\.path|resources\.(pid_file|metrics_url)")
"""Keys whose ${ENV:...} is no secret: it is put in at once, and may be shown."""
_SECRET = re.compile(
    r"headers\..*|hooks\.\w+\.(headers|body)(\..*)?|sessions\.(headers|body)(\..*)?|sessions\.users\.\d+\.(email|password)"
)
"""Keys whose ${ENV:...} is a secret: it stays as it is until it is sent."""


def load_profile(path: Path, environ: Mapping[str, str] = os.environ) -> Target:
    """The target that the TOML file at `path` describes. Raises UsageError.

    The cookies file is read, the sign-ins and the command are made when sessions are first asked for, not here.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        do = "name a profile, or make one with: roadmap-harness init URL"
        raise UsageError(f"the profile cannot be read: {error.strerror}", str(path), do) from None
    except UnicodeDecodeError:
        raise UsageError("the profile is not UTF-8 text", str(path), "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not TOML: {error}", str(path), "mend that line") from None
    return target_of(data, Where(path, environ))


def target_of(data: dict[str, Any], where: Where) -> Target:
    """The target of a profile's data. Raises UsageError."""
    data = _with_environment(data, "", where)
    profile = checked(Profile, data, str(where.file))
    base_url = _http_url(profile.base_url, where.at("base_url"))
    ws_url = _ws_url(profile, base_url, where)
    cookie = profile.cookie or load_contract().cookie
    if cookie_problem(cookie, "x"):
        raise UsageError(f"{cookie[:40]!r} cannot be a cookie's name", where.at("cookie"), "write it as the browser shows it")
    headers = compiled_headers(profile.headers, frozenset(), where.environ, where.at("headers"))
    common = {name: template.fill({}) for name, template in headers.items()}
    for key, value in common.items():
        if re.search(r"[\x00-\x1f\x7f]", value):
            do = "use one line of printable characters"
            raise UsageError("the header holds a line break or another control character", where.at(f"headers.{key}"), do)
    tls_table = checked(Tls, profile.tls, str(where.file), "tls.")
    tls = _tls(tls_table, where) if ws_url.startswith("wss:") or base_url.startswith("https:") else None
    origin = _origin(profile.origin, base_url, where)
    tolerance = checked(ToleranceTable, profile.tolerance, str(where.file), "tolerance.")
    every_request = {"Origin": origin, **common}
    readings = _readings(profile.readings, where)

    def client() -> HttpClient:
        return HttpClient(tls, timeout=30.0)

    hooks: dict[str, Hook] = {}
    target = Target(
        name=profile.name,
        base_url=base_url,
        ws_url=ws_url,
        cookie=cookie,
        origin=origin,
        headers=common,
        limits=_limits(profile, where),
        time_scale=profile.time_scale,
        tolerance=Tolerance(tolerance.seconds, tolerance.scale, tolerance.clock_skew),
        readings=readings,
        levels=_levels(profile.levels, readings, where),
        error_codes=_error_codes(profile.extra_error_codes, readings, where),
        resources=_resources(profile.resources, where),
        source=where.file,
        hooks=hooks,
        _sessions=session_source(profile.sessions, where, cookie, base_url, every_request, client),
        _tls=tls,
    )
    hooks |= compiled_hooks(profile.hooks, str(where.file), base_url, where.environ, target.http_headers)
    return target


def _with_environment(value: Any, key: str, where: Where) -> Any:
    """`value` with the plain variables put in, and the secret ones proven to be set."""
    if isinstance(value, dict):
        return {name: _with_environment(item, f"{key}.{name}" if key else name, where) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_environment(item, f"{key}.{number}", where) for number, item in enumerate(value)]
    if not isinstance(value, str) or "${ENV" not in value:
        return value
    plain = _PLAIN.fullmatch(key) is not None
    try:
        names = env_names(value)
        if not names:
            raise TextError("${ENV is not written out", "write ${ENV:NAME} with a name of letters, digits and _")
        if not plain and not _SECRET.fullmatch(key):
            raise TextError(
                "${ENV:...} is not taken here, where it could be shown",
                "possible in addresses, in headers and bodies, and for passwords; a command reads its own environment",
            )
        filled = put_in(value, where.environ)
    except TextError as error:
        raise text_error(error, where.at(key)) from None
    return filled if plain else value


def _http_url(url: str, at: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        raise UsageError("this is not a URL", at, "write for example http://127.0.0.1:3000") from None
    if parts.username is not None or parts.password is not None:
        raise UsageError("the URL holds a user name or a password", at, "take it out, and use [headers] or [sessions]")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError("this is not a plain http:// or https:// URL", at, "write for example http://127.0.0.1:3000")
    return url.rstrip("/")


def _ws_url(profile: Profile, base_url: str, where: Where) -> str:
    if profile.ws_url is not None and profile.ws_path is not None:
        raise UsageError("ws_path and ws_url are both given", where.at("ws_path"), "keep one of them")
    if profile.ws_url is None:
        path = load_contract().path if profile.ws_path is None else profile.ws_path
        if not path.startswith("/"):
            do = f"write for example {load_contract().path}"
            raise UsageError("the path does not begin with /", where.at("ws_path"), do)
        return "ws" + base_url.removeprefix("http") + path
    try:
        parts = urlsplit(profile.ws_url)
        good = parts.scheme in ("ws", "wss") and parts.hostname and not parts.fragment and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None:
        do = "write ws://host:port/path or wss://host/path, without a user name"
        raise UsageError("this is not a WebSocket URL", where.at("ws_url"), do)
    return profile.ws_url


def _origin(given: str | None, base_url: str, where: Where) -> str:
    if given is None:
        parts = urlsplit(base_url)
        return f"{parts.scheme}://{parts.netloc}"
    if not re.fullmatch(r"https?://[^/?#@\s]+", given):
        raise UsageError("this is not an origin", where.at("origin"), "write scheme and host only: https://app.example.org")
    return given


def _tls(table: Tls, where: Where) -> ssl.SSLContext:
    file = None if table.ca_file is None else where.near(table.ca_file)
    try:
        return tls_context(file, table.verify)
    except ssl.SSLError:
        do = "name a file with the certificates of the authority, in PEM"
        raise UsageError(f"{file} holds no certificate", where.at("tls.ca_file"), do) from None
    except OSError as error:
        do = "name a file with the certificates of the authority, in PEM"
        raise UsageError(f"{file} cannot be read: {error.strerror}", where.at("tls.ca_file"), do) from None


def _limits(profile: Profile, where: Where) -> Limits:
    """The profile's values are the target's own: they are not scaled again."""
    scaled = load_contract().limits.scaled(profile.time_scale)
    given: dict[str, Any] = {}
    for key, value in profile.limits.items():
        at, known = where.at(f"limits.{key}"), [field.name for field in dataclasses.fields(Limits)]
        if key not in known:
            raise UsageError("there is no such limit", at, f"allowed: {', '.join(known)}")
        whole = key not in Limits.DURATIONS
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < float("inf"):
            kind = "a whole number" if whole else "a number of seconds"
            raise UsageError(f"a limit must be {kind} greater than 0", at, "mend the value, or leave the key out")
        given[key] = value if whole else float(value)
    return dataclasses.replace(scaled, **given)


def _readings(table: Mapping[str, Any], where: Where) -> dict[str, str]:
    known = {reading.key: reading for reading in load_readings().values()}
    for key, value in table.items():
        at = where.at(f"readings.{key}")
        if key not in known:
            raise UsageError("there is no such reading", at, f"allowed: {', '.join(known)}")
        if value not in known[key].permitted:
            named = f"{value[:40]!r}" if isinstance(value, str) else "this"
            raise UsageError(f"{named} is not a reading of it", at, f"allowed: {', '.join(known[key].permitted)}")
    return dict(table)


def _levels(table: Mapping[str, Any], readings: dict[str, str], where: Where) -> dict[str, Level]:
    """The project's own levels; giving some says that the catalogue's are not all (A00)."""
    judged = [str(level) for level in Level if level is not Level.NOT_TESTABLE]
    for id_, value in table.items():
        if id_ not in load_clauses():
            raise UsageError("there is no such clause", where.at(f"levels.{id_}"), "write ids such as HB-05")
        if value not in judged:
            raise UsageError("this is no level", where.at(f"levels.{id_}"), f"allowed: {', '.join(judged)}")
    if bool(table) != (readings.get("levels", "project" if table else "catalogue") == "project"):
        do = 'give [levels] some clauses, or leave levels = "project" out' if not table else 'leave [levels] out, or say levels = "project"'
        raise UsageError("the reading and the table [levels] do not fit together", where.at("levels"), do)
    if table:
        readings["levels"] = "project"
    return {id_: Level(value) for id_, value in table.items()}


def _error_codes(codes: tuple[str, ...], readings: dict[str, str], where: Where) -> frozenset[str]:
    """The codes beside the table's; listing some says that the table is not all (A20)."""
    if not codes:
        if readings.get("error_codes") == "extended":
            raise UsageError("the codes that extend the table are not listed", where.at("extra_error_codes"), 'write ["MAINTENANCE", ...]')
        return frozenset()
    if readings.setdefault("error_codes", "extended") != "extended":
        do = 'leave the list out, or say error_codes = "extended"'
        raise UsageError("codes are listed, and the reading says that there are none", where.at("extra_error_codes"), do)
    return frozenset(codes)


def _resources(data: Mapping[str, Any], where: Where) -> Resources:
    table = checked(ResourcesTable, data, str(where.file), "resources.")
    if table.metrics_url is not None and not re.match(r"https?://[^/@]+", table.metrics_url):
        do = "write for example http://127.0.0.1:3000/metrics"
        raise UsageError("this is not an http:// or https:// URL", where.at("resources.metrics_url"), do)
    pid_file = None if table.pid_file is None else where.near(table.pid_file)
    return Resources(table.pid, pid_file, table.metrics_url, table.command)
