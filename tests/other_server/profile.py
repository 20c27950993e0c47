"""The profile of this server, as a team would write it for theirs: every hook, the readings it follows, the limits that differ.

Also the sets of flags under which it is worth trying: SETS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.target import Target, load_profile
from schemas import load_contract, load_readings

__all__ = ["PASSWORD", "SETS", "Sessions", "profile", "target_of"]

PASSWORD = "OTHER_SERVER_PASSWORD"
"""The variable that holds the password of every account."""

SETS: Mapping[str, tuple[str, ...]] = {
    "contrary": (),
    "register": tuple(
        word
        for key, value in {
            "auth-refusal": "http401",
            "heartbeat-phase": "connection",
            "pong-deadline": "after_ping",
            "rate-window": "sliding",
            "session-end": "periodic",
            "batch-shape": "coalesce",
            "exclusion": "session",
            "admin-events": "admins",
            "admin-echo": "included",
            "role": "at_connect",
            "origin": "allow_list",
            "full": "http503",
            "binary": "error",
            "after-last": "everything",
        }.items()
        for word in (f"--{key}", value)
    ),
    "awkward": (
        *("--pong-rate", "honoured", "--rate-window", "fixed", "--throttled", "delay", "--rate-errors", "first"),
        *("--invalid-rate", "exempt", "--rate-context", "example", "--batch-shape", "array", "--voter-id", "optional"),
        *("--timestamp", "any_zone", "--extra-properties", "open", "--subscriptions", "ignored", "--malformed-input", "close"),
        *("--binary", "ignore", "--exclusion", "none", "--session-end", "periodic", "--tenant", "blue", "--auth-refusal", "http401"),
    ),
    "sealed": ("--batch-shape", "envelope", "--exclusion", "session", "--malformed-input", "ignore", "--sign-in", "mute"),
}
"""Flags by name. contrary: the readings that the bundled server does not take; register: those that it takes, in another
implementation; awkward and sealed: whatever else is permitted.
"""

Sessions = str
"""Where sessions come from: "login" (slow: three in a rate window) or "cookies-file" (those that --mint made)."""


def profile(
    ready: Path, *, declare: bool = True, sessions: Sessions = "login", per_user: int = 2, tolerance: float = 0.5, stop: bool = True
) -> str:
    """The TOML for load_profile, of the running server that wrote `ready`.

    declare: say under [readings] what this server follows, or leave it to the probes. per_user: sessions to sign in for each.
    tolerance: seconds. stop: offer the hooks that stop the server and start it again. With "cookies-file", writes the cookies beside
    `ready`.
    """
    facts = json.loads(ready.read_text("utf-8"))
    tells = facts["habits"]["sign_in"] == "tells"
    parts = [_head(facts, ready, tolerance)]
    parts.append(_login(facts, per_user, tells) if sessions == "login" else _cookies(facts, ready))
    parts.append(_HOOKS)
    if stop:
        parts.append(_stop_and_start(facts, ready))
    if declare:
        told = {"cookie_name": "plain", "subscription_limit": "declared", **facts["readings"]}
        defaults = {reading.key: reading.default for reading in load_readings().values()}
        differing = {key: value for key, value in told.items() if value != defaults[key]}
        parts.append("[readings]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in differing.items()))
    return "\n".join(parts)


def target_of(ready: Path, **options: Any) -> Target:
    """The Target of that profile, with the password in its environment; for the options see `profile`."""
    file = ready.with_name("profile.toml")
    file.write_text(profile(ready, **options), "utf-8")
    return load_profile(file, {PASSWORD: json.loads(ready.read_text("utf-8"))["password"]})


def _toml(value: object) -> str:
    return json.dumps(value)


def _head(facts: dict[str, Any], ready: Path, tolerance: float) -> str:
    limits = "".join(f"{key} = {value}\n" for key, value in facts["limits"].items())
    headers = f"[headers]\nX-Tenant = {_toml(facts['tenant'])}\n" if facts["tenant"] else ""
    return f"""\
name = "the other server"
base_url = {_toml(facts["api"])}
ws_url = {_toml(facts["live"])}
cookie = {_toml(facts["cookie"])}
origin = {_toml(facts["origin"])}
time_scale = {facts["time_scale"]}

{headers}
[limits]
{limits}
[tolerance]
seconds = {tolerance}

[resources]
pid_file = {_toml(str(ready.with_suffix(".pid")))}
"""


def _login(facts: dict[str, Any], per_user: int, tells: bool) -> str:
    window = load_contract().limits.rate_window * facts["time_scale"]
    groups = [(rank, prefix, sum(each["rank"] == rank for each in facts["accounts"])) for rank, prefix in _PREFIXES.items()]
    # Administrators first, for a source signs in only as many as it is asked for; the order among ranks does not matter to it.
    users = "".join(
        f'[[sessions.users]]\nemail = "{prefix}-{{n}}"\ncount = {count}\nrole = "{rank}"\npassword_env = "{PASSWORD}"\n'
        for rank, prefix, count in groups
        if count
    )
    return f"""\
[sessions]
source = "login"
path = "/session"
body = {{ user = "{{email}}", pass = "{{password}}" }}
expect = [{201 if tells else 204}]
attempts = 3
window = {window}
per_user = {per_user}
{_TELLS if tells else ""}lookup = "/session"
session_id = "data.session.ref"
lookup_user_id = "data.uid"
{users}"""


_TELLS = 'user_id = "data.me.uid"\nuser_name = "data.me.label"\n'
_PREFIXES = {"admin": "chief", "regular": "member"}


def _cookies(facts: dict[str, Any], ready: Path) -> str:
    keys = {"sid": "value", "uid": "userId", "label": "userName", "rank": "role", "ref": "sessionId"}
    file = ready.with_name("cookies.json")
    file.touch(0o600)
    file.write_text(
        json.dumps([{"name": facts["cookie"], **{keys[key]: value for key, value in each.items()}} for each in facts["minted"]])
    )
    return f'[sessions]\nsource = "cookies-file"\npath = {_toml(str(file))}\n'


_HOOKS = """\
[hooks.vote]
method = "PUT"
path = "/items/{featureId}/upvote"
session = "voter"
expect = [200]
count = "data.votes"

[hooks.unvote]
method = "POST"
path = "/items/{featureId}/retract"
session = "voter"
count = "data.votes"

[hooks.create]
method = "POST"
path = "/items"
body = { item = { headline = "{title}", text = "{description}", state = "{status}" } }
session = "admin"
expect = [201]
id = "data.item.uuid"

[hooks.update]
method = "PUT"
path = "/items/{featureId}"
body = { set = { headline = "{title}", text = "{description}", state = "{status}" } }
session = "admin"

[hooks.delete]
method = "DELETE"
path = "/items/{featureId}"
session = "admin"
expect = [204]

[hooks.read]
method = "GET"
path = "/items/{featureId}"
session = "voter"
count = "data.votes"

[hooks.list]
method = "GET"
path = "/items"
session = "voter"
items = "data"
item_id = "uuid"
item_count = "votes"
item_status = "state"

[hooks.revoke]
method = "POST"
path = "/admin/kill-session"
body = { ref = "{sessionId}" }
session = "admin"
expect = [204]

[hooks.change_role]
method = "PUT"
path = "/admin/people/{userId}"
body = { rank = "{role}" }
session = "admin"
expect = [204]
"""


def _stop_and_start(facts: dict[str, Any], ready: Path) -> str:
    kept = ready.with_name("facts.json")  # ready.json goes when the server stops
    kept.write_text(json.dumps({"argv": facts["argv"]}), "utf-8")
    start = [sys.executable, "-P", str(Path(__file__).with_name("running.py")), str(kept), str(ready)]
    return f"""\
[hooks.stop]
method = "POST"
path = "/admin/shutdown"
session = "admin"
expect = [202]

[hooks.start]
command = {_toml(start)}
timeout = 60.0
"""
