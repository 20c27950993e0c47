"""Reads the documents as a reader would use them: files to write, commands to type, and what should appear.

In a fence of kind `console`, a line with `$ ` is a command, `# ends with N` after it its exit code, and the lines under it are what it
prints, `...` standing for whatever. A fence with `file=NAME` is a file. A command that ends in `&` goes on in the background.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Command", "File", "Step", "mismatch", "ports", "steps"]

_FENCE = re.compile(r"^```(?P<kind>\w*)(?P<more>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_ENDS = re.compile(r"\s+# ends with (\d+)$")


@dataclass(frozen=True, slots=True)
class File:
    """A file that the reader writes, below the folder where he works."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A line that the reader types, what it prints, and the exit code that it ends with."""

    text: str
    code: int
    prints: tuple[str, ...] = field(default=())

    @property
    def background(self) -> bool:
        return self.text.endswith(" &")


Step = File | Command


def steps(document: Path) -> list[Step]:
    """What a document has a reader do, in order. Raises ValueError for a console fence that begins with output."""
    found: list[Step] = []
    for fence in _FENCE.finditer(document.read_text("utf-8")):
        named = re.search(r"\bfile=(\S+)", fence["more"])
        if named:
            found.append(File(named[1], fence["body"]))
        elif fence["kind"] == "console":
            found += _commands(fence["body"].splitlines())
    return found


def _commands(lines: Sequence[str]) -> Iterator[Command]:
    text: str | None = None
    code, prints = 0, []
    for line in lines:
        if not line.startswith("$ "):
            if text is None:
                raise ValueError(f"a console fence begins with output: {line!r}")
            prints.append(line)
            continue
        if text is not None:
            yield Command(text, code, tuple(prints))
        ends = _ENDS.search(line)
        text, code, prints = _ENDS.sub("", line[2:]), int(ends[1]) if ends else 0, []
        text = re.sub(r"\s+#.*$", "", text)
    if text is not None:
        yield Command(text, code, tuple(prints))


def ports(found: Sequence[Step]) -> list[str]:
    """The fixed ports that the document uses: four digits after an address or `--port`."""
    texts = "\n".join(step.text for step in found)
    return sorted(set(re.findall(r"(?:--port |127\.0\.0\.1:)(\d{4})\b", texts)))


def mismatch(printed: str, expected: Sequence[str]) -> str:
    """Why the output is not what the document shows, or "". `...` alone stands for any lines, inside a line for any characters."""
    lines = [line.rstrip() for line in printed.splitlines()]
    at, loose = 0, False
    for wanted in expected:
        if wanted.strip() == "...":
            loose = True
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.rstrip().split("...")))
        span = range(at, len(lines)) if loose else range(at, min(at + 1, len(lines)))
        match = next((index for index in span if pattern.fullmatch(lines[index])), None)
        if match is None:
            return f"the document shows {wanted!r}, and it printed:\n{printed}"
        at, loose = match + 1, False
    if expected and not loose and at < len(lines):
        return f"it printed more than the document shows: {lines[at]!r}"
    return ""
