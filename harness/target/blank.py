"""A profile to fill in: every key with what it is for. What is commented out shows the default, or an example."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.target.hook import HOOKS
from harness.target.profile import DEFAULT_HOOKS, PLACEHOLDERS
from schemas import load_contract, load_readings

__all__ = ["write_profile"]

_WHY = {
    "vote": "Cast a vote.",
    "unvote": "Withdraw it.",
    "create": "Create a feature.",
    "update": "Change a feature.",
    "delete": "Delete a feature.",
    "read": "Read the true vote count of a feature.",
    "list": "List the features.",
    "revoke": "End a session; {sessionToken} is the token inside the cookie, for servers that ask for that.",
    "change_role": 'Change the role of a user: {role} is "regular" or "admin".',
}


def write_profile(url: str) -> str:
    """The text of a profile for the server at `url` (its base URL, or its WebSocket's). Raises UsageError for a bad
    URL.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    secure = {"http": "", "ws": "", "https": "s", "wss": "s"}.get(parts.scheme)
    if secure is None or not parts.hostname or parts.username is not None:
        do = "write for example http://127.0.0.1:3000 or wss://app.example.org/api/roadmap/ws"
        raise UsageError("this is not a server's address", "URL", do)
    contract = load_contract()
    is_socket = parts.scheme in ("ws", "wss")
    own_path = is_socket and parts.path not in ("", "/", contract.path)
    base_url = f"http{secure}://{parts.netloc}" + ("" if is_socket else parts.path.rstrip("/"))
    filled = {
        "name": _toml(parts.hostname),
        "base_url": _toml(base_url),
        "ws_path_mark": "" if own_path else "# ",
        "ws_path": _toml(parts.path if own_path else contract.path),
        "ws_url": _toml(f"ws{secure}://{parts.netloc}{contract.path}"),
        "cookie": _toml(contract.cookie),
        "origin": _toml(f"http{secure}://{parts.netloc}"),
        "hooks": "".join(_hook(name) for name in HOOKS if name in DEFAULT_HOOKS),
        "metrics": _toml(f"{base_url}/metrics"),
        "readings": "\n".join(_readings()),
        "limits": "\n".join(f"# {key} = {_toml(value)}" for key, value in dataclasses.asdict(contract.limits).items()),
    }
    text = resources.files("harness.target").joinpath("blank.toml").read_text("utf-8")
    return re.sub(r"<<(\w+)>>", lambda mark: filled[mark[1]], text)


def _hook(name: str) -> str:
    allowed = " ".join(f"{{{hole}}}" for hole in sorted(PLACEHOLDERS[name][0]))
    lines = [f"\n# {_WHY[name]}", f"# Placeholders: {allowed}", f"[hooks.{name}]"]
    return "\n".join([*lines, *(f"# {key} = {_toml(value)}" for key, value in DEFAULT_HOOKS[name].items())]) + "\n"


def _readings() -> Iterator[str]:
    for reading in load_readings().values():
        yield f"# {reading.question}"
        yield from (f"#   {name}: {meaning}" for name, meaning in reading.permitted.items())
        yield f"# {reading.key} = {_toml(reading.default)}"


def _toml(value: Any) -> str:
    """A TOML value: JSON's texts, numbers and arrays are TOML too, and objects become inline tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
