"""Where a profile is and what environment it is read in: what every part of the loader needs to name a place in an
error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.target.text import TextError

__all__ = ["Where", "text_error"]


@dataclass(frozen=True, slots=True)
class Where:
    file: Path
    environ: Mapping[str, str] = field(repr=False)

    def at(self, key: str) -> str:
        return f"{self.file}: {key}"

    def near(self, path: str) -> Path:
        """A path in the profile is relative to the profile."""
        return self.file.parent / Path(path).expanduser()


def text_error(error: TextError, where: str) -> UsageError:
    """A TextError with its place."""
    return UsageError(error.what, where, error.do)
