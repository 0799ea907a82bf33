"""A Firestore on loopback: the published gRPC protocol over documents in memory.

Clients find it by FIRESTORE_EMULATOR_HOST. What it must show is tests/cloud_sync/test_firestore.py,
which runs against Google's own emulator too. It evaluates no security rules and asks for no index.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from queue import Queue
from typing import NamedTuple, Self

import grpc
from google.cloud.firestore_v1 import types
from google.protobuf import empty_pb2

from tests.support.certificates import ServerFiles
from tests.support.firestore_listen import listen
from tests.support.firestore_query import aggregate, collections_of, run_query
from tests.support.firestore_store import Refusal, Store
from tests.support.firestore_values import Message

SERVICE = "google.firestore.v1.Firestore"
THREADS = 64
MOST_REQUEST_BYTES = 10 << 20
MOST_ANSWER_BYTES = 64 << 20
PAGE = 100
UNARY = (
    "GetDocument", "ListDocuments", "ListCollectionIds", "BeginTransaction", "Rollback", "Commit",
    "BatchWrite",
)  # fmt: skip
STREAMS = ("BatchGetDocuments", "RunQuery", "RunAggregationQuery")


def message(name: str) -> Message:
    """Return the plain protobuf class of a message."""
    return getattr(types, name).pb()


def snake(name: str) -> str:
    """Return RunQuery as run_query."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


class Fault(NamedTuple):
    """An answer to give instead, `times` over: of a method, or of any (`*`).

    `code` OK only delays; `applied` true: the call is carried out and its answer lost.
    """

    method: str
    code: grpc.StatusCode
    times: int = 1
    delay_s: float = 0.0
    applied: bool = False


@dataclass
class Faults:
    """The faults to come, first ones first."""

    def __post_init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._coming: list[Fault] = []
        self.given = 0

    def add(self, *faults: Fault) -> None:
        """Have faults happen after those that are waiting."""
        with self._lock:
            self._coming += faults

    def clear(self) -> None:
        """Let everything work again."""
        with self._lock:
            self._coming.clear()

    def next(self, method: str) -> Fault | None:
        """Return the fault of this call, None where it works."""
        with self._lock:
            for place, fault in enumerate(self._coming):
                if fault.method in (method, "*"):
                    self.given += 1
                    if fault.times > 1:
                        self._coming[place] = fault._replace(times=fault.times - 1)
                    else:
                        del self._coming[place]
                    return fault
        return None


class Service:
    """The methods of the protocol, in snake case."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def get_document(self, request: Message) -> Message:
        document = self.store.read(request.transaction, request.name)
        if document is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"{request.name} not found")
        return document

    def list_documents(self, request: Message) -> Message:
        collection = f"{request.parent}/{request.collection_id}"
        answer = message("ListDocumentsResponse")()
        with self.store.lock:
            names = set(self.store.collections.get(collection, {}))
            if request.show_missing:  # parents of documents that are none themselves
                below = collection + "/"
                names |= {
                    below + name[len(below) :].split("/")[0]
                    for name in self.store.documents
                    if name.startswith(below)
                }
            rest = sorted(name for name in names if name > request.page_token)
            size = request.page_size or PAGE
            for name in rest[:size]:
                found = self.store.documents.get(name)
                answer.documents.add().CopyFrom(found or message("Document")(name=name))
            if len(rest) > size:
                answer.next_page_token = rest[size - 1]
        return answer

    def list_collection_ids(self, request: Message) -> Message:
        below = request.parent + "/"
        with self.store.lock:
            ids = {
                name[len(below) :].split("/")[0]
                for name in self.store.documents
                if name.startswith(below)
            }
        return message("ListCollectionIdsResponse")(collection_ids=sorted(ids))

    def batch_get_documents(self, request: Message) -> Iterator[Message]:
        response = message("BatchGetDocumentsResponse")
        now, transaction = self.store.stamps.now(), request.transaction
        if request.HasField("new_transaction"):
            transaction = self.store.begin()
            yield response(transaction=transaction, read_time=now)
        for name in request.documents:
            found = self.store.read(transaction, name)
            if found is None:
                yield response(missing=name, read_time=now)
            else:
                yield response(found=found, read_time=now)

    def begin_transaction(self, _: Message) -> Message:
        return message("BeginTransactionResponse")(transaction=self.store.begin())

    def rollback(self, request: Message) -> Message:
        self.store.transactions.pop(request.transaction, None)
        return empty_pb2.Empty()

    def commit(self, request: Message) -> Message:
        now, results = self.store.commit(request.writes, request.transaction)
        return message("CommitResponse")(write_results=results, commit_time=now)

    def batch_write(self, request: Message) -> Message:
        answer = message("BatchWriteResponse")()
        for write in request.writes:
            try:
                _, results = self.store.commit([write])
            except Refusal as refusal:
                answer.write_results.add()
                answer.status.add(code=refusal.code.value[0], message=refusal.text)
            else:
                answer.write_results.add().CopyFrom(results[0])
                answer.status.add()
        return answer

    def run_query(self, request: Message) -> Iterator[Message]:
        response, query = message("RunQueryResponse"), request.structured_query
        begun = self._note_query(request, query)
        now = self.store.stamps.now()
        found = run_query(self.store, request.parent, query)
        if not found:
            yield response(read_time=now, transaction=begun)
        for document in found:
            yield response(document=document, read_time=now, transaction=begun)
            begun = b""

    def run_aggregation_query(self, request: Message) -> Iterator[Message]:
        order = request.structured_aggregation_query
        self._note_query(request, order.structured_query)
        found = run_query(self.store, request.parent, order.structured_query)
        answer = message("RunAggregationQueryResponse")(read_time=self.store.stamps.now())
        for aggregation in order.aggregations:
            aggregate(found, aggregation, answer.result.aggregate_fields[aggregation.alias])
        yield answer

    def _note_query(self, request: Message, query: Message) -> bytes:
        """Return the transaction that the query begins, b"" where it begins none."""
        begins = request.HasField("new_transaction")
        transaction = self.store.begin() if begins else request.transaction
        self.store.note_query(transaction, collections_of(self.store, request.parent, query))
        return transaction if begins else b""


class FirestoreRig:
    """The server; a context manager. `host` is for FIRESTORE_EMULATOR_HOST.

    With `tls` it takes only callers that speak TLS, as Google does.
    """

    def __init__(self, port: int = 0, tls: ServerFiles | None = None) -> None:
        self.store = Store()
        self.faults = Faults()
        self.calls: dict[str, int] = {}
        self._service = Service(self.store)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(THREADS),
            options=[
                ("grpc.max_receive_message_length", MOST_REQUEST_BYTES),
                ("grpc.max_send_message_length", MOST_ANSWER_BYTES),
                ("grpc.so_reuseport", 0),
            ],
        )
        handlers = grpc.method_handlers_generic_handler(SERVICE, self._handlers())
        self._server.add_generic_rpc_handlers((handlers,))
        address = f"127.0.0.1:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))

    @property
    def host(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0.2).wait(2)

    def wait(self) -> None:
        """Serve until the process is ended."""
        self._server.wait_for_termination()

    def _handlers(self) -> dict[str, Message]:
        handlers: dict[str, Message] = {}
        for name in UNARY:
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                self._unary(name), message(f"{name}Request").FromString, _to_bytes
            )
        for name in STREAMS:
            handlers[name] = grpc.unary_stream_rpc_method_handler(
                self._stream(name), message(f"{name}Request").FromString, _to_bytes
            )
        handlers["Listen"] = grpc.stream_stream_rpc_method_handler(
            self._listen, message("ListenRequest").FromString, _to_bytes
        )
        return handlers

    def _begin(self, name: str, context: Message) -> Fault | None:
        """Count a call and delay or refuse it where a fault says so; return a lost answer."""
        self.calls[name] = self.calls.get(name, 0) + 1
        fault = self.faults.next(name)
        if fault is None:
            return None
        time.sleep(fault.delay_s)
        if fault.code is grpc.StatusCode.OK:
            return None
        if not fault.applied:
            context.abort(fault.code, "injected")
        return fault

    def _unary(self, name: str) -> Callable[[Message, Message], Message]:
        method: Callable[[Message], Message] = getattr(self._service, snake(name))

        def call(request: Message, context: Message) -> Message:
            lost = self._begin(name, context)
            try:
                answer = method(request)
            except Refusal as refusal:
                return context.abort(refusal.code, refusal.text)
            return answer if lost is None else context.abort(lost.code, "answer lost")

        return call

    def _stream(self, name: str) -> Callable[[Message, Message], Iterator[Message]]:
        method: Callable[[Message], Iterator[Message]] = getattr(self._service, snake(name))

        def call(request: Message, context: Message) -> Iterator[Message]:
            self._begin(name, context)
            try:
                yield from method(request)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.text)

        return call

    def _listen(self, requests: Iterator[Message], context: Message) -> Iterator[Message]:
        self._begin("Listen", context)
        inbox: Queue[Message] = Queue()
        context.add_callback(lambda: inbox.put(None))  # the client has gone
        try:
            yield from listen(self.store, requests, inbox)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.text)


def _to_bytes(answer: Message) -> bytes:
    return bytes(answer.SerializeToString())
