"""Bundles by MQTT to meters that run the real firmware; the test has the gateway's shelf."""

import base64
import functools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tables

from simulation.canned import CannedChain
from simulation.fleet import Setup
from tests.support.bundle_rig import KEYS, RELEASE, SITE
from tests.support.firmware import FIRMWARE, needs_vm
from tests.support.gateway_stub import until
from tests.support.meter_site import NAMES, MeterSite
from tests.support.signing import Signer
from tinymodels.detect.bundle import MOST_BYTES, pack_firmware
from tinymodels.detect.device_file import pack
from tinymodels.detect.device_model import DeviceGaussian
from tools.compile_firmware import board_files
from tools.link_firmware import compile_to

pytestmark = needs_vm

METERS: Final = ["kitchen", "garage", "cellar"]
SPEED: Final = 10.0  # ten good windows in a second
CLAMPS: Final = 2
STRANGER: Final = Signer(99)
# They stay on the meter's root, where the installer puts them.
ON_ROOT: Final = ("main", "boot")


@dataclass
class Shelf:
    """The gateway's part for bundles: announces, and hands out pieces."""

    site: MeterSite
    contents: dict[tuple[str, str, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.site.watcher.on_get = self._answer

    def desire(self, meter: str, entry: dict[str, Any], content: bytes) -> None:
        """Announce one bundle to a meter, retained."""
        self.contents[meter, entry["kind"], entry["version"]] = content
        self.site.watcher.publish(meter, "desired", {"bundles": [entry]}, retain=True)

    def verdict(
        self, meter: str, entry: dict[str, Any], content: bytes, *, within_s: float = 90.0
    ) -> str:
        """Announce a bundle; return why it was refused, "" when it was confirmed."""
        events = self.site.watcher.events
        known = len(events)
        self.desire(meter, entry, content)

        def told() -> list[dict[str, Any]]:
            return [
                event
                for name, event in events[known:]
                if name == meter and event["kind"] == "model"
            ]

        until(told, within_s=within_s)
        first = told()[0]
        assert (first["bundle"], first["version"]) == (entry["kind"], entry["version"])
        assert first["ok"] == ("why" not in first)
        return str(first.get("why", ""))

    def _answer(self, meter: str, asked: dict[str, Any]) -> None:
        kind, version = asked["kind"], asked["version"]
        message: dict[str, Any] = {"kind": kind, "version": version}
        content = self.contents.get((meter, kind, version))
        offset, length = asked["offset"], asked["length"]
        if content is None:
            message["error"] = "unknown"
        elif offset + length > len(content):
            message["error"] = "range"
        else:
            piece = content[offset : offset + length]
            message |= {"offset": offset, "data": base64.b64encode(piece).decode()}
        self.site.watcher.publish(meter, "bundle/chunk", message)


@pytest.fixture(scope="module")
def site() -> Iterator[MeterSite]:
    """Run three meters whose firmware trusts the test's keys."""
    keys = {name: [base64.b64encode(key).decode() for key in some] for name, some in KEYS.items()}
    with (
        tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as directory,
        MeterSite(Path(directory), METERS, hands_out_bundles=False) as running,
    ):
        for number, name in enumerate(METERS):
            setup = Setup(config={"keys": keys}, speed=SPEED)
            running.add(name, chain=CannedChain(number, clamps=CLAMPS), setup=setup)
        running.fleet.start()
        for name in METERS:
            running.watcher.measured(name)
        yield running


@pytest.fixture
def shelf(site: MeterSite) -> Iterator[Shelf]:
    """Give the gateway's shelf; when the test fails, say what the meters said."""
    try:
        yield Shelf(site)
    finally:
        print(site.logs(20))  # noqa: T201 - shown only when it fails


def model_of(version: int, volts_v: float = 230.0) -> bytes:
    """Return a model that believes this to be the usual voltage."""
    mean = np.array([[volts_v, 0.0]])
    plain = DeviceGaussian(
        ("voltage", "power"), mean, np.array([[20.0, 4.0]]), np.eye(2), np.zeros(1)
    )
    return pack(version, {"grid": plain._replace(log_eps=plain.peak() - 18.0)})


def calibration_of(version: int, factor: float = 1.0) -> bytes:
    """Return nominal calibration, its voltage gain multiplied."""
    points = [{"i": 1.0, "gain": tables.NOMINAL_A, "phase": 0.0}]
    channels = [
        {"name": name, "sign": 1, "noise": tables.NOMINAL_NOISE, "points": points}
        for name in NAMES[:CLAMPS]
    ]
    record = {
        "format": 1,
        "version": version,
        "made": "2026-01-01",
        "v": {"gain": tables.NOMINAL_V * factor},
        "ch": channels,
    }
    return json.dumps(record).encode()


@functools.cache
def real_modules() -> dict[str, bytes]:
    """Return the whole firmware, compiled for this machine's VM."""
    modules = [path for path in board_files(FIRMWARE) if path.stem not in ON_ROOT]
    files = {}
    with tempfile.TemporaryDirectory(prefix="mpy-") as folder:
        made = Path(folder) / "module.mpy"
        for path in modules:
            compile_to(path, made, "x64")
            files[path.with_suffix(".mpy").name] = made.read_bytes()
    return files


def firmware_of(version: int, /, **sources: str) -> bytes:
    """Return the real firmware as a bundle, with some modules of other source."""
    files = dict(real_modules())
    for name, source in sources.items():
        files.pop(f"{name}.mpy", None)
        files[f"{name}.py"] = source.encode()
    return pack_firmware(files, version)


def test_a_good_model_comes_into_force_and_bad_ones_do_not(shelf: Shelf) -> None:
    meter, watcher = "kitchen", shelf.site.watcher
    good = model_of(5, volts_v=150.0)  # four spreads off: it shows in the score
    entry = RELEASE.announce("model", 5, good)
    assert shelf.verdict(meter, entry, good) == ""
    assert watcher.ask(meter, "report")["versions"]["model"] == 5
    watcher.measured(meter)
    assert watcher.heard[meter][-1].z["grid"] == pytest.approx(4.0, abs=0.5)

    announced = functools.partial(RELEASE.announce, "model")

    newer = model_of(6)
    wrong_vector = json.loads(newer)
    wrong_vector["vectors"][0]["d2"] += 1.0
    failing = json.dumps(wrong_vector).encode()
    other = newer.replace(b"230", b"231")
    large = newer + b" " * MOST_BYTES["model"]
    refusals = [
        ("signature", STRANGER.announce("model", 6, newer), newer),
        ("hash", announced(6, newer), other),
        ("size", announced(6, other), other[:-700]),
        ("version", announced(4, newer), newer),
        ("size", announced(6, large), large),
        ("selftest", announced(6, failing), failing),
    ]
    for why, wanted, content in refusals:
        assert shelf.verdict(meter, wanted, content) == why
    assert watcher.ask(meter, "report")["versions"]["model"] == 5
    watcher.measured(meter)
    assert watcher.heard[meter][-1].z["grid"] == pytest.approx(4.0, abs=0.5)
    # None of that stands in the way of the next good one.
    assert shelf.verdict(meter, announced(6, newer), newer) == ""
    watcher.measured(meter)
    assert watcher.heard[meter][-1].z["grid"] < 2.0


def test_a_good_calibration_changes_what_is_read(shelf: Shelf) -> None:
    meter, watcher = "kitchen", shelf.site.watcher
    watcher.measured(meter)
    before_v = watcher.heard[meter][-1].v
    content = calibration_of(3, factor=1.1)
    wrong = RELEASE.announce("calibration", 3, content)  # it is the site's to sign
    assert shelf.verdict(meter, wrong, content) == "signature"
    assert shelf.verdict(meter, SITE.announce("calibration", 3, content), content) == ""
    watcher.measured(meter)
    assert watcher.heard[meter][-1].v == pytest.approx(before_v * 1.1, rel=2e-3)
    unbelievable = calibration_of(4, factor=100.0)
    entry = SITE.announce("calibration", 4, unbelievable)
    assert shelf.verdict(meter, entry, unbelievable) == "selftest"
    assert watcher.ask(meter, "report")["versions"]["calibration"] == 3
    site_boots = shelf.site.fleet.meters[meter].boots
    assert site_boots == 1, "neither models nor calibrations need a restart"


@pytest.mark.soak
def test_new_firmware_is_confirmed_and_outlives_a_restart(shelf: Shelf) -> None:
    meter, watcher = "garage", shelf.site.watcher
    running = shelf.site.fleet.meters[meter]
    content = firmware_of(2, version='VERSION = "2.0.0-test"\n')
    assert shelf.verdict(meter, RELEASE.announce("firmware", 2, content), content) == ""
    assert running.boots == 2
    assert watcher.states[meter]["fw"] == "2.0.0-test"
    assert watcher.ask(meter, "report")["versions"]["firmware"] == 2
    running.kill()
    running.start()
    watcher.measured(meter)
    assert watcher.ask(meter, "report")["versions"]["firmware"] == 2
    assert watcher.states[meter]["fw"] == "2.0.0-test"
    older = firmware_of(1)
    assert shelf.verdict(meter, RELEASE.announce("firmware", 1, older), older) == "version"


@pytest.mark.soak
def test_firmware_that_crashes_falls_back_by_itself(shelf: Shelf) -> None:
    meter, watcher = "cellar", shelf.site.watcher
    running = shelf.site.fleet.meters[meter]
    content = pack_firmware({"app.py": b"raise ValueError('it was well tested')\n"}, 7)
    assert shelf.verdict(meter, RELEASE.announce("firmware", 7, content), content) == "power_cut"
    assert running.boots == 3
    # The announcement is retained, and comes again with every start.
    running.kill()
    running.start()
    watcher.measured(meter)
    assert watcher.ask(meter, "report")["versions"]["firmware"] == 0
    newer = firmware_of(8)
    assert shelf.verdict(meter, RELEASE.announce("firmware", 8, newer), newer) == ""
    assert running.boots == 5
