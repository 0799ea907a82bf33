"""Listening to documents and queries, as the rig's Firestore answers it."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from queue import Queue

import grpc
from google.cloud.firestore_v1 import types

from tests.support.firestore_query import run_query
from tests.support.firestore_store import Store, version_of
from tests.support.firestore_values import Message

Response = types.ListenResponse.pb()
ChangeType = types.TargetChange.TargetChangeType
tokens = itertools.count(1)


class Target:
    """One thing that is listened to, and what its listener knows of it."""

    def __init__(self, order: Message) -> None:
        self.id = order.target_id or 1
        self._order = order
        self.known: dict[str, Message] = {}

    def look(self, store: Store) -> dict[str, Message]:
        """Return what it shows now."""
        with store.lock:
            if self._order.WhichOneof("target_type") == "query":
                query = self._order.query
                found = run_query(store, query.parent, query.structured_query)
                return {document.name: document for document in found}
            names = self._order.documents.documents
            return {name: store.documents[name] for name in names if name in store.documents}

    def missing(self) -> list[str]:
        """Return documents that are listened to by name and do not exist."""
        if self._order.WhichOneof("target_type") == "query":
            return []
        return [name for name in self._order.documents.documents if name not in self.known]


def listen(store: Store, requests: Iterator[Message], inbox: Queue[Message]) -> Iterator[Message]:
    """Answer a stream of targets until the client has gone; `inbox` gets None then."""
    store.subscribers.add(inbox)
    threading.Thread(target=_forward, args=(requests, inbox), daemon=True).start()
    targets: dict[int, Target] = {}
    try:
        while (news := inbox.get()) is not None:
            if isinstance(news, set):
                for target in list(targets.values()):
                    yield from _changes(store, target)
            elif news.WhichOneof("target_change") == "add_target":
                target = Target(news.add_target)
                targets[target.id] = target
                yield from _first(store, target)
            else:
                targets.pop(news.remove_target, None)
                yield _told(ChangeType.REMOVE, news.remove_target)
    finally:
        store.subscribers.discard(inbox)


def _forward(requests: Iterator[Message], inbox: Queue[Message]) -> None:
    with contextlib.suppress(grpc.RpcError):  # the client has gone
        for request in requests:
            inbox.put(request)
    inbox.put(None)


def _told(kind: int, target: int, **more: Message) -> Message:
    return Response(target_change={"target_change_type": int(kind), "target_ids": [target], **more})


def _consistent(store: Store) -> Message:
    """Tell that all so far belongs to one moment."""
    token = str(next(tokens)).encode()
    now = store.stamps.now()
    return Response(
        target_change={
            "target_change_type": int(ChangeType.NO_CHANGE),
            "read_time": now,
            "resume_token": token,
        }
    )


def _first(store: Store, target: Target) -> Iterator[Message]:
    target.known = target.look(store)
    yield _told(ChangeType.ADD, target.id)
    for document in target.known.values():
        yield Response(document_change={"document": document, "target_ids": [target.id]})
    for name in target.missing():
        yield _gone(store, "document_delete", name, target.id)
    token = str(next(tokens)).encode()
    now = store.stamps.now()
    yield _told(ChangeType.CURRENT, target.id, read_time=now, resume_token=token)
    yield _consistent(store)


def _gone(store: Store, how: str, name: str, target: int) -> Message:
    told = {"document": name, "removed_target_ids": [target], "read_time": store.stamps.now()}
    return Response(**{how: told})


def _changes(store: Store, target: Target) -> Iterator[Message]:
    """Tell what has changed since this target was looked at last."""
    before, after = target.known, target.look(store)
    target.known = after
    changed = False
    for name in before.keys() - after.keys():
        changed = True
        how = "document_remove" if name in store.documents else "document_delete"
        yield _gone(store, how, name, target.id)
    for name, document in after.items():
        if version_of(before.get(name)) != version_of(document):
            changed = True
            yield Response(document_change={"document": document, "target_ids": [target.id]})
    if changed:
        yield _consistent(store)
