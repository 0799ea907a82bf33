"""Tariffs: which plan holds from when, and who changes them."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.domain.errors import BadInputError, NotFoundError
from gateway.pipeline.tariffs import Plan
from gateway.services.tariff_plans import plan_json, read_plan

Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
MOST_PLANS = 500


class TariffStore(Protocol):
    """Where plans are kept. All raise StorageError."""

    async def plans(self) -> list[Plan]:
        """Return all plans in the order of their first days."""

    async def put_plan(self, plan: Plan) -> bool:
        """Write a plan by its id; False where another one begins on the same day."""

    async def drop_plan(self, plan_id: str) -> bool:
        """Remove a plan; False for an unknown one."""


class Tariffs:
    """The use cases; each call returns JSON."""

    def __init__(self, store: TariffStore) -> None:
        self._store = store

    async def list_plans(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002 - one shape
        """Return all plans."""
        plans = await self._store.plans()
        return {"items": [plan_json(plan) for plan in plans], "next": None}

    async def add(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002
        """Add a plan; BadInputError says what is wrong with it."""
        if len(await self._store.plans()) >= MOST_PLANS:
            msg = f"at most {MOST_PLANS} plans are kept; remove one"
            raise BadInputError(msg)
        return await self._put(read_plan(f"t{secrets.token_hex(4)}", args))

    async def replace(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002
        """Replace a plan; NotFoundError for an unknown id."""
        plan_id = str(args.get("id", ""))
        if plan_id not in {plan.id for plan in await self._store.plans()}:
            raise _unknown(plan_id)
        return await self._put(read_plan(plan_id, args))

    async def remove(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002
        """Remove a plan; NotFoundError for an unknown id."""
        plan_id = str(args.get("id", ""))
        if not await self._store.drop_plan(plan_id):
            raise _unknown(plan_id)
        return {"id": plan_id}

    async def _put(self, plan: Plan) -> dict[str, object]:
        if not await self._store.put_plan(plan):
            msg = f"valid_from: another plan begins on {plan.valid_from}; change that one"
            raise BadInputError(msg)
        return plan_json(plan)

    def reading(self) -> dict[str, Operation]:
        """Return what changes nothing."""
        return {"tariffs.list": self.list_plans}

    def changing(self) -> dict[str, Operation]:
        """Return what is to be audited."""
        return {
            "tariffs.add": self.add, "tariffs.replace": self.replace, "tariffs.remove": self.remove,
        }  # fmt: skip


def _unknown(plan_id: str) -> NotFoundError:
    return NotFoundError(f"no tariff {plan_id[:60]!r}")
