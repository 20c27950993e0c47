"""Every command of the documents is run, in the order in which a reader types them, in an empty folder, on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from harness.locust_run import free_port
from harness.report import render
from tests.analysis.builder import Recipe, good, write
from tests.docs.console import Command, File, Step, mismatch, ports, steps

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
BIN = Path(sys.executable).parent
LONGEST = 400.0
_STARVED = frozenset({"slip", "lag", "stall", "host_cpu", "own_error"})


class Shell:
    """A folder and a terminal. What was started in the background ends with it."""

    def __init__(self, folder: Path, found: list[Step]) -> None:
        self._folder = folder
        self._ports = {port: free_port() for port in ports(found)}
        self._running: list[subprocess.Popen[bytes]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROADMAP_", "COV_", "GITHUB_"))}
        self._environment = {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "HARNESS": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}

    def _own(self, text: str) -> str:
        for port, other in self._ports.items():
            text = re.sub(rf"\b{port}\b", other, text)
        return text

    def write(self, file: File) -> None:
        path = self._folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._own(file.text), "utf-8")

    def run(self, command: Command) -> None:
        text = self._own(command.text)
        if text.startswith("make "):
            # The whole suite cannot be run by one of its tests: that the target exists and what it would do is shown.
            text = f"make --dry-run -C {ROOT} {text.removeprefix('make ')}"
        words = ["bash", "-c", text.removesuffix(" &") if not command.background else f"exec {text.removesuffix(' &')}"]
        if command.background:
            log = (self._folder / f"background-{len(self._running)}.log").open("wb")
            with log:
                self._running.append(
                    subprocess.Popen(words, cwd=self._folder, env=self._environment, stdout=log, stderr=log, start_new_session=True)
                )
            return
        done = subprocess.run(
            words, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=LONGEST, stdin=subprocess.DEVNULL
        )
        if done.returncode == 4 and re.search(r"\b(bench|locust|report)\b", text) and self._too_busy():
            return  # what the documents promise of a machine that is short of processors: INVALID, and no word about the server
        assert done.returncode == command.code, f"$ {text}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        if command.prints:
            said = mismatch(done.stdout, [self._own(line) for line in command.prints])
            assert not said, f"$ {text}\n{said}\n{done.stderr}"

    def _too_busy(self) -> bool:
        """Whether the latest load run is INVALID for want of processors alone: others may run tests beside this one."""
        found = sorted(self._folder.glob("reports/*/verdicts.json"))
        said = json.loads(found[-1].read_text("utf-8")) if found else {}
        return bool(said.get("reasons")) and {reason["code"] for reason in said["reasons"]} <= _STARVED

    def close(self) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def _shell(folder: Path, found: list[Step]) -> Iterator[Shell]:
    shell = Shell(folder, found)
    try:
        yield shell
    finally:
        shell.close()


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.stem)
def test_every_command_does_what_the_document_says(document: Path, tmp_path: Path) -> None:
    found = steps(document)
    with _shell(tmp_path, found) as shell:
        for step in found:
            if isinstance(step, File):
                shell.write(step)
            else:
                shell.run(step)


def test_the_documents_have_commands_to_run() -> None:
    commands = {path.stem: sum(isinstance(step, Command) for step in steps(path)) for path in DOCS}
    assert commands["tutorial"] >= 12
    assert commands["contributing"] >= 6
    assert commands["ci"] >= 3


@pytest.mark.parametrize("document", [*DOCS, ROOT / "README.md"], ids=lambda path: path.stem)
def test_every_link_and_every_path_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in link:
            assert (document.parent / link).exists(), link
    for path in re.findall(r"`((?:harness|schemas|scenarios|benchmarks|server_under_test|tests|ci)/[\w./]*)`", text):
        if not re.search(r"[A-Z]{4}", path):  # test_SECTION.py stands for many
            assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), path
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert target in targets, target


def test_commands_named_in_the_text_exist() -> None:
    from typer.main import get_command

    from harness.cli import app

    known = set(getattr(get_command(app), "commands"))  # noqa: B009 - a group, which the type does not say
    for document in DOCS:
        for name in re.findall(r"roadmap-harness (?!-)([a-z]+)\b", document.read_text("utf-8")):
            assert name in known, f"{document.name}: roadmap-harness {name}"


def test_the_workflow_and_the_templates_fit_the_action() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    files = {step.name: step.text for step in steps(ROOT / "docs" / "ci.md") if isinstance(step, File)}
    workflow = yaml.safe_load(files[".github/workflows/contract.yml"])
    used = next(step for step in workflow["jobs"]["contract"]["steps"] if "roadmap-harness@" in step.get("uses", ""))
    assert set(used["with"]) <= set(action["inputs"])
    assert {name for name, given in action["inputs"].items() if given.get("required")} <= set(used["with"])
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        for name in re.findall(r"inputs\.([a-z]+)", str(step)):
            assert name in action["inputs"]
        assert "${{" not in step.get("run", ""), "what is put into a script's text is run as code: hand it over in env"
    template = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text("utf-8"))[".roadmap-contract"]
    job = yaml.safe_load(files[".gitlab-ci.yml"])["contract"]
    assert job["extends"] == ".roadmap-contract"
    assert set(job["variables"]) <= set(template["variables"])


def test_the_profile_of_the_example_is_a_profile(tmp_path: Path) -> None:
    from harness.target import load_profile

    text = next(step.text for step in steps(ROOT / "docs" / "ci.md") if isinstance(step, File) and step.name == "roadmap.toml")
    assert text == (ROOT / "docs" / "examples" / "node" / "roadmap.toml").read_text("utf-8")
    (tmp_path / "roadmap.toml").write_text(text, "utf-8")
    target = load_profile(tmp_path / "roadmap.toml", {"LOAD_PASSWORD": "secret-of-the-test"})
    assert target.name == "roadmap service"
    assert "secret-of-the-test" not in repr(target)


def _of_the_readme() -> list[list[str]]:
    """Commands of the README: indented lines that begin with a program of ours."""
    lines = re.findall(r"^    ((?:roadmap-harness|make|locust) .*)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_every_command_of_the_readme_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take minutes each, and the other documents run their like: here each is read by its own parser, to the last option."""
    from harness.cli import app

    for name in [each for each in os.environ if each.startswith("ROADMAP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    commands = _of_the_readme()
    assert len(commands) >= 20
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    most = max((words for program, *words in commands if program == "locust"), key=len)
    told = [sys.executable, "-m", "locust", *most, "--list"]
    subprocess.run(told, cwd=ROOT, check=True, capture_output=True, timeout=LONGEST)
    for program, *words in commands:
        if program == "make":
            assert words[0] in targets
        elif program == "locust":
            assert {word for word in words if word.startswith("-")} <= {*most, "--worker"}, "the longest has all options of the others"
        elif words[0] != "serve":
            given = [word for word in words if word != "&"]
            done = CliRunner().invoke(app, [*given, *(["--show-config"] if "--help" not in given else [])])
            assert done.exit_code == 0, f"{given}: {done.output}"


def test_the_pictures_are_there_and_can_be_taken_anew(tmp_path: Path) -> None:
    names = set(re.findall(r"docs/pictures/([\w-]+\.png)", (ROOT / "README.md").read_text("utf-8")))
    assert names == {f"{part}-{scheme}.png" for part in ("first-screen", "latency") for scheme in ("light", "dark")}
    assert all((ROOT / "docs" / "pictures" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    if not any(map(shutil.which, ("chromium", "chromium-browser"))):
        pytest.skip("no Chromium here: install Debian's `chromium` package to see pictures being taken")
    page = render(write(tmp_path / "run", good(Recipe())))
    command = [sys.executable, str(ROOT / "docs" / "pictures.py"), str(page.parent), "-o", str(tmp_path / "pictures")]
    subprocess.run(command, check=True, capture_output=True, timeout=LONGEST)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == names


def test_the_gate_of_a_pipeline_tells_a_target_that_is_not_there(tmp_path: Path) -> None:
    sessions = [{"value": "nobody", "role": "regular", "userId": "u1"}]
    (tmp_path / "sessions.json").write_text(json.dumps(sessions), "utf-8")
    profile = f'name = "dead"\nbase_url = "http://127.0.0.1:{free_port()}"\n[sessions]\nsource = "cookies-file"\npath = "sessions.json"\n'
    (tmp_path / "dead.toml").write_text(profile, "utf-8")
    (tmp_path / "sessions.json").chmod(0o600)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROADMAP_", "COV_", "GITHUB_"))}
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    step = next(step for step in action["runs"]["steps"] if step.get("id") == "gate")
    asked = {"TARGET": "dead.toml", "CHECK": "--clause HS-01", "BENCH": "no", "ROADMAP_REPORTS": "reports", "HARNESS": str(ROOT)}
    assert set(step["env"]) == set(asked)
    asked["GITHUB_OUTPUT"] = str(tmp_path / "output")
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]  # as GitHub starts it
    done = subprocess.run(words, cwd=tmp_path, env={**kept, **asked}, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 3, done.stdout + done.stderr
    assert (tmp_path / "output").read_text() == "exit-code=3\n"
    nobody = subprocess.run([str(ROOT / "ci" / "gate.sh")], cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=LONGEST)
    assert nobody.returncode != 0
    assert "TARGET" in nobody.stderr


def test_what_is_installed_already_is_used_as_it_is() -> None:
    if not (ROOT / ".venv" / "bin" / "roadmap-harness").exists():
        pytest.skip("the harness is not installed in .venv here")
    subprocess.run([str(ROOT / "ci" / "install.sh"), str(ROOT), "no-such-python"], check=True, capture_output=True, timeout=LONGEST)
