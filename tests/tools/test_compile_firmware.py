"""The compile check passes what the board's chips can run, and names what they cannot."""

from pathlib import Path

import pytest

from tools import compile_firmware

VIPER = """import micropython


@micropython.viper
def total(codes: ptr16, n: int) -> int:
    s = 0
    for k in range(n):
        s += codes[k]
    return s
"""
# A viper function cannot take a value of a type that it does not know.
BAD_VIPER = VIPER.replace("ptr16", "ptr64")


def run(firmware: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = compile_firmware.main([str(firmware)])
    return status, capsys.readouterr().out


def test_native_code_compiles_for_every_chip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.py").write_text(VIPER)
    status, out = run(tmp_path, capsys)
    assert (status, out) == (0, "firmware: 1 modules compile for xtensawin, rv32imc\n")


@pytest.mark.parametrize("architecture", compile_firmware.ARCHITECTURES)
def test_the_size_is_that_of_the_compiled_module(tmp_path: Path, architecture: str) -> None:
    small, big = tmp_path / "small.py", tmp_path / "big.py"
    small.write_text(VIPER)
    big.write_text(VIPER + f"TABLE = {bytes(1000)!r}\n")
    sizes = [compile_firmware.cross_compile(p, architecture).size_bytes for p in (small, big)]
    assert 1000 <= sizes[1] - sizes[0] < 1050


@pytest.mark.parametrize(("text", "message"), [("x = (\n", "SyntaxError"), (BAD_VIPER, "ptr64")])
def test_a_module_that_no_board_could_load_is_named_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "good.py").write_text(VIPER)
    (tmp_path / "bad.py").write_text(text)
    status, out = run(tmp_path, capsys)
    assert status == 1
    assert f"{tmp_path / 'bad.py'}: does not compile for xtensawin" in out
    assert "rv32imc" in out
    assert message in out
    assert "good.py" not in out


def test_what_stays_on_the_host_is_not_compiled(tmp_path: Path) -> None:
    for name in ("host/simboard.py", "host/shim/time.py", "typings/machine.py", "lib/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "b.py").write_text("x = 1\n")
    found = compile_firmware.board_files(tmp_path)
    assert found == [tmp_path / "b.py", tmp_path / "lib/a.py"]


def test_an_empty_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, capsys) == (1, f"{tmp_path}: no firmware here\n")


def test_the_projects_own_firmware_compiles(capsys: pytest.CaptureFixture[str]) -> None:
    assert compile_firmware.main([]) == 0, capsys.readouterr().out
