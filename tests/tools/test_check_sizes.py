"""The check of module and function lengths finds what it should."""

from pathlib import Path

import pytest

from tools import check_sizes


def function(name: str, lines: int) -> str:
    return f"def {name}():\n" + "    pass\n" * (lines - 1)


def run(capsys: pytest.CaptureFixture[str], *roots: Path) -> tuple[int, str]:
    status = check_sizes.main([str(root) for root in roots])
    return status, capsys.readouterr().out


def test_what_is_just_short_enough_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text(function("fits", 40))
    (tmp_path / "b.py").write_text("x = 1\n" * 400)
    status, out = run(capsys, tmp_path)
    assert status == 0
    assert "2 modules, median 40, longest 400" in out


def test_a_long_function_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" + function("long", 41))
    status, out = run(capsys, tmp_path)
    assert status == 1
    assert f"{tmp_path / 'a.py'}:2: long has 41 lines" in out


def test_a_long_method_inside_a_class_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = "class A:\n    async def m(self):\n" + "        pass\n" * 40
    (tmp_path / "a.py").write_text(body)
    status, out = run(capsys, tmp_path)
    assert status == 1
    assert "m has 41 lines" in out


def test_a_long_module_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = tmp_path / "inner" / "a.py"
    deep.parent.mkdir()
    deep.write_text("x = 1\n" * 401)
    status, out = run(capsys, tmp_path)
    assert status == 1
    assert f"{deep}: 401 lines" in out


def test_package_markers_do_not_flatter_the_median(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        (tmp_path / f"marker{number}.py").write_text('"""Nothing."""\n')
    for number in range(3):
        (tmp_path / f"m{number}.py").write_text("x = 1\n" * 150 + function("f", 2))
    status, out = run(capsys, tmp_path)
    assert status == 1
    assert "median module has 152 lines" in out


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        check_sizes.main([str(tmp_path / "nowhere")])
