"""clauses.toml and readings.toml as frozen types: what is tested, how bindingly, and under which readings.

Whatever the files say is checked here once: an unknown key, level, tier, hook, section or reading is an error that names it.
Statements and meanings take their numbers from contract.toml, so that the catalogue holds none of its own.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from types import MappingProxyType, SimpleNamespace
from typing import Any

__all__ = [
    "CatalogueError",
    "Clause",
    "Level",
    "Reading",
    "Section",
    "Tier",
    "load_clauses",
    "load_hooks",
    "load_readings",
    "load_sections",
    "load_tiers",
    "parse_clauses",
    "parse_readings",
]


class CatalogueError(ValueError):
    """clauses.toml or readings.toml is wrong; the text says where, and what is allowed."""


class Level(StrEnum):
    """How binding a clause is."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    INFO = "INFO"
    NOT_TESTABLE = "NOT_TESTABLE"


class Tier(StrEnum):
    """When a clause can run; clauses.toml describes each."""

    T0 = "T0"
    T1 = "T1"
    T2 = "T2"
    T3 = "T3"
    TS = "TS"
    TC = "TC"


@dataclass(frozen=True, slots=True)
class Section:
    """A group of clauses; `key` is what their ids begin with, `lines` the contract's lines that they cover."""

    key: str
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clause:
    """One testable promise of the contract, under an id that never changes.

    `lines` are lines of the contract ("L27-28") or an RFC; empty where both are silent. `needs` are hooks (`load_hooks`),
    `readings` the ambiguities that bear on it (`load_readings`), `since` the requirement set that first held it.
    """

    id: str
    section: Section
    statement: str
    lines: tuple[str, ...]
    level: Level
    tier: Tier
    needs: tuple[str, ...]
    readings: tuple[str, ...]
    since: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One ambiguity of the contract, and the readings under which a server is judged fairly.

    `key` is its name in a target's profile, `permitted` maps the name of each reading to its meaning, `default` is the one
    taken when a profile is silent, `probe` whether the gate finds out by itself which a target follows.
    """

    id: str
    question: str
    key: str
    permitted: Mapping[str, str]
    default: str
    probe: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Catalogue:
    hooks: Mapping[str, str]
    tiers: Mapping[Tier, str]
    sections: Mapping[str, Section]
    clauses: Mapping[str, Clause]


_LINES = re.compile(r"L[1-9]\d*(-[1-9]\d*)?|RFC \d+( section [\d.]+)?")
_CLAUSE_ID = re.compile(r"([A-Z]+)-\d\d")
_READING_ID = re.compile(r"A\d\d")


def load_clauses() -> Mapping[str, Clause]:
    """All clauses by id, in the order of the contract. Raises CatalogueError."""
    return _catalogue().clauses


def load_sections() -> Mapping[str, Section]:
    """All sections by key, in the order of the contract. Raises CatalogueError."""
    return _catalogue().sections


def load_hooks() -> Mapping[str, str]:
    """What each hook that a clause may need is, in words. Raises CatalogueError."""
    return _catalogue().hooks


def load_tiers() -> Mapping[Tier, str]:
    """What each tier asks for, in words. Raises CatalogueError."""
    return _catalogue().tiers


@cache
def load_readings() -> Mapping[str, Reading]:
    """All ambiguities by id. Raises CatalogueError."""
    return parse_readings(_text("readings.toml"), _text("contract.toml"))


def parse_clauses(text: str, contract: str, readings: Iterable[str]) -> Mapping[str, Clause]:
    """The clauses of a clauses.toml given as text, with the text of a contract.toml and the ids of the ambiguities."""
    return _parse(text, contract, frozenset(readings)).clauses


def parse_readings(text: str, contract: str) -> Mapping[str, Reading]:
    """The ambiguities of a readings.toml given as text, with the text of a contract.toml. Raises CatalogueError."""
    words = _words(contract)
    readings: dict[str, Reading] = {}
    for id_, table in tomllib.loads(text).items():
        where = f"readings.toml: {id_}"
        _matches(_READING_ID, id_, where, "an id such as A01")
        _keys(Reading, table, where, given={"id"})
        _lines(table["lines"], where)
        _among(table["default"], table["permitted"], f"{where}.default")
        if any(table["key"] == other.key for other in readings.values()):
            raise CatalogueError(f"{where}.key: {table['key']} is the key of another ambiguity; each has its own")
        permitted = {name: _filled(meaning, words, where) for name, meaning in table["permitted"].items()}
        readings[id_] = Reading(**{**table, "id": id_, "permitted": MappingProxyType(permitted), "lines": tuple(table["lines"])})
    return MappingProxyType(readings)


@cache
def _catalogue() -> _Catalogue:
    return _parse(_text("clauses.toml"), _text("contract.toml"), frozenset(load_readings()))


def _parse(text: str, contract: str, readings: frozenset[str]) -> _Catalogue:
    data = tomllib.loads(text)
    for table in data:
        _among(table, ("hook", "tier", "section", "clause"), "clauses.toml: table")
    words, hooks = _words(contract), data["hook"]
    tiers = {Tier(_among(name, Tier, "clauses.toml: tier")): said for name, said in data["tier"].items()}
    sections = {key: _section(key, table) for key, table in data["section"].items()}
    clauses: dict[str, Clause] = {}
    for id_, table in data["clause"].items():
        where = f"clauses.toml: {id_}"
        section = _matches(_CLAUSE_ID, id_, where, "an id such as HB-05").group(1)
        _keys(Clause, table, where, given={"id", "section"})
        _lines(table["lines"], where)
        for need in table["needs"]:
            _among(need, hooks, f"{where}.needs")
        for reading in table["readings"]:
            _among(reading, sorted(readings), f"{where}.readings")
        clauses[id_] = Clause(
            id=id_,
            section=sections[_among(section, sections, f"{where}: section")],
            statement=_filled(table["statement"], words, where),
            lines=tuple(table["lines"]),
            level=Level(_among(table["level"], Level, f"{where}.level")),
            tier=Tier(_among(table["tier"], Tier, f"{where}.tier")),
            needs=tuple(table["needs"]),
            readings=tuple(table["readings"]),
            since=table["since"],
        )
    return _Catalogue(MappingProxyType(hooks), MappingProxyType(tiers), MappingProxyType(sections), MappingProxyType(clauses))


def _section(key: str, table: dict[str, Any]) -> Section:
    where = f"clauses.toml: section {key}"
    _keys(Section, table, where, given={"key"})
    _lines(table["lines"], where)
    return Section(key, table["title"], tuple(table["lines"]))


def _text(name: str) -> str:
    return resources.files("schemas").joinpath(name).read_text("utf-8")


def _words(contract: str) -> dict[str, SimpleNamespace]:
    return {section: SimpleNamespace(**table) for section, table in tomllib.loads(contract).items()}


def _filled(text: str, words: Mapping[str, SimpleNamespace], where: str) -> str:
    try:
        return text.format(**words)
    except (AttributeError, KeyError, IndexError, ValueError) as error:
        raise CatalogueError(f"{where}: {text!r} names no number of contract.toml: {error}") from None


def _keys(cls: type[Any], table: Mapping[str, Any], where: str, *, given: set[str]) -> None:
    wanted = {field.name for field in dataclasses.fields(cls)} - given
    if table.keys() != wanted:
        wrong = ", ".join(sorted(table.keys() ^ wanted))
        raise CatalogueError(f"{where}: {wrong} missing or unknown; the keys are {', '.join(sorted(wanted))}")


def _lines(lines: Iterable[str], where: str) -> None:
    for line in lines:
        _matches(_LINES, line, f"{where}.lines", "lines such as L5 or L27-28, or RFC 6455 section 5.5.2")


def _matches(pattern: re.Pattern[str], text: str, where: str, wanted: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise CatalogueError(f"{where}: {text!r} must be {wanted}")
    return match


def _among(name: str, allowed: Iterable[str], where: str) -> str:
    names = [str(each) for each in allowed]
    if name not in names:
        raise CatalogueError(f"{where}: {name!r} must be one of {', '.join(names)}")
    return name
