"""Queries, as Firestore answers them: against the rig, or what FIRESTORE_EMULATOR_HOST names."""

import datetime as dt
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore import And, CollectionReference, FieldFilter, Or

Collection = CollectionReference
CALL: dict[str, Any] = {"timeout": 10, "retry": None}
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def ids(query: Any) -> list[str]:  # noqa: ANN401 - queries and collections alike
    return [snapshot.id for snapshot in query.stream(**CALL)]


@pytest.fixture(scope="module")
def ten(db: firestore.Client) -> Collection:
    """Give ten documents d0 … d9."""
    collection = db.collection("ten")
    for i in range(10):
        collection.document(f"d{i}").set(
            {
                "i": i,
                "g": "a" if i % 2 else "b",
                "tags": [f"t{i % 3}"],
                "at": EPOCH + dt.timedelta(seconds=i),
                "m": {"v": i},
            }
        )
    return collection


def where(collection: Collection, *condition: Any) -> Any:  # noqa: ANN401
    return collection.where(filter=FieldFilter(*condition))


def test_equality_also_in_maps(ten: Collection) -> None:
    assert ids(where(ten, "i", "==", 3)) == ["d3"]
    assert ids(where(ten, "m.v", "==", 3)) == ["d3"]


def test_ranges_with_order_and_limit(ten: Collection) -> None:
    query = where(ten, "i", ">=", 3).order_by("i", direction="DESCENDING").limit(2)
    assert ids(query) == ["d9", "d8"]


def test_ranges_of_times(ten: Collection) -> None:
    query = where(ten, "at", ">", EPOCH + dt.timedelta(seconds=7)).order_by("at")
    assert ids(query) == ["d8", "d9"]


def test_one_of_several_values(ten: Collection) -> None:
    assert sorted(ids(where(ten, "i", "in", [1, 2]))) == ["d1", "d2"]
    assert sorted(ids(where(ten, "tags", "array_contains", "t1"))) == ["d1", "d4", "d7"]


def test_alternatives(ten: Collection) -> None:
    late = And([FieldFilter("i", ">", 7), FieldFilter("g", "==", "a")])
    assert sorted(ids(ten.where(filter=Or([FieldFilter("i", "==", 1), late])))) == ["d1", "d9"]


def test_several_conditions(ten: Collection) -> None:
    query = where(where(ten, "g", "==", "a"), "i", ">", 2).order_by("i")
    assert ids(query) == ["d3", "d5", "d7", "d9"]


def test_an_order_leaves_out_what_lacks_its_field(collection: Collection) -> None:
    collection.document("a").set({"i": 1})
    collection.document("b").set({"j": 1})
    assert ids(collection.order_by("i")) == ["a"]


def test_by_name_unless_told_otherwise(collection: Collection) -> None:
    for name in "cab":
        collection.document(name).set({"x": 1})
    assert ids(collection) == ["a", "b", "c"]
    assert ids(collection.order_by("__name__")) == ["a", "b", "c"]
    assert ids(where(collection, "__name__", ">=", collection.document("b"))) == ["b", "c"]


def test_limit_to_last(ten: Collection) -> None:
    assert [found.id for found in ten.order_by("i").limit_to_last(2).get()] == ["d8", "d9"]


def test_cursors(ten: Collection) -> None:
    assert ids(ten.order_by("i").start_after({"i": 3}).limit(2)) == ["d4", "d5"]
    assert ids(ten.order_by("i").end_at({"i": 1})) == ["d0", "d1"]
    five = ten.document("d5").get()
    assert ids(ten.order_by("i").start_at(five).limit(2)) == ["d5", "d6"]


def test_offset(ten: Collection) -> None:
    assert ids(ten.order_by("i").offset(8)) == ["d8", "d9"]


def test_chosen_fields(ten: Collection) -> None:
    query = where(ten, "i", "==", 3).select(["i"])
    assert [found.to_dict() for found in query.stream(**CALL)] == [{"i": 3}]


def test_counts_sums_and_means(ten: Collection) -> None:
    assert where(ten, "g", "==", "a").count().get()[0][0].value == 5
    assert ten.sum("i", alias="s").get()[0][0].value == 45
    assert ten.avg("i", alias="s").get()[0][0].value == 4.5


async def test_the_asynchronous_client(
    db: firestore.Client, firestore_host: str, collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_host)
    client = firestore.AsyncClient(project=db.project, credentials=AnonymousCredentials())
    own = client.collection(collection.id)
    batch = client.batch()
    for number in range(100):
        batch.set(own.document(str(number)), {"i": number})
    await batch.commit()
    query = own.where(filter=FieldFilter("i", "<", 10))
    assert len([found async for found in query.stream()]) == 10

    @firestore.async_transactional
    async def rise(transaction: firestore.AsyncTransaction) -> None:
        known = await own.document("1").get(transaction=transaction)
        transaction.update(own.document("1"), {"i": known.get("i") + 100})

    await rise(client.transaction())
    assert (await own.document("1").get()).get("i") == 101
    client.close()  # type: ignore[no-untyped-call]
