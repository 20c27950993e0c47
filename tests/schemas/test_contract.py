"""contract.toml: each number once, each read by somebody, and a time scale that touches durations only."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections import Counter
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Contract, ContractError, Limits, load_contract
from schemas.contract import parse_contract

TEXT = resources.files("schemas").joinpath("contract.toml").read_text("utf-8")
DATA = tomllib.loads(TEXT)
KEYS = [(section, key) for section, table in DATA.items() for key in table]
LIMITS = load_contract().limits
FIELDS = [field.name for field in dataclasses.fields(Limits)]


def line_of(section: str, key: str) -> tuple[int, str]:
    """Number and text of the line of contract.toml that sets a key."""
    here = ""
    for number, line in enumerate(TEXT.splitlines()):
        here = line[1 : line.index("]")] if line.startswith("[") else here
        if here == section and re.match(rf"{key}\s*=", line):
            return number, line
    raise AssertionError(f"{section}.{key} has no line of its own")


def with_line(number: int, line: str) -> str:
    lines = TEXT.splitlines()
    lines[number] = line
    return "\n".join(lines)


def test_scaled_shrinks_by_one() -> None:
    assert LIMITS.scaled(1) == LIMITS


@given(factor=st.floats(1e-6, 1e6))
def test_scaled_touches_durations_and_nothing_else(factor: float) -> None:
    scaled = LIMITS.scaled(factor)
    for name in FIELDS:
        before, after = getattr(LIMITS, name), getattr(scaled, name)
        if name in Limits.DURATIONS:
            assert after == pytest.approx(before * factor)
        else:
            assert after == before
            assert type(after) is type(before)


def test_durations_are_the_floats_and_counts_the_integers() -> None:
    assert {name for name in FIELDS if isinstance(getattr(LIMITS, name), float)} == set(Limits.DURATIONS)


@pytest.mark.parametrize("factor", [0, 0.0, -1, -0.001, math.nan, math.inf, -math.inf])
def test_a_scale_that_is_no_positive_number_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match=r"the time scale is .*: it must be a finite number greater than 0"):
        LIMITS.scaled(factor)


def test_a_scale_that_leaves_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="must be greater than 0"):
        LIMITS.scaled(5e-324)


@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan])
@pytest.mark.parametrize("name", FIELDS)
def test_a_limit_that_is_not_positive_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"limit {name} is {value}: it must be greater than 0"):
        dataclasses.replace(LIMITS, **{name: value})  # type: ignore[arg-type]


def test_contract_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_contract().limits.connections = 1  # type: ignore[misc]
    hash(load_contract())


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_each_key_is_wanted(section: str, key: str) -> None:
    number, _ = line_of(section, key)
    with pytest.raises(ContractError, match=rf"contract\.toml: {section}\.{key} is missing"):
        parse_contract(with_line(number, ""))


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_each_key_is_read_into_the_contract(section: str, key: str) -> None:
    number, line = line_of(section, key)
    value = DATA[section][key]
    other = {int: "7", float: "7.5", str: '"other"', list: '["other"]'}[type(value)]
    changed = parse_contract(with_line(number, f"{key} = {other}"))
    assert changed != load_contract(), f"no field of the contract follows {line}"
    assert parse_contract(with_line(number, line)) == load_contract()


@pytest.mark.parametrize("section", [*DATA, "novelty"])
def test_a_key_that_nobody_reads_is_an_error(section: str) -> None:
    lines = TEXT.splitlines()
    if section in DATA:
        at = next(number for number, line in enumerate(lines) if line.startswith(f"[{section}]")) + 1
        lines.insert(at, "surplus = 1")
    else:
        lines += [f"[{section}]", "surplus = 1"]
    with pytest.raises(ContractError, match=rf"nobody reads {section}\.surplus"):
        parse_contract("\n".join(lines))


def test_no_number_of_the_contract_is_written_twice() -> None:
    """One line of the contract may hold two numbers, and two lines the same number; the same of both is a copy."""
    cited: list[tuple[str, str]] = []
    for section, key in KEYS:
        _, line = line_of(section, key)
        literal, _, comment = line.partition("=")[2].partition("#")
        for reference in re.findall(r"\bL\d+(?:-\d+)?\b", comment):
            cited.append((reference, literal.strip()))  # noqa: PERF401
    assert len(cited) > 30
    assert [fact for fact, times in Counter(cited).items() if times > 1] == []


def test_each_number_says_where_it_comes_from() -> None:
    """A line of the contract, an RFC, or our own choice, told as such."""
    silent = [
        f"{section}.{key}"
        for section, key in KEYS
        if section not in {"choice", "messages"} and not re.search(r"#.*(\bL\d+|RFC \d+|\bours\b)", line_of(section, key)[1])
    ]
    assert silent == []


def test_benchmarks_share_the_numbers_of_the_limits() -> None:
    contract: Contract = load_contract()
    assert contract.benchmark.connections == contract.limits.connections
    assert contract.benchmark.broadcasts_per_second == contract.limits.broadcasts_per_second


def test_close_codes_that_a_server_may_send() -> None:
    close = load_contract().close
    assert {close.normal, close.going_away, close.policy_violation, close.session_invalid} <= close.permitted_from_server
    assert close.permitted_from_server.isdisjoint({1004, 1005, 1006, 1010, 1015}), "no server may put these in a frame"


def test_admin_messages_are_server_messages() -> None:
    messages = load_contract().messages
    assert messages.admin_only < set(messages.server)
    assert set(messages.server).isdisjoint(messages.client)
