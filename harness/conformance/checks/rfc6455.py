"""Cases of RFC 6455 that a server can be judged by although it echoes nothing: what is sent, and what must follow.

Each case is data and plays on a connection of its own; what must follow is one of the few things of `Must`. Cases with text use
messages of the contract, so that a server has no reason but the protocol to object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.net.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, encode

__all__ = ["CASES", "Case", "Must", "Wire"]

_MESSAGE = b'{"type":"PONG"}'
_CONTROL = 125  # bytes that a control frame may carry (section 5.5)


class Must(Enum):
    """What a server must do (the value says it in words)."""

    FAIL = "the connection to be failed: a Close with a code of the protocol, or the end of TCP (section 7.1.7)"
    LIVE = "the connection to stay, and a Ping after it to be answered"
    END = "a Close frame in return (section 5.5.1)"
    LEAVE = "the end of the connection, without an illegal frame in return (sections 5.5.1 and 7.4)"


@dataclass(frozen=True, slots=True)
class Wire:
    """One frame; `broken` are the arguments of harness.net.frames.encode that make it wrong."""

    opcode: int
    payload: bytes = b""
    broken: Mapping[str, Any] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return encode(self.opcode, self.payload, **self.broken)


@dataclass(frozen=True, slots=True)
class Case:
    """`chopped`: sent byte by byte. `whole`: it makes up one message of the contract, to be taken as if it had come in one frame.

    `bulky`: it may be refused for its size. `lenient`: a receiver is not told in so many words, so a break is a warning.
    """

    name: str
    must: Must
    frames: tuple[Wire, ...]
    chopped: bool = False
    whole: bool = False
    bulky: bool = False
    lenient: bool = False


def _text(content: bytes) -> bytes:
    return b'{"type":"UNSUBSCRIBE","featureIds":["' + content + b'"]}'


def _fragments(parts: Iterable[bytes], opcode: int = TEXT) -> tuple[Wire, ...]:
    """One message in several frames."""
    listed = list(parts)
    last = len(listed) - 1
    return tuple(Wire(CONTINUATION if at else opcode, part, {"fin": at == last}) for at, part in enumerate(listed))


def _between(*inner: Wire) -> tuple[Wire, ...]:
    """A message in two frames with others between them."""
    first, second = _fragments((_MESSAGE[:5], _MESSAGE[5:]))
    return (first, *inner, second)


def _fail(name: str, *frames: Wire, lenient: bool = False) -> Case:
    return Case(name, Must.FAIL, frames, lenient=lenient)


def _live(name: str, *frames: Wire, chopped: bool = False) -> Case:
    return Case(name, Must.LIVE, frames, chopped=chopped)


def _whole(name: str, *frames: Wire, chopped: bool = False, bulky: bool = False) -> Case:
    return Case(name, Must.LIVE, frames, chopped=chopped, whole=True, bulky=bulky)


def _framing() -> Iterable[Case]:
    for size in (len(_MESSAGE), 125, 126, 127, 128, 1000):
        yield _whole(f"a text of {size} bytes", Wire(TEXT, _MESSAGE.ljust(size)))
    for size in (65_535, 65_536, 65_537):
        yield _whole(f"a text of {size} bytes", Wire(TEXT, _MESSAGE.ljust(size)), bulky=True)
    yield _whole("a text that comes byte by byte", Wire(TEXT, _MESSAGE), chopped=True)
    yield _whole("a longer text that comes byte by byte", Wire(TEXT, _MESSAGE.ljust(200)), chopped=True)
    yield _live("a text and a Ping in one segment", Wire(TEXT, _MESSAGE), Wire(PING, b"after a text"))
    beyond = Wire(TEXT, _MESSAGE, {"declared_length": 1 << 63, "length_bytes": 8})
    yield _fail("a length with its highest bit set", beyond, lenient=True)


def _control() -> Iterable[Case]:
    for what, payload in (
        ("without payload", b""),
        ("with one byte", b"p"),
        ("with text", b"are you there?"),
        ("with bytes that are no text", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
        (f"with {_CONTROL} bytes", b"\xfe" * _CONTROL),
    ):
        yield _live(f"a Ping {what}", Wire(PING, payload))
    yield _live("a Ping that comes byte by byte", Wire(PING, b"one by one"), chopped=True)
    yield _live("ten Pings at once", *(Wire(PING, f"ping {number}".encode()) for number in range(10)))
    for what, payload in (("without payload", b""), ("with payload", b"nobody asked")):
        yield _live(f"a Pong frame that nothing asked for, {what}", Wire(PONG, payload))
    yield _live("a Pong frame that nothing asked for, then a Ping", Wire(PONG, b"no"), Wire(PING, b"yes"))
    for name, opcode in (("Ping", PING), ("Pong", PONG)):
        yield _fail(f"a {name} with {_CONTROL + 1} bytes", Wire(opcode, b"x" * (_CONTROL + 1)))
        yield _fail(f"a {name} that is a fragment", Wire(opcode, b"part", {"fin": False}))
    yield _fail("a Ping in two fragments", Wire(PING, b"part", {"fin": False}), Wire(CONTINUATION, b"rest"))


def _fragmentation() -> Iterable[Case]:
    halves = (_MESSAGE[:5], _MESSAGE[5:])
    yield _whole("a text in two fragments", *_fragments(halves))
    yield _whole("a text in fragments of one byte", *_fragments(_MESSAGE[at : at + 1] for at in range(len(_MESSAGE))))
    yield _whole("a text in two fragments, byte by byte", *_fragments(halves), chopped=True)
    yield _whole("a text with an empty first fragment", *_fragments((b"", *halves)))
    yield _whole("a text with an empty fragment inside", *_fragments((halves[0], b"", halves[1])))
    yield _whole("a text with an empty last fragment", *_fragments((*halves, b"")))
    yield _whole("two texts in fragments", *_fragments(halves), *_fragments(halves))
    yield _live("a Ping between two fragments", *_between(Wire(PING, b"between")))
    yield _live("two Pings between two fragments", *_between(Wire(PING, b"between"), Wire(PING, b"again")))
    yield _whole("a Pong between two fragments", *_between(Wire(PONG, b"between")))
    # Some take the message that is cut short for an error, and say so in their Close.
    yield Case("a Close between two fragments", Must.LEAVE, _between(Wire(CLOSE, close_payload(1000)))[:2])
    yield _fail("a last continuation of nothing", Wire(CONTINUATION, _MESSAGE))
    yield _fail("a continuation of nothing", Wire(CONTINUATION, _MESSAGE, {"fin": False}))
    yield _fail("an empty continuation of nothing", Wire(CONTINUATION))
    yield _fail("a continuation after a whole text", Wire(TEXT, _MESSAGE), Wire(CONTINUATION, _MESSAGE))
    yield _fail("a continuation after the last fragment", *_fragments(halves), Wire(CONTINUATION, b""))
    yield _fail("a text inside a text in fragments", *_between(Wire(TEXT, _MESSAGE)))
    yield _fail("a first fragment inside a text in fragments", *_between(Wire(TEXT, _MESSAGE, {"fin": False})))
    yield _fail("a binary message inside a text in fragments", *_between(Wire(BINARY, b"\x01")))


def _reserved() -> Iterable[Case]:
    for bits in range(1, 8):
        yield _fail(f"a text with the reserved bits {bits:03b}", Wire(TEXT, _MESSAGE, {"rsv": bits}))
    for name, opcode in (("Ping", PING), ("Pong", PONG)):
        yield _fail(f"a {name} with a reserved bit", Wire(opcode, b"x", {"rsv": 4}))
    first, second = _fragments((_MESSAGE[:5], _MESSAGE[5:]))
    yield _fail("a continuation with a reserved bit", first, Wire(CONTINUATION, second.payload, {"rsv": 4}))
    yield Case("a Close with a reserved bit", Must.LEAVE, (Wire(CLOSE, close_payload(1000), {"rsv": 2}),))
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield _fail(f"the reserved opcode {opcode}", Wire(opcode, b"x" if opcode % 2 else b""))
    yield _fail("a reserved opcode after a text", Wire(TEXT, _MESSAGE), Wire(3, b"x"))
    for opcode in (5, 13):
        yield _fail(f"the reserved opcode {opcode} between two fragments", *_between(Wire(opcode, b"")))


def _masking() -> Iterable[Case]:
    plain = {"masked": False}
    for name, opcode, payload in (
        ("text", TEXT, _MESSAGE),
        ("empty text", TEXT, b""),
        ("binary message", BINARY, b"\x01"),
        ("Ping", PING, b"plain"),
        ("Pong", PONG, b"plain"),
    ):
        yield _fail(f"an unmasked {name}", Wire(opcode, payload, plain))
    yield _fail("a last fragment that is unmasked", Wire(TEXT, _MESSAGE[:5], {"fin": False}), Wire(CONTINUATION, _MESSAGE[5:], plain))
    yield Case("an unmasked Close", Must.LEAVE, (Wire(CLOSE, close_payload(1000), plain),))
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        yield _whole(f"a text under the mask {mask.hex()}", Wire(TEXT, _MESSAGE, {"mask": mask}))


_GOOD = {
    "of two bytes a character": "äöüß",
    "of three": "κόσμε ☃ ฿",
    "of four": "😀 𐍈",
    "at the lower edges": "\u0080 \u0800 \U00010000",
    "at the upper edges": "\u007f \u07ff \uffff \U0010ffff",
    "beside the surrogates": "\ud7ff \ue000",
    "with characters that mean nothing": "\ufffe \U0001ffff \ufdd0 \ufffd",
    "with a byte order mark inside": "a\ufeffb",
}
_BAD = {
    "a lone continuation byte": b"\x80",
    "the last continuation byte": b"\xbf",
    "two continuation bytes": b"\x80\xbf",
    "a two-byte character cut short": b"\xc3",
    "a three-byte character cut short": b"\xe2\x98",
    "a four-byte character cut short": b"\xf0\x9f\x98",
    "a first byte before a letter": b"\xe2a",
    "a slash in two bytes": b"\xc0\xaf",
    "a slash in three bytes": b"\xe0\x80\xaf",
    "a slash in four bytes": b"\xf0\x80\x80\xaf",
    "the largest overlong pair": b"\xc1\xbf",
    "the largest overlong triple": b"\xe0\x9f\xbf",
    "the largest overlong quadruple": b"\xf0\x8f\xbf\xbf",
    "a zero in two bytes": b"\xc0\x80",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "a character past the last plane": b"\xf4\x90\x80\x80",
    "a character of five bytes": b"\xf8\x88\x80\x80\x80",
    "a character of six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "the byte FE": b"\xfe",
    "the byte FF": b"\xff",
}


def _utf8() -> Iterable[Case]:
    for what, text in _GOOD.items():
        yield _live(f"UTF-8 {what}", Wire(TEXT, _text(text.encode())))
    for character in ("ß", "☃", "😀"):
        data = character.encode()
        for cut in range(1, len(data)):
            head, tail = _text(data).split(data)
            name = f"a character of {len(data)} bytes cut by a fragment after {cut}"
            yield _live(name, *_fragments((head + data[:cut], data[cut:] + tail)))
    for what, content in _BAD.items():
        yield _fail(f"{what} in a text", Wire(TEXT, _text(content)))
    yield _fail("a text that ends within a character", Wire(TEXT, _MESSAGE + b"\xe2\x98"))
    head, tail = _text(b"|").split(b"|")
    yield _fail("a surrogate cut by a fragment", *_fragments((head + b"\xed", b"\xa0\x80" + tail)))
    yield _fail("what is no UTF-8 in a first fragment", *_fragments((head + b"\xff", tail)))
    yield _fail("what is no UTF-8 in a last fragment", *_fragments((head, b"\xc0\xaf" + tail)))
    yield Case("a close reason that is no UTF-8", Must.LEAVE, (Wire(CLOSE, b"\x03\xe8\xce\xba\xff"),))
    yield Case("a close reason that ends within a character", Must.LEAVE, (Wire(CLOSE, b"\x03\xe8\xe2\x98"),))


def _closing() -> Iterable[Case]:
    yield Case("a Close without a code", Must.END, (Wire(CLOSE),))
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield Case(f"a Close with code {code}", Must.END, (Wire(CLOSE, close_payload(code)),))
    yield Case("a Close with a reason", Must.END, (Wire(CLOSE, close_payload(1000, "κόσμε")),))
    yield Case("a Close with the longest reason", Must.END, (Wire(CLOSE, close_payload(1000, "x" * (_CONTROL - 2))),))
    yield Case("a Close that comes byte by byte", Must.END, (Wire(CLOSE, close_payload(1000, "bye")),), chopped=True)
    yield Case("a Ping after a Close", Must.END, (Wire(CLOSE, close_payload(1000)), Wire(PING, b"too late")))
    yield Case("a text after a Close", Must.END, (Wire(CLOSE, close_payload(1000)), Wire(TEXT, _MESSAGE)))
    yield Case("a second Close", Must.END, (Wire(CLOSE, close_payload(1000)), Wire(CLOSE, close_payload(1001))))
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield Case(f"a Close with code {code}, which none may send", Must.LEAVE, (Wire(CLOSE, code.to_bytes(2, "big")),))
    yield Case("a Close with half a code", Must.LEAVE, (Wire(CLOSE, b"\x03"),))
    yield Case(f"a Close with {_CONTROL + 1} bytes", Must.LEAVE, (Wire(CLOSE, close_payload(1000) + b"x" * (_CONTROL - 1)),))
    yield Case("a Close that is a fragment", Must.LEAVE, (Wire(CLOSE, close_payload(1000), {"fin": False}),))


CASES: Mapping[str, tuple[Case, ...]] = {
    "framing": tuple(_framing()),
    "control frames": tuple(_control()),
    "fragmentation": tuple(_fragmentation()),
    "reserved bits and opcodes": tuple(_reserved()),
    "masking": tuple(_masking()),
    "UTF-8": tuple(_utf8()),
    "closing": tuple(_closing()),
}
"""By the part of the protocol that they try."""
