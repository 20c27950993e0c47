"""The command line as a newcomer meets it: what it says without a word, what each command teaches, and how it takes a slip."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import UsageError
from harness.journal import FORMAT, Journal
from tests.report.gate_builder import good_gate, write_gate

RUN = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
COMMANDS = getattr(get_command(app), "commands")  # noqa: B009 - a group, which the type does not say


def test_without_a_word_it_says_what_there_is_and_where_to_begin() -> None:
    said = RUN.invoke(app, []).output
    assert set(COMMANDS) <= set(re.findall(r"[a-z]+", said))
    assert "Begin with" in said


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"serve"}))
def test_every_help_has_an_example_that_is_understood(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = RUN.invoke(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    example = re.search(rf"Example: roadmap-harness ({name}[^>\n│]*)", done.output)
    assert example, done.output
    words = [word.strip("'") for word in example[1].split()]
    shown = RUN.invoke(app, [*words, "--show-config"])
    assert shown.exit_code == 0, shown.output
    assert "command line" in shown.output or len(words) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("raport",), "No such command"),
        (("report", "--jsn", "x"), "No such option"),
        (("doctor",), "Missing argument"),
        (("check", "staging.toml", "--workers", "many"), "--workers"),
    ],
)
def test_a_slip_is_named_and_is_a_usage_error(words: tuple[str, ...], said: str) -> None:
    done = RUN.invoke(app, words)
    assert done.exit_code == 2
    assert said in done.output


def test_what_a_run_says_can_be_had_for_machines(tmp_path: Path) -> None:
    folder = tmp_path / "20261114T071355Z-conformance-0001"
    write_gate(folder, good_gate())
    with Journal(folder) as journal:
        journal.write({"kind": "header", "format": FORMAT, "scenario": "conformance", "started": 1.7e9, "run": folder.name})
    printed = RUN.invoke(app, ["report", str(folder), "--json", "-"])
    assert json.loads(printed.stdout) == json.loads((folder / "conformance.json").read_text())
    written = RUN.invoke(app, ["report", str(folder), "--json", str(tmp_path / "out.json")])
    assert written.stdout.startswith("PASS: ")
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(printed.stdout)
    assert (printed.exit_code, written.exit_code) == (0, 0)


@pytest.mark.parametrize("option", ["--junit", "--json", "--markdown"])
@pytest.mark.parametrize(("file", "said"), [("nowhere/out", "its folder does not exist"), (".", "it is a folder")])
def test_a_file_that_cannot_be_written_is_refused_before_the_gate_begins(
    option: str, file: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = RUN.invoke(app, ["check", "staging.toml", option, file])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert not list(tmp_path.iterdir())
