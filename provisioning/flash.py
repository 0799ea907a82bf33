"""Flashing a meter: MicroPython, our firmware, and a look at whether it boots."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.domain.errors import BadInputError
from provisioning import images
from provisioning.board import Board, Inventory
from provisioning.chip import Chip, Esptool
from provisioning.console import Console
from provisioning.errors import BoardError
from provisioning.firmware import SLOT, Payload, payload_for
from provisioning.images import Image
from provisioning.telling import Teller

_LITTLEFS: Final = b"littlefs"  # in the superblock of either of the first two blocks
_BLOCK: Final = 4096
_BOOT_S: Final = 60.0
# The records of the other slot and of which one counts: the firmware put here is the one to start.
_OLD_SLOTS: Final = ("/slots_firmware.a", "/slots_firmware.b", "/app_b", "/firmware_*")
CALIBRATION: Final = ("/slots_calibration.a", "/slots_calibration.b", "/calibration_*")
CALIBRATED: Final = frozenset({"/calibration_a.bin", "/calibration_b.bin"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What the installer asked for."""

    image: Path | None = None
    sha256: str | None = None
    erase_all: bool = False
    erase_calibration: bool = False


@dataclass(frozen=True, slots=True)
class Flashed:
    """What was done. `meter` is the id of a provisioned meter, `changed` the files put."""

    chip: Chip
    version: str
    image_written: bool
    changed: tuple[str, ...]
    calibrated: bool
    meter: str | None


def flash(
    port: str,
    wish: Wish,
    tell: Teller,
    *,
    esptool: Esptool | None = None,
    cache: Path | None = None,
) -> Flashed:
    """Bring a board to the present firmware; on one that has it already, change nothing.

    Files of the meter (calibration, settings, readings not yet delivered) stay, unless the
    wish says otherwise. Broken off anywhere, a repetition mends it. Raises PortError,
    BoardError, ImageError, ConfigError, TransientError; BadInputError when nobody agreed.
    """
    rom = esptool or Esptool(port)
    tell.step("looking at the chip")
    chip = rom.identify()
    tell.note(f"{chip.text}, {chip.flash_bytes >> 20} MB of flash, {chip.mac}")
    image = _image(wish, chip, tell, cache)
    if image.vfs_start + (1 << 20) > chip.flash_bytes:
        msg = (
            f"this board's flash has {chip.flash_bytes >> 20} MB; a meter needs at least"
            f" {(image.vfs_start >> 20) + 2} MB. Take a board with 4 MB or more"
        )
        raise BoardError(msg)
    written = _write_image(rom, chip, image, wish, tell)
    board = Board(port)
    tell.step("waiting for MicroPython")
    known = board.inventory()
    tell.step("preparing the firmware")  # linked and compiled once per version
    payload = payload_for(known.mpy, cache=cache and cache / "firmware")
    changed = _put(board, known, payload, wish, tell)
    calibrated = not wish.erase_calibration and not CALIBRATED.isdisjoint(known.files)
    meter = see_boot(port, tell)
    return Flashed(chip, payload.version, written, tuple(changed), calibrated, meter)


def _image(wish: Wish, chip: Chip, tell: Teller, cache: Path | None) -> Image:
    if wish.image is not None:
        return images.from_file(wish.image, chip.name, sha256=wish.sha256)
    tell.step(f"fetching MicroPython {images.VERSION}")
    return images.fetched(chip.name, tell.progress, folder=cache and cache / "images")


def _write_image(rom: Esptool, chip: Chip, image: Image, wish: Wish, tell: Teller) -> bool:
    """Write the image unless it is there; return whether it was written."""
    if wish.erase_all:
        _agree(tell, "Erase the whole board, its calibration and stored readings included?")
        tell.step("erasing the flash")
        rom.erase()
    else:
        _make_room_for_files(rom, chip, image, tell)
        tell.step("comparing MicroPython")
        if rom.holds(image.parts):
            return False
    tell.step("writing MicroPython")
    rom.write(image.parts, tell.progress)
    tell.step("verifying")
    if not rom.holds(image.parts):
        msg = (
            "the flash does not hold what was written: the board or its power supply is bad; try"
            " another cable, then another board"
        )
        raise BoardError(msg)
    return True


def _make_room_for_files(rom: Esptool, chip: Chip, image: Image, tell: Teller) -> None:
    """Keep the files of a MicroPython board; erase what something else left in their place."""
    tell.step("looking for files to keep")
    start = rom.read(image.vfs_start, 2 * _BLOCK)
    blocks = (start[:_BLOCK], start[_BLOCK:])
    if start.count(0xFF) == len(start) or any(_LITTLEFS in block[:64] for block in blocks):
        return
    _agree(tell, "The board holds something that is no meter's files. Erase it?")
    tell.step("erasing what is no meter's")
    rom.erase_region(image.vfs_start, chip.flash_bytes - image.vfs_start)


def _agree(tell: Teller, question: str) -> None:
    if not tell.confirm(question):
        msg = "nothing was changed; say --yes where nobody can be asked"
        raise BadInputError(msg)


def _put(board: Board, known: Inventory, payload: Payload, wish: Wish, tell: Teller) -> list[str]:
    remove = [path for path in known.files if path.startswith("/slots_firmware.")]
    stale = [path for path in known.files if path.startswith(f"{SLOT}/")]
    stale = [path for path in stale if path not in payload.files]
    if wish.erase_calibration:
        remove += CALIBRATION
    tell.step(f"putting firmware {payload.version}")
    clean = [*remove, *stale]
    if remove and not wish.erase_calibration:
        clean += _OLD_SLOTS
    return board.put(payload.files, known, tell.progress, remove=clean)


def see_boot(port: str, tell: Teller, *, within_s: float = _BOOT_S) -> str | None:
    """Reset the board and wait until our firmware says that it runs; return the meter's id.

    None = the firmware runs but the meter is not provisioned yet. BoardError when it does not.
    """
    tell.step("waiting for the firmware")
    last = ""
    with Console(port) as console:
        console.reset()
        for line in console.lines(within_s):
            _, _, said = line.partition("app: ")
            if "provision the meter" in said or said.startswith("config: "):
                return None  # it runs, and asks for settings
            if said and ", boot " in said:
                return said.split(" ", 1)[0]
            if "Error" in line or said:
                last = line
    said = f" ({last[:200]})" if last else ""
    msg = f"the firmware does not start{said}; flash again, at last with --erase-all"
    raise BoardError(msg)
