"""What it takes to make a run again, from its journal's header, whatever kind of run it is: seed, revision, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["origin"]

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
