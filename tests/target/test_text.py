"""Templates: what is put in comes out, what is wrong is named, and a secret shows in no repr."""

from __future__ import annotations

import datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.target.text import (
    TextError,
    compile_json,
    compile_text,
    env_names,
    fill_json,
    holes_of,
    put_in,
)

NAMES = frozenset({"featureId", "title", "n"})
plain = st.text(max_size=30).filter(lambda text: "${ENV" not in text)
values = st.fixed_dictionaries({name: st.text(max_size=20) for name in NAMES})


def doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@given(pieces=st.lists(st.tuples(plain, st.sampled_from(sorted(NAMES))), max_size=5), tail=plain, known=values)
def test_what_is_put_in_comes_out_between_what_was_written(pieces: list[tuple[str, str]], tail: str, known: dict[str, str]) -> None:
    text = "".join(f"{doubled(before)}{{{hole}}}" for before, hole in pieces) + doubled(tail)
    template = compile_text(text, NAMES, {})
    assert template.fill(known) == "".join(before + known[hole] for before, hole in pieces) + tail
    assert template.holes == {hole for _, hole in pieces}


@given(text=st.text(alphabet="{}${ENV:A_B}xn", max_size=20))
def test_any_text_compiles_or_says_why(text: str) -> None:
    try:
        compile_text(text, NAMES, {"A_B": "v"})
    except TextError as error:
        said = error
    else:
        return
    assert said.what
    assert said.do


@given(secret=st.text(alphabet="0123456789%/+=", min_size=10, max_size=30))
def test_a_secret_is_sent_and_never_shown(secret: str) -> None:
    template = compile_text("Bearer ${ENV:TOKEN} {n}", NAMES, {"TOKEN": secret})
    assert template.fill({"n": 1}) == f"Bearer {secret} 1"
    assert secret not in repr(template) + str(template) + f"{template}"


@pytest.mark.parametrize(
    ("text", "what", "do"),
    [
        ("{nobody}", "{nobody} is not a placeholder here", "possible: {featureId}, {n}, {title}"),
        ("a } b", "there is a lone }", "write {{ and }}"),
        ("a { b", "there is a lone {", "write {{ and }}"),
        ("${ENV:X}", "the environment variable X is not set", "export X=..."),
        ("${ENV:EMPTY}", "the environment variable EMPTY is empty", "export EMPTY=..."),
        ("${ENV:not a name}", "${ENV: is not written out", "write ${ENV:NAME}"),
        ("${ENV:OPEN", "${ENV: is not written out", "write ${ENV:NAME}"),
    ],
)
def test_what_is_wrong_is_named(text: str, what: str, do: str) -> None:
    with pytest.raises(TextError) as caught:
        compile_text(text, NAMES, {"EMPTY": ""})
    assert caught.value.what == what
    assert do in caught.value.do


def test_variables_are_put_in_where_they_may_be_shown() -> None:
    assert put_in("http://${ENV:HOST}:${ENV:PORT}/{x}", {"HOST": "h", "PORT": "1"}) == "http://h:1/{x}"
    assert env_names("${ENV:A}${ENV:B_2}") == ["A", "B_2"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=10,
)


def escaped(value: Any) -> Any:
    if isinstance(value, str):
        return doubled(value)
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return value


@given(value=json_values)
def test_json_without_holes_stays_what_it_is(value: Any) -> None:
    compiled = compile_json(escaped(value), NAMES, {})
    assert fill_json(compiled, {}) == value
    assert holes_of(compiled) == frozenset()


def test_holes_in_json_keep_the_type_of_their_value_and_may_be_left_out() -> None:
    body = {"title": "{title}", "deep": [{"id": "{featureId}"}, "no {n}"], "count": "{n}"}
    compiled = compile_json(body, NAMES, {})
    assert holes_of(compiled) == NAMES
    filled = fill_json(compiled, {"n": 3, "featureId": 'q"\\'})
    assert filled == {"deep": [{"id": 'q"\\'}, "no 3"], "count": 3}
    assert orjson.loads(orjson.dumps(filled)) == filled
    with pytest.raises(KeyError, match="featureId"):
        fill_json(compile_json(["{featureId}"], NAMES, {}), {})


def test_a_value_that_json_cannot_hold() -> None:
    with pytest.raises(TextError, match="date cannot be written in JSON"):
        compile_json({"day": datetime.date(2026, 1, 1)}, NAMES, {})
