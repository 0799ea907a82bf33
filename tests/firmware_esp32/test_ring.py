"""The ring gives back what was put in, within its memory."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ring import Ring, Row

NEAR_WRAP = 2**32 - 5


def put(ring: Ring, up_ms: int, **more: object) -> int:
    count = ring.channels
    fields: dict[str, object] = {
        "dt_ms": 1000, "v": 230.0, "f": 50.0, "flags": 0, "i": [1.0] * count, "p": [2.0] * count,
        "q": [3.0] * count, "z": None, "mwh_in": [up_ms] * count, "mwh_out": [0] * count, **more,
    }  # fmt: skip
    return ring.put(up_ms, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("channels", "least"), [(1, 600), (2, 300), (3, 300), (6, 300)])
def test_it_holds_minutes_in_little_memory(channels: int, least: int) -> None:
    ring = Ring(channels)
    while not ring.full:
        put(ring, ring.end * 1000)
    assert ring.end - 60 >= least, "a whole minute leaves at once"
    assert 20 * 1024 <= held(ring) <= 51 * 1024


def held(ring: Ring) -> int:
    """Return the bytes that a ring takes."""
    pages = [*ring._pages, *ring._spare]  # noqa: SLF001 - the memory is the point
    return sum(len(page) for page in pages if page is not None)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=8))
def test_acked_windows_give_their_memory_back(steps: list[tuple[int, int]]) -> None:
    ring, row = Ring(3), Row(3)
    for more, fewer in steps:
        for _ in range(more):
            if not ring.full:
                put(ring, ring.end * 1000)
        ring.free_to(ring.lo + fewer)
        for seq in range(ring.lo, ring.end):
            ring.read(seq, row)
            assert row.up_ms == seq * 1000
        # What is held, the page half used at either end and where it wraps, and two kept.
        assert held(ring) <= ((ring.end - ring.lo) // 13 + 6) * 1024


def test_without_room_in_the_heap_it_is_full_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring(3)
    ring.reserve_bytes = 8000
    monkeypatch.setattr("ring.gc.mem_free", lambda: 5000, raising=False)
    while not ring.full:
        put(ring, ring.end * 1000)
    assert 20 <= ring.end <= 30
    ring.free_to(ring.end)
    for _ in range(200):
        put(ring, ring.end * 1000)
        ring.free_to(ring.end - 5)


@given(
    st.floats(0, 500, width=32), st.sampled_from([0.0, 40.0, 49.987, 70.0]),
    st.floats(-5e5, 5e5, width=32), st.floats(0, 600), st.integers(0, 2**54), st.integers(0, 7),
)  # fmt: skip
def test_a_window_comes_back(  # noqa: PLR0917 - every field of a window
    v: float, f: float, p: float, z: float, mwh: int, flags: int
) -> None:
    ring, row = Ring(2), Row(2)
    put(
        ring, 2**33 + 7, dt_ms=998, v=v, f=f, p=[p, -p], z=[z, None], flags=flags,
        mwh_in=[mwh, 5], mwh_out=[1, mwh],
    )  # fmt: skip
    put(ring, 2**33 + 1007, mwh_in=[mwh + 9, 5], mwh_out=[1, mwh + 3])
    ring.read(0, row)
    assert (row.seq, row.up_ms, row.dt_ms, row.flags) == (0, 2**33 + 7, 998, flags)
    assert row.v_cv == pytest.approx(v * 100, abs=0.51)
    assert row.f_mhz == pytest.approx(f * 1000, abs=0.51)
    assert row.p == [struct.unpack("<f", struct.pack("<f", x))[0] for x in (p, -p)]
    assert row.z[0] == pytest.approx(z * 100, abs=0.51)
    assert row.z[1] == -1
    assert (row.mwh_in, row.mwh_out) == ([mwh, 5], [1, mwh])
    assert ring.middle_ms(0) == 2**33 + 7 - 499


@given(st.integers(1, 5000), st.integers(0, 700))
def test_low_bits_belong_to_the_right_height(step_ms: int, behind: int) -> None:
    ring, row = Ring(1), Row(1)
    for k in range(700):
        if ring.full:
            ring.free_to(ring.lo + 1)
        put(ring, NEAR_WRAP + k * step_ms)
    seq = max(ring.end - 1 - behind, ring.lo)
    ring.read(seq, row)
    assert row.up_ms == row.mwh_in[0] == NEAR_WRAP + seq * step_ms


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf, -1.0, 501.0])
def test_what_is_no_voltage_is_not_measured(bad: float | None) -> None:
    ring, row = Ring(1), Row(1)
    put(ring, 1000, v=bad, f=bad, z=[bad if bad != 501.0 else None], p=[None])
    ring.read(0, row)
    assert (row.v_cv, row.f_mhz) == (-1, -1)
    assert math.isnan(row.p[0])
    assert row.z[0] == (65534 if bad == math.inf else -1)
