"""Decoding: never raises, loses nothing that is good, and says what is wrong with the rest."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.store.rows import stored
from gateway.domain.readings import UINT32_MAX, Channel, Reading
from gateway.pipeline.decode import KEPT_BYTES, MAX_READINGS, decode
from gateway.services.planner import pack

names = st.from_regex(r"\A[a-z][a-z0-9_]{0,15}\Z")
finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


def within(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


channels = st.builds(
    Channel,
    i=st.none() | within(0, 1000),
    p=st.none() | within(-500_000, 500_000),
    wh_in=st.none() | within(0, 1e15),
    wh_out=st.none() | within(0, 1e15),
    q=st.none() | within(-500_000, 500_000),
    v=st.none() | within(0, 500),
    z=st.none() | within(0, 1e9),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=32)
readings = st.builds(
    Reading,
    boot=st.integers(0, UINT32_MAX),
    seq=st.integers(86_400, UINT32_MAX),
    up=st.integers(0, 2**40),
    t=st.none() | st.integers(0, 2**42),
    dt=st.integers(100, 86_400_000),
    v=st.none() | within(0, 500),
    f=st.none() | st.just(0.0) | within(40, 70),
    ch=st.dictionaries(names, channels, min_size=1, max_size=6),
    n=st.integers(1, 86_400),
    aux=st.none() | st.dictionaries(texts, finite, max_size=16),
    flags=st.lists(texts, max_size=8).map(tuple),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.lists(readings, min_size=1, max_size=4))
def test_valid_readings_round_trip_through_the_wire_and_the_row(given_: list[Reading]) -> None:
    decoded = decode(msgspec.json.encode(given_))
    assert decoded.rejected == []
    assert decoded.readings == given_
    for reading in decoded.readings:
        row = (
            7,
            1,
            reading.seq,
            reading.n,
            reading.up,
            reading.t,
            5,
            6,
            reading.dt,
            0,
            pack(reading),
        )
        kept = stored(row, "home", reading.boot)
        assert (kept.v, kept.f, kept.ch) == (reading.v, reading.f, reading.ch)
        assert (kept.flags, kept.aux) == (reading.flags, reading.aux)
        assert (kept.up_ms, kept.t_ms, kept.dt_ms) == (reading.up, reading.t, reading.dt)


@settings(max_examples=40)
@given(readings)
def test_a_single_object_is_an_array_of_one(reading: Reading) -> None:
    payload = msgspec.json.encode(reading)
    assert decode(payload) == decode(b"[" + payload + b"]") == decode(b" \n[" + payload + b"] ")


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(payload: bytes) -> None:
    decoded = decode(payload)
    assert decoded.readings == []
    assert len(decoded.rejected) >= 1


@given(anything)
def test_arbitrary_json_never_raises(value: object) -> None:
    decoded = decode(json.dumps(value).encode())
    assert decoded.readings == []
    assert all(len(bad.reason) <= 20 and len(bad.detail) <= 200 for bad in decoded.rejected)


@settings(max_examples=40)
@given(readings, st.data())
def test_a_damaged_message_never_raises(reading: Reading, data: st.DataObject) -> None:
    payload = bytearray(msgspec.json.encode([reading, reading]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    decoded = decode(bytes(payload))
    assert len(decoded.readings) + len(decoded.rejected) >= 1


@settings(max_examples=40)
@given(readings, st.sampled_from(["boot", "seq", "up", "t", "dt", "v", "f", "ch"]), anything)
def test_one_bad_field_is_told_with_the_identity(reading: Reading, name: str, value: Any) -> None:  # noqa: ANN401
    fields = json.loads(msgspec.json.encode(reading))
    bad = fields | {name: value}
    decoded = decode(json.dumps([fields, bad, fields]).encode())
    if decoded.rejected:
        assert decoded.readings == [reading, reading]
        (rejected,) = decoded.rejected
        if name not in ("boot", "seq"):
            assert (rejected.boot, rejected.seq) == (reading.boot, reading.seq)
            assert rejected.n == reading.n
    else:
        assert len(decoded.readings) == 3


@settings(max_examples=40)
@given(st.sampled_from(["boot", "seq", "up", "t", "dt", "v", "f", "ch"]), readings)
def test_needed_fields_are_needed(name: str, reading: Reading) -> None:
    fields = json.loads(msgspec.json.encode(reading))
    del fields[name]
    (rejected,) = decode(json.dumps(fields).encode()).rejected
    assert rejected.reason == "missing_field"
    assert name in rejected.detail


def test_the_most_readings_of_a_message() -> None:
    channel = {"i": 1.0, "p": 2.0, "wh_in": 3.0, "wh_out": 0.0}
    one = {"boot": 1, "up": 1, "t": None, "dt": 1000, "v": None, "f": None, "ch": {"grid": channel}}
    many = [one | {"seq": seq} for seq in range(MAX_READINGS + 1)]
    assert len(decode(json.dumps(many[:-1]).encode()).readings) == MAX_READINGS
    assert [bad.reason for bad in decode(json.dumps(many).encode()).rejected] == ["wrong_count"]


def test_what_is_kept_of_a_bad_message_is_bounded() -> None:
    (rejected,) = decode(b"{" + b"x" * 200_000).rejected
    assert len(rejected.payload) == KEPT_BYTES
