"""Commands from the cloud: checked again, done once, answered, whatever crashes in between."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import structlog

from gateway.domain.errors import BadInputError, GatewayError, StorageError, TransientError
from gateway.services.placer import Now
from gateway.services.remote_forms import RemoteCommand, RemoteResult, State, may, read_command

log = structlog.get_logger()
LOOK_S = 300.0  # a safety net below the listener
RETRY_S = 5.0  # an answer that could not be written back
AT_ONCE = 4
KEEP_MS = 30 * 86_400_000
LONGEST_NAME = 60


class Arrival(NamedTuple):
    """A document of the commands collection: its id, its fields, and the cloud's own time."""

    id: str
    fields: Mapping[str, object]
    server_ms: int | None


class CommandBox(Protocol):
    """The site's commands collection. Raises TransientError, or GatewayError for refusals."""

    async def wait(self, timeout_s: float) -> None:
        """Return when something may have arrived, or after a time."""

    async def pending(self, limit: int) -> list[Arrival]:
        """Return commands that nobody has answered, oldest first."""

    async def role_of(self, uid: str) -> str | None:
        """Return a person's role at this site as it is now; None for no member."""

    async def answer(self, command_id: str, result: RemoteResult) -> None:
        """Write a result back; a document that is gone is no error."""

    async def close(self) -> None:
        """Stop listening."""


class Begun(NamedTuple):
    """What was there of a command; `result` None: begun, and the end is not known."""

    result: RemoteResult | None


class CommandLog(Protocol):
    """What was done already: survives a crash."""

    async def begin(self, command: RemoteCommand, at_ms: int) -> Begun | None:
        """Note that it is being done; return what was noted before."""

    async def known(self, command_id: str) -> bool:
        """Tell whether it was begun before."""

    async def finish(self, command_id: str, result: RemoteResult) -> None:
        """Note how it ended."""

    async def unwritten(self) -> list[tuple[str, RemoteResult]]:
        """Return results that the cloud has not taken."""

    async def written(self, command_id: str) -> None:
        """Note that the cloud has taken a result."""

    async def forget_before(self, at_ms: int) -> None:
        """Drop what was received before a time and is written back."""


Call = Callable[[str, dict[str, object], str], Awaitable[dict[str, object]]]


@dataclass(slots=True)
class RemoteCommands:
    """The service: listens, judges each document by itself, does it through the operations."""

    box: CommandBox
    log: CommandLog
    call: Call
    now: Now
    _busy: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _troubled: bool = False
    _failures: int = 0
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> None:
        """Do what arrives until cancelled; raise TransientError to be started again."""
        await self.log.forget_before(self.now.wall_ms() - KEEP_MS)
        try:
            while True:
                await self.box.wait(await self._look())
        except StorageError as error:
            msg = f"a command could not be noted and is asked for again: {error}"
            raise TransientError(msg) from error
        finally:
            await self.close()

    async def _look(self) -> float:
        """Take what has arrived; return in how many seconds to look again unasked."""
        self._troubled = False
        try:
            done = await self.step()
        except StorageError:
            raise
        except GatewayError as error:  # no way, or no permission: the house goes on without
            self._failures = min(self._failures + 1, 6)
            log.warning("commands_not_asked_for", error=str(error))
            return RETRY_S * 2.0**self._failures
        self._failures = 0
        calm = done and not self._busy and not self._troubled
        return LOOK_S if calm else RETRY_S

    async def close(self) -> None:
        """Give up what is under way: it is noted as begun, and answered after the restart."""
        for task in list(self._busy.values()):
            task.cancel()
        if self._busy:
            await asyncio.wait(list(self._busy.values()))
        await self.box.close()

    async def step(self) -> bool:
        """Take what has arrived; return whether every result has been written back."""
        for arrival in await self.box.pending(50):
            if arrival.id not in self._busy:
                task = asyncio.create_task(self._take(arrival), name=f"command-{arrival.id}")
                self._busy[arrival.id] = task
        return await self._write_back()

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._busy:
            await asyncio.wait(list(self._busy.values()))

    async def _take(self, arrival: Arrival) -> None:
        try:
            async with self._slots:
                result = await self._judge(arrival)
                await self.box.answer(arrival.id, result)
                await self.log.written(arrival.id)
        except GatewayError as error:  # noted; looked at again by a later step
            self._troubled = True
            log.warning("command_unanswered", id=arrival.id, error=str(error))
        finally:
            del self._busy[arrival.id]

    async def _judge(self, arrival: Arrival) -> RemoteResult:
        """Return what became of a command, doing it where it may be done."""
        try:
            command = read_command(arrival.id, arrival.fields)
        except BadInputError as error:
            log.warning("command_refused", id=arrival.id[:LONGEST_NAME], reason=str(error))
            return RemoteResult(State.REFUSED, ok=False, error=f"malformed: {error}")
        role = await self.box.role_of(command.uid)
        if role != command.role or not may(role, command.kind):
            log.warning(
                "command_refused", id=command.id, uid=command.uid, kind=command.kind,
                reason=f"role {role} here, {command.role} stamped",
            )  # fmt: skip
            told = f"{command.kind} is not allowed to this person"
            return RemoteResult(State.REFUSED, ok=False, error=told)
        # The cloud's clock, which stamped it, tells best how late it is.
        now_ms = arrival.server_ms if arrival.server_ms is not None else self.now.wall_ms()
        is_late = now_ms > command.expires_ms
        return await self._once(command, is_late=is_late)

    async def _once(self, command: RemoteCommand, *, is_late: bool) -> RemoteResult:
        facts = {"id": command.id, "kind": command.kind, "who": command.who}
        if is_late and not await self.log.known(command.id):
            log.warning("command_expired", **facts)
            return RemoteResult(State.EXPIRED, ok=False, error="it came too late and was not done")
        before = await self.log.begin(command, self.now.wall_ms())
        if before is not None and before.result is not None:
            log.info("command_repeated", **facts)
            return before.result
        if before is not None and is_late:
            result = RemoteResult(
                State.FAILED, ok=False,
                error="the gateway was restarted meanwhile: look whether it was done",
            )  # fmt: skip
        else:
            result = await self._do(command)
        await self.log.finish(command.id, result)
        log.info("command_done", ok=result.ok, error=result.error, **facts)
        return result

    async def _do(self, command: RemoteCommand) -> RemoteResult:
        name, args = command.operation()
        try:
            data = await self.call(name, args, command.caller)
        except (BadInputError, TransientError) as error:
            return RemoteResult(State.FAILED, ok=False, error=str(error))
        ok = data.get("ok") is not False
        why = None if ok else str(data.get("error"))
        return RemoteResult(State.DONE if ok else State.FAILED, ok=ok, error=why, data=data)

    async def _write_back(self) -> bool:
        """Write results that a crash or a lost line has kept from the cloud."""
        done = True
        for command_id, result in await self.log.unwritten():
            if command_id in self._busy:
                continue
            try:
                await self.box.answer(command_id, result)
                await self.log.written(command_id)
            except GatewayError as error:
                log.warning("command_unanswered", id=command_id, error=str(error))
                done = False
        return done
