"""What people may ask of notifying itself: whether it works, and how it stands."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.services.accounts import texts
from gateway.services.notify.delivery import Delivery
from gateway.services.notify.ports import NoticeStore, Outcome, Result, Road, UnknownTargetError
from gateway.services.placer import Now

Operation = Callable[[Mapping[str, object], str], Awaitable[dict[str, object]]]


def notify_operations(
    store: NoticeStore, roads: Mapping[str, Road], delivery: Delivery, now: Now
) -> dict[str, Operation]:
    """Return `notify.test`, which sends everybody a test, and `notify.status`."""

    async def send_tests(args: Mapping[str, object], who: str) -> dict[str, object]:  # noqa: ARG001 - one shape for all
        texts(args)
        items = []
        for name, road in roads.items():
            for target, language in (await road.targets()).items():
                message = delivery.wording.test(language, now.wall_ms())
                try:
                    outcome = await road.send(target, message)
                except UnknownTargetError:
                    outcome = Outcome(Result.GONE, "removed")
                items.append(
                    {"road": name, "target": target, "result": outcome.result.value,
                     "reason": outcome.reason}
                )  # fmt: skip
        return {"items": items, "next": None}

    async def status(args: Mapping[str, object], who: str) -> dict[str, object]:  # noqa: ARG001 - as above
        texts(args)
        counts = dict(await store.counts())
        targets = {name: sorted(await road.targets()) for name, road in roads.items()}
        return {
            "roads": {
                name: {"targets": len(ids), "ids": ids, "trouble": delivery.trouble.get(name)}
                for name, ids in targets.items()
            },
            "waiting": counts.get("waiting", 0),
            "sent": counts.get("sent", 0),
            "dropped": counts.get("dropped", 0),
        }

    return {"notify.test": send_tests, "notify.status": status}
