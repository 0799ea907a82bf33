"""The sizes of the firmware are measured on the real parts, and budgets hold."""

from pathlib import Path

import pytest

from tests.support.firmware import needs_vm
from tools import firmware_size
from tools.compile_firmware import FIRMWARE
from tools.firmware_size import Size


def run(capsys: pytest.CaptureFixture[str], *arguments: Path) -> tuple[int, str]:
    status = firmware_size.main([str(one) for one in arguments])
    return status, capsys.readouterr().out


def test_the_projects_own_firmware_fits_the_flash() -> None:
    sizes = firmware_size.measure(FIRMWARE, None)
    assert {"app", "board", "ticks"} <= {size.module for size in sizes}
    assert list(firmware_size.complaints(sizes)) == []


@needs_vm
@pytest.mark.xfail(reason="resident modules take about twice the budget", strict=True)
def test_the_projects_own_firmware_fits_the_ram(capsys: pytest.CaptureFixture[str]) -> None:
    status, out = run(capsys)
    assert status == 0, out


@needs_vm
def test_a_buffer_shows_in_the_ram_of_the_module_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import b\n")
    (tmp_path / "b.py").write_text("RING = bytearray(20_000)\n")
    (tmp_path / "c.py").write_text("import b\n")
    sizes = firmware_size.measure(tmp_path, firmware_size.find_vm())
    ram = {size.module: size.ram or 0 for size in sizes}
    assert 20_000 < ram["b"] < 23_000
    assert ram["a"] + ram["c"] < 2_000


@needs_vm
def test_what_the_start_does_not_load_is_told_and_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "app.py").write_text("import used\ndef update():\n    import rare\n")
    (tmp_path / "board.py").write_text("import machine\n")
    (tmp_path / "main.py").write_text("import app\napp.main()\n")
    (tmp_path / "rare.py").write_text("RING = bytearray(95_000)\n")
    (tmp_path / "used.py").write_text("RING = bytearray(9_000)\n")
    status, out = run(capsys, tmp_path)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if "on demand" in line] == ["rare"]
    sizes = firmware_size.measure(tmp_path, firmware_size.find_vm())
    resident = {size.module for size in sizes if size.resident}
    assert resident == {"app", "board", "main", "used"}
    total = firmware_size.totals(sizes)[1]
    assert total is not None
    assert 9_000 < total < 14_000


def test_modules_are_measured_behind_those_they_import(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import json\nfrom b import x\ndef f():\n    import d\n")
    (tmp_path / "b.py").write_text("import c\nimport a\n")
    (tmp_path / "c.py").write_text("x = 1\n")
    (tmp_path / "d.py").write_text("x = 1\n")
    ordered = firmware_size.in_order_of_imports(tmp_path, ["a", "b", "c", "d"])
    assert ordered == ["c", "b", "a", "d"]


@needs_vm
def test_modules_of_the_chip_are_stood_in_for_and_the_loader_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "board.py").write_text("from machine import Pin\nimport esp32, network\n")
    (tmp_path / "main.py").write_text("while True:\n    pass\n")
    sizes = firmware_size.measure(tmp_path, firmware_size.find_vm())
    assert [size.module for size in sizes] == ["board", "main"]
    assert all(size.ram for size in sizes)


@needs_vm
def test_a_module_that_does_not_fit_the_heap_is_told_with_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text("RING = bytearray(3_000_000)\n")
    status, out = run(capsys, tmp_path)
    assert status == 1
    assert "does not load in 2M of heap" in out
    assert "MemoryError" in out


def test_a_module_that_does_not_compile_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware_size, "find_vm", lambda: None)
    (tmp_path / "a.py").write_text("x = (\n")
    status, out = run(capsys, tmp_path)
    assert status == 1
    assert f"{tmp_path / 'a.py'} does not compile" in out


def test_without_a_vm_the_flash_is_measured_and_the_ram_said_to_be_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware_size, "find_vm", lambda: None)
    (tmp_path / "a.py").write_text(f"TABLE = {bytes(1000)!r}\n")
    status, out = run(capsys, tmp_path)
    assert status == 0
    assert "RAM: not measured" in out
    [size] = firmware_size.measure(tmp_path, None)
    assert size.source == (tmp_path / "a.py").stat().st_size
    assert 1000 < size.mpy < 1200
    assert size.ram is None


@pytest.mark.parametrize(
    ("mpy", "ram", "told"),
    [
        (80_000, 45_000, []),
        (80_001, 45_000, ["flash: 160001"]),
        (80_000, 45_001, ["RAM: 90001"]),
        (100_000, 75_000, ["flash: 180000", "RAM: 120000"]),
        (100_000, None, ["flash: 180000"]),
    ],
)
def test_what_exceeds_a_budget_is_told(mpy: int, ram: int | None, told: list[str]) -> None:
    sizes = [Size("a", 1, 80_000, None if ram is None else 45_000), Size("b", 1, mpy, ram)]
    found = list(firmware_size.complaints(sizes))
    assert len(found) == len(told)
    assert all(line.startswith(start) for line, start in zip(found, told, strict=True))


def test_a_budget_exceeded_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware_size, "find_vm", lambda: None)
    monkeypatch.setattr(firmware_size, "FLASH_BUDGET_BYTES", 10)
    (tmp_path / "a.py").write_text("x = 1\n")
    status, out = run(capsys, tmp_path)
    assert status == 1
    assert "exceed the budget of 10" in out
