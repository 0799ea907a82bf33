"""Commands to meters: each done once by its id, each answered, whatever restarts meanwhile."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import structlog

from gateway.domain.errors import (
    BadInputError,
    MeterAwayError,
    NotFoundError,
    StorageError,
    TransientError,
)
from gateway.services.command_forms import (
    USUAL_TTL_MS,
    Args,
    CommandResult,
    args_key,
    audited,
    check,
    patience_s,
)
from gateway.services.ledger import Ledger
from gateway.services.placer import Now

log = structlog.get_logger()
MOST_WAITING = 4  # per meter: more it refuses as well
MOST_RESULT = 16 * 1024
KEPT_MS = 30 * 86_400_000
QUIET = ("report", "calibrate")  # these change nothing, and a calibration gives dozens
OFFLINE = "is offline; look at its power and Wi-Fi, then try again"


class CommandRow(msgspec.Struct, frozen=True):
    """A command as it is stored; `result` is the meter's answer as JSON, None = not yet."""

    id: str
    meter: str
    kind: str
    args_key: str
    ttl_ms: int
    sent_ms: int
    sent_by: str
    result: str | None = None


class CommandStore(Protocol):
    """What commands need from storage."""

    async def begin(self, row: CommandRow, forget_before_ms: int) -> CommandRow | None:
        """Store a command and forget old ones; return what was there under its id before."""

    async def answered(self, command_id: str, meter: str, result: str, at_ms: int) -> None:
        """Store an answer; only the first one of this meter to that command counts."""


class Answer(msgspec.Struct):
    """A meter's `result` message; unknown fields are ignored."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    ok: bool
    error: str | None = None
    data: dict[str, object] = msgspec.field(default_factory=dict)


_answer = msgspec.json.Decoder(Answer)
Send = Callable[..., bool]  # meter, tail, payload: False while the broker is gone
Audit = Callable[[str, str, str], Awaitable[None]]


@dataclass(slots=True)
class _Pending:
    meter: str
    args_key: str
    payload: bytes
    done: asyncio.Future[CommandResult]


class Commands:
    """Satisfies the operation `meters.command`; all calls from the event loop.

    `heard` takes a meter's `result`, `online` is told of each `state`, `linked` of each
    connection: a command that waits is sent again under its id, which a meter does but once.
    """

    def __init__(
        self,
        store: CommandStore,
        send: Send,
        ledger: Callable[[], Ledger],
        now: Now,
        audit: Audit,
    ) -> None:
        self._store = store
        self._send = send
        self._ledger = ledger
        self._now = now
        self._audit = audit
        self._pending: dict[str, _Pending] = {}
        self._offline: set[str] = set()
        self._writes: set[asyncio.Task[None]] = set()

    async def send(  # noqa: PLR0913 - what a command is made of
        self,
        meter: str,
        kind: str,
        args: Args,
        ttl_ms: int = USUAL_TTL_MS,
        *,
        by: str,
        command_id: str | None = None,
    ) -> CommandResult:
        """Have a meter do something; return what it answered.

        The same `command_id` again returns the stored answer, or waits for it: what it asks
        for is done once. BadInputError for what no meter takes, NotFoundError for an unknown
        meter, MeterAwayError when it is not there or does not answer in time, TransientError
        when the broker is not there.
        """
        name = command_id if command_id is not None else secrets.token_hex(8)
        check(name, kind, args, ttl_ms)
        known = self._ledger().meters.get(meter)
        if known is None or known.removed:
            msg = f"no meter {meter[:60]!r}; see: wattwarden meters list"
            raise NotFoundError(msg)
        if known.info.recorded:
            msg = f"meter {meter} is a recording: nobody is there to be told"
            raise BadInputError(msg)
        row = CommandRow(name, meter, kind, args_key(kind, args), ttl_ms, self._now.wall_ms(), by)
        waiting = self._pending.get(name)
        if waiting is not None:
            _refuse_another(row, waiting.meter, waiting.args_key)
            return await self._wait(waiting, row, patience_s(kind, args, ttl_ms))
        stored = await self._begin(row, kind, args)
        if stored is not None:
            return stored
        return await self._ask(row, kind, args)

    async def _begin(self, row: CommandRow, kind: str, args: Args) -> CommandResult | None:
        """Store a new command; return the answer that an old one of this id has."""
        before = await self._store.begin(row, row.sent_ms - KEPT_MS)
        if before is None:
            if kind not in QUIET:
                told = f"{row.meter}: {audited(kind, args)}"
                await self._audit(row.sent_by, "meters.command", told)
            return None
        _refuse_another(row, before.meter, before.args_key)
        return None if before.result is None else _result(_answer.decode(before.result))

    async def _ask(self, row: CommandRow, kind: str, args: Args) -> CommandResult:
        if waiting := self._pending.get(row.id):  # of two calls at once the other was quicker
            return await self._wait(waiting, row, patience_s(kind, args, row.ttl_ms))
        if sum(one.meter == row.meter for one in self._pending.values()) >= MOST_WAITING:
            msg = f"meter {row.meter} has {MOST_WAITING} commands to do already; wait for these"
            raise MeterAwayError(msg)
        body = {"id": row.id, "kind": kind, "args": dict(args), "ttl": row.ttl_ms}
        done: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        pending = _Pending(row.meter, row.args_key, json.dumps(body).encode(), done)
        self._pending[row.id] = pending
        try:
            if row.meter in self._offline:
                msg = f"meter {row.meter} {OFFLINE}"
                raise MeterAwayError(msg)
            if not self._send(row.meter, "cmd", pending.payload):
                msg = "the broker is not connected; see: wattwarden doctor"
                raise TransientError(msg)
            return await self._wait(pending, row, patience_s(kind, args, row.ttl_ms))
        finally:
            self._pending.pop(row.id, None)
            done.cancel()

    async def _wait(self, pending: _Pending, row: CommandRow, within_s: float) -> CommandResult:
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.shield(pending.done)
        except TimeoutError as error:
            msg = (
                f"meter {row.meter} did not answer {row.kind} within {within_s:.0f} s; it may still"
                f" do it. Ask again with command_id {row.id} to learn what became of it"
            )
            raise MeterAwayError(msg) from error

    # -- what comes from the broker -------------------------------------------------------------

    def heard(self, meter: str, payload: bytes) -> None:
        """Take a `result` message; what cannot be read, or nobody asked for, is ignored."""
        if len(payload) > MOST_RESULT:
            log.warning("result_too_large", meter=meter, bytes=len(payload))
            return
        try:
            answer = _answer.decode(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            log.warning("result_malformed", meter=meter, error=str(error)[:200])
            return
        self._keep(meter, answer, payload.decode())
        pending = self._pending.get(answer.id)
        if pending is not None and pending.meter == meter and not pending.done.done():
            pending.done.set_result(_result(answer))

    def _keep(self, meter: str, answer: Answer, text: str) -> None:
        async def write() -> None:
            try:
                await self._store.answered(answer.id, meter, text, self._now.wall_ms())
            except StorageError as error:
                log.warning("result_not_stored", meter=meter, id=answer.id, error=str(error))

        task = asyncio.get_running_loop().create_task(write())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    def online(self, meter: str, *, here: bool) -> None:
        """Note a meter's `state`; one that is back is told again what it may have missed."""
        if not here:
            self._offline.add(meter)
            return
        if meter in self._offline:
            self._offline.discard(meter)
            self._again({meter})

    def linked(self) -> None:
        """Send again what a lost connection to the broker may have swallowed."""
        self._again({pending.meter for pending in self._pending.values()})

    def _again(self, meters: set[str]) -> None:
        for pending in self._pending.values():
            if pending.meter in meters and not pending.done.done():
                self._send(pending.meter, "cmd", pending.payload)


def _refuse_another(row: CommandRow, meter: str, key: str) -> None:
    if (row.meter, row.args_key) != (meter, key):
        msg = f"command_id: {row.id} was given to another command; choose a new one"
        raise BadInputError(msg)


def _result(answer: Answer) -> CommandResult:
    return CommandResult(answer.ok, answer.error, answer.data)


def command_operation(
    commands: Commands,
) -> Callable[[Mapping[str, object], str], Awaitable[dict[str, object]]]:
    """Return the operation `meters.command`: {id, kind, args, ttl_ms?, command_id?}."""

    async def call(args: Mapping[str, object], who: str) -> dict[str, object]:
        meter, kind, given = args.get("id"), args.get("kind"), args.get("args", {})
        ttl_ms, name = args.get("ttl_ms", USUAL_TTL_MS), args.get("command_id")
        if not isinstance(meter, str) or not isinstance(kind, str):
            msg = "id, kind: must be given, as text"
            raise BadInputError(msg)
        if not isinstance(given, Mapping) or type(ttl_ms) is not int:
            msg = "args, ttl_ms: an object, and whole milliseconds"
            raise BadInputError(msg)
        if name is not None and not isinstance(name, str):
            msg = "command_id: must be text"
            raise BadInputError(msg)
        result = await commands.send(meter, kind, given, ttl_ms, by=who, command_id=name)
        return {"ok": result.ok, "error": result.error, "data": result.data}

    return call
