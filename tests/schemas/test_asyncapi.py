"""The AsyncAPI document: whole, resolvable, in the right directions, and of one mind with contract.toml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
import yaml

from schemas import load_contract, load_schema
from tests.schemas.examples import side_of

CONTRACT = load_contract()
PACKAGE = resources.files("schemas")
DOCUMENT: dict[str, Any] = yaml.safe_load(PACKAGE.joinpath("asyncapi.yaml").read_text("utf-8"))
CHANNEL = DOCUMENT["channels"]["roadmap"]
ALL_TYPES = [*CONTRACT.messages.server, *CONTRACT.messages.client]

# the fixed fields of AsyncAPI 3.0.0's objects: those that must be there, and those that may
OBJECTS: dict[str, tuple[set[str], set[str]]] = {
    "document": ({"asyncapi", "info"}, {"id", "servers", "defaultContentType", "channels", "operations", "components"}),
    "info": ({"title", "version"}, {"description", "termsOfService", "contact", "license", "tags", "externalDocs"}),
    "server": (
        {"host", "protocol"},
        {"protocolVersion", "pathname", "description", "title", "summary", "variables", "security", "tags", "bindings"},
    ),
    "channel": (
        set(),
        {"address", "messages", "title", "summary", "description", "servers", "parameters", "tags", "bindings"},
    ),
    "operation": (
        {"action", "channel"},
        {"title", "summary", "description", "security", "tags", "bindings", "traits", "messages", "reply"},
    ),
    "message": (
        set(),
        {"headers", "payload", "correlationId", "contentType", "name", "title", "summary", "description", "bindings"},
    ),
    "scheme": ({"type", "name", "in"}, {"description"}),
    "ws": (set(), {"method", "query", "headers", "bindingVersion"}),
}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            assert set(node) == {"$ref"}, "beside $ref all is ignored"
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def resolved(reference: str) -> Any:
    """What a reference leads to: a place in the document, or a file beside it."""
    file, _, pointer = reference.partition("#")
    node = json.loads(PACKAGE.joinpath(file).read_text("utf-8")) if file else DOCUMENT
    for step in pointer.split("/")[1:]:
        node = node[step.replace("~1", "/").replace("~0", "~")]
    return node


def operations(action: str) -> list[dict[str, Any]]:
    return [operation for operation in DOCUMENT["operations"].values() if operation["action"] == action]


def types_of(operation: dict[str, Any]) -> list[str]:
    return [reference["$ref"].rpartition("/")[2] for reference in operation["messages"]]


@pytest.mark.parametrize(
    ("kind", "objects"),
    [
        ("document", [DOCUMENT]),
        ("info", [DOCUMENT["info"]]),
        ("server", [*DOCUMENT["servers"].values()]),
        ("channel", [*DOCUMENT["channels"].values()]),
        ("operation", [*DOCUMENT["operations"].values()]),
        ("message", [*DOCUMENT["components"]["messages"].values()]),
        ("scheme", [*DOCUMENT["components"]["securitySchemes"].values()]),
        ("ws", [CHANNEL["bindings"]["ws"]]),
    ],
)
def test_objects_have_the_fields_of_asyncapi_3(kind: str, objects: list[dict[str, Any]]) -> None:
    required, optional = OBJECTS[kind]
    assert objects
    for each in objects:
        fields = {field for field in each if not field.startswith("x-")}
        assert required <= fields
        assert fields <= required | optional


def test_all_references_resolve() -> None:
    found = list(references(DOCUMENT))
    assert len(found) > 30
    for reference in found:
        assert resolved(reference), reference
    files = [reference for reference in found if not reference.startswith("#")]
    assert sorted(files) == sorted(f"./{side_of(name)}/{name.lower()}.json" for name in ALL_TYPES)


@pytest.mark.parametrize("name", ALL_TYPES)
def test_each_message_has_the_schema_of_its_type(name: str) -> None:
    assert resolved(CHANNEL["messages"][name]["$ref"]) is DOCUMENT["components"]["messages"][name]
    message = DOCUMENT["components"]["messages"][name]
    assert message["name"] == name
    assert message["payload"]["schemaFormat"] == "application/schema+json;version=2020-12"
    assert resolved(message["payload"]["schema"]["$ref"]) == load_schema(side_of(name), name, strict=True)


def test_nothing_is_there_beside_the_nine_messages() -> None:
    assert list(CHANNEL["messages"]) == list(DOCUMENT["components"]["messages"]) == ALL_TYPES


def test_the_server_sends_and_receives_what_it_should() -> None:
    assert {operation["action"] for operation in DOCUMENT["operations"].values()} == {"send", "receive"}
    for action, types in (("send", CONTRACT.messages.server), ("receive", CONTRACT.messages.client)):
        assert [name for operation in operations(action) for name in types_of(operation)] == list(types)
    for operation in DOCUMENT["operations"].values():
        assert operation["channel"] == {"$ref": "#/channels/roadmap"}
        for reference in operation["messages"]:
            assert reference["$ref"].startswith("#/channels/roadmap/messages/"), "the specification wants the channel's"


def test_a_ping_asks_for_a_pong_and_nothing_else_for_a_reply() -> None:
    replies = {types_of(operation)[0]: types_of(operation["reply"]) for operation in operations("send") if "reply" in operation}
    assert replies == {"PING": ["PONG"]}


def test_the_words_of_the_contract_are_its_own() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert CHANNEL["address"] == CONTRACT.path
    assert CHANNEL["bindings"]["ws"]["method"] == "GET"
    assert str(CONTRACT.auth_refusal_status) in CHANNEL["description"]
    assert {server["protocol"] for server in DOCUMENT["servers"].values()} == {"ws", "wss"}
    scheme = DOCUMENT["components"]["securitySchemes"]["session"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("httpApiKey", "cookie", CONTRACT.cookie)
    for server in DOCUMENT["servers"].values():
        assert [resolved(reference["$ref"]) for reference in server["security"]] == [scheme]
    error = DOCUMENT["components"]["messages"]["ERROR"]
    assert set(error["x-error-codes"]) == CONTRACT.errors.all
    close = CONTRACT.close
    assert list(CHANNEL["x-close-codes"]) == [
        close.normal,
        close.going_away,
        close.policy_violation,
        close.session_invalid,
    ]
