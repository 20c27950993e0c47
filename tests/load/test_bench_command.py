"""`bench`: each scenario brings its own options, and what cannot be run is refused before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench import describe
from harness.errors import UsageError
from harness.load.shape import CASTING, COMMON
from harness.locust_run import scenario_file, scenario_names


def _bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)


def test_help_names_every_scenario(tmp_path: Path) -> None:
    done = _bench(tmp_path, "--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in scenario_names())


def test_each_scenario_has_its_own_help(tmp_path: Path) -> None:
    done = _bench(tmp_path, "slow_readers", "--help")
    assert done.returncode == 0
    assert "--slow-share" in done.stdout
    assert "stop reading" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "broadcast"),
        (("ramp", "--cycles", "1"), "3 or more"),
        (("ramp", "--rate", "5"), "--rate"),
        (("broadcast", "--thresholds", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_cannot_be_run_is_refused_before_it_starts(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = _bench(tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "reports").exists()


def test_a_scenario_says_of_itself_what_it_is() -> None:
    ramp = describe(scenario_file("ramp"))
    assert not ramp.casts
    names = [option.name for option in ramp.options]
    assert names[: len(COMMON)] == [option.name for option in COMMON]
    assert {"steps", "cycles", "hold"} <= set(names)
    assert not {option.name for option in CASTING} & set(names)


def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plain.py"
    file.write_text("value = 1\n")
    with pytest.raises(UsageError, match="installs no scenario"):
        describe(file)
