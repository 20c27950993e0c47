"""The schema files: one a message type, sound, closed, equal to contract.toml in every word, and loosened as promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import Side, load_contract, load_schema
from schemas.messages import CLOSING_KEYWORDS, SHOULD_KEYWORDS
from tests.schemas.examples import REQUIRED, TYPES

CONTRACT = load_contract()
PACKAGE = resources.files("schemas")
TYPES_BY_SIDE: list[tuple[Side, str]] = [
    *[("server", name) for name in CONTRACT.messages.server],
    *[("client", name) for name in CONTRACT.messages.client],
]
by_type = pytest.mark.parametrize(("side", "name"), TYPES_BY_SIDE)


def subschemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from subschemas(inner, f"{path}.{name}".removeprefix("."))
    if "items" in schema:
        yield from subschemas(schema["items"], f"{path}[]")


@pytest.mark.parametrize("side", ["server", "client"])
def test_one_file_a_message_type(side: Side) -> None:
    files = {file.name for file in PACKAGE.joinpath(side).iterdir() if file.name.endswith(".json")}
    assert files == {f"{name.lower()}.json" for its, name in TYPES_BY_SIDE if its == side}


@by_type
def test_a_file_is_a_sound_schema_of_its_type(side: Side, name: str) -> None:
    for strict in (True, False):
        schema = load_schema(side, name, strict=strict)
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
        assert schema["title"] == name
        assert schema["properties"]["type"] == {"const": name}
    assert schema["required"][0] == "type"


@by_type
def test_properties_and_what_is_required_are_those_of_the_contract(side: Side, name: str) -> None:
    found = dict(subschemas(load_schema(side, name, strict=True)))
    declared = {path for path in found if path not in {"", "type"} and not path.endswith("[]")}
    assert declared == set(TYPES[name])
    required = {f"{path}.{key}".removeprefix(".") for path, schema in found.items() for key in schema.get("required", ())}
    assert required == {"type", *REQUIRED[name]}


@by_type
def test_all_objects_are_closed_in_the_file_and_open_in_the_lenient_form(side: Side, name: str) -> None:
    strict = dict(subschemas(load_schema(side, name, strict=True)))
    lenient = dict(subschemas(load_schema(side, name, strict=False)))
    assert strict.keys() == lenient.keys()
    for path, schema in strict.items():
        closed = "properties" in schema
        assert (schema.get("additionalProperties") is False) == closed, path
        dropped = {key for key in schema if key not in lenient[path]}
        assert dropped == set(schema) & (SHOULD_KEYWORDS | CLOSING_KEYWORDS)
        assert all(lenient[path][key] == schema[key] for key in lenient[path] if key not in {"properties", "items"})


def test_what_is_dropped_is_told_from_a_property_of_that_name() -> None:
    schema = load_schema("server", "FEATURE_UPDATE", strict=False)
    assert set(schema["properties"]["changes"]["properties"]) == {"title", "description", "status"}
    assert "minProperties" not in schema["properties"]["changes"]
    assert load_schema("server", "FEATURE_UPDATE", strict=True)["properties"]["changes"]["minProperties"] == 1


def test_enums_are_those_of_the_contract() -> None:
    enums = {
        (name, path): schema["enum"]
        for side, name in TYPES_BY_SIDE
        for path, schema in subschemas(load_schema(side, name, strict=True))
        if "enum" in schema
    }
    errors = CONTRACT.errors
    assert enums == {
        ("VOTE_UPDATE", "action"): list(CONTRACT.messages.vote_actions),
        ("FEATURE_UPDATE", "changes.status"): list(CONTRACT.messages.feature_status),
        ("FEATURE_CREATED", "feature.status"): list(CONTRACT.messages.feature_status),
        ("ERROR", "code"): [
            errors.session_expired,
            errors.rate_limit_exceeded,
            errors.invalid_message,
            errors.subscription_limit,
            errors.server_error,
        ],
    }


def test_a_type_of_the_other_side_has_no_schema() -> None:
    with pytest.raises(KeyError, match="the client sends no 'PING': PONG, SUBSCRIBE, UNSUBSCRIBE"):
        load_schema("client", "PING", strict=True)


@by_type
def test_a_schema_handed_out_is_a_copy(side: Side, name: str) -> None:
    load_schema(side, name, strict=True)["properties"].clear()
    file = PACKAGE.joinpath(side, f"{name.lower()}.json")
    assert load_schema(side, name, strict=True) == json.loads(file.read_text("utf-8"))
