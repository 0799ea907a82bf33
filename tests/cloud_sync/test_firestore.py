"""What a Firestore does with documents: holds for the rig as for Google's emulator.

Point FIRESTORE_EMULATOR_HOST at another server to run the suite against that.
"""

import datetime as dt
import os
import threading
import time
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore import CollectionReference

from tests.cloud_sync.conftest import OUTSIDE

Collection = CollectionReference
CALL: dict[str, Any] = {"timeout": 10, "retry": None}


def ids(query: Any) -> list[str]:  # noqa: ANN401 - queries and collections alike
    return [snapshot.id for snapshot in query.stream(**CALL)]


# -- documents -------------------------------------------------------------------------------


def test_what_is_set_is_read_back(collection: Collection) -> None:
    fields = {"x": 1, "y": 1.5, "s": "é", "b": True, "n": None}
    reference = collection.document("a")
    reference.set(fields)
    found = reference.get()
    assert found.to_dict() == fields
    assert found.create_time
    assert found.update_time


def test_a_missing_document_does_not_exist(collection: Collection) -> None:
    assert collection.document("none").get().exists is False


def test_set_replaces_the_whole_document(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"x": 1, "y": 2})
    reference.set({"x": 3})
    assert reference.get().to_dict() == {"x": 3}


def test_set_with_merge_keeps_other_fields(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"x": 1, "m": {"p": 1}})
    reference.set({"y": 2, "m": {"q": 2}}, merge=True)
    assert reference.get().to_dict() == {"x": 1, "y": 2, "m": {"p": 1, "q": 2}}


def test_update_takes_paths_into_maps(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"m": {"p": 1, "q": 2}})
    reference.update({"m.p": 9})
    assert reference.get().to_dict() == {"m": {"p": 9, "q": 2}}


def test_update_of_a_missing_document_is_refused(collection: Collection) -> None:
    with pytest.raises(exceptions.NotFound):
        collection.document("a").update({"x": 1})


def test_a_field_is_deleted(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"x": 1, "y": 2})
    reference.update({"y": firestore.DELETE_FIELD})
    assert reference.get().to_dict() == {"x": 1}


def test_a_document_is_deleted_and_once_more(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"x": 1})
    reference.delete()
    assert not reference.get().exists
    reference.delete()


def test_create_is_refused_the_second_time(collection: Collection) -> None:
    reference = collection.document("a")
    reference.create({"x": 1})
    with pytest.raises(exceptions.AlreadyExists):
        reference.create({"x": 1})


def test_create_works_again_after_delete(collection: Collection) -> None:
    reference = collection.document("a")
    reference.create({"x": 1})
    reference.delete()
    reference.create({"x": 2})
    assert reference.get().to_dict() == {"x": 2}


def test_add_chooses_an_id(collection: Collection) -> None:
    collection.add({"x": 1})
    assert len(ids(collection)) == 1


def test_a_stale_version_is_refused(db: firestore.Client, collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"x": 1})
    known = reference.get().update_time
    reference.set({"x": 2})
    with pytest.raises(exceptions.FailedPrecondition):
        reference.update({"x": 3}, option=db.write_option(last_update_time=known))
    assert reference.get().to_dict() == {"x": 2}


def test_values_of_all_kinds_keep_their_kind(collection: Collection) -> None:
    reference = collection.document("a")
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    fields = {
        "m": {"a": {"b": {"c": [1, {"z": b"x"}]}}},
        "g": firestore.GeoPoint(1.5, 2.5),
        "r": collection.document("b"),
        "t": at,
        "large": 2**62 + 1,
        "negative": -5,
        "infinite": float("inf"),
        "bytes": bytes(range(256)) * 4,
    }
    reference.set(fields)
    found = reference.get().to_dict() or {}
    assert {name: found.get(name) for name in fields} == fields


def test_a_large_document_fits_and_a_larger_one_does_not(collection: Collection) -> None:
    reference = collection.document("a")
    content = os.urandom(900_000)
    reference.set({"b": content}, **CALL)
    assert reference.get(timeout=10).get("b") == content
    with pytest.raises(exceptions.InvalidArgument):
        reference.set({"b": os.urandom(1_200_000)}, **CALL)


# -- batches and transactions ----------------------------------------------------------------


def test_a_batch_of_500_is_written(db: firestore.Client, collection: Collection) -> None:
    batch = db.batch()
    for number in range(500):
        batch.set(collection.document(f"{number:05d}"), {"i": number})
    batch.commit(timeout=20)
    assert len(ids(collection)) == 500


def test_a_batch_is_written_whole_or_not_at_all(
    db: firestore.Client, collection: Collection
) -> None:
    collection.document("there").set({"x": 1})
    batch = db.batch()
    batch.set(collection.document("new"), {"x": 1})
    batch.create(collection.document("there"), {"x": 2})
    with pytest.raises(exceptions.AlreadyExists):
        batch.commit()
    assert not collection.document("new").get().exists


@pytest.mark.skipif(OUTSIDE is not None, reason="Google's emulator takes 4 MB; Firestore takes 10")
def test_a_request_of_8_megabytes_is_taken(db: firestore.Client, collection: Collection) -> None:
    batch = db.batch()
    for number in range(9):
        batch.set(collection.document(str(number)), {"b": os.urandom(900_000)})
    batch.commit(timeout=20, retry=None)
    assert len(ids(collection.select([]))) == 9


def test_a_transaction_reads_and_writes(db: firestore.Client, collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"n": 1})

    @firestore.transactional
    def rise(transaction: firestore.Transaction) -> None:
        known = reference.get(transaction=transaction).get("n")
        transaction.update(reference, {"n": known + 1})

    rise(db.transaction())
    assert reference.get().get("n") == 2


def test_transactions_side_by_side_lose_nothing(
    db: firestore.Client, collection: Collection
) -> None:
    reference = collection.document("a")
    reference.set({"n": 0})

    @firestore.transactional
    def rise(transaction: firestore.Transaction) -> None:
        known = reference.get(transaction=transaction).get("n")
        time.sleep(0.02)
        transaction.update(reference, {"n": known + 1})

    def work() -> None:
        for _ in range(2):
            rise(db.transaction(max_attempts=30))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert reference.get().get("n") == 6


def test_a_transaction_may_query(db: firestore.Client, collection: Collection) -> None:
    collection.document("a").set({"n": 1})

    @firestore.transactional
    def look(transaction: firestore.Transaction) -> list[str]:
        query = collection.where(filter=firestore.FieldFilter("n", "==", 1))
        return [snapshot.id for snapshot in transaction.get(query)]

    assert look(db.transaction()) == ["a"]


def test_a_bulk_writer_writes_all(db: firestore.Client, collection: Collection) -> None:
    writer = db.bulk_writer()
    for number in range(50):
        writer.create(collection.document(str(number)), {"i": number})
    writer.close()  # type: ignore[no-untyped-call]
    assert len(ids(collection)) == 50


# -- transforms ------------------------------------------------------------------------------


def test_the_servers_time_is_now(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"t": firestore.SERVER_TIMESTAMP, "m": {"t": firestore.SERVER_TIMESTAMP, "k": 1}})
    found = reference.get().to_dict() or {}
    assert abs((found["t"] - dt.datetime.now(dt.UTC)).total_seconds()) < 60
    assert found["m"] == {"t": found["t"], "k": 1}


def test_several_transforms_in_one_write(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set(
        {
            "t": firestore.SERVER_TIMESTAMP,
            "n": firestore.Increment(2),
            "a": firestore.ArrayUnion([1]),
        }
    )
    found = reference.get().to_dict() or {}
    assert set(found) == {"t", "n", "a"}
    assert (found["n"], found["a"]) == (2, [1])


def test_increments_add_integers_and_fractions(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"n": 1})
    result = reference.update({"n": firestore.Increment(2)})
    assert len(result.transform_results) == 1
    reference.update({"n": firestore.Increment(0.5)})
    assert reference.get().get("n") == 3.5


def test_array_union_and_remove(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"a": [1, 2]})
    reference.update({"a": firestore.ArrayUnion([2, 3]), "b": firestore.ArrayUnion([2, 3])})
    assert reference.get().to_dict() == {"a": [1, 2, 3], "b": [2, 3]}
    reference.update({"a": firestore.ArrayRemove([2])})
    assert reference.get().get("a") == [1, 3]


# -- listing ---------------------------------------------------------------------------------


def test_several_documents_at_once(db: firestore.Client, collection: Collection) -> None:
    collection.document("a").set({"x": 1})
    wanted = [collection.document("a"), collection.document("none")]
    found = {snapshot.id: snapshot.exists for snapshot in db.get_all(wanted)}
    assert found == {"a": True, "none": False}


def test_collections_below_a_document(db: firestore.Client, collection: Collection) -> None:
    group = f"{collection.id}_group"
    for name in "ab":
        collection.document(name).set({"x": 1})
        collection.document(name).collection(group).document(f"x{name}").set({"v": 1})
    assert [found.id for found in collection.document("a").collections(**CALL)] == [group]
    assert [found.id for found in collection.list_documents(**CALL)] == ["a", "b"]
    assert sorted(ids(db.collection_group(group))) == ["xa", "xb"]


def test_a_whole_collection_is_deleted(db: firestore.Client, collection: Collection) -> None:
    for number in range(3):
        collection.document(str(number)).set({"x": number})
    db.recursive_delete(collection)
    assert ids(collection) == []


# -- listening -------------------------------------------------------------------------------


class Heard:
    """Collects what a listener is told, and waits for it."""

    def __init__(self) -> None:
        self.states: list[list[dict[str, Any] | None]] = []
        self.changes: list[tuple[str, str]] = []
        self._news = threading.Condition()

    def __call__(self, documents: list[Any], changes: list[Any], _: object) -> None:
        with self._news:
            self.states.append([document.to_dict() for document in documents])
            self.changes += [(change.type.name, change.document.id) for change in changes]
            self._news.notify_all()

    def wait(self, change: tuple[str, str] | None = None, state: object = None) -> None:
        """Block until a change or a state was told."""
        with self._news:
            assert self._news.wait_for(
                lambda: (change in self.changes) if change else (state in self.states), 15
            ), (self.changes, self.states)


def test_a_document_is_listened_to(collection: Collection) -> None:
    reference = collection.document("a")
    reference.set({"x": 0})
    heard = Heard()
    watch = reference.on_snapshot(heard)
    heard.wait(state=[{"x": 0}])
    reference.set({"x": 1})
    heard.wait(state=[{"x": 1}])
    watch.unsubscribe()  # type: ignore[no-untyped-call]


def test_a_query_tells_what_comes_into_it_and_leaves_it(collection: Collection) -> None:
    heard = Heard()
    query = collection.where(filter=firestore.FieldFilter("s", "==", "new"))
    watch = query.on_snapshot(heard)
    heard.wait(state=[])
    collection.document("a").set({"s": "new"})
    heard.wait(("ADDED", "a"))
    collection.document("a").set({"s": "new", "x": 1})
    heard.wait(("MODIFIED", "a"))
    collection.document("a").update({"s": "done"})
    heard.wait(("REMOVED", "a"))
    watch.unsubscribe()  # type: ignore[no-untyped-call]


def test_a_deleted_document_leaves_its_collection(collection: Collection) -> None:
    collection.document("a").set({"x": 1})
    heard = Heard()
    watch = collection.on_snapshot(heard)
    heard.wait(("ADDED", "a"))
    collection.document("a").delete()
    heard.wait(("REMOVED", "a"))
    watch.unsubscribe()  # type: ignore[no-untyped-call]
