"""The bundled server as a target: from the ready.json that it writes to the profile of it. A profile (TOML) is `load`'s."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.target.load import load_profile, target_of
from harness.target.model import Target
from harness.target.where import Where
from schemas import Limits, load_contract

__all__ = ["bundled_profile", "load_target"]

_AGAIN = Path(__file__).with_name("again.py")
_START_SECONDS = 60.0


def load_target(path: str | Path) -> Target:
    """The target of a profile (TOML), or of the ready.json that a bundled server writes. Raises UsageError."""
    file = Path(path)
    return bundled_profile(file) if file.suffix == ".json" else load_profile(file)


def bundled_profile(ready: Path, *, time_scale: float = 1.0, limits: Mapping[str, float] | None = None, name: str = "bundled") -> Target:
    """The bundled server whose state directory holds `ready` (ready.json). Raises UsageError.

    time_scale and limits: as the server was started with, where ready.json does not tell; `limits` are the values before
    scaling, as its flags take them.
    """
    data = _checked_ready(ready)
    scaled = {key: value * time_scale if key in Limits.DURATIONS else value for key, value in (limits or {}).items()}
    secure = data["base_url"].startswith("https://")
    cookie = load_contract().cookie
    hooks: dict[str, Any] = {
        "stop": {"command": _again("stop", ready)},
        # Unannounced, as a session that runs out is: the server has to find out by its own re-validation.
        "revoke": {"body": {"sessionId": "{sessionId}", "push": False}},
    }
    if data.get("command"):
        hooks["start"] = {"command": _again("start", ready), "timeout": _START_SECONDS}
    return target_of(
        {
            "name": f"{name}, broken by {', '.join(data['faults'])}" if data.get("faults") else name,
            "base_url": data["base_url"],
            "ws_url": data["ws_url"],
            "cookie": f"__Secure-{cookie}" if secure else cookie,
            "time_scale": time_scale,
            "limits": scaled or data.get("limits", {}),
            "sessions": {"source": "cookies-file", "path": data["sessions_file"]},
            "resources": {"pid": data["pid"], "metrics_url": data["metrics_url"]},
            "readings": {"subscription_limit": "declared", **({"cookie_name": "secure_prefix"} if secure else {})},
            "hooks": hooks,
            **({"tls": {"ca_file": data["ca_file"]}} if "ca_file" in data else {}),
        },
        Where(ready, {}),
    )


def _again(what: str, ready: Path) -> list[str]:
    """The hook that stops the server or starts it again: a program that reads files only, so that nothing shows in a process list."""
    file = str(ready.absolute()).replace("{", "{{").replace("}", "}}")
    return [sys.executable, "-I", str(_AGAIN), what, file]


def _checked_ready(ready: Path) -> dict[str, Any]:
    """What ready.json says. Raises UsageError when it is not there or not whole."""
    do = "start the bundled server and wait until it has written this file"
    try:
        data: dict[str, Any] = json.loads(ready.read_bytes())
    except OSError as error:
        raise UsageError(f"ready.json cannot be read: {error.strerror}", str(ready), do) from None
    except ValueError:
        raise UsageError("ready.json is not JSON", str(ready), do) from None
    kinds = {"base_url": str, "ws_url": str, "pid": int, "metrics_url": str, "sessions_file": str}
    for key, kind in kinds.items():
        if not isinstance(data, dict) or not isinstance(data.get(key), kind):
            raise UsageError(f"{key} is missing or of another kind", f"{ready}: {key}", do)
    if not all(isinstance(each, str) for each in data.get("faults") or ()):
        raise UsageError("faults is not a list of names", f"{ready}: faults", do)
    return data
