"""Everything that can be set about the server, from the command line or the environment, checked before it starts.

Every option is one row here, gets a flag and an environment variable, and is refused with one sentence that names where
the bad value came from. The two secrets, the cookie secret and the password of the seeded accounts, are never flags.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from schemas import Limits
from server_under_test.errors import StartError

__all__ = ["PREFIX", "Settings", "read_settings"]

PREFIX = "ROADMAP_SERVER_"
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Settings:
    """How one server runs. Durations are seconds and already scaled, sizes bytes."""

    host: str
    port: int
    state_dir: Path | None
    database: Path | None
    secret_file: Path | None
    allowed_origins: frozenset[str]
    tls_cert: Path | None
    tls_key: Path | None
    users: int
    admins: int
    features: int
    sessions: int | None
    session_lifetime: float
    sign_in_attempts: int
    sign_in_window: float
    body_bytes: int
    access_log: bool
    log_level: str
    end_with: int | None
    faults: tuple[str, ...]
    limits: Limits
    secret: str | None = field(repr=False)
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Option:
    """One flag and variable. `parse` raises ValueError with what is allowed."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


def _count(least: int, most: int | None = None) -> Callable[[str], int]:
    allowed = f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}"

    def parse(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            raise ValueError(allowed) from None
        if value < least or (most is not None and value > most):
            raise ValueError(allowed)
        return value

    return parse


def _positive(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("a number greater than 0")
    return value


def _word(raw: str) -> str:
    if not raw:
        raise ValueError("not empty")
    return raw


def _switch(raw: str) -> bool:
    if raw.lower() not in {"1", "true", "yes", "0", "false", "no"}:
        raise ValueError("true or false")
    return raw.lower() in {"1", "true", "yes"}


def _level(raw: str) -> str:
    if raw.upper() not in _LOG_LEVELS:
        raise ValueError(f"one of {', '.join(_LOG_LEVELS)}")
    return raw.upper()


def _origins(raw: str) -> frozenset[str]:
    origins = frozenset(part.strip().lower().rstrip("/") for part in raw.split(",") if part.strip())
    for origin in origins:
        scheme, mark, host = origin.partition("://")
        if scheme not in {"http", "https"} or not mark or not host or "/" in host:
            raise ValueError("origins such as https://app.example.org, separated by commas")
    return origins


_OPTIONS = (
    _Option("host", _word, "127.0.0.1", "ADDRESS", "address to listen on"),
    _Option("port", _count(0, 65535), 3000, "PORT", "port to listen on; 0 takes a free one"),
    _Option("state_dir", Path, None, "DIR", "private directory for secret, accounts.json, sessions.json, ready.json and "
            "the database; the same one again continues where it stopped (default: a temporary one)"),
    _Option("database", Path, None, "FILE", "SQLite file (default: roadmap.db in the state directory)"),
    _Option("secret_file", Path, None, "FILE", "file with the cookie secret"),
    _Option("allowed_origin", _origins, frozenset(), "ORIGIN[,ORIGIN]", "origins whose pages may use the server, besides "
            "its own"),
    _Option("tls_cert", Path, None, "FILE", "certificate chain (PEM): serve https and wss"),
    _Option("tls_key", Path, None, "FILE", "private key (PEM) of --tls-cert"),
    _Option("users", _count(1), 20, "N", "regular users in a new database"),
    _Option("admins", _count(0), 2, "N", "administrators in a new database"),
    _Option("features", _count(0), 12, "N", "features in a new database"),
    _Option("sessions", _count(0), None, "N", "ready sessions in sessions.json, spread over the users (default: two "
            "for each)"),
    # better-auth keeps sessions for 7 days, and takes 3 sign-ins in 10 s from an address (its rate limiter's defaults).
    _Option("session_lifetime", _positive, 7 * 86400.0, "SECONDS", "life of a session; not touched by --time-scale"),
    _Option("sign_in_attempts", _count(1), 3, "N", "sign-ins from one address in --sign-in-window"),
    _Option("sign_in_window", _positive, 10.0, "SECONDS", "window of --sign-in-attempts"),
    _Option("body_bytes", _count(1), 65_536, "BYTES", "largest request body"),
    _Option("end_with", _count(1), None, "PID", "stop in order when this process has ended (Linux)"),
    _Option("log_level", _level, "INFO", "LEVEL", f"one of {', '.join(_LOG_LEVELS)}"),
    _Option("time_scale", _positive, 1.0, "FACTOR", "multiply every duration of the contract and --sign-in-window, so "
            "that slow tests run fast"),
)  # fmt: skip
_ACCESS_LOG = _Option("access_log", _switch, False, "", "log method, path, status and size of every request")
_FAULT_HELP = (
    "break the contract on purpose in this one way, to prove that a check notices; may be given several times. NEVER for a "
    "server that people use: refused off loopback, said aloud at the start, and no environment variable switches it on. A name "
    "that does not exist is answered with those that do"
)


def _limit_options(limits: Limits) -> list[_Option]:
    """A flag for every limit of the contract; whole numbers stay whole."""
    options = []
    for each in dataclasses.fields(limits):
        value = getattr(limits, each.name)
        duration = each.name in Limits.DURATIONS
        unit = "SECONDS" if duration else "BYTES" if each.name.endswith("_bytes") else "N"
        parse: Callable[[str], Any] = _positive if duration else _count(1)
        options.append(_Option(each.name, parse, value, unit, "limit of the contract"))
    return options


class _ListFaults(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from server_under_test.faults.listing import listing

        print(listing())
        raise SystemExit(0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StartError(f"{message} (see --help)")


def _parser(options: Sequence[_Option]) -> _Parser:
    parser = _Parser(
        prog="roadmap-harness serve",
        description="A server that keeps the Real-Time Roadmap Updates contract.",
        epilog=f"Every flag that takes a value, but --fault, is also a variable: {PREFIX}HEARTBEAT_INTERVAL for --heartbeat-interval. "
        f"{PREFIX}SECRET is the cookie secret, {PREFIX}PASSWORD the password of the accounts of a new database; "
        "without them both are made up and kept in the state directory.",
        allow_abbrev=False,
    )
    for option in options:
        default = "" if option.default is None or option.default == frozenset() else f" (default: {option.default})"
        parser.add_argument(option.flag, metavar=option.metavar, dest=option.name, help=option.help + default)
    parser.add_argument(_ACCESS_LOG.flag, dest=_ACCESS_LOG.name, action="store_const", const="true", help=_ACCESS_LOG.help)
    parser.add_argument("--fault", metavar="NAME", dest="faults", action="append", default=[], help=_FAULT_HELP)
    parser.add_argument("--list-faults", action=_ListFaults, nargs=0, help="print every fault as JSON and leave")
    return parser


def _value(option: _Option, flags: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    raw, source = flags[option.name], option.flag
    if raw is None:
        raw, source = environment.get(option.variable), option.variable
    if raw is None:
        return option.default
    try:
        return option.parse(raw)
    except ValueError as error:
        raise StartError(f"{source} is {raw!r}: it must be {error}") from None


def read_settings(arguments: Sequence[str], environment: Mapping[str, str], limits: Limits) -> Settings:
    """Settings from flags, then the environment, then the contract's `limits`. Raises StartError; exits on --help."""
    limit_options = _limit_options(limits)
    options = (*_OPTIONS, *limit_options)
    known, unknown = _parser(options).parse_known_args(arguments)
    if unknown:
        # Never the value: whoever tries --secret on the command line should not find it in a log as well.
        flag = unknown[0].partition("=")[0] if unknown[0].startswith("-") else "an argument without a flag"
        raise StartError(f"there is no option {flag} (see --help)")
    flags = vars(known)
    value = {option.name: _value(option, flags, environment) for option in (*options, _ACCESS_LOG)}
    scale: float = value.pop("time_scale")
    chosen = Limits(**{option.name: value.pop(option.name) for option in limit_options})
    if (value["tls_cert"] is None) != (value["tls_key"] is None):
        raise StartError("--tls-cert and --tls-key belong together: give both or neither")
    value["sign_in_window"] *= scale
    return Settings(
        **{"allowed_origins" if name == "allowed_origin" else name: entry for name, entry in value.items()},
        limits=chosen.scaled(scale),
        faults=tuple(dict.fromkeys(flags["faults"])),
        secret=environment.get(PREFIX + "SECRET"),
        password=environment.get(PREFIX + "PASSWORD"),
    )
