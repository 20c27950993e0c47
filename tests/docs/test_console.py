"""console.py: documents are read as they are written, and output that differs is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.docs.console import Command, File, mismatch, ports, steps

TEXT = """
Words.

```toml file=a.toml
name = "x"
```

```console
$ serve --port 4010 &
$ check a.toml   # ends with 1
FAIL: ...
...
$ true           # why not
```

```python
not_a_file()
```
"""


def test_files_commands_codes_and_output_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(TEXT)
    found = steps(tmp_path / "a.md")
    assert found == [
        File("a.toml", 'name = "x"\n'),
        Command("serve --port 4010 &", 0),
        Command("check a.toml", 1, ("FAIL: ...", "...")),
        Command("true", 0),
    ]
    assert ports(found) == ["4010"]
    assert [step.background for step in found if isinstance(step, Command)] == [True, False, False]


def test_output_without_a_command_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("```console\nPASS\n```\n")
    with pytest.raises(ValueError, match="begins with output"):
        steps(tmp_path / "a.md")


LINES = st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), min_size=1, max_size=6)


@settings(deadline=None)
@given(LINES)
def test_what_was_printed_matches_itself_and_nothing_else(lines: list[str]) -> None:
    printed = "\n".join(lines)
    assert mismatch(printed, lines) == ""
    assert mismatch(printed, ["..."]) == ""
    assert mismatch(printed, [lines[0], "..."]) == ""
    assert mismatch(printed, ["...", lines[-1]]) == "" or lines[-1] in lines[:-1]
    assert mismatch(printed, [lines[0] + "!"]) != ""
    assert mismatch(printed, [*lines, "one more"]) != ""
    assert mismatch(printed + "\nunexpected", lines) != ""


@pytest.mark.parametrize(("shown", "fits"), [("PASS: ...", True), ("...: all kept", True), ("PASS", False), ("FAIL: ...", False)])
def test_dots_stand_for_characters(shown: str, fits: bool) -> None:
    assert (mismatch("PASS: all kept\n", [shown]) == "") is fits
