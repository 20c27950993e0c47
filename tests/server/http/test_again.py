"""The command line by which a server can be started again: it says what the settings say, and nothing that is secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from schemas import load_contract
from server_under_test.again import command_of
from server_under_test.settings import read_settings

LIMITS = load_contract().limits
SECONDS = st.floats(0.001, 1e6)
FLAGS = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from(["127.0.0.1", "::1", "localhost"]),
        "users": st.integers(1, 50),
        "sessions": st.integers(0, 50),
        "allowed-origin": st.sampled_from(["https://a.example", "https://a.example,http://b.example:8080"]),
        "session-lifetime": SECONDS,
        "sign-in-window": SECONDS,
        "heartbeat-interval": SECONDS,
        "connections": st.integers(1, 5000),
        "time-scale": st.sampled_from([0.05, 0.1, 1 / 3, 7.0]),
        "log-level": st.sampled_from(["INFO", "WARNING"]),
        "database": st.just("/x/roadmap.db"),
    },
)


@given(flags=FLAGS, access_log=st.booleans(), faults=st.lists(st.sampled_from(["one", "two"]), unique=True))
def test_the_same_settings_come_out_of_it(flags: dict[str, object], access_log: bool, faults: list[str]) -> None:
    words = ["--state-dir=/x/state", *(f"--{name}={value}" for name, value in flags.items()), *(f"--fault={name}" for name in faults)]
    settings = read_settings([*words, *(["--access-log"] if access_log else [])], {}, LIMITS)
    again = command_of(settings, 4711)
    assert again is not None
    assert again[1:3] == ["-m", "server_under_test"]
    assert read_settings(again[3:], {}, LIMITS) == dataclasses.replace(settings, port=4711)


def test_there_is_none_without_a_state_that_lasts_or_with_a_secret() -> None:
    secret, password = "s" * 40, "hunter2-hunter2"
    assert command_of(read_settings([], {}, LIMITS), 1) is None
    environment = {"ROADMAP_SERVER_SECRET": secret}
    assert command_of(read_settings(["--state-dir=/x"], environment, LIMITS), 1) is None
    told = command_of(read_settings(["--state-dir=/x"], {"ROADMAP_SERVER_PASSWORD": password}, LIMITS), 1)
    assert told is not None
    assert password not in " ".join(told)


def test_paths_do_not_depend_on_where_it_is_started(tmp_path: Path) -> None:
    told = command_of(read_settings(["--state-dir=state", f"--database={tmp_path / 'x.db'}"], {}, LIMITS), 1)
    assert told is not None
    assert f"--state-dir={Path.cwd() / 'state'}" in told
