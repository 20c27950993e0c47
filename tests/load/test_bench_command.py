"""`bench`: each scenario brings its own options, and what cannot be run is refused before anything is started."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench import bench, describe
from harness.errors import UsageError
from harness.load.shape import CASTING, COMMON
from harness.locust_run import scenario_file, scenario_names


def _bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)


@pytest.fixture
def asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder; each locustfile is asked what it is once for all tests of this module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.bench.describe", _described)


_described = functools.cache(describe)


def test_help_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in scenario_names())


@pytest.mark.usefixtures("asked_once")
def test_each_scenario_has_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench(["ramp", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--cycles" in shown
    assert "handshakes a second" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ramp", "--cycles", "1"), "3 or more"),
        (("ramp", "--rate", "5"), "--rate"),
        (("broadcast", "--thresholds", "nowhere.toml"), "nowhere.toml"),
        (("broadcast", "--web", "--json", "-"), "--json"),
        (("broadcast", "--json", "nowhere/out.json"), "its folder does not exist"),
        (("broadcast", "--fault", "no-such-fault"), "no-such-fault"),
        (("broadcast", "--web", "--no-page"), "leave one of the two out"),
        (("broadcast", "--fault", "nothing-is-batched", "--target", "staging.toml"), "only the bundled server has faults"),
    ],
)
@pytest.mark.usefixtures("asked_once")
def test_what_cannot_be_run_is_refused_before_it_starts(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    with pytest.raises((UsageError, SystemExit)) as refused:
        bench(list(words))
    assert said in f"{refused.value} {capsys.readouterr().err}"
    assert not list(tmp_path.glob("reports/*")), "a run that never began leaves no folder"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("latency.p98 < 3s", "did you mean latency.p99"),
        ("latency.p99 < 3KB", "use one of: 'us'"),
        ("benchmark.ramp_leak < 1KB", "there is no figure 'benchmark.ramp_leak'"),
        ("benchmark.latency < 1 fortnight", "'fortnight' is no unit"),
    ],
)
@pytest.mark.usefixtures("asked_once")
def test_a_threshold_on_a_figure_that_the_run_will_not_have_is_refused_before_the_load(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"require = ['{line}']\n")
    with pytest.raises(UsageError, match=said):
        bench(["broadcast", "--thresholds", "mine.toml"])
    assert not list(tmp_path.glob("reports/*"))


@pytest.mark.parametrize(("words", "said"), [(("nonsense",), "broadcast"), (("broadcast", "--target", "staging.toml"), "staging.toml")])
def test_a_refusal_ends_the_command_with_its_reason(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = _bench(tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("reports/*")), "a run that never began leaves no folder"


def test_a_server_that_is_broken_on_purpose_is_convicted_only_the_verdict_is_said_and_nothing_drawn(tmp_path: Path) -> None:
    small = ("--viewers", "20", "--rate", "20", "--duration", "1.5", "--warmup", "0.5", "--features", "20", "--voters", "5")
    done = _bench(tmp_path, *small, "--fault", "voter-told", "--quiet", "--no-page", "--json", "-")
    told = json.loads(done.stdout)
    assert done.stderr.startswith(f"{told['verdict']}: "), "standard output has the JSON and nothing else"
    assert told["target"] == "bundled, broken by voter-told"
    assert "bundled server at" not in done.stderr, "nothing is said of what passes"
    misdirected = next(each for each in told["benchmarks"] if each["id"] == "misdirected")
    assert misdirected["measured"] > 0
    assert (done.returncode, misdirected["verdict"]) == (1, "FAIL") or told["verdict"] == "INVALID", done.stderr
    assert not list(tmp_path.rglob("*.html"))
    (folder,) = (path.parent for path in tmp_path.glob("reports/*/verdicts.json"))
    assert f"report: roadmap-harness report {folder.relative_to(tmp_path)} draws it" in done.stderr


def test_the_shell_is_told_which_scenarios_there_are(tmp_path: Path) -> None:
    asked = {"_ROADMAP_HARNESS_COMPLETE": "complete_bash", "COMP_WORDS": "roadmap-harness bench r", "COMP_CWORD": "2"}
    command = [str(Path(sys.executable).with_name("roadmap-harness"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env={**os.environ, **asked})
    assert set(done.stdout.split()) == {name for name in scenario_names() if name.startswith("r")}


def test_a_scenario_says_of_itself_what_it_is() -> None:
    ramp = _described(scenario_file("ramp"))
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
