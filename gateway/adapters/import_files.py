"""Uploaded tables on disk: written as they come, read line by line, gzipped or not."""

import asyncio
import codecs
import contextlib
import csv
import gzip
import io
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from gateway.domain.errors import BadInputError, StorageError
from gateway.pipeline.column_guess import guess_map
from gateway.pipeline.import_table import Table, TableReader
from gateway.pipeline.sniffing import SAMPLE_LINES, Form, sniff
from gateway.services.import_jobs import ImportJob, Look

T = TypeVar("T")
LONGEST_LINE = 1 << 20
LARGEST_TEXT = 1 << 30  # unpacked
MOST_ROWS = 1_000_000
SHOWN_ROWS = 20
SHOWN_CELL = 200
GZIP_MAGIC = b"\x1f\x8b"
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PIECE = 1 << 20
# Python runs one thread at a time: so many rows, then the others get their turn.
TURN_ROWS = 100
TURN_S = 0.001
LEAST_FREE = 200_000_000  # bytes that an upload leaves on the disk


class StoppedError(Exception):
    """The gateway ends; what was being read is read again after the next start."""


class UploadFolder:
    """Satisfies `ImportFiles`; one file for each import, beside the database, mode 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End what is being read in threads, so that nobody waits for them."""
        self._stopping.set()

    def begin(self) -> "Upload":
        """Open a file for an upload; StorageError where the disk has no room."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if shutil.disk_usage(self._folder).free < LEAST_FREE:
                msg = f"{self._folder}: the disk is nearly full"
                raise StorageError(msg)
            return Upload(self._folder / f".part-{os.getpid()}-{time.monotonic_ns()}")
        except OSError as error:
            msg = f"{self._folder}: {error.strerror}"
            raise StorageError(msg) from error

    def keep(self, upload: "Upload", job: ImportJob) -> None:
        """Give a finished upload its place."""
        try:
            upload.path.replace(self._path(job))
        except OSError as error:
            msg = f"{self._folder}: {error.strerror}"
            raise StorageError(msg) from error

    async def look(self, job: ImportJob) -> Look:
        """Read a file once and tell what it looks like."""
        return await self._run(lambda: self._look(self._path(job)))

    async def read(self, job: ImportJob, reader: TableReader) -> Table:
        """Read a file's rows into a table; slowly, so that the gateway's work goes on."""
        form = job.form
        if form is None:
            msg = "file: has not been looked at"
            raise BadInputError(msg)
        return await self._run(lambda: self._read(self._path(job), form, reader))

    async def checksum(self, job: ImportJob, salt: str) -> int:
        """Return the CRC-32 of the file and then `salt`, as `replay` has it."""
        return await self._run(lambda: _checksum(self._path(job), salt))

    async def remove(self, job: ImportJob) -> None:
        """Remove the file; one that is gone is no error."""
        await self._run(lambda: self._path(job).unlink(missing_ok=True))

    async def keep_only(self, numbers: set[int]) -> None:
        """Remove what uploads cut off have left, and files of imports that need none."""
        await self._run(lambda: self._sweep(numbers))

    def _sweep(self, kept: set[int]) -> None:
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            number = path.stem.removeprefix("import-")
            if not number.isdigit() or int(number) not in kept:
                path.unlink(missing_ok=True)

    def _path(self, job: ImportJob) -> Path:
        return self._folder / f"import-{job.no}.table"

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            msg = f"{self._folder}: {error.strerror or error}"
            raise StorageError(msg) from error

    def _look(self, path: Path) -> Look:
        with _opened(path) as file:
            head = list(islice(_lines(file), SAMPLE_LINES))
        if not head:
            msg = "file: is empty"
            raise BadInputError(msg)
        form = sniff(head)
        sample = list(csv.reader(head, delimiter=form.delimiter))[form.header_line :]
        count = sum(1 for _ in self._rows(path, form))
        rows = [row for row in sample if row]
        preview = [[cell[:SHOWN_CELL] for cell in row] for row in rows[:SHOWN_ROWS]]
        whole = [row for row in rows if len(row) == len(form.columns)]
        return Look(form, preview, count, guess_map(form, whole))

    def _read(self, path: Path, form: Form, reader: TableReader) -> Table:
        for line, row in self._rows(path, form):
            reader.take(line, row)
        return reader.finish()

    def _rows(self, path: Path, form: Form) -> Iterator[tuple[int, list[str]]]:
        """Yield (line, cells) of every row below the header that is not empty."""
        count = 0
        with _opened(path) as file:
            lines = _lines(file)
            for _ in range(form.header_line):
                next(lines, None)
            table = csv.reader(lines, delimiter=form.delimiter)
            try:
                for row in table:
                    if not row or (len(row) == 1 and not row[0].strip()):
                        continue
                    count += 1
                    if count > MOST_ROWS:
                        msg = f"file: has more than {MOST_ROWS} rows; split it"
                        raise BadInputError(msg)
                    if count % TURN_ROWS == 0:
                        self._let_others()
                    yield form.header_line + table.line_num, row
            except csv.Error as error:
                msg = f"file: line {form.header_line + table.line_num}: {error}"
                raise BadInputError(msg) from error

    def _let_others(self) -> None:
        if self._stopping.is_set():
            raise StoppedError
        time.sleep(TURN_S)


class Upload:
    """A file that is being uploaded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, piece: bytes) -> None:
        """Append a piece; StorageError when the disk is full."""
        try:
            self._file.write(piece)
        except OSError as error:
            msg = f"{self.path}: {error.strerror}"
            raise StorageError(msg) from error
        self.size_bytes += len(piece)

    def finish(self) -> None:
        """Have everything on the disk."""
        try:
            self._file.close()
        except OSError as error:
            msg = f"{self.path}: {error.strerror}"
            raise StorageError(msg) from error

    def discard(self) -> None:
        """Forget it, whatever became of it."""
        with contextlib.suppress(OSError):
            self._file.close()
            self.path.unlink(missing_ok=True)


def _checksum(path: Path, salt: str) -> int:
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            crc = zlib.crc32(piece, crc)
    return zlib.crc32(salt.encode(), crc)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """Open a table as text; what is no text or no gzip is a BadInputError."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
    try:
        encoding = _encoding(path, packed=packed)
        with _bytes(path, packed=packed) as binary:
            yield io.TextIOWrapper(binary, encoding, newline="")
    except (UnicodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"file: cannot be read: {error}"
        raise BadInputError(msg) from error


@contextlib.contextmanager
def _bytes(path: Path, *, packed: bool) -> Iterator[IO[bytes] | gzip.GzipFile]:
    with path.open("rb") as raw:
        if not packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield unpacked


def _encoding(path: Path, *, packed: bool) -> str:
    """Return the encoding: as marked, else UTF-8, else that of Windows."""
    with _bytes(path, packed=packed) as file:
        head = file.read(PIECE)
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _lines(file: IO[str]) -> Iterator[str]:
    size = 0
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        size += len(line)
        if len(line) == LONGEST_LINE or size > LARGEST_TEXT:
            limit = f"a line of {LONGEST_LINE}" if len(line) == LONGEST_LINE else LARGEST_TEXT
            msg = f"file: line {number}: more than {limit} characters"
            raise BadInputError(msg)
        yield line
