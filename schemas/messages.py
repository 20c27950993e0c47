"""Validators of the contract's messages, built from the JSON Schema files beside this module, each written once.

The files hold the strict form: what a message should be. The lenient form, what it must be, is derived from them by leaving
out the keywords that only a SHOULD rests on (GEN-04, GEN-07, FUPD-04). An integer is meant as JSON Schema means it: 43.0
is one, since no reader of JavaScript can tell it from 43, and true is none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from rfc3339_validator import validate_rfc3339

from schemas.contract import load_contract

__all__ = ["Problem", "Side", "is_timestamp", "load_schema", "validate_client", "validate_server"]

Side = Literal["server", "client"]
"""Who sends: the server or the client."""

SHOULD_KEYWORDS = frozenset({"minLength", "minProperties"})
CLOSING_KEYWORDS = frozenset({"additionalProperties", "unevaluatedProperties"})
FORMATS = FormatChecker(formats=())

_RANK = {"required": 0, "type": 1, "enum": 2, "additionalProperties": 9, "unevaluatedProperties": 9}
_NOUN = {"object": "an object", "array": "an array", "string": "a string", "integer": "an integer"}
_LONGEST_QUOTE = 40
_MOST_PROBLEMS = 20  # a hostile sender must not choose how long we list its faults


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a message breaks its schema.

    `path` leads to the place ("feature.createdBy.name", "featureIds[2]", "" for the message itself), `rule` is the JSON
    Schema keyword that was broken, `text` a sentence for people.
    """

    path: str
    rule: str
    text: str


def validate_server(message: object, *, strict: bool, extra_error_codes: Collection[str] = ()) -> tuple[Problem, ...]:
    """What is wrong with a message from the server, the most telling first; empty when nothing is.

    `extra_error_codes` are permitted in ERROR beside those of the contract (A20).
    """
    return _validate("server", message, strict, extra_error_codes)


def validate_client(message: object, *, strict: bool) -> tuple[Problem, ...]:
    """What is wrong with a message from a client, the most telling first; empty when nothing is."""
    return _validate("client", message, strict, ())


def load_schema(side: Side, message_type: str, *, strict: bool) -> dict[str, Any]:
    """The JSON Schema of one message type, a fresh copy. Raises KeyError for a type that this side does not send."""
    if message_type not in _types(side):
        raise KeyError(f"the {side} sends no {message_type!r}: {', '.join(_types(side))}")
    file = resources.files("schemas").joinpath(side, f"{message_type.lower()}.json")
    schema: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return schema if strict else _lenient(schema)


@FORMATS.checks("date-time")
def is_timestamp(value: object) -> bool:
    """Whether a string is a timestamp in both RFC 3339 and ISO 8601: with a zone, and T and Z as capitals (A18).

    What is no string is left to the keyword `type`. A leap second (:60) is refused.
    """
    return not isinstance(value, str) or ("\n" not in value and bool(validate_rfc3339(value)))


def _types(side: Side) -> tuple[str, ...]:
    messages = load_contract().messages
    return messages.server if side == "server" else messages.client


def _lenient(schema: Any) -> Any:
    """The schema without what only a SHOULD rests on. Keywords are told from property names by where they stand."""
    if isinstance(schema, list):
        return [_lenient(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _lenient(value) for name, value in part.items()} if key == "properties" else _lenient(part)
        for key, part in schema.items()
        if key not in SHOULD_KEYWORDS and not (key in CLOSING_KEYWORDS and part is False)
    }


@cache
def _validators(side: Side, strict: bool) -> Mapping[str, Draft202012Validator]:
    return MappingProxyType({name: _compile(load_schema(side, name, strict=strict)) for name in _types(side)})


@lru_cache(maxsize=32)
def _error_validator(strict: bool, extra_codes: frozenset[str]) -> Draft202012Validator:
    schema = load_schema("server", "ERROR", strict=strict)
    schema["properties"]["code"]["enum"] += sorted(extra_codes)
    return _compile(schema)


def _compile(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FORMATS)


def _validate(side: Side, message: object, strict: bool, extra_codes: Collection[str]) -> tuple[Problem, ...]:
    if not isinstance(message, dict):
        return (_problem((), "type", f"must be an object, is {_shown(message)}"),)
    if "type" not in message:
        return (_problem(("type",), "required", f"is missing; it must be one of {_listed(_types(side))}"),)
    kind = message["type"]
    if not isinstance(kind, str):
        return (_problem(("type",), "type", f"must be a string, is {_shown(kind)}"),)
    validator = _validators(side, strict).get(kind)
    if validator is None:
        return (_problem(("type",), "enum", f"{_must_be_one_of(_types(side), kind)}{_wrong_way(side, kind)}"),)
    if extra_codes and kind == "ERROR":
        validator = _error_validator(strict, frozenset(extra_codes))
    errors = list(islice(validator.iter_errors(message), _MOST_PROBLEMS))
    return _problems(errors) if errors else ()


def _wrong_way(side: Side, kind: str) -> str:
    other: Side = "client" if side == "server" else "server"
    return f", which only the {other} sends" if kind in _types(other) else ""


def _problems(errors: list[ValidationError]) -> tuple[Problem, ...]:
    """One problem a place, the most telling: what is missing or of the wrong type before what is merely undeclared."""
    found: dict[str, tuple[int, int, Problem]] = {}
    for error in errors:
        for path, text in islice(_told(error), _MOST_PROBLEMS):
            problem = _problem(path, str(error.validator), text)
            rank = (_RANK.get(problem.rule, 3), len(path), problem)
            if problem.path not in found or rank[0] < found[problem.path][0]:
                found[problem.path] = rank
    return tuple(problem for _, _, problem in sorted(found.values(), key=lambda entry: entry[:2]))


def _told(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The places that an error speaks of, and what to say of each."""
    path = tuple(error.absolute_path)
    value: Any = error.instance
    wanted: Any = error.validator_value
    match error.validator:
        case "required":
            # jsonschema yields one error a missing name, but says which only in its text
            for name in (name for name in wanted if name not in value):
                yield (*path, name), "is missing"
        case "additionalProperties" | "unevaluatedProperties":
            declared = error.schema["properties"] if isinstance(error.schema, Mapping) else {}
            for name in (name for name in value if name not in declared):
                yield (*path, name), f"is not declared; declared here: {_listed(declared)}"
        case "type":
            yield path, f"must be {_NOUN[wanted]}, is {_shown(value)}"
        case "enum":
            yield path, _must_be_one_of(wanted, value)
        case "format":
            yield path, f"must be a date-time with a zone, such as 2025-10-20T15:30:45.123Z, is {_shown(value)}"
        case "minimum":
            yield path, f"must be at least {wanted}, is {_shown(value)}"
        case "minLength" | "minProperties":
            yield path, "must not be empty"
        case _:
            yield path, error.message


def _problem(path: tuple[str | int, ...], rule: str, text: str) -> Problem:
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{_named(step)}" for step in path).removeprefix(".")
    return Problem(where, rule, f"{where or 'message'}: {text}")


def _named(name: str) -> str:
    """A property name, quoted and cut where the sender chose an odd or a long one."""
    return name if name.isidentifier() and len(name) <= _LONGEST_QUOTE else repr(_cut(name))


def _must_be_one_of(names: Collection[str], value: object) -> str:
    return f"must be one of {_listed(names)}, is {_shown(value)}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def _shown(value: object) -> str:
    """A value as a person names it; what is long is cut, what is nested is not shown."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str(text):
            return f"the string {_cut(text)!r}"
        case int() | float():
            return f"the number {value!r:.{_LONGEST_QUOTE}}"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
