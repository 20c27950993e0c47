"""The frame decoder against the reference codec of the websockets library, and the violations one by one."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Op
from websockets.protocol import CLIENT, OPEN, Protocol

from server_under_test.frames import Decoder, Message, Opcode, Violation, close_frame, encode

LIMIT = 70_000


def client(opcode: Op, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=True, extensions=[])


def decode(chunks: list[bytes], limit: int = LIMIT) -> list[Message]:
    decoder = Decoder(limit)
    return [message for chunk in chunks for message in decoder.feed(chunk)]


def violation(data: bytes, limit: int = LIMIT) -> int:
    with pytest.raises(Violation) as caught:
        decode([data], limit)
    assert str(caught.value.code) in str(caught.value)
    return caught.value.code


texts = st.text(max_size=300).map(str.encode)
controls = st.tuples(st.sampled_from([Op.PING, Op.PONG]), st.binary(max_size=125))
data_messages = st.one_of(
    st.tuples(st.just(Op.TEXT), texts),
    st.tuples(st.just(Op.BINARY), st.binary(max_size=70_000)),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[tuple[Op, bytes]]]:
    """Bytes as a client may send them, fragmented anyhow with control frames between; and the messages they are."""
    wire, messages = b"", []
    for opcode, payload in draw(st.lists(st.one_of(data_messages, controls), max_size=6)):
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3))) if opcode < Op.CLOSE else []
        edges = [0, *cuts, len(payload)]
        for index, (start, end) in enumerate(pairwise(edges)):
            wire += client(opcode if index == 0 else Op.CONT, payload[start:end], fin=index == len(cuts))
            if index < len(cuts) and draw(st.booleans()):
                control, word = draw(controls)
                wire += client(control, word)
                messages.append((control, word))
        messages.append((opcode, payload))
    return wire, messages


@given(conversations(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_conversation_in_any_chunks(conversation: tuple[bytes, list[tuple[Op, bytes]]], data: st.DataObject) -> None:
    wire, messages = conversation
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    edges = [0, *cuts, len(wire)]
    decoder = Decoder(LIMIT)
    seen = [m for start, end in pairwise(edges) for m in decoder.feed(wire[start:end])]
    assert [(Op(m.opcode), m.text.encode() if m.opcode is Opcode.TEXT else m.data) for m in seen] == messages
    assert decoder.idle


def test_every_byte_boundary() -> None:
    wire = (
        client(Op.TEXT, b"short")
        + client(Op.TEXT, "zwölf€".encode()[:4], fin=False)
        + client(Op.PING, b"between")
        + client(Op.CONT, "zwölf€".encode()[4:])
        + client(Op.BINARY, b"x" * 200)
        + client(Op.CLOSE, b"\x03\xe8bye")
    )
    whole = decode([wire])
    assert [m.opcode for m in whole] == [Opcode.TEXT, Opcode.PING, Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE]
    assert (whole[2].text, whole[4].code, whole[4].text) == ("zwölf€", 1000, "bye")
    for cut in range(len(wire) + 1):
        assert decode([wire[:cut], wire[cut:]]) == whole
    assert decode([bytes([byte]) for byte in wire]) == whole


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537])
def test_every_length_form_there_and_back(length: int) -> None:
    payload = bytes(range(256)) * (length // 256 + 1)
    payload = payload[:length]
    assert [m.data for m in decode([client(Op.BINARY, payload)])] == [payload]
    reference = Protocol(CLIENT, state=OPEN, max_size=None)
    reference.receive_data(encode(Opcode.BINARY, payload))
    (frame,) = reference.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, bytes(frame.data), frame.fin) == (Op.BINARY, payload, True)


def masked(first: int, length: bytes, payload: bytes = b"") -> bytes:
    return bytes([first]) + bytes([length[0] | 0x80]) + length[1:] + b"\0\0\0\0" + payload


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\xc1\x80\0\0\0\0", 1002, id="reserved bit 1"),
        pytest.param(b"\xa1\x80\0\0\0\0", 1002, id="reserved bit 2"),
        pytest.param(b"\x91\x80\0\0\0\0", 1002, id="reserved bit 3"),
        pytest.param(b"\x83\x80\0\0\0\0", 1002, id="reserved data opcode"),
        pytest.param(b"\x8f\x80\0\0\0\0", 1002, id="reserved control opcode"),
        pytest.param(b"\x81\x02hi", 1002, id="not masked"),
        pytest.param(b"\x09\x80\0\0\0\0", 1002, id="fragmented ping"),
        pytest.param(b"\x89\xfe", 1002, id="ping of more than 125 bytes"),
        pytest.param(b"\x80\x80\0\0\0\0", 1002, id="continuation of nothing"),
        pytest.param(client(Op.TEXT, b"a", fin=False) + client(Op.TEXT, b"b"), 1002, id="message inside a message"),
        pytest.param(masked(0x81, b"\x7e\x00\x7d", b"x" * 125), 1002, id="length of two bytes for 125"),
        pytest.param(masked(0x81, b"\x7f" + struct.pack("!Q", 65_535)), 1002, id="length of eight bytes for 65535"),
        pytest.param(b"\x81\xff\x80" + bytes(7), 1002, id="length with the highest bit"),
        pytest.param(client(Op.CLOSE, b"\x03"), 1002, id="close code of one byte"),
        pytest.param(client(Op.CLOSE, b"\x03\xe8\xff"), 1007, id="close reason not UTF-8"),
        pytest.param(client(Op.TEXT, b"\xed\xa0\x80"), 1007, id="surrogate in UTF-8"),
        pytest.param(client(Op.TEXT, b"\xc3"), 1007, id="half a character"),
        pytest.param(client(Op.TEXT, b"\xc3", fin=False) + client(Op.CONT, b"\x28"), 1007, id="bad across fragments"),
        pytest.param(b"\x81\xff" + struct.pack("!Q", LIMIT + 1), 1009, id="announced too big"),
        pytest.param(client(Op.TEXT, b"x" * LIMIT, fin=False) + b"\x80\x81", 1009, id="too big by its last fragment's header"),
    ],
)
def test_violations(data: bytes, code: int) -> None:
    assert violation(data) == code
    assert violation(client(Op.PING, b"first") + data) == code


@given(st.integers(0, 65_535))
def test_close_codes_are_judged_as_the_reference_does(code: int) -> None:
    frame = client(Op.CLOSE, code.to_bytes(2, "big"))
    permitted = code in {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} or 3000 <= code < 5000
    if permitted:
        assert [m.code for m in decode([frame])] == [code]
    else:
        assert violation(frame) == 1002


def test_what_came_before_a_violation_is_still_yielded() -> None:
    messages = Decoder(LIMIT).feed(client(Op.TEXT, b"good") + b"\xff\xff")
    assert next(messages).text == "good"
    with pytest.raises(Violation):
        next(messages)


def test_the_limit_is_inclusive_and_counts_fragments_together() -> None:
    assert decode([client(Op.BINARY, b"x" * 10)], limit=10)
    assert violation(client(Op.BINARY, b"x" * 11), limit=10) == 1009
    halves = client(Op.BINARY, b"x" * 5, fin=False) + client(Op.PING, b"p" * 125) + client(Op.CONT, b"x" * 5)
    assert [len(m.data) for m in decode([halves], limit=10)] == [125, 10]
    assert violation(client(Op.BINARY, b"x" * 5, fin=False) + client(Op.CONT, b"x" * 6), limit=10) == 1009


def test_a_frame_that_trickles_in_is_kept_but_not_parsed_again() -> None:
    decoder, wire = Decoder(LIMIT), client(Op.TEXT, b"x" * 60_000)
    parses = 0

    class Counting(Decoder):
        def _header(self, data: bytes, position: int):  # type: ignore[no-untyped-def]
            nonlocal parses
            parses += 1
            return super()._header(data, position)

    decoder = Counting(LIMIT)
    messages = [m for start in range(0, len(wire), 100) for m in decoder.feed(wire[start : start + 100])]
    assert [len(m.text) for m in messages] == [60_000]
    assert parses <= 4


@given(st.one_of(st.none(), st.integers(3000, 4999)), st.text(max_size=200))
def test_a_close_frame_always_fits(code: int | None, reason: str) -> None:
    reference = Protocol(CLIENT, state=OPEN)
    reference.receive_data(close_frame(code, reason))
    assert reference.close_rcvd is not None
    assert reference.close_rcvd.code == (code or 1005)
    assert reason.startswith(reference.close_rcvd.reason)
