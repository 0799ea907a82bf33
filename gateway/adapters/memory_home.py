"""Tariffs, mutes and documents in memory, for tests and for trying things out."""

import copy

from gateway.pipeline.mutes import Mute
from gateway.pipeline.tariffs import Plan


class MemoryTariffs:
    """Satisfies `TariffStore`."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    async def plans(self) -> list[Plan]:
        """Return all plans in the order of their first days."""
        return sorted(self._plans.values(), key=lambda plan: plan.valid_from)

    async def put_plan(self, plan: Plan) -> bool:
        """Write a plan by its id; False where another one begins on the same day."""
        others = (other for key, other in self._plans.items() if key != plan.id)
        if any(other.valid_from == plan.valid_from for other in others):
            return False
        self._plans[plan.id] = plan
        return True

    async def drop_plan(self, plan_id: str) -> bool:
        """Remove a plan; False for an unknown one."""
        return self._plans.pop(plan_id, None) is not None


class MemoryMutes:
    """Satisfies `MuteStore`."""

    def __init__(self) -> None:
        self._mutes: dict[str, Mute] = {}

    async def mutes(self) -> list[Mute]:
        """Return all, oldest first."""
        return sorted(self._mutes.values(), key=lambda mute: (mute.created_ms, mute.id))

    async def put_mute(self, mute: Mute) -> None:
        """Write one by its id."""
        self._mutes[mute.id] = mute

    async def drop_mute(self, mute_id: str) -> bool:
        """Remove one; False for an unknown one."""
        return self._mutes.pop(mute_id, None) is not None


class MemoryDocuments:
    """Satisfies `DocumentStore`."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, object]] = {}

    async def document(self, key: str) -> tuple[int, object] | None:
        """Return (version, content), None where nothing was kept."""
        return copy.deepcopy(self._kept.get(key))

    async def put_document(self, key: str, content: object, *, after: int | None) -> int | None:
        """Keep a document; None where `after` is not the version that is kept."""
        version = self._kept.get(key, (0, None))[0]
        if after is not None and after != version:
            return None
        self._kept[key] = (version + 1, copy.deepcopy(content))
        return version + 1
