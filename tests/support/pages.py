"""Zero pages of a database file, as a dying card does."""

import contextlib
import sqlite3
from pathlib import Path


def leaves(path: Path, table: str) -> list[int]:
    """Return the pages that hold a table's rows, in the order of its keys; the root if it is one.

    Follows the b-tree of sqlite.org/fileformat2.html, section 1.6.
    """
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as db:
        db.execute("PRAGMA wal_checkpoint")  # what is still in the log is not in the file
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        root = int(db.execute(query, (table,)).fetchone()[0])
        size = int(db.execute("PRAGMA page_size").fetchone()[0])
    return _leaves(path.read_bytes(), root, size)


def _leaves(data: bytes, page: int, size: int) -> list[int]:
    start = (page - 1) * size
    header = start + (100 if page == 1 else 0)
    if data[header] in {10, 13}:  # a leaf of an index, of a table
        return [page]
    cells = int.from_bytes(data[header + 3 : header + 5], "big")
    found: list[int] = []
    for number in range(cells):
        at = header + 12 + 2 * number
        cell = start + int.from_bytes(data[at : at + 2], "big")
        found += _leaves(data, int.from_bytes(data[cell : cell + 4], "big"), size)
    return found + _leaves(data, int.from_bytes(data[header + 8 : header + 12], "big"), size)


def zero_pages(path: Path, pages: list[int]) -> None:
    """Overwrite pages with zeros, in the file itself."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        size = int(db.execute("PRAGMA page_size").fetchone()[0])
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(bytes(size))
