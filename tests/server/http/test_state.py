"""The state directory: private, whole files, one server at a time, and a secret that is made once."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from schemas import load_contract
from server_under_test.errors import StartError
from server_under_test.settings import PREFIX, Settings, read_settings
from server_under_test.state import StateDir, bind_is_local, cookie_secret, password_is_weak, secret_is_weak


def read(*arguments: str, **environment: str) -> Settings:
    return read_settings(arguments, environment, load_contract().limits)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_and_files_are_private(tmp_path: Path) -> None:
    with StateDir(tmp_path / "deep" / "state") as state:
        state.write(state.sessions, [1, 2])
        state.write(state.sessions, [3])
        assert json.loads(state.sessions.read_text()) == [3]
        assert mode(state.path) == 0o700
        assert mode(state.sessions) == 0o600
        assert not [each for each in state.path.iterdir() if each.name.endswith(".new")]


def test_an_open_directory_is_closed_when_empty_and_refused_when_not(tmp_path: Path) -> None:
    empty, used = tmp_path / "empty", tmp_path / "used"
    for each in (empty, used):
        each.mkdir()
        each.chmod(0o755)
    (used / "file").touch()
    with StateDir(empty) as state:
        assert mode(state.path) == 0o700
    with pytest.raises(StartError, match="chmod 700"):
        StateDir(used)
    assert mode(used) == 0o755


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="file"):
        StateDir(tmp_path / "file")


def test_one_server_at_a_time(tmp_path: Path) -> None:
    with StateDir(tmp_path), pytest.raises(StartError, match="another server"):
        StateDir(tmp_path)
    with StateDir(tmp_path):
        pass


def test_ready_is_gone_at_the_start_and_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "ready.json").touch()
    with StateDir(tmp_path) as state:
        assert not state.ready.exists()
        state.write(state.ready, {})
    assert not (tmp_path / "ready.json").exists()


def test_a_temporary_directory_leaves_with_its_server() -> None:
    with StateDir(None) as state:
        state.write(state.accounts, [])
        path = state.path
        assert mode(path) == 0o700
    assert not path.exists()


def test_the_secret_is_made_once_and_strong(tmp_path: Path) -> None:
    with StateDir(tmp_path) as state:
        secret = cookie_secret(read(), state)
        assert not secret_is_weak(secret)
        assert cookie_secret(read(), state) == secret
        assert mode(tmp_path / "secret") == 0o600


def test_the_secret_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(" from a file \n")
    (tmp_path / "empty").touch()
    with StateDir(tmp_path) as state:
        from_file = read("--secret-file", str(tmp_path / "mine"))
        assert cookie_secret(from_file, state) == "from a file"
        assert cookie_secret(read(**{PREFIX + "SECRET": "from outside"}), state) == "from outside"
        for settings, words in (
            (read("--secret-file", str(tmp_path / "missing")), "missing cannot be read"),
            (read("--secret-file", str(tmp_path / "empty")), "is empty"),
            (read(**{PREFIX + "SECRET": ""}), "is empty"),
        ):
            with pytest.raises(StartError, match=words):
                cookie_secret(settings, state)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.0.2.1", False), ("example.org", False), ("127.0.0.1.example.org", False)],
)  # fmt: skip
def test_what_counts_as_local(host: str, local: bool) -> None:
    assert bind_is_local(host) is local


@pytest.mark.parametrize("secret", ["short", "a" * 64, "better-auth-secret-12345678901234567890"])
def test_weak_secrets(secret: str) -> None:
    assert secret_is_weak(secret)


@pytest.mark.parametrize("password", ["", "secret", "abababababab", "my-Password-123"])
def test_weak_passwords(password: str) -> None:
    assert password_is_weak(password)


def test_a_long_varied_password_is_not_weak() -> None:
    assert not password_is_weak("correct horse battery")
