"""Files that a command writes besides its run folder, on request.

They are looked at before the work begins: a mistake in a path must cost a second, not a run of ten minutes and its verdict.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError

__all__ = ["check_destination"]


def check_destination(path: Path | None, option: str) -> None:
    """Nothing is made, and None and "-" (standard output) are always good. Raises UsageError where no file can come to be."""
    if path is None or str(path) == "-":
        return
    if path.is_dir():
        raise UsageError("it is a folder", f"{option} {path}", "name a file in it")
    if not path.parent.is_dir():
        raise UsageError("its folder does not exist", f"{option} {path}", f"make it first (mkdir -p {path.parent}), or name another file")
