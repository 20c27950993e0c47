"""Which revision of a project a run was made in: read from git, never assumed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

__all__ = ["git_revision"]


def git_revision(folder: Path) -> dict[str, Any] | None:
    """The revision of the checkout that `folder` is in, or None: outside of one, or without git."""
    try:
        revision = _git(folder, "rev-parse", "--short=12", "HEAD")
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": revision, "dirty": bool(dirty)}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=10)  # noqa: S607
    return done.stdout.strip()
