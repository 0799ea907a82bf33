"""The documents of a Firestore in memory: writes, preconditions, transactions, who is told."""

import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from google.cloud.firestore_v1 import types
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.firestore_values import (
    Document,
    Message,
    get_field,
    nanos,
    remove_field,
    set_field,
    split_path,
    transform,
)

if TYPE_CHECKING:
    from queue import Queue

WriteResult = types.WriteResult.pb()
MOST_BYTES = 1_048_576  # of a document (https://firebase.google.com/docs/firestore/quotas)
NAME_ROOM = 200  # the limit does not count the name's protocol overhead
CONTENTION = "Too much contention on these documents. Please try again."


class Refusal(Exception):  # noqa: N818 - not an error of the rig: an answer it gives
    """What the server answers instead: a gRPC status and its text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Stamps:
    """The server's clock: microseconds, strictly rising."""

    def __init__(self) -> None:
        self._last_us = 0
        self._lock = threading.Lock()

    def now(self) -> Timestamp:
        """Return a time later than any before."""
        with self._lock:
            self._last_us = max(self._last_us + 1, time.time_ns() // 1000)
            return Timestamp(seconds=self._last_us // 10**6, nanos=self._last_us % 10**6 * 1000)


@dataclass
class Transaction:
    """What a transaction has read: it may commit only while all of it still holds."""

    documents: dict[str, int | None] = field(default_factory=dict)  # name -> version
    collections: dict[str, int] = field(default_factory=dict)  # queried -> count of its writes


def collection_of(name: str) -> str:
    """Return the collection that a document lies in."""
    return name.rsplit("/", 1)[0]


def version_of(document: Message | None) -> int | None:
    """Return what changes with every write of a document."""
    return None if document is None else nanos(document.update_time)


class Store:
    """Everything under one lock; `subscribers` get the names of what each commit changed."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.stamps = Stamps()
        self.documents: dict[str, Message] = {}
        self.collections: dict[str, dict[str, Message]] = {}
        self.transactions: dict[bytes, Transaction] = {}
        self.subscribers: set[Queue[Message]] = set()
        self.writes = 0  # documents written or deleted, as a bill would count them
        self.order: list[str] = []  # their names, in the order of the commits
        self._changes: dict[str, int] = {}  # collection -> count of its writes

    # -- reading ----------------------------------------------------------------------------

    def begin(self) -> bytes:
        """Begin a transaction."""
        key = secrets.token_bytes(12)
        with self.lock:
            self.transactions[key] = Transaction()
        return key

    def read(self, transaction: bytes, name: str) -> Message | None:
        """Return a document, None where there is none."""
        with self.lock:
            found = self.documents.get(name)
            if transaction in self.transactions:
                self.transactions[transaction].documents[name] = version_of(found)
            return found

    def note_query(self, transaction: bytes, collections: Iterable[str]) -> None:
        """Note that a transaction depends on all of these collections."""
        with self.lock:
            if transaction in self.transactions:
                read = self.transactions[transaction].collections
                read.update({name: self._changes.get(name, 0) for name in collections})

    # -- writing ----------------------------------------------------------------------------

    def commit(
        self, writes: Sequence[Message], transaction: bytes = b""
    ) -> tuple[Timestamp, list[Message]]:
        """Carry out all writes or none; return the time and a result for each."""
        with self.lock:
            if transaction:
                self._expect_unchanged(transaction)
            now = self.stamps.now()
            overlay: dict[str, Message | None] = {}
            results = [self._apply(overlay, write, now) for write in writes]
            for name, document in overlay.items():
                self._put(name, document)
            self.writes += len(writes)
            self.order += overlay
            for subscriber in list(self.subscribers):
                subscriber.put(set(overlay))
        return now, results

    def _expect_unchanged(self, key: bytes) -> None:
        transaction = self.transactions.pop(key, None)
        if transaction is None:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "transaction closed or expired")
        held = all(
            version_of(self.documents.get(name)) == version
            for name, version in transaction.documents.items()
        ) and all(
            self._changes.get(name, 0) == count for name, count in transaction.collections.items()
        )
        if not held:
            raise Refusal(grpc.StatusCode.ABORTED, CONTENTION)

    def _put(self, name: str, document: Message | None) -> None:
        collection = collection_of(name)
        own = self.collections.setdefault(collection, {})
        if document is None:
            self.documents.pop(name, None)
            own.pop(name, None)
        else:
            self.documents[name] = own[name] = document
        if not own:
            del self.collections[collection]
        self._changes[collection] = self._changes.get(collection, 0) + 1

    def _apply(self, overlay: dict[str, Message | None], write: Message, now: Timestamp) -> Message:
        operation = write.WhichOneof("operation")
        name = {
            "delete": write.delete,
            "update": write.update.name,
            "transform": write.transform.document,
        }[operation]
        known = overlay[name] if name in overlay else self.documents.get(name)
        check_precondition(write.current_document, known, name)
        if operation == "delete":
            overlay[name] = None
            return WriteResult()
        document = Document(name=name, update_time=now)
        document.create_time.CopyFrom(now if known is None else known.create_time)
        fill(document, known, write, operation)
        result = WriteResult(update_time=now)
        orders = (
            write.transform.field_transforms if operation == "transform"
            else write.update_transforms
        )  # fmt: skip
        for order in orders:
            path = split_path(order.field_path)
            value, told = transform(get_field(document.fields, path), order, now)
            set_field(document.fields, path, value)
            result.transform_results.add().CopyFrom(told)
        if document.ByteSize() > MOST_BYTES + NAME_ROOM:
            text = f"Document '{name}' exceeds the maximum allowed size of {MOST_BYTES} bytes."
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
        overlay[name] = document
        return result


def check_precondition(wanted: Message, known: Message | None, name: str) -> None:
    """Refuse a write whose condition does not hold."""
    kind = wanted.WhichOneof("condition_type")
    if kind == "exists" and wanted.exists and known is None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"No document to update: {name}")
    if kind == "exists" and not wanted.exists and known is not None:
        raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"Document already exists: {name}")
    if kind == "update_time" and version_of(known) != nanos(wanted.update_time):
        text = "the stored version does not match the required base version"
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, text)


def fill(document: Message, known: Message | None, write: Message, operation: str) -> None:
    """Give a document its fields: all anew, or what the mask names over what was there."""
    if operation != "transform" and not write.HasField("update_mask"):
        _copy(document, write.update.fields)
        return
    if known is not None:
        _copy(document, known.fields)
    for masked in write.update_mask.field_paths:
        path = split_path(masked)
        value = get_field(write.update.fields, path)
        if value is None:
            remove_field(document.fields, path)
        else:
            set_field(document.fields, path, value)


def _copy(document: Message, fields: Mapping[str, Message]) -> None:
    for name, value in fields.items():
        document.fields[name].CopyFrom(value)
