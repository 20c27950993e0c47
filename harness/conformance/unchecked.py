"""Clauses that have no check, each with its reason."""

from __future__ import annotations

import tomllib
from importlib import resources

from harness.errors import UsageError
from schemas import load_clauses

__all__ = ["unchecked"]


def unchecked() -> dict[str, str]:
    """Clause -> why it has no check: checks/unchecked.toml. Raises UsageError for an id that is no clause."""
    text = resources.files("harness.conformance.checks").joinpath("unchecked.toml").read_text("utf-8")
    reasons: dict[str, str] = tomllib.loads(text)
    for id_ in reasons:
        if id_ not in load_clauses():
            raise UsageError(f"there is no clause {id_!r}", "checks/unchecked.toml", "write ids of schemas/clauses.toml")
    return reasons
