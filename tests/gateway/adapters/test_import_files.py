"""Uploaded tables on disk: what they may be, how they are read, and that none is left behind."""

import gzip
import stat
from pathlib import Path

import pytest

from gateway.adapters import import_files
from gateway.adapters.import_files import UploadFolder
from gateway.domain.errors import BadInputError
from gateway.pipeline.import_table import TableReader, read_targets
from gateway.pipeline.import_windows import import_windows
from gateway.pipeline.table_times import DateOrder
from gateway.services.import_jobs import ImportJob
from tests.gateway.services.site_rig import UTC

PLAIN = "time;Leistung kW\n2026-01-01 00:00;0,5\n\n2026-01-01 00:15;1,5\n"


def uploaded(folder: UploadFolder, content: bytes, number: int = 1) -> ImportJob:
    upload = folder.begin()
    for at in range(0, len(content), 7):
        upload.write(content[at : at + 7])
    upload.finish()
    job = ImportJob(number, "house.csv", upload.size_bytes, 0, "ada")
    folder.keep(upload, job)
    upload.discard()
    return job


@pytest.mark.parametrize(
    "content",
    [PLAIN.encode(), gzip.compress(PLAIN.encode()), PLAIN.encode("utf-8-sig"),
     PLAIN.encode("utf-16"), PLAIN.replace("Leistung", "Größe W").encode("cp1252"),
     PLAIN.replace("\n", "\r\n").encode()],
    ids=["plain", "gzip", "marked", "utf-16", "windows", "crlf"],
)  # fmt: skip
async def test_tables_in_the_encodings_of_the_world(tmp_path: Path, content: bytes) -> None:
    folder = UploadFolder(tmp_path / "imports")
    job = uploaded(folder, content)
    (file,) = (tmp_path / "imports").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    look = await folder.look(job)
    assert (look.rows, look.form.delimiter, look.form.decimal) == (2, ";", ",")
    job.form = look.form
    column = look.form.columns[1]
    targets = read_targets({"p": f"{column}:1000"}, look.form.columns, "grid")
    reader = TableReader(look.form, targets, "time", DateOrder.YMD, UTC)
    table = await folder.read(job, reader)
    assert list(table.values[0]) == [500.0, 1500.0]
    assert list(table.lines) == [2, 4]  # as an editor counts
    first = await folder.checksum(job, "a")
    assert first != await folder.checksum(job, "b")
    await folder.remove(job)
    await folder.remove(job)
    assert list((tmp_path / "imports").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "empty"), (b"\x1f\x8b\x08broken", "cannot be read"), (b"one\ntwo\n", "no table"),
     (gzip.compress(PLAIN.encode())[:-12], "cannot be read"), (b"a;b\n", "no rows")],
    ids=["nothing", "damaged", "prose", "cut off", "heading"],
)  # fmt: skip
async def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    folder = UploadFolder(tmp_path / "imports")
    with pytest.raises(BadInputError, match=said):
        await folder.look(uploaded(folder, content))


async def test_bombs_and_endless_lines_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UploadFolder(tmp_path / "imports")
    monkeypatch.setattr(import_files, "LARGEST_TEXT", 100_000)
    monkeypatch.setattr(import_files, "MOST_ROWS", 3000)
    row = "2026-01-01 00:00,1\n"
    for number, (text, said) in enumerate(
        (("t,p\n" + row * 9000, "more than"), ("t,p\n" + row * 3001, "more than 3000 rows"),
         ("t,p\n" + row + "x" * 2_000_000, "line"))
    ):  # fmt: skip
        job = uploaded(folder, gzip.compress(text.encode()), number)
        with pytest.raises(BadInputError, match=said):
            await folder.look(job)


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = UploadFolder(tmp_path / "imports")
    await folder.keep_only(set())  # there is no folder yet
    uploaded(folder, b"x", 1)
    uploaded(folder, b"x", 2)
    cut_off = folder.begin()
    cut_off.write(b"half")
    await folder.keep_only({2})
    assert [file.name for file in (tmp_path / "imports").iterdir()] == ["import-2.table"]
    cut_off.discard()


async def test_other_measurements_come_beside_the_channels(tmp_path: Path) -> None:
    folder = UploadFolder(tmp_path / "imports")
    text = "time;W;OTI\n2026-01-01 00:00;5;42\n2026-01-01 00:15;6;\n2026-01-01 00:30;7;246\n"
    job = uploaded(folder, text.encode())
    job.form = (await folder.look(job)).form
    columns = job.form.columns
    for wrong in ("aux.Oil", "aux.", "aux.l1.oil", "aux." + "x" * 40):
        with pytest.raises(BadInputError, match=r"aux\.NAME"):
            read_targets({wrong: "OTI"}, columns, "grid")
    many = {f"aux.n{number}": "OTI" for number in range(17)}
    with pytest.raises(BadInputError, match="at most 16"):
        read_targets(many, columns, "grid")
    targets = read_targets({"p": "W", "aux.oil_temp": "OTI"}, columns, "grid")
    reader = TableReader(job.form, targets, "time", DateOrder.YMD, UTC)
    windows = list(import_windows(await folder.read(job, reader), "grid", 7))
    assert [window.reading.get("aux") for window in windows] == [
        {"oil_temp": 42.0}, None, {"oil_temp": 246.0},
    ]  # fmt: skip
    alone = read_targets({"aux.oil_temp": "OTI"}, columns, "grid")
    reader = TableReader(job.form, alone, "time", DateOrder.YMD, UTC)
    (first, *_) = import_windows(await folder.read(job, reader), "grid", 7)
    assert list(first.reading["ch"]) == ["grid"]  # type: ignore[call-overload] # a test's own typing
