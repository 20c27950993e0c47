"""What it takes to make a run again, from its journal's header, whatever kind of run it is: seed, revision, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import words

__all__ = ["origin", "surroundings"]

_UNITS = {
    **dict.fromkeys(("duration", "warmup", "drain", "hold", "calm", "stay", "view", "outages"), " s"),
    "rate": " votes/s", "most_rate": " votes/s", "spawn_rate": "/s", "edits": "/min",
}  # fmt: skip
"""Of the options of a run, by name; the others are counts, shares or words."""
_SIZES = ("memory_bytes", "backlog")
_FIRST = ("roadmap-harness", "python", "locust")


def origin(header: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Facts for the first screen; what was not recorded is said to be so."""
    return (
        ("Seed", str(header.get("seed", "not recorded"))),
        ("Revision", _git(header.get("git"))),
        ("Versions", _versions(header.get("versions"))),
    )


def _versions(given: object) -> str:
    """Those that a reader asks for first; the environment further down has all."""
    versions = given if isinstance(given, Mapping) else {}
    named = [name for name in _FIRST if name in versions] or list(versions)[: len(_FIRST)]
    return ", ".join(f"{name} {versions[name]}" for name in named) or "not recorded"


def _git(git: object) -> str:
    if not isinstance(git, Mapping) or not git.get("revision"):
        return "not under version control"
    return f"{git['revision']}{' with uncommitted changes' if git.get('dirty') else ''}"


def surroundings(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Machine, versions and what the run was asked for, each with its unit."""
    asked = {f"asked: {_plain(key)}": _with_unit(key, value) for key, value in (header.get("parameters") or {}).items()}
    machine = {_plain(key): _with_unit(key, value) for key, value in (header.get("machine") or {}).items()}
    versions = {str(key): str(value) for key, value in (header.get("versions") or {}).items()}
    return [*machine.items(), *versions.items(), *asked.items()]


def _plain(key: object) -> str:
    return str(key).removesuffix("_bytes").replace("_", " ")


def _with_unit(key: object, value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_with_unit(key, each) for each in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return words.size(value) if key in _SIZES else f"{words.count(value)}{_UNITS.get(str(key), '')}"
