"""Who is looking at a meter from afar: short leases that a viewer's app renews.

A lease is a document below sites/<site>/leases with `meter` and `ttl_s`. How old it is, only the
cloud's own clock says (the time of the snapshot less the document's), so that neither a phone's
clock nor the gateway's can stretch it.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from cloud_sync.firebase_app import disconnect

if TYPE_CHECKING:
    from google.cloud.firestore import Client

log = structlog.get_logger()
LONGEST_S = 120.0
RESTART_S = 60.0


class LeaseBook:
    """Satisfies `Leases`: what is held until when, by the monotonic clock; safe in threads."""

    def __init__(self, mono_s: Callable[[], float] = time.monotonic) -> None:
        self._mono_s = mono_s
        self._until_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, meter: object, ttl_s: object, age_s: float) -> None:
        """Note a lease that is `age_s` old; what makes no sense is ignored."""
        if not isinstance(meter, str) or not isinstance(ttl_s, int | float):
            return
        left_s = min(float(ttl_s), LONGEST_S) - max(0.0, age_s)
        if left_s > 0:
            with self._lock:
                until_s = self._mono_s() + left_s
                self._until_s[meter] = max(until_s, self._until_s.get(meter, 0.0))

    def active(self) -> set[str]:
        """Return the ids of meters that somebody holds a lease on."""
        now_s = self._mono_s()
        with self._lock:
            self._until_s = {m: until_s for m, until_s in self._until_s.items() if until_s > now_s}
            return set(self._until_s)


class FirestoreLeases:
    """Keeps a `LeaseBook` up to date from Firestore. All methods may block: call in a thread."""

    def __init__(self, connect: "Callable[[], Client]", site: str, book: LeaseBook) -> None:
        self._connect = connect
        self._site = site
        self._book = book
        self._client: Client | None = None
        self._watch: Any = None
        self._began_s = float("-inf")

    def keep(self) -> None:
        """Begin to listen, or begin anew where listening has ended."""
        if self._watch is not None and self._watch.is_active:
            return
        if time.monotonic() - self._began_s < RESTART_S:
            return
        self._began_s = time.monotonic()
        self.close()
        self._client = self._connect()
        leases = self._client.collection(f"sites/{self._site}/leases")
        self._watch = leases.on_snapshot(self._changed)

    def _changed(self, _: object, changes: list[Any], read_time: datetime) -> None:
        for change in changes:
            if change.type.name == "REMOVED":
                continue
            document = change.document
            fields = document.to_dict() or {}
            age_s = (read_time - document.update_time).total_seconds()
            self._book.take(fields.get("meter"), fields.get("ttl_s"), age_s)

    def close(self) -> None:
        """Stop listening."""
        if self._watch is not None:
            self._watch.unsubscribe()
            self._watch = None
        if self._client is not None:
            disconnect(self._client)
            self._client = None
