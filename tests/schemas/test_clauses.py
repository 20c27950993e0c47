"""The catalogue: complete, in order, each clause once, and nothing in it that points nowhere."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections import Counter
from importlib import resources
from itertools import pairwise

import pytest

from schemas import (
    CatalogueError,
    Clause,
    Level,
    Reading,
    Section,
    Tier,
    load_clauses,
    load_contract,
    load_hooks,
    load_readings,
    load_sections,
    load_tiers,
)
from schemas.clauses import parse_clauses, parse_readings

CLAUSES, READINGS = load_clauses(), load_readings()
PACKAGE = resources.files("schemas")
CLAUSES_TEXT = PACKAGE.joinpath("clauses.toml").read_text("utf-8")
READINGS_TEXT = PACKAGE.joinpath("readings.toml").read_text("utf-8")
CONTRACT_TEXT = PACKAGE.joinpath("contract.toml").read_text("utf-8")
LAST_LINE = 603  # of the contract

RANGES = (
    "HS-01..HS-14 LIM-01..LIM-06 HB-01..HB-17 CLS-01..CLS-09 GEN-01..GEN-09 VOTE-01..VOTE-16 BAT-01..BAT-06 "
    "FUPD-01..FUPD-09 FCRE-01..FCRE-09 FDEL-01..FDEL-05 ERR-01..ERR-15 SUB-01..SUB-11 UNS-01..UNS-05 RATE-01..RATE-16 "
    "SEC-01..SEC-08 PERF-01..PERF-06 CLI-01..CLI-10"
)


def spelled_out(ranges: str) -> list[str]:
    ids = []
    for span in ranges.split():
        first, last = span.split("..")
        section, low = first.split("-")
        ids += [f"{section}-{number:02}" for number in range(int(low), int(last.split("-")[1]) + 1)]
    return ids


def test_each_clause_is_present_exactly_once_and_in_order() -> None:
    assert list(CLAUSES) == spelled_out(RANGES)
    assert len(CLAUSES) == 171
    assert re.findall(r"^\[clause\.([^]]+)\]$", CLAUSES_TEXT, re.MULTILINE) == list(CLAUSES)
    assert all(id_ == clause.id for id_, clause in CLAUSES.items())


def test_levels_and_tiers_add_up() -> None:
    levels = Counter(clause.level for clause in CLAUSES.values())
    assert levels == {Level.MUST: 87, Level.SHOULD: 54, Level.INFO: 29, Level.NOT_TESTABLE: 1}
    tiers = Counter(clause.tier for clause in CLAUSES.values())
    assert tiers == {Tier.T0: 49, Tier.T1: 44, Tier.T2: 27, Tier.T3: 7, Tier.TC: 15, Tier.TS: 29}


def test_sections_hold_the_clauses_of_their_name() -> None:
    assert list(load_sections()) == list(dict.fromkeys(id_.split("-")[0] for id_ in CLAUSES))
    for id_, clause in CLAUSES.items():
        assert clause.section is load_sections()[id_.split("-")[0]]
    assert len({section.title for section in load_sections().values()}) == len(load_sections())


def test_hooks_tiers_and_readings_exist_and_are_used() -> None:
    assert set(load_hooks()) == {need for clause in CLAUSES.values() for need in clause.needs}
    assert set(load_tiers()) == set(Tier)
    used = {reading for clause in CLAUSES.values() for reading in clause.readings}
    assert set(READINGS) - used == {"A00"}, "A00 is about all levels; each other ambiguity bears on some clause"
    assert all(clause.needs for clause in CLAUSES.values())


@pytest.mark.parametrize(
    ("tier", "hooks"),
    [(Tier.T0, {"U", "U2"} | {"CL"}), (Tier.T1, {"U", "U2", "V", "RD"}), (Tier.T2, {"U", "U2", "UA", "V", "AF", "RD"})],
)
def test_a_tier_needs_no_hook_beyond_its_own(tier: Tier, hooks: set[str]) -> None:
    needed = {need for clause in CLAUSES.values() if clause.tier == tier for need in clause.needs}
    assert needed <= hooks


def test_statements_are_sentences_of_their_own() -> None:
    statements = [clause.statement for clause in CLAUSES.values()]
    assert len(set(statements)) == len(statements)
    for statement in statements:
        assert re.fullmatch(r"[A-Za-z0-9].{20,240}\.", statement), statement
        assert "{" not in statement
        assert "}" not in statement


def test_statements_take_their_numbers_from_the_contract() -> None:
    """What is a number of the contract and no everyday one is never spelled out in the files."""
    contract = load_contract()
    numbers = {contract.auth_refusal_status, *dataclasses.astuple(contract.close)[:4]}
    numbers |= {round(value) for value in dataclasses.astuple(contract.limits) if value > 4}
    assert {30, 10, 300, 100, 1000, 401, 1008, 4401} <= numbers
    for text in (CLAUSES_TEXT, READINGS_TEXT):
        prose = list(re.findall(r'= "(.*)"$', text, re.MULTILINE))
        written = {int(number) for said in prose for number in re.findall(r"(?<![\w.])\d+(?![\w.])", said)}
        assert written & numbers == set()
    assert "30 s" in CLAUSES["HB-01"].statement
    assert "4401" in CLAUSES["CLS-05"].statement
    assert READINGS["A01"].permitted["http401"].startswith("HTTP 401 ")


def test_a_changed_number_changes_the_statement() -> None:
    slower = re.sub(r"(?m)^interval = 30\.0", "interval = 45.0", CONTRACT_TEXT)
    assert "45 s" in parse_clauses(CLAUSES_TEXT, slower, READINGS)["HB-01"].statement


def test_names_in_statements_are_names_of_the_contract() -> None:
    contract = load_contract()
    known = {*contract.messages.server, *contract.messages.client, *contract.errors.all}
    for clause in CLAUSES.values():
        assert set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", clause.statement)) <= known


def test_lines_lie_within_the_contract() -> None:
    everything: list[Clause | Section | Reading] = [*CLAUSES.values(), *load_sections().values(), *READINGS.values()]
    for entry in everything:
        for line in entry.lines:
            numbers = [int(number) for number in re.findall(r"\d+", line)] if line.startswith("L") else [1]
            assert numbers[0] >= 1
            assert numbers[-1] <= LAST_LINE
            assert all(low < high for low, high in pairwise(numbers)), line


def test_all_clauses_belong_to_the_first_set_of_requirements() -> None:
    assert {clause.since for clause in CLAUSES.values()} == {"1"}


def test_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CLAUSES["HS-01"] = CLAUSES["HS-02"]  # type: ignore[index]
    with pytest.raises(TypeError):
        READINGS["A11"].permitted["nobody"] = "?"  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        CLAUSES["HS-01"].level = Level.INFO  # type: ignore[misc]


def test_ambiguities_are_all_there() -> None:
    assert list(READINGS) == [f"A{number:02}" for number in range(29)]
    for id_, reading in READINGS.items():
        assert reading.id == id_
        assert reading.default in reading.permitted
        assert reading.question.endswith("?")
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reading.key)
        assert all(re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", name) for name in reading.permitted)
    assert len({reading.key for reading in READINGS.values()}) == len(READINGS)


@pytest.mark.parametrize(
    ("id_", "key", "default", "others"),
    [
        ("A01", "auth_refusal", "http401", {"close4401", "either"}),
        ("A10", "batch_shape", "coalesce", {"frames", "array", "envelope"}),
        ("A11", "exclusion", "session", {"user", "connection", "none"}),
        ("A15", "admin_events", "admins", {"everyone"}),
        ("A20", "error_codes", "closed", {"extended"}),
        ("A21", "subscriptions", "filter", {"ignored"}),
        ("A27", "client_model", "single", {"sample-buggy"}),
    ],
)
def test_readings_that_profiles_name(id_: str, key: str, default: str, others: set[str]) -> None:
    reading = READINGS[id_]
    assert (reading.key, reading.default) == (key, default)
    assert set(reading.permitted) == {default, *others}


HB_05 = CLAUSES_TEXT[CLAUSES_TEXT.index("[clause.HB-05]") : CLAUSES_TEXT.index("[clause.HB-06]")]
BROKEN_CLAUSES = [
    ('level = "MUST"', 'level = "MAY"', r"HB-05\.level: 'MAY' must be one of MUST, SHOULD, INFO, NOT_TESTABLE"),
    ('tier = "TS"', 'tier = "T9"', r"HB-05\.tier: 'T9' must be one of T0"),
    ('needs = ["U"]', 'needs = ["U9"]', r"HB-05\.needs: 'U9' must be one of U, U2"),
    ('readings = ["A05"]', 'readings = ["A99"]', r"HB-05\.readings: 'A99' must be one of A00"),
    ('lines = ["L54"]', 'lines = ["54"]', r"HB-05\.lines: '54' must be lines such as"),
    ('since = "1"', "", r"HB-05: since missing or unknown"),
    ('since = "1"', 'since = "1"\nlvl = 1', r"HB-05: lvl missing or unknown"),
    ("{heartbeat.timeout:g}", "{heartbeat.patience:g}", r"HB-05: .* names no number of contract\.toml"),
    ("{heartbeat.timeout:g}", "{pulse.timeout:g}", r"HB-05: .* names no number of contract\.toml"),
    ("[clause.HB-05]", "[clause.HB-5]", r"'HB-5' must be an id such as HB-05"),
    ("[clause.HB-05]", "[clause.XX-05]", r"XX-05: section: 'XX' must be one of HS"),
    ("[clause.HB-05]", "[clauses.HB-05]", r"table: 'clauses' must be one of hook, tier, section, clause"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), BROKEN_CLAUSES, ids=[said for *_, said in BROKEN_CLAUSES])
def test_a_broken_clause_is_told(right: str, wrong: str, said: str) -> None:
    assert right in HB_05
    broken = CLAUSES_TEXT.replace(HB_05, HB_05.replace(right, wrong))
    with pytest.raises(CatalogueError, match=said):
        parse_clauses(broken, CONTRACT_TEXT, READINGS)


def test_a_clause_given_twice_is_told() -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        parse_clauses(CLAUSES_TEXT + HB_05, CONTRACT_TEXT, READINGS)


BROKEN_READINGS = [
    ('default = "session"', 'default = "nobody"', r"A11\.default: 'nobody' must be one of session, user"),
    ('key = "exclusion"', 'key = "auth_refusal"', r"A11\.key: auth_refusal is the key of another ambiguity"),
    ('key = "exclusion"\n', "", r"A11: key missing or unknown"),
    ('lines = ["L135", "L147"]', 'lines = ["line 135"]', r"A11\.lines: 'line 135' must be"),
    ("[A11]", "[B11]", r"'B11' must be an id such as A01"),
    ("{endpoint.cookie}", "{endpoint.biscuit}", r"A02: .* names no number"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), BROKEN_READINGS, ids=[said for *_, said in BROKEN_READINGS])
def test_a_broken_reading_is_told(right: str, wrong: str, said: str) -> None:
    assert right in READINGS_TEXT
    with pytest.raises(CatalogueError, match=said):
        parse_readings(READINGS_TEXT.replace(right, wrong, 1), CONTRACT_TEXT)
