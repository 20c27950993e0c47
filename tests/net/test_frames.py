"""The frame codec against another implementation of RFC 6455, and against bytes that no implementation would send."""

from __future__ import annotations

import itertools
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.streams import StreamReader

from harness.net.frames import (
    Assembler,
    FrameDecoder,
    Opcode,
    WireFrame,
    close_payload,
    encode,
    parse_close,
)

BOUND = 1 << 20
payloads = st.binary(max_size=300) | st.integers(0, 70_000).map(bytes)
data_opcodes = st.sampled_from([Opcode.TEXT, Opcode.BINARY])


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def parsed_by_websockets(data: bytes) -> Frame:
    reader = StreamReader()
    reader.feed_data(data)
    parse: Generator[None, None, Frame] = Frame.parse(reader.read_exact, mask=True)
    try:
        next(parse)
    except StopIteration as done:
        frame: Frame = done.value
        assert reader.buffer == b""
        return frame
    raise AssertionError("websockets waits for more bytes than we sent")


@given(opcode=st.sampled_from(list(Opcode)), payload=payloads, fin=st.booleans())
def test_websockets_reads_what_we_send(opcode: Opcode, payload: bytes, fin: bool) -> None:
    if opcode >= Opcode.CLOSE:
        payload, fin = payload[:125], True
    frame = parsed_by_websockets(encode(opcode, payload, fin=fin))
    assert (int(frame.opcode), bytes(frame.data), frame.fin) == (int(opcode), payload, fin)
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)


@given(
    messages=st.lists(st.tuples(data_opcodes, payloads), max_size=6),
    cuts=st.lists(st.integers(0, 1_000_000), max_size=20),
)
def test_we_read_what_websockets_sends_however_it_is_cut(messages: list[tuple[Opcode, bytes]], cuts: list[int]) -> None:
    wire = b"".join(Frame(TheirOpcode(opcode), payload).serialize(mask=False) for opcode, payload in messages)
    decoder = FrameDecoder(BOUND)
    frames = [frame for piece in in_pieces(wire, cuts) for frame in decoder.feed(piece)]
    assert [(frame.opcode, frame.payload) for frame in frames] == messages
    assert all(frame.fin and not frame.masked and frame.problems == () for frame in frames)
    assert (decoder.pending, decoder.failed) == (0, None)


@given(
    opcode=st.integers(0, 15),
    payload=payloads,
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    masked=st.booleans(),
    wider=st.sampled_from([None, 2, 8]),
    cuts=st.lists(st.integers(0, 1_000_000), max_size=5),
)
def test_every_bit_of_the_header_is_seen(
    opcode: int, payload: bytes, fin: bool, rsv: int, masked: bool, wider: int | None, cuts: list[int]
) -> None:
    if wider == 2 and len(payload) >= 65_536:
        wider = 8
    wire = encode(opcode, payload, fin=fin, rsv=rsv, masked=masked, length_bytes=wider)
    decoder = FrameDecoder(BOUND)
    (frame,) = [frame for piece in in_pieces(wire, cuts) for frame in decoder.feed(piece)]
    assert (frame.opcode, frame.payload, frame.fin, frame.rsv, frame.masked) == (opcode, payload, fin, rsv, masked)
    assert any("mask" in text for text in frame.problems) == masked
    assert any("reserved bits" in text for text in frame.problems) == (rsv != 0)
    assert any("not defined" in text for text in frame.problems) == (opcode not in set(Opcode))


@given(chunks=st.lists(st.binary(max_size=200), max_size=10))
def test_garbage_neither_raises_nor_piles_up(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(100)
    for chunk in chunks:
        decoder.feed(chunk)
        assert decoder.pending <= 100 + 14
        if decoder.failed is not None:
            assert decoder.pending == 0


def test_a_claimed_length_reserves_nothing_and_ends_the_decoding() -> None:
    decoder = FrameDecoder(1000)
    assert decoder.feed(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff") == []
    assert decoder.failed == "the server announced a frame of 18446744073709551615 bytes; we read at most 1000"
    assert decoder.feed(b"\x81\x01a") == []
    assert decoder.pending == 0


def test_the_bound_is_the_last_length_that_is_read() -> None:
    assert len(FrameDecoder(200).feed(encode(2, bytes(200), masked=False))) == 1
    over = FrameDecoder(200)
    assert over.feed(encode(2, bytes(201), masked=False)) == []
    assert over.failed


def frame_problems(*wires: bytes) -> str:
    decoder = FrameDecoder(BOUND)
    return " | ".join(text for wire in wires for frame in decoder.feed(wire) for text in frame.problems)


@pytest.mark.parametrize(
    ("wires", "named"),
    [
        ([encode(9, bytes(126), masked=False)], "a control frame of 126 bytes"),
        ([encode(9, b"", fin=False, masked=False)], "must not be fragmented"),
        ([encode(0, b"x", masked=False)], "never began"),
        ([encode(1, b"x", fin=False, masked=False), encode(1, b"y", masked=False)], "inside an unfinished one"),
        ([encode(1, b"x", length_bytes=2, masked=False)], "written in 2 bytes"),
        ([encode(1, bytes(300), length_bytes=8, masked=False)], "written in 8 bytes"),
        ([encode(8, b"\x03", masked=False)], "has no code"),
        ([encode(8, b"\x03\xec", masked=False)], "close code 1004"),
        ([encode(8, b"\x03\xee", masked=False)], "close code 1006"),
        ([encode(8, b"\x13\x88", masked=False)], "close code 5000"),
        ([encode(8, b"\x03\xe8\xff\xfe", masked=False)], "reason is not UTF-8"),
    ],
)
def test_each_broken_rule_is_named(wires: list[bytes], named: str) -> None:
    assert named in frame_problems(*wires)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1013, 3000, 4401, 4999])
def test_close_codes_that_may_be_sent_are_no_problem(code: int) -> None:
    assert frame_problems(encode(8, close_payload(code, "so"), masked=False)) == ""


def test_a_control_frame_between_fragments_breaks_nothing() -> None:
    assert frame_problems(encode(1, b"a", fin=False, masked=False), encode(9, b"", masked=False), encode(0, b"b", masked=False)) == ""


@given(code=st.integers(1000, 1003) | st.integers(3000, 4999), reason=st.text(max_size=30))
def test_a_close_payload_reads_as_websockets_reads_it(code: int, reason: str) -> None:
    theirs = Close.parse(close_payload(code, reason))
    assert (theirs.code, theirs.reason) == (code, reason) == parse_close(close_payload(code, reason))


def test_a_close_payload_without_a_code() -> None:
    assert close_payload(None) == b""
    assert parse_close(b"") == parse_close(b"\x03") == (1005, "")


def test_a_close_reason_that_does_not_fit() -> None:
    assert len(close_payload(1000, "é" * 61)) == 124
    with pytest.raises(ValueError, match="124 bytes; a Close frame has room for 123"):
        close_payload(1000, "é" * 62)


@pytest.mark.parametrize(
    "wrong",
    [
        {"opcode": 16},
        {"rsv": 8},
        {"mask": b"abc"},
        {"length_bytes": 4},
        {"declared_length": 126, "length_bytes": 0},
        {"declared_length": 65_536, "length_bytes": 2},
        {"declared_length": -1},
        {"declared_length": 1 << 64},
    ],
)
def test_what_no_header_can_hold_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        encode(**{"opcode": 1, "payload": b"x", **wrong})  # type: ignore[arg-type]


def test_a_declared_length_may_lie() -> None:
    wire = encode(1, b"abc", declared_length=5, masked=False)
    decoder = FrameDecoder(BOUND)
    assert decoder.feed(wire) == []
    assert decoder.feed(b"de")[0].payload == b"abcde"


@given(opcode=data_opcodes, payload=st.binary(max_size=200), cuts=st.lists(st.integers(0, 1000), max_size=8))
def test_fragments_make_one_message(opcode: Opcode, payload: bytes, cuts: list[int]) -> None:
    pieces = in_pieces(payload, cuts) or [b""]
    assembler = Assembler(BOUND)
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        kind = opcode if number == 0 else Opcode.CONTINUATION
        done = assembler.add(WireFrame(kind, last, 0, False, piece))
        assert assembler.add(WireFrame(Opcode.PING, True, 0, False, b"in between")) is None
        assert done == ((opcode, payload) if last else None)


def test_a_message_beyond_the_bound_is_dropped_and_the_next_is_whole() -> None:
    assembler = Assembler(10)
    assert assembler.add(WireFrame(1, False, 0, False, bytes(6))) is None
    assert assembler.add(WireFrame(0, True, 0, False, bytes(6))) is None
    assert assembler.add(WireFrame(0, True, 0, False, b"stray")) is None
    assert assembler.add(WireFrame(1, True, 0, False, b"next")) == (1, b"next")
