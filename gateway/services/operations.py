"""Everything that changes the gateway on somebody's word, by name: one door for all callers."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from gateway.domain.alerts import Alert
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.pipeline.alert_book import AlertBook, Change, judged
from gateway.services.accounts import Accounts
from gateway.services.deriving import Deriver
from gateway.services.effects import VerdictRow
from gateway.services.intake import Intake
from gateway.services.ledger import Meter
from gateway.services.messages import METER_ID
from gateway.services.placer import Now
from gateway.services.user_operations import USER_OPERATIONS

Args = Mapping[str, object]
Result = dict[str, object]
Operation = Callable[[Args, str], Awaitable[Result]]
MAX_RATING_A = 1000.0  # the contract's range of a current
MAX_LABEL = 80
LONGEST_DETAIL = 300  # of an audit entry


class MeterStore(Protocol):
    """What changing meters needs from storage."""

    async def save_meter(self, no: int, info: MeterInfo, *, removed_ms: int | None) -> None:
        """Write a meter's label and flags, and its channels' roles and ratings."""

    async def stored_alert(self, alert_id: str) -> Alert | None:
        """Read an alert that the book may no longer hold."""


class Operations:
    """Satisfies the port of the web, the control socket and the command line."""

    def __init__(
        self, accounts: Accounts, intake: Intake, deriver: Deriver, meters: MeterStore, now: Now
    ) -> None:
        self._accounts = accounts
        self._intake = intake
        self._deriver = deriver
        self._meters = meters
        self._now = now
        self._hear_removed: list[Callable[[str], None]] = []
        self._names: dict[str, Operation] = {
            "alerts.acknowledge": self._acknowledge,
            "alerts.resolve": self._resolve,
            "alerts.snooze": self._snooze,
            "alerts.verdict": self._verdict,
            "meters.add": self._add_meter,
            "meters.remove": self._remove_meter,
            "meters.update": self._update_meter,
            "meters.finalise_gaps": self._finalise_gaps,
        }
        self._audited = set(self._names)
        for name, operation in USER_OPERATIONS.items():
            self._names[name] = _bind(operation, accounts)

    def offer(self, operations: Mapping[str, Operation]) -> None:
        """Offer operations of others too; they keep the audit themselves."""
        self._names.update(operations)

    def offer_audited(self, operations: Mapping[str, Operation]) -> None:
        """Offer operations of others; each call that succeeds is noted in the audit here."""
        self._names.update(operations)
        self._audited.update(operations)

    def when_removed(self, hear: Callable[[str], None]) -> None:
        """Have a removed meter's id told, once the removal is on disk."""
        self._hear_removed.append(hear)

    async def call(self, name: str, args: dict[str, object], who: str) -> Result:
        """Do `name` for `who`; BadInputError or NotFoundError say what is wrong."""
        operation = self._names.get(name)
        if operation is None:
            msg = f"no operation {name[:60]!r}"
            raise NotFoundError(msg)
        await self._intake.loaded.wait()
        await self._deriver.loaded.wait()
        result = await operation(args, who)
        if name in self._audited:
            detail = " ".join(f"{key}={_short(value)}" for key, value in args.items())
            await self._accounts.note(who, name, detail[:LONGEST_DETAIL])
        return result

    # -- alerts -------------------------------------------------------------------------------

    async def _acknowledge(self, args: Args, who: str) -> Result:
        key, at_ms = text(args, "id"), self._now.wall_ms()
        return await self._change(lambda book: book.acknowledge(key, who=who, at_ms=at_ms))

    async def _resolve(self, args: Args, who: str) -> Result:
        key, at_ms, note = text(args, "id"), self._now.wall_ms(), text(args, "note", default="")
        return await self._change(lambda book: book.resolve(key, who=who, at_ms=at_ms, note=note))

    async def _snooze(self, args: Args, who: str) -> Result:
        key, at_ms, minutes = text(args, "id"), self._now.wall_ms(), args.get("minutes")
        if type(minutes) is not int:
            msg = "minutes: must be a whole number"
            raise BadInputError(msg)
        return await self._change(
            lambda book: book.snooze(key, who=who, at_ms=at_ms, minutes=minutes)
        )

    async def _verdict(self, args: Args, who: str) -> Result:
        key, at_ms, note = text(args, "id"), self._now.wall_ms(), text(args, "note", default="")
        right = args.get("right")
        if type(right) is not bool:
            msg = "right: must be true or false"
            raise BadInputError(msg)
        stored = await self._meters.stored_alert(key)

        def change(book: AlertBook) -> Change:
            try:
                return book.verdict(key, who=who, at_ms=at_ms, right=right, note=note)
            except NotFoundError:  # resolved so long ago that only the disk remembers
                if stored is None:
                    raise
                return judged(stored, who=who, at_ms=at_ms, right=right, note=note)

        return await self._change(change, [VerdictRow(key, at_ms, who, right=right, note=note)])

    async def _change(
        self, change: Callable[[AlertBook], Change], verdicts: Sequence[VerdictRow] = ()
    ) -> Result:
        done = await self._deriver.change_alert(change, verdicts)
        return {"id": done.alert.id, "state": done.alert.state.value}

    # -- meters -------------------------------------------------------------------------------

    async def _add_meter(self, args: Args, who: str) -> Result:  # noqa: ARG002 - one shape for all
        meter_id = text(args, "id")
        if METER_ID.match(meter_id) is None:
            msg = f"id: {meter_id[:80]!r} must be 2 to 32 of a-z, 0-9 and -, not beginning with -"
            raise BadInputError(msg)
        recorded = args.get("recorded", False)
        if type(recorded) is not bool:
            msg = "recorded: must be true or false"
            raise BadInputError(msg)
        ledger = self._intake.ledger
        known = ledger.meters.get(meter_id)
        if known is None:
            info = MeterInfo(
                meter_id, recorded, text(args, "label", default=""), self._now.wall_ms()
            )
            self._intake.planner.register(info)
            await self._intake.flush()
            return {"id": meter_id, "recorded": recorded, "added": True}
        if known.info.recorded != recorded and any(boot.runs for boot in known.boots.values()):
            kind, way = ("recorded", "with") if known.info.recorded else ("live", "without")
            msg = (
                f"meter {meter_id} has readings as a {kind} meter; add it {way} --recorded,"
                " or choose another name"
            )
            raise BadInputError(msg)
        known.info = MeterInfo(
            meter_id, recorded, known.info.label, known.info.registered_ms, known.info.channels
        )
        added, known.removed = known.removed, False
        await self._save(known)
        return {"id": meter_id, "recorded": recorded, "added": added}

    async def _remove_meter(self, args: Args, who: str) -> Result:  # noqa: ARG002
        meter = self._meter(args)
        meter.removed = True
        await self._save(meter)
        for hear in self._hear_removed:
            hear(meter.info.id)
        return {"id": meter.info.id}

    async def _update_meter(self, args: Args, who: str) -> Result:  # noqa: ARG002
        meter = self._meter(args)
        label = text(args, "label", default=meter.info.label)
        if len(label) > MAX_LABEL:
            msg = f"label: at most {MAX_LABEL} characters"
            raise BadInputError(msg)
        changes = args.get("channels", {})
        if not isinstance(changes, Mapping):
            msg = "channels: must be an object of channel names"
            raise BadInputError(msg)
        channels = dict(meter.info.channels)
        for name, change in changes.items():
            channels[str(name)] = _changed_channel(channels, str(name), change)
        info = meter.info
        meter.info = MeterInfo(info.id, info.recorded, label, info.registered_ms, channels)
        await self._save(meter)
        return {"id": meter.info.id}

    async def _finalise_gaps(self, args: Args, who: str) -> Result:
        meter = self._meter(args)
        now_ms = self._now.wall_ms()
        count = 0
        for boot in meter.boots.values():
            for first, last in boot.holes():
                count += last - first + 1
                reason = f"given up by {who}"[:80]
                self._intake.planner.finalise(meter, boot, first, last, reason, now_ms)
        await self._intake.flush()
        return {"id": meter.info.id, "windows": count}

    def _meter(self, args: Args) -> Meter:
        meter_id = text(args, "id")
        meter = self._intake.ledger.meters.get(meter_id)
        if meter is None or meter.removed:
            msg = f"no meter {meter_id[:60]!r}; see: wattwarden meters list"
            raise NotFoundError(msg)
        return meter

    async def _save(self, meter: Meter) -> None:
        removed_ms = self._now.wall_ms() if meter.removed else None
        await self._meters.save_meter(meter.no, meter.info, removed_ms=removed_ms)
        self._deriver.update_meter(meter.no, meter.info)


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def text(args: Args, key: str, *, default: str | None = None) -> str:
    """Return a text argument, or raise BadInputError naming it."""
    value = args.get(key, default)
    if not isinstance(value, str):
        msg = f"{key}: must be given, as text"
        raise BadInputError(msg)
    return value


def _bind(
    operation: Callable[[Accounts, Args, str], Awaitable[Result]], accounts: Accounts
) -> Operation:
    async def call(args: Args, who: str) -> Result:
        return await operation(accounts, args, who)

    return call


def _changed_channel(known: dict[str, ChannelInfo], name: str, change: object) -> ChannelInfo:
    """Return a channel with another role or rating, or raise BadInputError."""
    info = known.get(name)
    if info is None:
        msg = f"channels.{name[:40]}: no such channel; known are {', '.join(known) or 'none'}"
        raise BadInputError(msg)
    if not isinstance(change, Mapping):
        msg = f"channels.{name}: must be an object with role or rating_a"
        raise BadInputError(msg)
    role, rating_a = change.get("role", info.role.value), change.get("rating_a", info.rating_a)
    if role not in set(Role):
        msg = f"channels.{name}.role: must be one of {', '.join(Role)}"
        raise BadInputError(msg)
    if rating_a is not None and not (
        isinstance(rating_a, int | float) and not isinstance(rating_a, bool)
        and 0 < rating_a <= MAX_RATING_A
    ):  # fmt: skip
        msg = f"channels.{name}.rating_a: must be above 0 and at most {MAX_RATING_A:.0f} A, or null"
        raise BadInputError(msg)
    return ChannelInfo(name, Role(role), None if rating_a is None else float(rating_a))
