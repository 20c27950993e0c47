"""The validators: what the contract shows is accepted, and what is almost right is refused for the reason named."""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import Problem, is_timestamp, load_contract, messages, parse, validate_client, validate_server
from tests.schemas.examples import DROP, EXAMPLES, REQUIRED, TYPES, changed, problems, side_of, valid_messages

CONTRACT = load_contract()
SHOULD_RULES = {"additionalProperties", "minLength", "minProperties"}

# type of message, where, what stands there (DROP: nothing), the rule broken, and the place blamed if it is another
NEAR_MISSES: list[tuple[str, str, Any, str, str | None]] = [
    ("PING", "timestamp", "2025-10-20T15:30:45.123Z", "additionalProperties", None),
    ("PING", "id", 1, "additionalProperties", None),
    ("PING", "type", "ping", "enum", None),
    ("PING", "type", "PONG", "enum", None),
    ("PING", "type", DROP, "required", None),
    ("PING", "type", None, "type", None),
    ("VOTE_UPDATE", "featureId", DROP, "required", None),
    ("VOTE_UPDATE", "featureId", "", "minLength", None),
    ("VOTE_UPDATE", "featureId", 123456789, "type", None),
    ("VOTE_UPDATE", "featureId", None, "type", None),
    ("VOTE_UPDATE", "voteCount", DROP, "required", None),
    ("VOTE_UPDATE", "voteCount", "43", "type", None),
    ("VOTE_UPDATE", "voteCount", True, "type", None),
    ("VOTE_UPDATE", "voteCount", 43.5, "type", None),
    ("VOTE_UPDATE", "voteCount", -1, "minimum", None),
    ("VOTE_UPDATE", "voteCount", None, "type", None),
    ("VOTE_UPDATE", "voteCount", math.nan, "type", None),
    ("VOTE_UPDATE", "voterId", None, "type", None),
    ("VOTE_UPDATE", "voterId", "", "minLength", None),
    ("VOTE_UPDATE", "voterId", {"id": "clusr987654321"}, "type", None),
    ("VOTE_UPDATE", "action", DROP, "required", None),
    ("VOTE_UPDATE", "action", "ADD", "enum", None),
    ("VOTE_UPDATE", "action", "vote", "enum", None),
    ("VOTE_UPDATE", "action", True, "type", None),
    ("VOTE_UPDATE", "timestamp", DROP, "required", None),
    ("VOTE_UPDATE", "timestamp", 1760974245123, "type", None),
    ("VOTE_UPDATE", "timestamp", "2025-10-20T15:30:45", "format", None),
    ("VOTE_UPDATE", "timestamp", "2025-13-20T15:30:45.123Z", "format", None),
    ("VOTE_UPDATE", "timestamp", "2025-02-29T15:30:45.123Z", "format", None),
    ("VOTE_UPDATE", "timestamp", "2025-10-20 15:30:45.123Z", "format", None),
    ("VOTE_UPDATE", "timestamp", "2025-10-20", "format", None),
    ("VOTE_UPDATE", "timestamp", "", "format", None),
    ("VOTE_UPDATE", "hasVoted", True, "additionalProperties", None),
    ("VOTE_UPDATE", "votecount", 43, "additionalProperties", None),
    ("FEATURE_UPDATE", "featureId", DROP, "required", None),
    ("FEATURE_UPDATE", "featureId", "", "minLength", None),
    ("FEATURE_UPDATE", "featureId", ["clxyz123456789"], "type", None),
    ("FEATURE_UPDATE", "changes", DROP, "required", None),
    ("FEATURE_UPDATE", "changes", {}, "minProperties", None),
    ("FEATURE_UPDATE", "changes", [{"status": "TODO"}], "type", None),
    ("FEATURE_UPDATE", "changes", None, "type", None),
    ("FEATURE_UPDATE", "changes.status", "DONE", "enum", None),
    ("FEATURE_UPDATE", "changes.status", "in_progress", "enum", None),
    ("FEATURE_UPDATE", "changes.status", None, "type", None),
    ("FEATURE_UPDATE", "changes.title", None, "type", None),
    ("FEATURE_UPDATE", "changes.description", 7, "type", None),
    ("FEATURE_UPDATE", "changes.voteCount", 44, "additionalProperties", None),
    ("FEATURE_UPDATE", "timestamp", "yesterday", "format", None),
    ("FEATURE_UPDATE", "timestamp", DROP, "required", None),
    ("FEATURE_CREATED", "feature", DROP, "required", None),
    ("FEATURE_CREATED", "feature", "clxyz789012345", "type", None),
    ("FEATURE_CREATED", "feature.id", DROP, "required", None),
    ("FEATURE_CREATED", "feature.id", "", "minLength", None),
    ("FEATURE_CREATED", "feature.title", None, "type", None),
    ("FEATURE_CREATED", "feature.description", DROP, "required", None),
    ("FEATURE_CREATED", "feature.status", "BACKLOG", "enum", None),
    ("FEATURE_CREATED", "feature.voteCount", "0", "type", None),
    ("FEATURE_CREATED", "feature.voteCount", -1, "minimum", None),
    ("FEATURE_CREATED", "feature.createdById", DROP, "required", None),
    ("FEATURE_CREATED", "feature.createdBy", "Jane Admin", "type", None),
    ("FEATURE_CREATED", "feature.createdBy.name", DROP, "required", None),
    ("FEATURE_CREATED", "feature.createdBy.email", "jane@example.org", "additionalProperties", None),
    ("FEATURE_CREATED", "feature.createdAt", "2025-10-20T15:40:00.000", "format", None),
    ("FEATURE_CREATED", "feature.updatedAt", 0, "type", None),
    ("FEATURE_CREATED", "feature.hasVoted", False, "additionalProperties", None),
    ("FEATURE_CREATED", "timestamp", DROP, "required", None),
    ("FEATURE_DELETED", "featureId", DROP, "required", None),
    ("FEATURE_DELETED", "featureId", None, "type", None),
    ("FEATURE_DELETED", "timestamp", "2025-10-20T24:00:00Z", "format", None),
    ("FEATURE_DELETED", "timestamp", DROP, "required", None),
    ("FEATURE_DELETED", "reason", "duplicate", "additionalProperties", None),
    ("ERROR", "code", DROP, "required", None),
    ("ERROR", "code", 429, "type", None),
    ("ERROR", "code", "rate_limit_exceeded", "enum", None),
    ("ERROR", "code", "NOT_FOUND", "enum", None),
    ("ERROR", "message", DROP, "required", None),
    ("ERROR", "message", ["slow down"], "type", None),
    ("ERROR", "context", "limit 10", "type", None),
    ("ERROR", "context", None, "type", None),
    ("ERROR", "context", [], "type", None),
    ("ERROR", "timestamp", "2025-10-20T15:50:00.000+0200", "format", None),
    ("ERROR", "status", 429, "additionalProperties", None),
    ("PONG", "at", 0, "additionalProperties", None),
    ("PONG", "type", "PING", "enum", None),
    ("SUBSCRIBE", "featureIds", DROP, "required", None),
    ("SUBSCRIBE", "featureIds", "clxyz123456789", "type", None),
    ("SUBSCRIBE", "featureIds", {"0": "clxyz123456789"}, "type", None),
    ("SUBSCRIBE", "featureIds", None, "type", None),
    ("SUBSCRIBE", "featureIds.1", 5, "type", "featureIds[1]"),
    ("SUBSCRIBE", "featureIds.0", None, "type", "featureIds[0]"),
    ("SUBSCRIBE", "featureIds.1", "", "minLength", "featureIds[1]"),
    ("SUBSCRIBE", "featureId", "clxyz123456789", "additionalProperties", None),
    ("UNSUBSCRIBE", "featureIds", DROP, "required", None),
    ("UNSUBSCRIBE", "featureIds", "*", "type", None),
    ("UNSUBSCRIBE", "featureIds.0", ["clxyz123456789"], "type", "featureIds[0]"),
    ("UNSUBSCRIBE", "type", "Unsubscribe", "enum", None),
    ("UNSUBSCRIBE", "all", True, "additionalProperties", None),
]


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_contract_are_valid(name: str, strict: bool) -> None:
    assert problems(EXAMPLES[name], name, strict=strict) == ()
    assert parse(json.dumps(EXAMPLES[name])) == EXAMPLES[name]


def test_table_of_near_misses_covers_all_types() -> None:
    assert len(NEAR_MISSES) >= 60
    assert {name for name, *_ in NEAR_MISSES} == {*CONTRACT.messages.server, *CONTRACT.messages.client} == {*EXAMPLES}


@pytest.mark.parametrize(("name", "path", "value", "rule", "blamed"), NEAR_MISSES)
def test_near_miss(name: str, path: str, value: Any, rule: str, blamed: str | None) -> None:
    message = changed(EXAMPLES[name], path, value)
    (problem,) = problems(message, name, strict=True)
    assert (problem.path, problem.rule) == (blamed or path, rule)
    assert problem.text.startswith(f"{problem.path}: ")
    lenient = problems(message, name, strict=False)
    assert lenient == (() if rule in SHOULD_RULES else (problem,))


@pytest.mark.parametrize("validate", [validate_server, validate_client])
@pytest.mark.parametrize(
    ("value", "named"),
    [(None, "null"), ([], "an array"), ("PING", "the string 'PING'"), (1, "the number 1"), (True, "true"), (b"", "a bytes")],
)
def test_a_message_is_an_object(validate: Any, value: object, named: str) -> None:
    assert validate(value, strict=True) == (Problem("", "type", f"message: must be an object, is {named}"),)


@given(message=valid_messages())
def test_whatever_the_contract_permits_is_valid_in_both_forms(message: dict[str, Any]) -> None:
    received = parse(json.dumps(message))
    assert received == message
    assert problems(received, message["type"], strict=True) == ()
    assert problems(received, message["type"], strict=False) == ()


@given(message=valid_messages())
def test_a_message_sent_the_wrong_way_is_refused_and_told_so(message: dict[str, Any]) -> None:
    right = side_of(message["type"])
    validate = validate_client if right == "server" else validate_server
    (problem,) = validate(message, strict=False)
    assert (problem.path, problem.rule) == ("type", "enum")
    assert problem.text.endswith(f"which only the {right} sends")


@given(data=st.data(), strict=st.booleans())
def test_any_required_property_is_missed(data: st.DataObject, strict: bool) -> None:
    name = data.draw(st.sampled_from([name for name, paths in REQUIRED.items() if paths]))
    path = data.draw(st.sampled_from(REQUIRED[name]))
    message = changed(data.draw(valid_messages(name)), path, DROP)
    (problem,) = problems(message, name, strict=strict)
    assert problem == Problem(path, "required", f"{path}: is missing")


OF_EACH_TYPE = {type(None): None, bool: True, float: 1.5, int: 7, str: "x", list: ["x"], dict: {"x": 1}}


@given(data=st.data(), strict=st.booleans())
def test_any_property_of_the_wrong_type_is_refused(data: st.DataObject, strict: bool) -> None:
    name = data.draw(st.sampled_from([name for name, paths in TYPES.items() if paths]))
    path = data.draw(st.sampled_from(sorted(TYPES[name])))
    wrong = data.draw(st.sampled_from([value for kind, value in OF_EACH_TYPE.items() if kind is not TYPES[name][path]]))
    message = changed(data.draw(valid_messages(name)), path, wrong)
    (problem,) = problems(message, name, strict=strict)
    assert (problem.path, problem.rule) == (path, "type")


@given(message=valid_messages(), extra=st.text(min_size=1))
def test_an_undeclared_property_is_a_finding_of_the_strict_form_only(message: dict[str, Any], extra: str) -> None:
    name = message["type"]
    if extra in message or extra in TYPES[name]:
        extra = f"x{extra}x"
    (problem,) = problems({**message, extra: None}, name, strict=True)
    assert problem.rule == "additionalProperties"
    assert problems({**message, extra: None}, name, strict=False) == ()


@given(
    message=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "featureIds", "changes", "feature"]) | st.text(), inner),
    )
)
def test_no_value_makes_a_validator_raise(message: object) -> None:
    for strict in (True, False):
        assert isinstance(validate_server(message, strict=strict), tuple)
        assert isinstance(validate_client(message, strict=strict), tuple)


def test_the_most_telling_problem_comes_first() -> None:
    message = {
        "type": "VOTE_UPDATE",
        "x": 1,
        "featureId": "",
        "voteCount": "43",
        "action": 7,
        "voterId": "u",
    }
    found = [(problem.path, problem.rule) for problem in validate_server(message, strict=True)]
    assert found[0] == ("timestamp", "required")
    assert {*found[1:3]} == {("voteCount", "type"), ("action", "type")}
    assert found[3:] == [("featureId", "minLength"), ("x", "additionalProperties")]


def test_what_is_wrong_at_the_top_comes_before_what_is_wrong_within() -> None:
    message = changed(changed(EXAMPLES["FEATURE_CREATED"], "timestamp", DROP), "feature.createdBy.name", DROP)
    paths = [problem.path for problem in validate_server(changed(message, "feature.id", DROP), strict=True)]
    assert paths == ["timestamp", "feature.id", "feature.createdBy.name"]


def test_texts_are_for_people() -> None:
    vote = EXAMPLES["VOTE_UPDATE"]

    def text(path: str, value: object) -> str:
        return validate_server(changed(vote, path, value), strict=True)[0].text

    assert text("voteCount", "43") == "voteCount: must be an integer, is the string '43'"
    assert text("voteCount", True) == "voteCount: must be an integer, is true"
    assert text("voteCount", -1) == "voteCount: must be at least 0, is the number -1"
    assert text("action", "ADD") == "action: must be one of add, remove, is the string 'ADD'"
    assert text("featureId", "") == "featureId: must not be empty"
    assert text("featureId", []) == "featureId: must be a string, is an array"
    assert text("timestamp", "today").startswith("timestamp: must be a date-time with a zone, such as ")
    assert text("extra", 1).startswith("extra: is not declared; declared here: type, featureId, voteCount, ")
    assert text("type", "VOTE").startswith("type: must be one of PING, VOTE_UPDATE, ")
    assert text("type", DROP).startswith("type: is missing; it must be one of PING, VOTE_UPDATE, ")


def test_a_keyword_without_words_of_its_own_is_still_a_problem() -> None:
    validator = messages._compile({"properties": {"featureIds": {"maxItems": 1}}})
    (problem,) = messages._problems([*validator.iter_errors({"featureIds": ["a", "b"]})])
    assert (problem.path, problem.rule) == ("featureIds", "maxItems")
    assert problem.text.startswith("featureIds: ['a', 'b'] ")


def test_what_a_sender_wrote_is_quoted_short_and_harmless() -> None:
    long = changed(EXAMPLES["VOTE_UPDATE"], "voteCount", "\x1b[2J" + "9" * 10_000)
    (problem,) = validate_server(long, strict=True)
    assert len(problem.text) < 120
    assert "\x1b" not in problem.text
    (problem,) = validate_server({"type": "PING", "\x1b" + "k" * 10_000: 1}, strict=True)
    assert len(problem.text) < 160
    assert "\x1b" not in problem.text


@pytest.mark.parametrize(
    "message",
    [
        {"type": "SUBSCRIBE", "featureIds": [1] * 50_000},
        {"type": "PONG", **{f"k{number}": 1 for number in range(50_000)}},
    ],
    ids=["wrong ids", "undeclared"],
)
def test_a_hostile_message_has_no_endless_list_of_problems(message: object) -> None:
    assert 1 < len(validate_client(message, strict=True)) <= 20


def test_a_whole_number_written_as_a_float_is_an_integer() -> None:
    assert validate_server(changed(EXAMPLES["VOTE_UPDATE"], "voteCount", 43.0), strict=True) == ()


def test_error_codes_are_closed_unless_more_are_given() -> None:
    message = changed(EXAMPLES["ERROR"], "code", "TEAPOT")
    for strict in (True, False):
        (problem,) = validate_server(message, strict=strict)
        assert (problem.path, problem.rule) == ("code", "enum")
        assert validate_server(message, strict=strict, extra_error_codes={"TEAPOT"}) == ()
        (problem,) = validate_server(message, strict=strict, extra_error_codes={"KETTLE"})
        assert "KETTLE" in problem.text
        for code in CONTRACT.errors.all:
            assert validate_server({**message, "code": code}, strict=strict, extra_error_codes=["TEAPOT"]) == ()
        assert len(validate_server(message, strict=strict)) == 1, "what one call permits must not stay for the next"


STAMPS = {
    "2025-10-20T15:30:45.123Z": True,
    "2025-10-20T15:30:45Z": True,
    "2025-10-20T15:30:45.123456789Z": True,
    "2025-10-20T17:30:45.123+02:00": True,
    "2024-02-29T00:00:00Z": True,
    "2025-10-20T15:30:45": False,
    "2025-10-20T15:30Z": False,
    "2025-10-20t15:30:45Z": False,
    "2025-10-20T15:30:45z": False,
    "2025-10-20T15:30:60Z": False,
    "2025-10-20T25:30:45Z": False,
    "2025-10-20T15:30:45,5Z": False,
    "2025-10-20T15:30:45.Z": False,
    "2025-10-20T15:30:45Z\n": False,
    "2025-W43-1T15:30:45Z": False,
    "20251020T153045Z": False,
    "2025-00-20T15:30:45Z": False,
    "2025-11-31T15:30:45Z": False,
    "0000-01-01T00:00:00Z": False,
    "٢٠٢٥-10-20T15:30:45Z": False,
}


@pytest.mark.parametrize(("stamp", "good"), STAMPS.items())
def test_timestamps(stamp: str, good: bool) -> None:
    assert is_timestamp(stamp) is good
    found = validate_server(changed(EXAMPLES["FEATURE_DELETED"], "timestamp", stamp), strict=False)
    assert [problem.rule for problem in found] == ([] if good else ["format"])


def test_threads_do_not_disturb_each_other() -> None:
    cases = [(changed(EXAMPLES[name], path, value), name) for name, path, value, *_ in NEAR_MISSES]
    alone = [problems(message, name, strict=True) for message, name in cases]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            rounds = list(pool.map(lambda _: [problems(message, name, strict=True) for message, name in cases], range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert all(found == alone for found in rounds)
