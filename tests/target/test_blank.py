"""The profile that `init` writes: it loads as it is, and with every line that it shows commented out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.target import HOOKS, load_profile, write_profile
from harness.target import profile as tables
from schemas import load_contract, load_readings

KEY = re.compile(r"^# (\w[\w-]* = )", re.MULTILINE)


def test_it_loads_and_points_at_the_url(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(write_profile("https://app.example.org:8443/"))
    target = load_profile(file, {})
    assert target.base_url == "https://app.example.org:8443"
    assert target.ws_url == "wss://app.example.org:8443/api/roadmap/ws"
    assert target.limits == load_contract().limits
    assert {name for name in HOOKS if target.hook(name)} == set(HOOKS) - {"stop", "start"}


@pytest.mark.parametrize(
    ("url", "base", "ws"),
    [
        ("127.0.0.1:3000", "http://127.0.0.1:3000", "ws://127.0.0.1:3000/api/roadmap/ws"),
        ("ws://h/other/ws", "http://h", "ws://h/other/ws"),
        ("wss://h/api/roadmap/ws", "https://h", "wss://h/api/roadmap/ws"),
        ("http://h/prefix/", "http://h/prefix", "ws://h/prefix/api/roadmap/ws"),
        ('http://h/"quoted"', 'http://h/"quoted"', 'ws://h/"quoted"/api/roadmap/ws'),
    ],
)
def test_any_address_of_a_server_will_do(tmp_path: Path, url: str, base: str, ws: str) -> None:
    file = tmp_path / "t.toml"
    file.write_text(write_profile(url))
    target = load_profile(file, {})
    assert (target.base_url, target.ws_url) == (base, ws)


def test_every_default_it_shows_is_the_default(tmp_path: Path) -> None:
    text = write_profile("http://127.0.0.1:3000")
    plain, shown = tmp_path / "plain.toml", tmp_path / "shown.toml"
    plain.write_text(text)
    uncommented = KEY.sub(r"\1", text)
    assert uncommented.count("\n") == text.count("\n")
    shown.write_text(uncommented)
    one, other = load_profile(plain, {}), load_profile(shown, {})
    assert one.limits == other.limits
    assert one.tolerance == other.tolerance
    assert other.readings == {reading.key: reading.default for reading in load_readings().values()}
    for name in tables.DEFAULT_HOOKS:
        mine, theirs = one.hook(name), other.hook(name)
        assert mine is not None
        assert theirs is not None
        for part in ("method", "path", "body", "session", "expect", "count", "id", "items"):
            assert getattr(mine, part) == getattr(theirs, part), (name, part)


def test_every_key_of_every_table_is_in_it() -> None:
    words = set(re.findall(r"[\w-]+", write_profile("http://127.0.0.1:3000")))
    for model in (
        tables.Profile,
        tables.Tls,
        tables.Account,
        tables.LoginSessions,
        tables.FileSessions,
        tables.CommandSessions,
        tables.HttpHook,
        tables.CommandHook,
        tables.ResourcesTable,
        tables.ToleranceTable,
    ):
        assert set(model.model_fields) <= words, model.__name__


def test_the_other_sources_that_it_shows_load_too(tmp_path: Path) -> None:
    text = write_profile("http://127.0.0.1:3000")
    blocks = re.findall(r"(?m)(?:^#: .*\n)+", text)
    sources = [block.replace("#: ", "") for block in blocks if "source =" in block]
    assert len(sources) == 2
    for source in sources:
        file = tmp_path / "t.toml"
        changed = text.replace('source = "cookies-file"\npath = "sessions.json"\n', source)
        assert tomllib.loads(changed)["sessions"]["source"] in ("command", "login")
        file.write_text(changed)
        load_profile(file, {"LOAD_PASSWORD": "p", "ADMIN_PASSWORD": "q"})


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://user:pw@h", ""])
def test_what_is_no_address_of_a_server(url: str) -> None:
    with pytest.raises(UsageError, match="write for example"):
        write_profile(url)
