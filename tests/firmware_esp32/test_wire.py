"""What the meter writes is what the gateway's own decoder reads; acks are read exactly."""

import json
from decimal import Decimal

import pytest
import wire
from errors import BadRecordError
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.decode import decode

ANY = st.none() | st.floats()


def reading(  # noqa: PLR0917 - the fields of one reading with one channel
    boot: int, seq: int, n: int, up_ms: int, offset_ms: int | None, dt_ms: int,
    v: float | None, f: float | None, channel: str, flags: int,
) -> str:  # fmt: skip
    head = wire.head_text(boot, seq, n, up_ms, offset_ms, dt_ms, v, f)
    return f"[{head}{channel}{wire.tail_text(flags)}]"


@given(
    st.integers(0, 2**32 - 1), st.integers(100, 2**32 - 1), st.integers(1, 90),
    st.integers(0, 2**45), st.none() | st.integers(-(2**45), 2**45), st.integers(0, 10**9),
    ANY, ANY, ANY, ANY, ANY, st.integers(0, 10**17), st.integers(0, 10**17), ANY,
    st.integers(0, 15),
)  # fmt: skip
def test_any_measurement_is_a_good_reading(  # noqa: PLR0917 - every field of a reading
    boot: int, seq: int, n: int, up_ms: int, offset_ms: int | None, dt_ms: int,
    v: float | None, f: float | None, i: float | None, p: float | None, q: float | None,
    mwh_in: int, mwh_out: int, z: float | None, flags: int,
) -> None:  # fmt: skip
    channel = wire.channel_text("grid", i, p, q, mwh_in, mwh_out, z)
    text = reading(boot, seq, n, up_ms, offset_ms, dt_ms, v, f, channel, flags)
    found = decode(text.encode())
    assert not found.rejected, found.rejected
    [got] = found.readings
    assert (got.boot, got.seq, got.n, got.up) == (boot, seq, n, up_ms)
    assert got.t == (None if offset_ms is None else up_ms + offset_ms)
    raw = json.loads(text, parse_float=Decimal)[0]["ch"]["grid"]
    assert raw["wh_in"] * 1000 == mwh_in
    assert raw["wh_out"] * 1000 == mwh_out
    names = ["clip", "nosync", "late", "spool"]
    assert list(got.flags) == [name for k, name in enumerate(names) if flags >> k & 1]


@given(st.integers(0, 10**17), st.integers(0, 10**17))
def test_registers_of_an_ack_are_read_exactly(mwh_in: int, mwh_out: int) -> None:
    regs = {"grid": {"wh_in": mwh_in / 1000, "wh_out": mwh_out / 1000}}
    ack = wire.read_ack(json.dumps({"boot": 1, "upto": -1, "now": 1763760000250, "regs": regs}))
    assert (ack["boot"], ack["upto"], ack["now"]) == (1, -1, 1763760000250)
    got = ack["regs"]
    assert isinstance(got, dict)
    assert wire.mwh(got["grid"]["wh_in"]) == int(Decimal(repr(mwh_in / 1000)) * 1000)
    assert wire.mwh(got["grid"]["wh_out"]) == int(Decimal(repr(mwh_out / 1000)) * 1000)


@pytest.mark.parametrize(
    ("text", "mwh"),
    [("12034512.34", 12_034_512_340), ("1e-05", 0), ("1.5e3", 1_500_000), ("0.0009", 0)],
)
def test_decimal_texts(text: str, mwh: int) -> None:
    assert wire.mwh(text) == mwh


@pytest.mark.parametrize("text", ["", "x", "-1.0", "1e999999999", "1.2.3"])
def test_texts_that_are_no_energy(text: str) -> None:
    assert wire.mwh(text) is None


@pytest.mark.parametrize("payload", [b"", b"[1]", b"{", b"\xff\xfe", b"5", b"null"])
def test_what_is_no_ack_is_refused(payload: bytes) -> None:
    with pytest.raises(BadRecordError, match="an ack"):
        wire.read_ack(payload)


def test_texts_in_an_ack_are_left_alone() -> None:
    assert wire.read_ack('{"a":"x\\"1.5","b":[1.5,-2,"3.0"]}') == {
        "a": 'x"1.5',
        "b": ["1.5", -2, "3.0"],
    }


def test_events() -> None:
    dropped = json.loads(wire.dropped_text(7, 3, 9, -1, 1000, None))
    assert dropped == {
        "boot": 7, "seq": 0, "up": 1000, "t": None, "kind": "dropped", "from": 3, "to": 9,
    }  # fmt: skip
    assert json.loads(wire.event_text(7, 1, 2, 3, "boot", {}))["t"] == 5
