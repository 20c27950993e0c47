"""A byte stream as messages, without a socket: cuts change nothing, and only what stands for itself is called plain."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from harness.net.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, FrameDecoder, close_payload, encode
from harness.net.stream import Stream, Unpacked

_BOUND = 1_000


class Numbers(dict[bytes, int]):
    """A digest: payloads numbered in the order of first sight."""

    def __call__(self, payload: bytes) -> int:
        return self.setdefault(payload, len(self))


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return encode(opcode, payload, masked=False, fin=fin)


def pongs(said: Iterable[Unpacked]) -> list[bytes]:
    """The payloads sent back; the frames themselves are masked at random."""
    decoder = FrameDecoder(_BOUND)
    return [sent.payload for each in said for answer in each.answers for sent in decoder.feed(answer)]


_TEXTS = st.binary(max_size=300).map(lambda payload: frame(TEXT, payload))
_FRAGMENTED = st.lists(st.binary(max_size=40), min_size=2, max_size=4).map(
    lambda parts: b"".join(
        frame(CONTINUATION if index else TEXT, part, fin=index == len(parts) - 1) + frame(PING, b"between")
        for index, part in enumerate(parts)
    )
)
_CONTROL = st.binary(max_size=125).flatmap(lambda payload: st.sampled_from([frame(PING, payload), frame(PONG, payload)]))
_WIRE = st.lists(st.one_of(_TEXTS, _FRAGMENTED, _CONTROL), max_size=6).map(b"".join)


@given(wire=_WIRE, cuts=st.lists(st.integers(0, 2_000), max_size=12))
@example(wire=frame(TEXT, b"x" * 200), cuts=[1, 2, 3])
def test_however_a_stream_is_cut_it_says_the_same(wire: bytes, cuts: list[int]) -> None:
    numbers = Numbers()
    whole, cut = Stream(numbers, _BOUND), Stream(numbers, _BOUND)
    expected = whole.unpack(wire)
    assert expected.trouble is None
    assert not whole.unfinished
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    said = [cut.unpack(wire[start:end]) for start, end in pairwise(edges)]
    assert [number for each in said for number in each.messages] == expected.messages
    assert pongs(said) == pongs([expected])
    assert not cut.unfinished


@given(before=_WIRE, chunk=_WIRE, cut=st.integers(0, 2_000))
def test_a_plain_chunk_means_the_same_on_any_socket(before: bytes, chunk: bytes, cut: int) -> None:
    numbers = Numbers()
    used, fresh = Stream(numbers, _BOUND), Stream(numbers, _BOUND)
    used.unpack(before)
    said = used.unpack(chunk[:cut])
    if said.plain:
        alone = fresh.unpack(chunk[:cut])
        assert (alone.messages, alone.answers, alone.closing) == (said.messages, [], None)
        assert not used.unfinished


def test_what_needs_more_bytes_or_an_answer_is_not_plain() -> None:
    for chunk in (frame(TEXT, b"half")[:-1], frame(TEXT, b"a", fin=False), frame(PING), frame(CLOSE), b"\x81", frame(CONTINUATION)):
        assert not Stream(Numbers(), _BOUND).unpack(chunk).plain
    tail = Stream(Numbers(), _BOUND)
    tail.unpack(frame(TEXT, b"split")[:3])
    assert not tail.unpack(frame(TEXT, b"split")[3:]).plain, "the same bytes alone would be nonsense"


def test_the_first_close_frame_counts_and_is_answered_with_its_code() -> None:
    said = Stream(Numbers(), _BOUND).unpack(frame(CLOSE, close_payload(1001, "going")) + frame(CLOSE, close_payload(1000)))
    assert said.closing == (1001, "going")
    assert said.trouble is None
    assert said.goodbye is not None
    assert [(sent.opcode, sent.payload) for sent in FrameDecoder(_BOUND).feed(said.goodbye)] == [(CLOSE, close_payload(1001))]


def test_after_trouble_nothing_is_kept() -> None:
    stream = Stream(Numbers(), _BOUND)
    said = stream.unpack(frame(TEXT, b"good") + frame(CONTINUATION, b"bad") + frame(TEXT, b"unread"))
    assert said.messages == [0]
    assert "continuation" in (said.trouble or "")
    assert said.goodbye is not None
    assert not stream.unfinished
