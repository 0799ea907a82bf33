"""The ring gives back what was put in, within its memory."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keeper import RESERVE_BYTES
from pages import LENT_BYTES
from ring import FEW, Ring, Row

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
    return len(ring.pages._block)  # noqa: SLF001 - the memory is the point


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=8))
def test_acked_windows_leave_their_room_to_others(steps: list[tuple[int, int]]) -> None:
    ring, row = Ring(3), Row(3)
    for more, fewer in steps:
        for _ in range(more):
            if not ring.full:
                put(ring, ring.end * 1000)
        ring.free_to(ring.lo + fewer)
        for seq in range(ring.lo, ring.end):
            ring.read(seq, row)
            assert row.up_ms == seq * 1000
        left = len(ring.pages._unused)  # noqa: SLF001 - the memory is the point
        # What is held, and the page half used at either end and where it wraps.
        assert 28 - left <= (ring.end - ring.lo) // 13 + 4


@pytest.mark.parametrize(
    ("free", "reserve", "pages"),
    [
        (200_000, 45_000, 28),  # all that is ever held
        (70_000, 45_000, 24),
        (50_000, 45_000, 13),  # a few, and the room to lend
        (30_000, 45_000, 4),  # a few windows
    ],
)
def test_its_memory_is_what_the_heap_spares_at_boot(
    monkeypatch: pytest.MonkeyPatch, free: int, reserve: int, pages: int
) -> None:
    monkeypatch.setattr("pages.gc.mem_free", lambda: free, raising=False)
    ring = Ring(3, reserve)
    assert held(ring) == pages * 13 * 77
    while not ring.full:
        put(ring, ring.end * 1000)
    assert ring.end == min(pages * 13, 360)
    monkeypatch.setattr("pages.gc.mem_free", lambda: 0, raising=False)
    fill(ring, 1000)  # it never asks the heap again


@pytest.mark.parametrize(
    ("free", "windows"),
    [
        (60_000, (341, 216, 169, 130, 112, 105)),  # the least
        (80_000, (434, 252, 182, 140, 112, 105)),
        (100_000, (660, 480, 360, 340, 280, 238)),
        (120_000, (660, 480, 360, 360, 364, 364)),
    ],
)
def test_windows_by_what_the_heap_has_free(
    monkeypatch: pytest.MonkeyPatch, free: int, windows: tuple[int, ...]
) -> None:
    """The table in docs/firmware/keeping.md."""
    monkeypatch.setattr("pages.gc.mem_free", lambda: free, raising=False)
    for channels, most in enumerate(windows, start=1):
        ring = Ring(channels, RESERVE_BYTES)
        while not ring.full:
            put(ring, ring.end * 1000)
        assert ring.end == most, channels


@given(st.sampled_from([1, 3, 6]), st.integers(0, 900), st.integers(0, 60), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_a_ring_lends_what_it_does_not_need(
    channels: int, before: int, left: int, more: int
) -> None:
    ring, row = Ring(channels), Row(channels)
    fill(ring, before)
    ring.free_to(ring.end - left)
    lent = ring.pages.lend(LENT_BYTES)
    if lent is None:
        assert ring.end - ring.lo > FEW
        return
    lent[:] = b"?" * LENT_BYTES  # whatever is done with it
    for seq in range(ring.lo, ring.end):
        ring.read(seq, row)
        assert (row.seq, row.up_ms, row.mwh_in[0]) == (seq, seq * 1000, seq * 1000)
    for _ in range(more):
        put(ring, ring.end * 1000)
    for seq in range(ring.lo, ring.end):
        ring.read(seq, row)
        assert (row.seq, row.up_ms, row.mwh_in[0]) == (seq, seq * 1000, seq * 1000)


@given(st.sampled_from([1, 3, 6]), st.integers(0, 400), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_the_smallest_ring_that_lends_does_so_with_a_few_windows(
    channels: int, before: int, left: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pages.gc.mem_free", lambda: 50_000, raising=False)
        ring, row = Ring(channels, 45_000), Row(channels)
    fill(ring, before)
    ring.free_to(ring.end - left)
    lent = ring.pages.lend(LENT_BYTES)
    assert lent is not None
    lent[:] = bytes(LENT_BYTES)
    for seq in range(ring.lo, ring.end):
        ring.read(seq, row)
        assert row.up_ms == seq * 1000


def fill(ring: Ring, windows: int) -> None:
    """Put so many windows in; the oldest give way."""
    for _ in range(windows):
        while ring.full:  # as the keeper does: a page goes when its last window does
            ring.free_to(ring.lo + 7)
        put(ring, ring.end * 1000)


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
@settings(deadline=None)
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
