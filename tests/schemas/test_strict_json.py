"""The strict parser: it agrees with the standard one on what is beyond doubt, and refuses the rest with a reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import NotJson, parse
from tests.schemas.examples import json_values

REFUSED = {
    "": "Expecting value",
    "   ": "Expecting value",
    "hello": "Expecting value",
    '{"a":1': "Expecting",
    "{'a':1}": "Expecting property name",
    '{"a":1,}': "Expecting property name",
    "[1,]": "Expecting value",
    '{"a":1} {"b":2}': "Extra data",
    '"a\nb"': "Invalid control character",
    '"\\x41"': "Invalid \\escape",
    "01": "Extra data",
    "+1": "Expecting value",
    ".5": "Expecting value",
    "NaN": "NaN is no JSON number",
    '{"a":Infinity}': "Infinity is no JSON number",
    "[-Infinity]": "-Infinity is no JSON number",
    "1e999": "beyond the range",
    "-1e999": "beyond the range",
    "9" * 400: "beyond the range",
    "9" * 5000: "beyond the range",
    '{"type":"PING","type":"ERROR"}': "occurs twice",
    '[{"a":{"b":1,"b":1}}]': "occurs twice",
    '{"a":1,"\\u0061":2}': "occurs twice",
    '"\\ud800"': "lone surrogate",
    '{"\\uDFFF":1}': "lone surrogate",
    '[["\\udc00\\ud800"]]': "lone surrogate",
    '"\ud800"': "lone surrogate",
    "\ufeff{}": "byte order mark",
    "[" * 100_000 + "]" * 100_000: "nested too deeply",
    '{"a":' * 100_000: "nested too deeply",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=[repr(text[:20]) for text in REFUSED])
def test_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(NotJson) as caught:
        parse(text)
    assert reason in caught.value.reason
    assert str(caught.value) == f"not JSON: {caught.value.reason}"
    if text.isascii():
        with pytest.raises(NotJson, match="not JSON"):
            parse(text.encode())


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\xff", "invalid UTF-8 at byte 0"),
        (b'{"a":"\xed\xa0\x80"}', "invalid UTF-8 at byte 6"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a":1}'.encode("utf-16"), "invalid UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "character 1"),
    ],
)
def test_bytes_are_utf8_and_nothing_else(octets: bytes, reason: str) -> None:
    with pytest.raises(NotJson) as caught:
        parse(octets)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\\\ud800"', "\\ud800"),
        (' {"a": [1, 2.5, -0, 1e3, null, true]} ', {"a": [1, 2.5, 0, 1000.0, None, True]}),
        ('[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}]),
        ("9" * 300, int("9" * 300)),
    ],
)
def test_accepted(text: str, value: object) -> None:
    assert parse(text) == value


@given(value=json_values, ascii_only=st.booleans())
def test_what_is_written_is_read(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse(text) == parse(text.encode()) == value


@given(text=st.text(alphabet='{}[]",:0123456789.eE+-\\ud8truefalsn ') | st.text() | st.binary())
def test_any_input_is_a_value_or_not_json(text: str | bytes) -> None:
    try:
        value = parse(text)
    except NotJson:
        return
    assert json.loads(text) == value
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")


@given(secret=st.text(alphabet="abcdefghij", min_size=12))
def test_a_reason_never_quotes_the_text(secret: str) -> None:
    for text in (f'{{"{secret}":1,"{secret}":2}}', f'"{secret}', f"{secret}", f'{{"a":{secret}}}', f'"{secret}\\ud800"'):
        with pytest.raises(NotJson) as caught:
            parse(text)
        assert secret not in str(caught.value)
