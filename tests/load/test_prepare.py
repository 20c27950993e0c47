"""What cannot work is refused before the first socket: one clear sentence, the documented exit code, the number and the fix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bundled import BundledServer
from harness.errors import HarnessError, LoginRefused, UsageError
from harness.load.prepare import prepare
from harness.load.settings import Settings
from harness.load.shape import Shape
from tests.load.rig import FEATURES, RATE, VIEWERS, VOTERS, server

_SHAPE = Shape(name="broadcast", about="")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledServer]:
    with server(tmp_path_factory.mktemp("prepare"), ["--sign-in-attempts", "1000"]) as found:
        yield found


def _settings(target: Path, folder: Path, **changes: Any) -> Settings:
    usual = Settings(
        scenario="broadcast",
        target=str(target),
        viewers=VIEWERS,
        spawn_rate=100.0,
        rate=float(RATE),
        duration=3.0,
        warmup=1.0,
        features=FEATURES,
        voters=VOTERS,
        drain=5.0,
        seed=1,
        reports=folder,
        folder=None,
    )
    return replace(usual, **changes)


def _refused(settings: Settings) -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        prepare(_SHAPE, settings, 1, 1)
    assert not list(settings.reports.glob("*-broadcast-*")), "a refused run left a folder"
    return caught.value


def test_a_plan_that_can_work_is_taken(running: BundledServer, tmp_path: Path) -> None:
    prepared = prepare(_SHAPE, _settings(running.ready, tmp_path), 1, 1)
    assert prepared.plan is not None
    assert prepared.plan.count == RATE * 4
    assert prepared.folder.is_dir()


def test_sessions_that_the_target_does_not_know_are_a_refused_log_in(running: BundledServer, tmp_path: Path) -> None:
    strangers = tmp_path / "sessions.json"
    known = json.loads(Path(json.loads(running.ready.read_text())["sessions_file"]).read_text())
    strangers.write_text(json.dumps([{**session, "value": f"t{n}.c2ln"} for n, session in enumerate(known)]))
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps({**json.loads(running.ready.read_text()), "sessions_file": str(strangers)}))
    error = _refused(_settings(ready, tmp_path))
    assert isinstance(error, LoginRefused)
    assert "401" in str(error)
    assert "c2ln" not in str(error), "a session's value was shown"


def test_a_wrong_password_is_a_refused_log_in_and_is_never_shown(
    running: BundledServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text(
        f'name = "by login"\nbase_url = "{running.base_url}"\n[sessions]\nsource = "login"\nattempts = 100\nwindow = 1.0\n'
        '[[sessions.users]]\nemail = "user{n}@roadmap.test"\nfirst = 1\n'
        f'count = {VIEWERS}\nrole = "regular"\npassword_env = "LOAD_PASSWORD"\n'
    )
    monkeypatch.setenv("LOAD_PASSWORD", "not-the-password")
    error = _refused(_settings(profile, tmp_path))
    assert isinstance(error, LoginRefused)
    assert "401" in str(error)
    assert "not-the-password" not in str(error)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"features": RATE // 10}, "features"),
        ({"voters": 10_000}, "--voters"),
        ({"features": 10_000}, "--features"),
        ({"viewers": 10_000_000}, "10000"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_with_what_would(
    running: BundledServer, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    error = _refused(_settings(running.ready, tmp_path, **changes))
    assert isinstance(error, UsageError)
    assert says in str(error)


def test_the_processes_of_one_machine_share_its_ports(running: BundledServer, tmp_path: Path) -> None:
    low, high = (int(bound) for bound in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    settings = _settings(running.ready, tmp_path, viewers=high - low + 2)
    processes = 8  # of which each has descriptors enough
    with pytest.raises(UsageError, match="as many local ports") as caught:
        prepare(_SHAPE, settings, processes, processes)
    assert "more hosts" in caught.value.do
    prepare(_SHAPE, settings, processes, 1)


def test_a_disk_without_room_for_the_evidence_is_refused(running: BundledServer, tmp_path: Path) -> None:
    error = _refused(_settings(running.ready, tmp_path, duration=1e9))
    assert "the evidence may take" in str(error)


def test_no_target_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="ROADMAP_TARGET"):
        replace(_settings(Path("ready.json"), Path()), target="")


def test_too_few_descriptors_are_refused_with_the_number(running: BundledServer, tmp_path: Path) -> None:
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\n"
        "from pathlib import Path\n"
        "from harness.load.prepare import prepare\n"
        "from tests.load.test_prepare import _SHAPE, _settings\n"
        "prepare(_SHAPE, _settings(Path(sys.argv[1]), Path(sys.argv[2])), 1, 1)"
    )
    command = [sys.executable, "-c", program, str(running.ready), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert "ulimit -n" in done.stderr
    assert "this process may have 200" in done.stderr
