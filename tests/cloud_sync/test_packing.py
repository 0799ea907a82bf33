"""Packed 1-minute rows: what goes in comes out, in Python and in TypeScript."""

import base64
import contextlib
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_sync.packing import BadPackError, MinuteRow, pack, rounded, unpack

ROOT = Path(__file__).parents[2]
TYPESCRIPT = ROOT / "cloud_sync" / "typescript"
VECTORS = Path(__file__).with_name("vectors.json")
START_MS = 1_790_000_100_000 // 900_000 * 900_000

values = st.none() | st.floats(-500_000, 500_000) | st.integers(-500_000, 500_000).map(float)
registers = st.none() | st.floats(0, 1e15)
rows = st.builds(
    lambda minute, n, dt_ms, *rest: MinuteRow(START_MS + minute * 60_000, n, dt_ms, *rest),
    st.integers(-5, 1440), st.integers(0, 600), st.integers(0, 86_400_000),
    *[values] * 8, registers, registers,
)  # fmt: skip
channels = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True), st.lists(rows, max_size=20), max_size=6
)


def steady(minutes: int, **changed: float | None) -> list[MinuteRow]:
    """Return plausible rows; `changed` replaces fields of all of them."""
    found = []
    for minute in range(minutes):
        p = 240 + 13.37 * math.sin(minute)
        row = MinuteRow(
            START_MS + minute * 60_000, 60, 60_000, p, round(p - 9, 1), round(p + 11, 1), -33.6,
            230 + math.cos(minute) / 3, 229.1, 231.25, p / 230, 120_345.678 + minute * 4, 0.0,
        )  # fmt: skip
        found.append(row._replace(**changed))  # type: ignore[arg-type]
    return found


def vectors() -> list[dict[str, Any]]:
    """Return what both decoders are held to."""
    holes = steady(15)
    holes[3] = holes[3]._replace(p=None, q=None, i=None)
    holes[14] = holes[14]._replace(v=None, wh_in=None)
    cases: dict[str, dict[str, list[MinuteRow]]] = {
        "one minute": {"grid": steady(1)},
        "nothing": {},
        "a channel without rows": {"grid": []},
        "a quarter of two channels": {"grid": steady(15), "solar": steady(15, p=-1803.25)},
        "holes": {"grid": holes},
        "nothing measured": {"grid": steady(15, p=None, p_min=None, p_max=None, v=None)},
        "a gap of minutes": {"grid": [*steady(4), *steady(15)[11:]]},
        "large registers": {"grid": steady(3, wh_in=900_719_925_474.0991)},
        "beyond what an integer holds": {"grid": steady(3, wh_in=9.5e14, wh_out=1e15)},
        "zeros and signs": {"grid": steady(3, p=0.0, p_min=-0.0001, p_max=0.00004, q=-0.5)},
        "six hours": {"grid": steady(360)},
    }
    return [
        {
            "name": name,
            "start_ms": START_MS,
            "data": base64.b64encode(pack(case, START_MS)).decode(),
            "rows": {channel: [rounded(row) for row in own] for channel, own in case.items()},
        }
        for name, case in cases.items()
    ]


@settings(deadline=None, max_examples=40)
@given(channels)
def test_what_is_packed_comes_out_to_four_decimals(content: dict[str, list[MinuteRow]]) -> None:
    found = unpack(pack(content, START_MS), START_MS)
    assert found == {name: [rounded(row) for row in own] for name, own in content.items()}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_what_is_no_pack_is_refused_and_nothing_else(data: bytes) -> None:
    for content in (data, b"\x01" + data):
        with contextlib.suppress(BadPackError):  # anything else fails the test
            unpack(content, 0)


def test_every_truncation_is_noticed() -> None:
    data = pack({"grid": steady(15)}, START_MS)
    for length in range(len(data)):
        with pytest.raises(BadPackError):
            unpack(data[:length], START_MS)


def test_the_same_rows_give_the_same_bytes() -> None:
    one, other = steady(15), steady(15, p=1.5)
    assert pack({"a": one, "b": other}, START_MS) == pack({"b": other, "a": one}, START_MS)


def test_a_quarter_of_two_channels_stays_small() -> None:
    size = len(pack({"grid": steady(15), "solar": steady(15)}, START_MS))
    assert size < 600, size


def test_the_vectors_are_those_of_this_program() -> None:
    """A change of the format must change the vectors too: remove the file to write it anew."""
    current = json.loads(json.dumps(vectors()))
    if not VECTORS.exists():
        lines = ",\n".join(json.dumps(vector, separators=(",", ":")) for vector in current)
        VECTORS.write_text(f"[\n{lines}\n]\n")
    for kept, vector in zip(json.loads(VECTORS.read_text()), current, strict=True):
        assert kept["rows"] == vector["rows"], vector["name"]
        found = unpack(base64.b64decode(kept["data"]), kept["start_ms"])
        assert json.loads(json.dumps(found)) == kept["rows"], vector["name"]


def test_typescript_reads_the_same_rows(tmp_path: Path) -> None:
    compiler = TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
    node = shutil.which("node")
    if node is None or not compiler.exists():
        pytest.skip("needs Node and `npm ci` in cloud_sync/typescript; `make test` does it")
    compiled = subprocess.run(
        [node, compiler, "-p", TYPESCRIPT, "--outDir", tmp_path],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stdout
    (tmp_path / "package.json").write_text('{"type":"module"}')
    done = subprocess.run(
        [node, "--test", tmp_path / "decoder.test.js"],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "WATTWARDEN_VECTORS": str(VECTORS)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "fail 0" in done.stdout
