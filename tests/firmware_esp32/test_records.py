"""What is written to flash comes back as it was, or not at all."""

import io

import pytest
import records
from errors import BadRecordError
from hypothesis import given
from hypothesis import strategies as st

MWH = st.integers(0, 2**50)
OFFSETS = st.none() | st.integers(-(2**42), 2**42)


@st.composite
def minutes(draw: st.DrawFn, channels: int) -> list[records.Minute]:
    seq, up_ms = draw(st.integers(-1, 2**31)), draw(st.integers(0, 2**40))
    made = []
    for _ in range(draw(st.integers(1, 6))):
        minute = records.Minute(channels)
        minute.n = draw(st.integers(1, 120))
        seq += draw(st.integers(0, 100)) + minute.n
        minute.seq, minute.dt_ms = seq, draw(st.integers(0, 10**7))
        up_ms += draw(st.integers(0, 10**6)) + minute.dt_ms
        minute.up_ms, minute.flags = up_ms, draw(st.integers(0, 15))
        minute.v = draw(st.none() | st.integers(0, 50_000))
        minute.f = draw(st.none() | st.just(0) | st.integers(40_000, 70_000))
        minute.i = [draw(st.none() | st.integers(0, 10**6)) for _ in range(channels)]
        minute.p = [draw(st.none() | st.integers(-5 * 10**6, 5 * 10**6)) for _ in range(channels)]
        minute.q = [draw(st.none() | st.integers(-5 * 10**6, 5 * 10**6)) for _ in range(channels)]
        minute.z = [draw(st.none() | st.integers(0, 10**5)) for _ in range(channels)]
        minute.mwh_in = [draw(MWH) for _ in range(channels)]
        minute.mwh_out = [draw(MWH) for _ in range(channels)]
        made.append(minute)
    return made


def base(channels: int, seq: int = -1) -> records.Base:
    made = records.Base(4_000_000_000, 17, [f"load{k}" for k in range(channels)])
    made.seq = seq
    return made


@given(st.data(), st.integers(1, 6))
def test_minutes_come_back(data: st.DataObject, channels: int) -> None:
    written = data.draw(minutes(channels))
    encoder, decoder = records.Codec(base(channels)), records.Codec(base(channels))
    told = -1
    for minute in written:
        payload = bytes(encoder.encode(minute))
        read = records.Minute(channels)
        decoder.decode(payload, read)
        assert vars(read) == vars(minute)
        assert records.span(payload, told) == (minute.seq - minute.n + 1, minute.seq)
        told = minute.seq


@given(OFFSETS, st.integers(-1, 2**32 - 2), st.lists(MWH, min_size=1, max_size=6))
def test_headers_come_back(offset_ms: int | None, seq: int, registers: list[int]) -> None:
    written = base(len(registers), seq)
    written.offset_ms, written.mwh_in = offset_ms, registers
    read = records.decode_header(bytes(records.encode_header(written)))
    assert vars(read) == vars(written)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), st.data())
def test_frames_torn_anywhere_give_what_came_before(
    payloads: list[bytes], data: st.DataObject
) -> None:
    framed = [bytes(records.frame(bytearray(payload), 7)) for payload in payloads]
    whole = b"".join(framed)
    cut = data.draw(st.integers(0, len(whole)))
    file = io.BytesIO(whole[:cut])
    read = []
    while (payload := records.read_frame(file, 7)) is not None:
        read.append(payload)
    ends = [sum(len(f) for f in framed[: k + 1]) for k in range(len(framed))]
    assert read == payloads[: sum(end <= cut for end in ends)]


def test_a_frame_of_another_segment_is_not_taken() -> None:
    framed = bytes(records.frame(bytearray(b"minute"), 7))
    assert records.read_frame(io.BytesIO(framed), 8) is None


@given(st.binary(min_size=1, max_size=60))
def test_random_bytes_raise_no_other_error(payload: bytes) -> None:
    minute = records.Minute(3)
    for read in (
        lambda: records.decode_header(payload),
        lambda: records.span(payload, -1),
        lambda: records.Codec(base(3)).decode(payload, minute),
    ):
        try:
            read()
        except BadRecordError:
            continue


def test_a_record_that_ends_too_soon_is_refused() -> None:
    with pytest.raises(BadRecordError):
        records.span(bytes((records.MINUTE, 0x80)), -1)
