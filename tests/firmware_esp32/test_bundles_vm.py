"""The road in the real VM on littlefs, with the power going at block writes."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.bundle_vm import VmMeter
from tests.support.firmware import needs_vm, vm
from tinymodels.detect.bundle import pack_firmware
from tools.make_bundle import firmware

pytestmark = needs_vm
EXTRA = {"extra.py": b"y = 2\n" * 900}
CONTENT: dict[str, dict[int, bytes]] = {
    "model": {version: b'{"v":%d}' % version * 900 for version in (5, 6, 7)},
    "calibration": {version: b'{"c":%d}' % version * 50 for version in (5, 6, 7)},
    "firmware": {
        version: pack_firmware({"app.py": b"VERSION = %d\n" % version, **EXTRA}, version)
        for version in (5, 6, 7)
    },
}
RUNS: dict[str, dict[int, str]] = {
    "model": {version: CONTENT["model"][version].decode()[:20] for version in (6, 7)},
    "calibration": {version: CONTENT["calibration"][version].decode()[:20] for version in (6, 7)},
    "firmware": {version: f"VERSION = {version}\n" for version in (6, 7)},
}


def told(line: dict[str, Any]) -> list[tuple[int, str]]:
    return [(event["version"], "" if event["ok"] else event["why"]) for event in line["events"]]


def with_old(folder: Path, kind: str) -> VmMeter:
    """Return a meter that runs version 6, 5 in the other slot."""
    folder.mkdir()
    meter = VmMeter(folder)
    lines = meter.boot(*[meter.offer(kind, version, CONTENT[kind][version]) for version in (5, 6)])
    assert lines is not None
    assert lines[-1]["versions"][kind] == 6
    assert told(lines[-1]) == [(5, ""), (6, "")]
    return meter


def cut_everywhere(folder: Path, kind: str, *, first: int, step: int) -> int:
    """Cut an update at every step-th change of the flash; return how many changes it takes."""
    pattern = with_old(folder / "pattern", kind).image
    (folder / "cut").mkdir()
    meter = VmMeter(folder / "cut")
    entry = meter.offer(kind, 7, CONTENT[kind][7])
    at = first
    while True:
        meter.copy_image(pattern)
        if meter.boot(entry, cut_after=at) is not None:
            return at
        lines = meter.boot(entry)
        assert lines is not None
        before, after = lines
        assert before["running"][kind] in RUNS[kind].values(), f"change {at}"
        assert after["running"][kind] == RUNS[kind][7], f"change {at}"
        assert {why for _, why in told(after)} <= {"", "power_cut"}
        at += step


@pytest.mark.parametrize("kind", ["model", "calibration", "firmware"])
def test_good_bad_and_forged_ones_in_the_vm(tmp_path: Path, kind: str) -> None:
    meter = with_old(tmp_path / "meter", kind)
    good = meter.offer(kind, 7, CONTENT[kind][7])
    bad = meter.offer(kind, 8, b"bad" * 100)
    forged = {**meter.offer(kind, 9, CONTENT[kind][7]), "version": 10}
    old = meter.offer(kind, 4, CONTENT[kind][5])
    lines = meter.boot(good, bad, forged, old)
    assert lines is not None
    assert told(lines[-1]) == [(7, ""), (8, "selftest"), (10, "signature"), (4, "version")]
    assert lines[-1]["running"][kind] == RUNS[kind][7]
    again = meter.boot()
    assert again is not None
    assert again[0]["running"][kind] == RUNS[kind][7]


@pytest.mark.parametrize(("kind", "step"), [("model", 37), ("calibration", 31), ("firmware", 71)])
def test_power_cuts_at_block_writes(tmp_path: Path, kind: str, step: int) -> None:
    assert cut_everywhere(tmp_path, kind, first=step // 3, step=step) > 20


@pytest.mark.parametrize(("architecture", "fits"), [("x64", "True"), ("xtensawin", "False")])
def test_bytecode_for_another_chip_is_refused_in_the_vm(
    tmp_path: Path, architecture: str, fits: str
) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "app.py").write_text(
        "import micropython\n@micropython.viper\ndef main() -> int:\n    return 1\n"
    )
    (tmp_path / "bundle").write_bytes(firmware(tmp_path / "sources", 3, architecture))
    script = """
import asyncio, sys, container
from errors import BadBundleError
async def pause():
    pass
async def main(source, folder):
    await container.unpack(source, folder, 3, pause)
    try:
        await container.check(folder, pause)
    except BadBundleError:
        return False
    sys.path.insert(0, folder)
    import app
    return app.main() == 1
print(asyncio.run(main(*sys.argv[1:])))
"""
    assert vm(script, str(tmp_path / "bundle"), str(tmp_path / "app_a")).strip() == fits


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["model", "calibration", "firmware"])
def test_power_cuts_at_every_block_write(tmp_path: Path, kind: str) -> None:
    assert cut_everywhere(tmp_path, kind, first=1, step=1) > 20
