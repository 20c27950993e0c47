"""Text of a frame to a JSON value, strictly: what two correct readers could understand differently is not JSON here.

Refused beyond the grammar of RFC 8259, after the advice of RFC 7493 (I-JSON): repeated names in an object, lone
surrogates, a byte order mark, NaN and the infinities, and numbers beyond the range of a double.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

__all__ = ["NotJson", "parse"]

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_MOST_DIGITS = 308  # a whole number of as many digits still fits a double


class NotJson(ValueError):
    """The text is no JSON value that all readers agree on; `reason` says why, without quoting the text."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not JSON: {reason}")
        self.reason = reason


def parse(text: str | bytes) -> object:
    """The JSON value in `text`; bytes are UTF-8. Raises NotJson.

    Objects become dict, arrays list, whole numbers int, other numbers float.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NotJson(f"invalid UTF-8 at byte {error.start}") from None
    elif not (text.isascii() or _is_unicode(text)):
        raise NotJson("a lone surrogate")
    if text.startswith("\ufeff"):
        raise NotJson("a byte order mark stands before the value")
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg.removesuffix(' at')} at character {error.pos}") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    if _SURROGATE_ESCAPE.search(text) and not _all_unicode(value):
        raise NotJson("a lone surrogate")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotJson("a name occurs twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > _MOST_DIGITS:
        raise NotJson("a number beyond the range of a double")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise NotJson("a number beyond the range of a double")
    return value


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON number")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _all_unicode(value: object) -> bool:
    """Whether each string within is encodable. Keeps its own stack, since the depth of the value is the sender's choice."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                if not _is_unicode(text):
                    return False
            case dict(members):
                waiting.extend(members)
                waiting.extend(members.values())
            case list(items):
                waiting.extend(items)
    return True


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
