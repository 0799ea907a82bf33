"""The power goes at every single change of the flash: something good always runs after it."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.bundle_rig import Gateway, Meter
from tests.support.power import PowerCutError, Supply
from tinymodels.detect.bundle import pack_firmware

OLD = b'{"old":6}' * 30
NEW = b'{"new":7}' * 300  # two chunks
FILES = {"extra.py": b"y = 2\n" * 400}
OLD_FIRMWARE = pack_firmware({"app.py": b"VERSION = 6\n", **FILES}, 6)
NEW_FIRMWARE = pack_firmware({"app.py": b"VERSION = 7\n", **FILES}, 7)
CONTENT = {"model": (OLD, NEW), "calibration": (OLD, NEW), "firmware": (OLD_FIRMWARE, NEW_FIRMWARE)}


class Workshop:
    """Meters on which version 6 is confirmed, version 5 in the other slot."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._pattern = folder / "pattern"
        self._pattern.mkdir()
        self._folder = folder
        self._kind = kind
        self._made = 0

    async def prepare(self) -> None:
        meter = Meter(self._pattern, Gateway())
        firmware = self._kind == "firmware"
        before = pack_firmware({"app.py": b"VERSION = 5\n"}, 5) if firmware else b"5"
        for version, content in ((5, before), (6, CONTENT[self._kind][0])):
            await meter.desire(meter.gateway.put(self._kind, version, content))
            await meter.windows()
        assert meter.why() == [(self._kind, 5, ""), (self._kind, 6, "")]

    def meter(self) -> Meter:
        self._made += 1
        folder = self._folder / str(self._made)
        shutil.copytree(self._pattern, folder)
        return Meter(folder, Gateway())


async def workshop(folder: Path, kind: str) -> Workshop:
    made = Workshop(folder, kind)
    await made.prepare()
    return made


def running(meter: Meter, kind: str) -> bytes | None:
    """Return what the meter runs, as the source of truth on the flash has it."""
    if kind != "firmware":
        return meter.running[kind]
    folder = meter.root / ("app_a" if meter.firmware_slot == 0 else "app_b")
    for version, packed in ((6, OLD_FIRMWARE), (7, NEW_FIRMWARE)):
        whole = all((folder / name).read_bytes() == content for name, content in FILES.items())
        if whole and (folder / "app.py").read_bytes() == b"VERSION = %d\n" % version:
            return packed
    return None


async def update(meter: Meter, kind: str) -> None:
    await meter.desire(meter.gateway.put(kind, 7, CONTENT[kind][1]))
    await meter.windows()


async def cut(meter: Meter, kind: str, at: int) -> bool:
    """Update with the power going at a step; False when there were fewer steps."""
    supply = Supply(at)
    with supply.connected():
        try:
            await update(meter, kind)
        except PowerCutError:
            return True
    return False


@pytest.mark.parametrize("kind", ["model", "calibration", "firmware"])
async def test_a_cut_at_every_step_leaves_old_or_new_and_the_road_ends_well(
    tmp_path: Path, kind: str
) -> None:
    shop = await workshop(tmp_path, kind)
    old, new = CONTENT[kind]
    at = 0
    while True:
        at += 1
        meter = shop.meter()
        if not await cut(meter, kind, at):
            break
        meter.boot()
        assert running(meter, kind) in (old, new), f"step {at}"
        assert meter.bundles.versions()[kind] in (6, 7)
        await update(meter, kind)
        assert running(meter, kind) == new, f"step {at}"
        meter.boot()
        assert running(meter, kind) == new
        assert {why for _, _, why in meter.why()} <= {"", "power_cut"}
        assert meter.parts() == []
    assert at > 20


@pytest.mark.parametrize("kind", ["model", "firmware"])
async def test_cuts_at_every_step_of_the_boot_after_a_cut_trial(tmp_path: Path, kind: str) -> None:
    """Rolling back is itself interrupted, again and again."""
    shop = await workshop(tmp_path, kind)
    for at in range(1, 30):
        meter = shop.meter()
        await meter.desire(meter.gateway.put(kind, 7, CONTENT[kind][1]))
        supply = Supply(at)
        with supply.connected(), suppress(PowerCutError):
            meter.boot()
        meter.boot()
        assert running(meter, kind) == CONTENT[kind][0], f"step {at}"
        if not supply.dead:
            break
        await update(meter, kind)
        assert running(meter, kind) == CONTENT[kind][1]
    assert at > 1


@pytest.mark.parametrize("kind", ["model", "firmware"])
async def test_two_cuts_in_one_road(tmp_path: Path, kind: str) -> None:
    shop = await workshop(tmp_path, kind)
    for at in range(3, 60, 8):
        for again in range(2, 40, 11):
            meter = shop.meter()
            for step in (at, again):
                await cut(meter, kind, step)
                meter.boot()
                assert running(meter, kind) in CONTENT[kind], (at, again)
            await update(meter, kind)
            assert running(meter, kind) == CONTENT[kind][1], (at, again)
