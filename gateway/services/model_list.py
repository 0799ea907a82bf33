"""Which models are in use, on the gateway and in the meters."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.services.views import LONGEST_PAGE, Views

Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
CHAMPION, FALLBACK = "champion", "fallback"


class ModelListing:
    """The use case."""

    def __init__(
        self, views: Views, elsewhere: Callable[[], list[dict[str, object]]] | None = None
    ) -> None:
        """`elsewhere` gives the models that came from the repository."""
        self._views = views
        self._elsewhere = elsewhere or list

    async def list_models(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002 - one shape
        """Return what came from the repository, what is fitted here, what each meter runs.

        Where a model from the repository judges, the one that is fitted here waits as `fallback`.
        """
        items = self._elsewhere()
        taken = {(one["meter"], one["channel"]) for one in items if one["slot"] == CHAMPION}
        items += [
            {
                "meter": model.meter, "channel": model.channel, "kind": model.kind,
                "slot": FALLBACK if (model.meter, model.channel) in taken else CHAMPION,
                "version": None, "fitted_ms": model.fitted_ms,
                "where": "gateway",
            }
            for model in (await self._views.status()).models
        ]  # fmt: skip
        cursor: str | None = None
        while True:
            page = await self._views.list_meters(cursor, LONGEST_PAGE)
            items += [
                {
                    "meter": view.info.id, "channel": None, "kind": kind, "slot": CHAMPION,
                    "version": str(version), "fitted_ms": None, "where": "meter",
                }
                for view in page.items
                for kind, version in (
                    ("model", view.model), ("calibration", view.cal), ("firmware", view.fw)
                )
                if version
            ]  # fmt: skip
            if page.next is None:
                return {"items": items, "next": None}
            cursor = page.next

    def reading(self) -> dict[str, Operation]:
        """Return what changes nothing."""
        return {"models.list": self.list_models}
