"""Flashing a board on USB with the real esptool and mpremote, and what must survive it."""

import contextlib
import json
from pathlib import Path

import pytest

from gateway.domain.errors import BadInputError
from provisioning.board import Board
from provisioning.errors import BoardError, ImageError
from provisioning.firmware import MANIFEST
from provisioning.flash import Flashed, Wish, flash
from provisioning.partition_table import ROM_BYTES, rom_of, with_rom
from tests.provisioning.conftest import NewBoard
from tests.support.kit_site import CACHE
from tests.support.kit_watch import Notes
from tests.support.meter_image import write_image
from tests.support.usb_board import VFS_START, UsbBoard

pytestmark = pytest.mark.timeout(600)
Image = tuple[Path, str]
ROM_MAGIC = b"\xd2\xcd\x31"
CALIBRATION = {
    "/calibration_a.bin": b'{"format":1,"version":3}',
    "/slots_calibration.a": b"record",
}


def run(board: UsbBoard, image: Image, notes: Notes | None = None, **wish: object) -> Flashed:
    wanted = Wish(image[0], image[1], **wish)  # type: ignore[arg-type]
    return flash(str(board.port), wanted, notes or Notes(), cache=CACHE / "wattwarden")


def put(board: UsbBoard, files: dict[str, bytes]) -> None:
    files_of = Board(str(board.port))
    files_of.put(files, files_of.inventory(), lambda _: None)


def held(board: UsbBoard, *folders: str) -> set[str]:
    return set(Board(str(board.port)).inventory(folders or ("", "/app_a", "/put")).files)


def test_an_empty_board_gets_everything_and_boots(new_board: NewBoard, image: Image) -> None:
    board, notes = new_board(), Notes()
    done = run(board, image, notes)
    assert done.chip.name == "esp32"
    assert done.chip.flash_bytes == 4 << 20
    assert done.image_written
    assert done.meter is None
    assert not done.calibrated
    assert "/main.py" in done.changed
    assert done.changed[-1] == MANIFEST
    assert notes.asked == []
    assert notes.steps.index("writing MicroPython") < notes.steps.index("verifying")
    assert max(notes.fractions) == pytest.approx(1.0)
    content = board.flash.read_bytes()
    written = image[0].read_bytes()
    assert content[0x1000:0x8000] == written[:0x7000]
    assert content[0x8000:0x9000] == with_rom(written[0x7000:0x8000], len(written) - 0xF000)
    assert content[VFS_START + 8 : VFS_START + 16] == b"littlefs"
    manifest = json.loads(Board(str(board.port)).read(MANIFEST) or b"")
    assert {f"/app_a/{name}" for name, _, _ in manifest["files"]} | {MANIFEST} == {
        path for path in held(board) if path.startswith("/app_a/")
    }


def test_the_boot_copies_the_firmware_into_the_rom_partition(
    new_board: NewBoard, image: Image
) -> None:
    board = new_board()
    run(board, image)  # ends when the firmware was seen to run
    content = board.flash.read_bytes()
    start, size = rom_of(content[0x8000:0x9000]) or (0, 0)
    assert size == ROM_BYTES
    assert content[start : start + 3] == ROM_MAGIC
    app = Board(str(board.port)).read("/app_a/canon.mpy")
    assert app is not None
    assert app in content[start : start + size], "a copy of the slot"


def test_a_board_flashed_before_gets_the_partition_and_keeps_its_files(
    flashed: Path, new_board: NewBoard, image: Image
) -> None:
    board = new_board(content=flashed)
    put(board, CALIBRATION)
    board.stop()
    with board.flash.open("r+b") as file:  # as an installer without that partition left it
        file.seek(0x8000)
        file.write(image[0].read_bytes()[0x7000:0x8000])
    board.start()
    done = run(board, image)
    assert (done.image_written, done.calibrated, done.changed) == (True, True, ())
    assert rom_of(board.flash.read_bytes()[0x8000:0x9000]) == (0x1E0000, ROM_BYTES)
    assert set(CALIBRATION) <= held(board)


def test_a_second_run_changes_nothing(flashed: Path, new_board: NewBoard, image: Image) -> None:
    board = new_board(content=flashed)
    before = board.flash.read_bytes()
    done = run(board, image)
    assert (done.image_written, done.changed) == (False, ())
    after = board.flash.read_bytes()
    assert after[:VFS_START] == before[:VFS_START]


def test_only_what_differs_is_put(flashed: Path, new_board: NewBoard, image: Image) -> None:
    board = new_board(content=flashed)
    put(board, {"/app_a/canon.mpy": b"damaged", "/main.py": b"print('old')"})
    done = run(board, image)
    assert not done.image_written
    assert set(done.changed) == {"/app_a/canon.mpy", "/main.py"}


def test_another_image_is_written_and_the_files_stay(
    flashed: Path, new_board: NewBoard, image: Image, tmp_path: Path
) -> None:
    board = new_board(content=flashed)
    put(board, {**CALIBRATION, "/config.json": b'{"meter": "x"}'})
    newer = write_image(tmp_path / "newer.bin", seed=7)
    board.boots(newer[0])
    done = run(board, newer)
    assert done.image_written
    assert done.changed == ()
    assert done.calibrated
    assert {*CALIBRATION, "/config.json"} <= held(board)


def test_a_calibration_stays_unless_told_otherwise(
    flashed: Path, new_board: NewBoard, image: Image
) -> None:
    board = new_board(content=flashed)
    put(board, CALIBRATION)
    assert run(board, image).calibrated
    assert set(CALIBRATION) <= held(board)
    assert not run(board, image, erase_calibration=True).calibrated
    assert not set(CALIBRATION) & held(board)


@pytest.mark.soak
def test_erasing_all_asks_and_leaves_nothing(
    flashed: Path, new_board: NewBoard, image: Image
) -> None:
    board = new_board(content=flashed)
    put(board, CALIBRATION)
    with pytest.raises(BadInputError, match="nothing was changed; say --yes"):
        run(board, image, Notes(answer=False), erase_all=True)
    assert set(CALIBRATION) <= held(board)
    notes = Notes()
    done = run(board, image, notes, erase_all=True)
    assert "calibration and stored readings included" in notes.asked[0]
    assert done.image_written
    assert not set(CALIBRATION) & held(board)


def test_what_is_no_meter_s_is_erased_after_a_question(new_board: NewBoard, image: Image) -> None:
    board = new_board()
    with board.flash.open("r+b") as file:
        file.seek(VFS_START)
        file.write(b"another program's data" * 1000)
    with pytest.raises(BadInputError, match="nothing was changed"):
        run(board, image, Notes(answer=False))
    notes = Notes()
    assert run(board, image, notes).image_written
    assert "no meter's files" in notes.asked[0]


def test_a_firmware_that_came_over_the_air_gives_way(
    flashed: Path, new_board: NewBoard, image: Image
) -> None:
    board = new_board(content=flashed)
    stale = {"/slots_firmware.a": b"x", "/app_b/app.mpy": b"y", "/app_a/gone.mpy": b"z"}
    put(board, {**stale, **CALIBRATION})
    done = run(board, image)
    assert done.changed == ()
    assert done.meter is None
    left = held(board, "", "/app_a", "/app_b", "/put")
    assert not left & set(stale)
    assert set(CALIBRATION) <= left


def test_a_full_flash_is_told(new_board: NewBoard, image: Image) -> None:
    board = new_board(vfs_bytes=128 * 1024)
    with pytest.raises(BoardError) as caught:
        run(board, image)
    assert "flash is full" in str(caught.value)
    assert "KiB are needed" in str(caught.value)
    assert "deliver its readings" in str(caught.value)
    assert "--erase-all" in str(caught.value)


@pytest.mark.soak
def test_damaged_files_are_told_and_mended(
    flashed: Path, new_board: NewBoard, image: Image
) -> None:
    board = new_board(content=flashed)
    with board.flash.open("r+b") as file:
        file.seek(VFS_START + 16)
        file.write(b"\0" * 64)
        file.seek(VFS_START + 4096 + 16)
        file.write(b"\0" * 64)
    with pytest.raises(BoardError, match=r"cannot be read any more; run: flash --erase-all"):
        run(board, image)
    assert run(board, image, erase_all=True).meter is None


def test_a_board_that_does_not_boot_is_told(
    flashed: Path, new_board: NewBoard, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = new_board(content=flashed)
    put(board, {"/boot.py": b"import machine\nraise ImportError('a bad boot.py')\n"})
    put(board, {"/main.py": b"raise ImportError('defect')"})
    from provisioning.flash import see_boot  # noqa: PLC0415 - the part under test alone

    with pytest.raises(BoardError, match=r"the firmware does not start .*flash again"):
        see_boot(str(board.port), Notes(), within_s=4)


@pytest.mark.parametrize("chip", [pytest.param("esp32s3", marks=pytest.mark.soak), "esp32c3"])
def test_other_chips_of_the_family_and_images_for_the_wrong_one(
    new_board: NewBoard, image: Image, tmp_path: Path, chip: str
) -> None:
    board = new_board(chip=chip)
    with pytest.raises(ImageError) as caught:
        run(board, image)
    assert "this is an image for esp32" in str(caught.value)
    assert f"the board has an {chip}" in str(caught.value)
    right = write_image(tmp_path / "right.bin", chip)
    board.boots(right[0])
    assert run(board, right).chip.name == chip


def test_a_chip_that_the_firmware_does_not_know(new_board: NewBoard, image: Image) -> None:
    board = new_board(chip="esp32c6")
    with pytest.raises(
        BoardError, match="ESP32-C6; the firmware runs on ESP32, ESP32-S3, ESP32-C3"
    ):
        run(board, image)


def test_interrupted_after_each_step_it_goes_on(new_board: NewBoard, image: Image) -> None:
    class Enough(Exception):  # noqa: N818 - no error
        pass

    class Breaking(Notes):
        def __init__(self, at: str) -> None:
            super().__init__()
            self._at = at

        def step(self, text: str) -> None:
            super().step(text)
            if text.startswith(self._at):
                raise Enough

    board = new_board()
    for at in ("comparing", "verifying", "putting", "waiting for the firmware"):
        with contextlib.suppress(Enough):
            run(board, image, Breaking(at))
    assert run(board, image).meter is None
