"""Mutes: what nobody wants to hear of, who said so, and until when."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.domain.alerts import AlertKind
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.pipeline.mutes import Mute, MuteBook
from gateway.services.deriving import Deriver
from gateway.services.placer import Now

Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
MOST_MUTES = 500


class MuteStore(Protocol):
    """Where mutes are kept. All raise StorageError."""

    async def mutes(self) -> list[Mute]:
        """Return all, oldest first."""

    async def put_mute(self, mute: Mute) -> None:
        """Write one by its id."""

    async def drop_mute(self, mute_id: str) -> bool:
        """Remove one; False for an unknown one."""


class Muting:
    """The use cases; open alerts change with each call."""

    def __init__(self, store: MuteStore, book: MuteBook, deriver: Deriver, now: Now) -> None:
        """`book` is the one that the alert desk asks."""
        self._store = store
        self._book = book
        self._deriver = deriver
        self._now = now

    async def list_mutes(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002 - one shape
        """Return all that has not ended."""
        now_ms = self._now.wall_ms()
        return {
            "items": [
                mute_json(mute)
                for mute in await self._store.mutes()
                if mute.until_ms is None or mute.until_ms > now_ms
            ],
            "next": None,
        }

    async def add(self, args: Args, who: str) -> dict[str, object]:
        """Mute {meter, channel, kind, until_ms}; BadInputError says what is wrong."""
        now_ms = self._now.wall_ms()
        if len(self._book.mutes) >= MOST_MUTES:
            await self._forget_ended(now_ms)
        if len(self._book.mutes) >= MOST_MUTES:
            msg = f"at most {MOST_MUTES} mutes are kept; remove one"
            raise BadInputError(msg)
        mute = _read(args, who, now_ms)
        await self._store.put_mute(mute)
        self._book.mutes[mute.id] = mute
        await self._tell(who)
        return mute_json(mute)

    async def remove(self, args: Args, who: str) -> dict[str, object]:
        """End {id}; NotFoundError for an unknown one."""
        mute_id = str(args.get("id", ""))
        if not await self._store.drop_mute(mute_id):
            msg = f"no mute {mute_id[:60]!r}"
            raise NotFoundError(msg)
        self._book.mutes.pop(mute_id, None)
        await self._tell(who)
        return {"id": mute_id}

    async def _tell(self, who: str) -> None:
        at_ms = self._now.wall_ms()
        await self._deriver.change_alerts(lambda book: book.remute(who=who, at_ms=at_ms))

    async def _forget_ended(self, now_ms: int) -> None:
        for mute in list(self._book.mutes.values()):
            if mute.until_ms is not None and mute.until_ms <= now_ms:
                await self._store.drop_mute(mute.id)
                del self._book.mutes[mute.id]

    def reading(self) -> dict[str, Operation]:
        """Return what changes nothing."""
        return {"mutes.list": self.list_mutes}

    def changing(self) -> dict[str, Operation]:
        """Return what is to be audited."""
        return {"mutes.add": self.add, "mutes.remove": self.remove}


def mute_json(mute: Mute) -> dict[str, object]:
    """Return a mute as people get it."""
    return {
        "id": mute.id, "meter": mute.meter or None, "channel": mute.channel,
        "kind": mute.kind.value, "until_ms": mute.until_ms, "created_ms": mute.created_ms,
        "created_by": mute.created_by,
    }  # fmt: skip


def _read(args: Args, who: str, now_ms: int) -> Mute:
    meter, channel = args.get("meter"), args.get("channel")
    for key, value in (("meter", meter), ("channel", channel)):
        if value is not None and (not isinstance(value, str) or not value):
            msg = f"{key}: must be a name or null"
            raise BadInputError(msg)
    kind, until_ms = args.get("kind"), args.get("until_ms")
    if kind not in set(AlertKind):
        msg = f"kind: must be one of {', '.join(AlertKind)}"
        raise BadInputError(msg)
    if until_ms is not None and (type(until_ms) is not int or not now_ms < until_ms <= 2**53):
        msg = "until_ms: must be a time to come in Unix ms, or null"
        raise BadInputError(msg)
    return Mute(
        f"m{secrets.token_hex(4)}", "" if meter is None else str(meter),
        None if channel is None else str(channel), AlertKind(str(kind)),
        until_ms if isinstance(until_ms, int) else None, now_ms, who,
    )  # fmt: skip
