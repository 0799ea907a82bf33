"""Many rows in few statements: as many as one by one, in their order."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.store.many import insert_many

rows = st.lists(st.tuples(st.integers(0, 40), st.integers(-9, 9)), max_size=300)


def table() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)")
    return db


@given(rows)
def test_rows_are_those_of_one_by_one(given_rows: list[tuple[int, int]]) -> None:
    then = "ON CONFLICT (k) DO UPDATE SET v = 2 * v + excluded.v"
    many, single = table(), table()
    insert_many(many, "t", 2, iter(given_rows), then)
    single.executemany(f"INSERT INTO t VALUES (?,?) {then}", given_rows)  # noqa: S608 - ours
    query = "SELECT * FROM t ORDER BY k"
    assert many.execute(query).fetchall() == single.execute(query).fetchall()


def test_a_row_that_cannot_be_is_an_error() -> None:
    db = table()
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        insert_many(db, "t", 2, [(1, 1), (2, 2), (1, 3)])
