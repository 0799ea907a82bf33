"""The site's tree: kept with a version, and shown with how each place is."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.domain.errors import BadInputError, ConflictError
from gateway.services.deriving import Deriver
from gateway.services.site_state import Seen, places_of
from gateway.services.site_tree import node_json, read_nodes
from gateway.services.views import LONGEST_PAGE, Views

Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
TREE = "site_tree"


class DocumentStore(Protocol):
    """Keeps JSON documents, each with a version that rises by one. All raise StorageError."""

    async def document(self, key: str) -> tuple[int, object] | None:
        """Return (version, content), None where nothing was kept."""

    async def put_document(self, key: str, content: object, *, after: int | None) -> int | None:
        """Keep a document and return its version; None where `after` is not the one that is kept.

        `after` 0 = nothing was kept yet; None = whatever is there.
        """


class Sites:
    """The use cases."""

    def __init__(self, store: DocumentStore, views: Views, deriver: Deriver) -> None:
        self._store = store
        self._views = views
        self._deriver = deriver

    async def tree(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002 - one shape
        """Return the tree; version 0 is the empty one of the beginning."""
        kept = await self._store.document(TREE)
        version, nodes = (0, []) if kept is None else kept
        return {"nodes": nodes, "version": version}

    async def draw(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002
        """Replace the tree {nodes, version}; ConflictError where it was changed meanwhile."""
        before = args.get("version")
        if type(before) is not int or before < 0:
            msg = "version: must be the one that was read"
            raise BadInputError(msg)
        nodes = [node_json(node) for node in read_nodes(args.get("nodes"))]
        version = await self._store.put_document(TREE, nodes, after=before)
        if version is None:
            msg = "version: somebody else has changed the tree since; read it again"
            raise ConflictError(msg)
        return {"nodes": nodes, "version": version}

    async def state(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002
        """Return how each node is, in the tree's order."""
        kept = await self._store.document(TREE)
        nodes = [] if kept is None else read_nodes(kept[1])
        alerts = self._deriver.desk.book.open_alerts
        places = places_of(nodes, await self._seen(), alerts)
        items = [
            {
                "id": node.id, "state": place.state.value, "p_w": place.power_w,
                "children_p_w": place.children_w, "difference_w": place.difference_w,
                "at_ms": place.at_ms,
            }
            for node in nodes
            for place in (places[node.id],)
        ]  # fmt: skip
        return {"items": items, "next": None}

    async def _seen(self) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        cursor: str | None = None
        while True:
            page = await self._views.list_meters(cursor, LONGEST_PAGE)
            for view in page.items:
                online = view.online or view.info.recorded
                found[view.info.id] = Seen(view.info, online, view.last)
            if page.next is None:
                return found
            cursor = page.next

    def reading(self) -> dict[str, Operation]:
        """Return what changes nothing."""
        return {"site.tree": self.tree, "site.state": self.state}

    def changing(self) -> dict[str, Operation]:
        """Return what is to be audited."""
        return {"site.draw": self.draw}
