"""The sizes of the linked firmware are measured on the real parts, and budgets hold."""

from pathlib import Path

import pytest

from tests.support.firmware import needs_vm
from tools import firmware_size
from tools.compile_firmware import FIRMWARE
from tools.firmware_linker.source import LinkError
from tools.firmware_size import Part, Ram, Sizes
from tools.link_firmware import LOADER

HELD = "HELD = bytearray({})\ndef give():\n    return HELD\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: Path) -> tuple[int, str]:
    status = firmware_size.main([str(one) for one in arguments])
    return status, capsys.readouterr().out


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Give a firmware that holds 20 kB at once, and 30 kB while it does something rare."""
    (tmp_path / "host").mkdir()
    for name in (*LOADER, "ticks"):
        (tmp_path / f"{name}.py").write_text(f"def {name}():\n    pass\n")
    (tmp_path / "used.py").write_text(HELD.format(20_000))
    (tmp_path / "rare.py").write_text("import used\n" + HELD.format(30_000))
    (tmp_path / "board.py").write_text(
        "from machine import Pin\nimport network\nclass Board:\n    pin = Pin\n"
    )
    (tmp_path / "app.py").write_text(
        "import used\ndef main():\n    from board import Board\n    import rare\n"
        "    return used.give(), rare.give(), Board\n"
    )
    return tmp_path


@pytest.fixture
def without_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware_size, "find_vm", lambda: None)


@pytest.fixture(scope="module")
def own() -> Sizes:
    """Measure the project's firmware once."""
    return firmware_size.measure(FIRMWARE, firmware_size.find_vm())


def test_the_projects_own_firmware_fits_the_flash(own: Sizes) -> None:
    assert {"app", "board", "ticks"} <= {part.module for part in own.parts}
    assert abs(sum(part.mpy for part in own.parts) - own.flash) < len(own.parts)
    assert [one for one in firmware_size.complaints(own) if one.startswith("flash")] == []


@needs_vm
def test_the_projects_own_firmware_fits_the_ram(own: Sizes) -> None:
    assert list(firmware_size.complaints(own)) == []


@needs_vm
def test_what_stays_and_what_comes_and_goes_is_told(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ram = firmware_size.measure(small, firmware_size.find_vm()).ram
    assert ram is not None
    assert 20_000 < ram.resident["app"] < 23_000
    assert 0 < ram.resident["board"] < 2_000
    assert list(ram.on_demand) == ["rare"]
    loaded, left = ram.on_demand["rare"]
    assert 30_000 < loaded < 32_000
    assert left < 1_000
    assert 0 < ram.strings < 5_000
    assert firmware_size.resident(ram) == ram.resident["app"] + ram.resident["board"]
    status, out = run(capsys, small)
    assert status == 0
    assert "rare" in out


@needs_vm
def test_a_firmware_that_does_not_fit_the_heap_is_told_with_its_traceback(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "used.py").write_text(HELD.format(3_000_000))
    status, out = run(capsys, small)
    assert status == 1
    assert "does not load in 2M of heap" in out
    assert "MemoryError" in out


@pytest.mark.usefixtures("without_vm")
def test_a_module_that_does_not_compile_is_named(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "used.py").write_text("x = (\n")
    status, out = run(capsys, small)
    assert status == 1
    assert f"{small / 'used.py'} does not compile" in out
    with pytest.raises(LinkError):
        firmware_size.measure(small, None)


@pytest.mark.usefixtures("without_vm")
def test_without_a_vm_the_flash_is_measured_and_the_ram_said_to_be_unknown(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / "used.py").write_text(
        f"TABLE = {bytes(1000)!r}\ndef give():\n    return TABLE, TABLE\n"
    )
    status, out = run(capsys, small)
    assert status == 0
    assert "RAM: not measured" in out
    sizes = firmware_size.measure(small, None)
    used = next(part for part in sizes.parts if part.module == "used")
    assert used.file == "app"
    assert used.source == (small / "used.py").stat().st_size
    assert 1000 < used.mpy < sizes.flash
    assert sizes.ram is None


@pytest.mark.parametrize(
    ("flash", "resident", "told"),
    [
        (160_000, {"app": 85_000, "board": 5_000, "main": 9_000}, []),
        (160_001, {"app": 85_000}, ["flash: 160001"]),
        (160_000, {"app": 85_000, "board": 5_001}, ["RAM: 90001"]),
        (180_000, {"app": 120_000}, ["flash: 180000", "RAM: 120000"]),
        (180_000, None, ["flash: 180000"]),
    ],
)
def test_what_exceeds_a_budget_is_told(
    flash: int, resident: dict[str, int] | None, told: list[str]
) -> None:
    ram = None if resident is None else Ram(resident, {"rare": (200_000, 0)}, 1)
    found = list(firmware_size.complaints(Sizes([Part("a", "app", 1, 1)], flash, ram)))
    assert len(found) == len(told)
    assert all(line.startswith(start) for line, start in zip(found, told, strict=True))


@pytest.mark.usefixtures("without_vm")
def test_a_budget_exceeded_fails_the_run(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware_size, "FLASH_BUDGET_BYTES", 10)
    status, out = run(capsys, small)
    assert status == 1
    assert "exceed the budget of 10" in out
