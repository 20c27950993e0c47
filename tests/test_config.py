"""Flag over environment over file over default, said truly; and what is wrong in any of them is named with its place."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import app
from harness.config import COMMANDS, Configured, environment_name, parsed, shown
from harness.errors import UsageError

SCENARIOS = {"ramp": list, "slow_readers": list, "reconnect": lambda: ["clients", "time-scale"]}


def parser() -> ArgumentParser:
    made = ArgumentParser()
    made.add_argument("--rate", type=float, default=100.0)
    made.add_argument("--web", action="store_true")
    made.add_argument("--reports", type=Path, default=Path("reports"))
    return made


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "roadmap-harness.toml"
    for name in [each for each in os.environ if each.startswith("ROADMAP")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ROADMAP_CONFIG", str(path))
    path.write_text("")
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    flag=st.none() | st.integers(1, 99),
    variable=st.none() | st.integers(1, 99),
    own=st.none() | st.integers(1, 99),
    common=st.none() | st.integers(1, 99),
)
def test_the_nearest_source_wins_and_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, flag: int | None, variable: int | None, own: int | None, common: int | None
) -> None:
    lines = ["[bench]", *([f"rate = {common}"] if common else []), "[bench.ramp]", *([f"rate = {own}"] if own else [])]
    file.write_text("\n".join(lines))
    monkeypatch.setenv("ROADMAP_BENCH_RATE", str(variable)) if variable else monkeypatch.delenv("ROADMAP_BENCH_RATE", raising=False)
    values, sources = parsed(parser(), "ramp", [f"--rate={flag}"] if flag else [], SCENARIOS)
    assert values["rate"] == float(flag or variable or own or common or 100)
    (rate,) = (each for each in sources if each.name == "rate")
    expected = "command line" if flag else "environment" if variable else "file" if own or common else "default"
    assert rate.source.partition(" (")[0] == expected


def test_a_scenarios_table_may_be_spelt_as_its_command(file: Path) -> None:
    file.write_text("[bench.slow-readers]\nrate = 7\n")
    assert parsed(parser(), "slow_readers", [], SCENARIOS)[0]["rate"] == 7.0


def test_what_holds_for_another_scenario_alone_is_passed_over(file: Path) -> None:
    file.write_text('[bench]\nclients = 7\ntime-scale = 2\n[bench.reconnect]\nmodels = "jitter"\n')
    assert parsed(parser(), "ramp", [], SCENARIOS)[0]["rate"] == 100.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bench.ramp]\nrat = 3\n", r"\[bench.ramp\] has no option 'rat'.*mean rate\?.*rate, reports, web"),
        ("[bench.rampp]\nrate = 3\n", r"no scenario 'rampp'.*mean ramp\?"),
        ("[bench]\ntime_scal = 3\n", r"no scenario has an option 'time_scal'.*mean time-scale\?"),
        ("[chek]\nseed = 3\n", r"no command 'chek'.*mean check\?"),
        ("rate = 3\n", r"'rate' stands in no table.*\[bench\]"),
        ("bench = 3\n", r"\[bench\] must be a table"),
        ("[bench\n", "it is no TOML"),
        ('[bench.ramp]\nrate = "fast"\n', "'fast' is not what --rate takes"),
        ('[bench.ramp]\nweb = "maybe"\n', "neither yes nor no"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        parsed(parser(), "ramp", [], SCENARIOS)
    assert str(file) in str(caught.value)


def test_a_switch_may_be_set_by_word(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment_name("bench", "web"), "yes")
    assert parsed(parser(), "ramp", [], SCENARIOS)[0]["web"] is True


def _tool(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("ROADMAP")}, **variables}
    return subprocess.run([sys.executable, "-m", "harness.cli", *words], check=False, capture_output=True, text=True, env=environment)


def test_every_kind_of_command_says_where_its_values_come_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[check]\nprofile = "fast"\njson = "out.json"\n[bench]\nrate = 50\n')
    told = _tool("check", "target.toml", "--show-config", ROADMAP_CONFIG=str(file), ROADMAP_CHECK_SEED="7", ROADMAP_REPORTS="elsewhere")
    lines = {line.split()[0]: line for line in told.stdout.splitlines()}
    assert told.returncode == 0, told.stderr
    assert "command line" in lines["target"]
    assert lines["profile"].split() == ["profile", "fast", "file", f"({file})"]
    assert str(file) in lines["json"]
    assert "ROADMAP_CHECK_SEED" in lines["seed"]
    assert "ROADMAP_REPORTS" in lines["reports"]
    assert lines["capacity"].endswith("default")

    told = _tool("bench", "--show-config", "--warmup", "2", ROADMAP_CONFIG=str(file))
    lines = {line.split()[0]: line for line in told.stdout.splitlines()}
    assert told.returncode == 0, told.stderr
    assert lines["rate"].split()[1:3] == ["50.0", "file"]
    assert lines["warmup"].endswith("command line")


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    told = _tool("report", "--show-config", ROADMAP_CONFIG=str(tmp_path / "none.toml"))
    assert told.returncode == 2
    assert "it does not exist" in told.stderr


def test_every_command_that_reads_the_file_has_its_table() -> None:
    assert set(COMMANDS) == {
        "bench",
        *(each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands if each.cls is Configured),
    }


def test_columns_are_even(file: Path) -> None:
    _, sources = parsed(parser(), "ramp", ["--rate", "5"], SCENARIOS)
    lines = shown(sources).splitlines()
    assert len({line.index(each.source) for line, each in zip(lines, sources, strict=True)}) == 1
