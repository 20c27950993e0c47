"""Settings: every limit of the contract can be set, durations scale together, and bad values get one clear sentence."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Limits, load_contract
from server_under_test.errors import StartError
from server_under_test.settings import PREFIX, Settings, read_settings

LIMITS = load_contract().limits
NAMES = [field.name for field in dataclasses.fields(LIMITS)]


def read(*arguments: str, **environment: str) -> Settings:
    return read_settings(arguments, environment, LIMITS)


def test_without_a_word_the_limits_are_the_contracts() -> None:
    settings = read()
    assert settings.limits == LIMITS
    assert settings.host == "127.0.0.1"
    assert (settings.sign_in_attempts, settings.sign_in_window) == (3, 10.0)
    assert settings.sessions is None
    assert settings.allowed_origins == frozenset()


@given(st.sampled_from(NAMES), st.integers(1, 10**6), st.booleans())
def test_any_limit_can_be_set_alone(name: str, value: int, by_flag: bool) -> None:
    flag = f"--{name.replace('_', '-')}"
    settings = read(flag, str(value)) if by_flag else read(**{PREFIX + name.upper(): str(value)})
    assert settings.limits == dataclasses.replace(LIMITS, **{name: value})


@given(st.floats(1e-6, 1e3), st.floats(0.001, 1000))
def test_the_scale_takes_all_durations_and_nothing_else(scale: float, interval: float) -> None:
    settings = read("--time-scale", str(scale), "--heartbeat-interval", str(interval))
    expected = dataclasses.replace(LIMITS, heartbeat_interval=interval).scaled(scale)
    assert settings.limits == expected
    assert settings.sign_in_window == pytest.approx(10.0 * scale)
    assert settings.session_lifetime == read().session_lifetime


def test_a_flag_beats_the_environment() -> None:
    assert read("--port", "0", **{PREFIX + "PORT": "99"}).port == 0
    assert read(**{PREFIX + "PORT": "99"}).port == 99


def test_switches_and_origins() -> None:
    assert read().access_log is False
    assert read("--access-log").access_log is True
    assert read(**{PREFIX + "ACCESS_LOG": "yes"}).access_log is True
    listed = read("--allowed-origin", "https://A.example, http://b.example:8080/").allowed_origins
    assert listed == {"https://a.example", "http://b.example:8080"}


def test_secret_and_password_come_from_the_environment_and_are_not_shown() -> None:
    settings = read(**{PREFIX + "SECRET": "hush-1", PREFIX + "PASSWORD": "hush-2"})
    assert (settings.secret, settings.password) == ("hush-1", "hush-2")
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "70000"], ["--port", "'70000'", "0 to 65535"]),
        (["--port", "x"], ["--port", "'x'", "whole number"]),
        (["--heartbeat-interval", "0"], ["--heartbeat-interval", "greater than 0"]),
        (["--heartbeat-interval", "inf"], ["--heartbeat-interval", "greater than 0"]),
        (["--time-scale", "nan"], ["--time-scale", "greater than 0"]),
        (["--connections", "1.5"], ["--connections", "whole number"]),
        (["--users", "0"], ["--users", "1 or more"]),
        (["--host", ""], ["--host", "not empty"]),
        (["--log-level", "loud"], ["--log-level", "DEBUG"]),
        (["--allowed-origin", "app.example"], ["--allowed-origin", "https://app.example.org"]),
        (["--allowed-origin", "https://app.example/page"], ["--allowed-origin"]),
        (["--tls-cert", "x.pem"], ["--tls-cert", "--tls-key", "both or neither"]),
        (["--port"], ["--port", "expected one argument"]),
        (["stray"], ["without a flag"]),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(StartError) as caught:
        read(*arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_variable_is_named_as_a_variable() -> None:
    with pytest.raises(StartError, match=f"^{PREFIX}HEARTBEAT_TIMEOUT is '-1'"):
        read(**{PREFIX + "HEARTBEAT_TIMEOUT": "-1"})


@pytest.mark.parametrize("arguments", [["--secret", "hush"], ["--secret=hush"], ["--password=hush"], ["hush"]])
def test_secrets_are_no_flags_and_are_not_echoed(arguments: list[str]) -> None:
    with pytest.raises(StartError) as caught:
        read(*arguments)
    assert "hush" not in str(caught.value)


def test_the_help_names_every_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in shown for name in NAMES)
    assert isinstance(LIMITS, Limits)
