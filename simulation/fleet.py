"""Many simulated meters that run the real firmware, with their files and their wires."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gateway.domain.errors import ConfigError
from simulation.chain import Chain
from simulation.firmware_files import HEAP, ROM_BYTES, Runner, launch, slot_files
from simulation.sources import Source
from simulation.supply import Supply
from simulation.virtual_meter import VirtualMeter

CONFIG = "config.json"
NETWORKS = {"simulated": "simulated-wifi"}
_PUT_S = 30.0


@dataclass(frozen=True, slots=True)
class FlashImage:
    """A littlefs image instead of a directory; only the VM can run it."""

    size: int = 1 << 21
    cut_after: int | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a simulated meter is given beside its wires.

    `config` becomes its config.json, `files` lie beside it; both only their owner can
    read. `speed` 1.0 is real time, 0 as fast as it can. `networks` are the Wi-Fi
    networks (name to password) within its reach. Modules in `code` come before the
    firmware's own: a firmware slot, or a test's application. Each `gauge` windows the VM's
    meter logs what heap and time it needs (host/gauge.py); with `pieces` what is free after the
    first so many is left in pieces of that many bytes for good. After each burst it rests
    for `rest_ms`, so that one with speed 0 does not outrun its gateway. `installed` lays the
    linked firmware into slot `a`, as an installer does, and with `rom` the board has a partition
    that it runs from.
    """

    config: Mapping[str, object]
    files: Mapping[str, bytes] = field(default_factory=dict)
    speed: float = 1.0
    flash: FlashImage | None = None
    start_unix_ms: int | None = None
    networks: Mapping[str, str] = field(default_factory=lambda: dict(NETWORKS))
    code: Path | None = None
    gauge: int | None = None
    pieces: int = 0
    rest_ms: int = 0
    installed: bool = False
    rom: bool = True


class Fleet:
    """Meters under one directory, one subdirectory each; use as a context manager.

    `add` makes a meter's files, `start` runs it. Leaving ends every process.
    """

    def __init__(
        self,
        directory: Path,
        *,
        runner: Runner = Runner.AUTO,
        heap: str = HEAP,
        firmware: Path | None = None,
    ) -> None:
        self.directory = directory
        self.launch = launch(runner, heap=heap, firmware=firmware)
        self.supply = Supply()
        self.meters: dict[str, VirtualMeter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str, source: Source, chain: Chain, setup: Setup) -> VirtualMeter:
        """Make a meter that is down. What it kept here before stays, but for given files.

        ConfigError when a flash image is asked for without the VM.
        """
        flash = setup.flash
        if flash and self.launch.runner is not Runner.VM:
            msg = f"meter {name}: a flash image needs the MicroPython VM, which is not here"
            raise ConfigError(msg)
        meter = VirtualMeter(name, self.directory / name, self.launch)
        root = meter.directory / "root"
        root.mkdir(parents=True, exist_ok=True)
        self.supply.add(name, source, chain)
        params = {
            "root": str(root),
            "flash": _flash_params(meter, flash) if flash else None,
            "supply": dict(self.supply.address(name)),
            "speed": setup.speed,
            "clamps": chain.clamps,
            "frame_us": chain.frame_us,
            "read_us": chain.read_us,
            "start_unix_ms": setup.start_unix_ms,
            "networks": dict(setup.networks),
            "code": str(setup.code) if setup.code else None,
            "gauge": setup.gauge,
            "pieces": setup.pieces,
            "rest_ms": setup.rest_ms,
            "rom": _rom_params(meter) if setup.installed and setup.rom else None,
        }
        private(meter.sim_path, json.dumps(params).encode())
        contents = {CONFIG: json.dumps(setup.config).encode(), **setup.files}
        if setup.installed:
            contents.update(slot_files(self.launch.home))
        for file, content in contents.items():
            (root / file).parent.mkdir(exist_ok=True)
            private(root / file, content)
        if flash:
            self._put(meter, flash, list(contents))
        self.meters[name] = meter
        return meter

    def start(self) -> None:
        """Start every meter that is down."""
        for meter in self.meters.values():
            meter.start()

    def close(self) -> None:
        """End every process and the supply; their files stay."""
        for meter in self.meters.values():
            meter.stop()
        self.supply.close()

    def _put(self, meter: VirtualMeter, flash: FlashImage, names: list[str]) -> None:
        """Move files into the flash image."""
        root = meter.directory / "root"
        script = self.launch.home / "host" / "put_files.py"
        pairs = [f"{name}={root / name}" for name in names]
        subprocess.run(  # noqa: S603 - our own script
            [*self.launch.command, str(script), str(_image(meter)), str(flash.size), *pairs],
            env=dict(self.launch.environment),
            check=True,
            timeout=_PUT_S,
        )
        for name in names:
            (root / name).unlink()


def change(meter: VirtualMeter, **params: object) -> None:
    """Change top-level parameters in a meter's SIM.json; most count from its next start.

    `networks` counts at once. With `cut_after` (a number or None) alone the flash's
    parameter of that name is changed.
    """
    known = json.loads(meter.sim_path.read_text())
    if "cut_after" in params:
        known["flash"]["cut_after"] = params.pop("cut_after")
    private(meter.sim_path, json.dumps({**known, **params}).encode())


def private(path: Path, content: bytes) -> None:
    """Write a file in one step that only its owner can read."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    fresh.replace(path)


def _image(meter: VirtualMeter) -> Path:
    return meter.directory / "flash.bin"


def _rom_params(meter: VirtualMeter) -> dict[str, object]:
    return {"image": str(meter.directory / "rom.bin"), "size": ROM_BYTES}


def _flash_params(meter: VirtualMeter, flash: FlashImage) -> dict[str, object]:
    return {"image": str(_image(meter)), "size": flash.size, "cut_after": flash.cut_after}
