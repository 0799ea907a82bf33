"""The one place that knows every part: builds the gateway and runs its services."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from gateway import __version__
from gateway.adapters import systemd
from gateway.adapters.clock import SystemClock
from gateway.adapters.control import ControlServer
from gateway.adapters.fit_process import fit_in_process
from gateway.adapters.mqtt import BrokerSession
from gateway.adapters.passwords import Argon2Passwords
from gateway.adapters.store.accounts import SqlAccounts
from gateway.adapters.store.database import Database
from gateway.adapters.store.deriving import SqlDeriveStore
from gateway.adapters.store.health import HealthCheck
from gateway.adapters.store.intake_store import SqlIntakeStore
from gateway.adapters.store.meters import SqlMeterStore
from gateway.adapters.store.placing import SqlPlacingStore
from gateway.adapters.store.quarantine import open_or_replace
from gateway.adapters.store.retention import SqlRetentionStore
from gateway.adapters.store.salvage_job import Salvage
from gateway.adapters.store.tokens import SqlSetup, SqlTokens
from gateway.domain.errors import AlreadyRunningError
from gateway.services.accounts import Accounts
from gateway.services.alert_desk import Listener
from gateway.services.batches import Batch
from gateway.services.deriving import Deriver
from gateway.services.events import EventDesk
from gateway.services.first_run import FirstRun, setup_operations
from gateway.services.intake import Hooks, Intake
from gateway.services.intake_ports import Deliver
from gateway.services.live import Live
from gateway.services.operations import Operations
from gateway.services.placing import Placing
from gateway.services.planner import PlanRules
from gateway.services.retention import Retention
from gateway.services.tokens import Tokens, token_operations
from gateway.services.views import RuntimeView
from gateway.services.watching import Watching
from gateway.settings import Settings
from gateway.supervise import Board, Stage, run_stages
from gateway.wiring_cloud import CloudParts, House, cloud_stages
from gateway.wiring_ecosystem import ecosystem_stages
from gateway.wiring_home import Home
from gateway.wiring_meters import MeterCare
from gateway.wiring_models import ModelParts
from gateway.wiring_notify import Notifying
from gateway.wiring_remote import remote_stages
from gateway.wiring_web import Web

log = structlog.get_logger()
LOCK_PATIENCE_S = 5.0


@dataclass(slots=True)
class Parts:
    """The gateway's parts, wired; also what the command line uses while no daemon runs."""

    settings: Settings
    database: Database
    clock: SystemClock
    board: Board
    intake: Intake
    deriver: Deriver
    accounts: Accounts
    tokens: Tokens
    first_run: FirstRun
    operations: Operations
    watching: Watching
    care: MeterCare
    models: ModelParts
    notifying: Notifying
    started_s: float
    damage: str = ""  # what people must know of a database that was set aside
    home: Home = field(init=False)  # needs the other parts

    async def load(self) -> None:
        """Read what the operations need, for use without the services."""
        await self.intake.load()
        await self.deriver.load()

    def runtime(self) -> RuntimeView:
        """Return what only the running process knows."""
        return RuntimeView(
            __version__,
            time.monotonic() - self.started_s,
            self.board.services,
            self.intake.backlog,
            self.clock.trusted(),
        )

    def unready(self) -> Mapping[str, str]:
        """Return why each service that is not ready is not."""
        late = {
            name: health.error or health.state
            for name, health in self.board.services.items()
            if health.state != "running"
        }
        if not self.intake.connected:
            late["intake"] = self.board.of("intake").error or "not connected to the broker"
        if not self.deriver.loaded.is_set():
            late.setdefault("judging", "loading")
        if trouble := self.database.trouble:
            late["storage"] = trouble
        return late


def build(settings: Settings, database: Database) -> Parts:
    """Wire the parts; nothing runs yet."""
    clock = SystemClock(settings.clock)
    zone = settings.site.zone
    board = Board()
    deriver = Deriver(SqlDeriveStore(database, zone), settings.detect, zone, fit_in_process)
    # The intake is wired below; its ledger is replaced at every connection.
    watching = Watching(deriver, clock, lambda: intake.ledger)
    events = EventDesk(deriver)

    def committed(_: Batch) -> None:
        deriver.notify()

    def connect(deliver: Deliver) -> BrokerSession:
        return BrokerSession(settings.mqtt, f"wattwarden-{settings.site.id}", deliver)

    rules = PlanRules(settings.meters.auto_register, settings.detect.nominal_voltage)
    passwords = Argon2Passwords()
    accounts = Accounts(SqlAccounts(database), passwords)
    care = MeterCare(settings, database, clock, accounts, intake=lambda: intake, deriver=deriver)
    hooks = Hooks(committed, watching.heard, events.take, watching.refused)
    intake = Intake(SqlIntakeStore(database), connect, rules, clock, care.hook(hooks, events))
    tokens = Tokens(SqlTokens(database))
    first_run = FirstRun(SqlSetup(database), passwords)
    operations = Operations(accounts, intake, deriver, SqlMeterStore(database), clock)
    operations.offer(token_operations(tokens) | setup_operations(first_run))
    care.offer(operations)
    models = ModelParts(settings, database, clock, deriver=deriver, meters=care, intake=intake)
    models.offer(operations)
    notifying = Notifying(settings, database, clock)
    notifying.offer(operations)
    parts = Parts(
        settings, database, clock, board, intake, deriver, accounts, tokens, first_run,
        operations, watching, care, models, notifying, time.monotonic(),
    )  # fmt: skip
    parts.home = Home(parts)
    return parts


def _stages(parts: Parts, settled: Callable[[], None]) -> list[Stage]:
    """Return the services in the order in which they are stopped."""
    settings, database = parts.settings, parts.database
    placing = Placing(
        SqlPlacingStore(database), lambda: parts.intake.ledger, parts.clock, parts.deriver.release
    )
    retention = Retention(
        SqlRetentionStore(database), parts.clock, settings.storage.raw_days,
        settings.storage.max_bytes, settings.storage.look_every_s,
    )  # fmt: skip
    control = ControlServer(database.path, parts.operations.call)
    control.listen()  # who is told that we are ready may call at once
    live = Live(
        parts.deriver.latest,
        lambda meter: parts.intake.ledger.is_removed(meter),  # noqa: PLW0108 - a restart has another
        parts.intake.publish_live,
    )
    stages = [
        Stage("control", control.run),
        Stage("intake", parts.intake.run, parts.intake.drain),
        Stage("watching", parts.watching.run),
        Stage("live", live.run),
        *parts.care.stages(),
        *parts.models.stages(),
        *parts.home.stages(),
        *ecosystem_stages(parts),
        Stage("placing", placing.run),
        Stage("retention", retention.run),
        Stage("health", HealthCheck(database, parts.deriver, parts.clock, parts.damage).run),
        Stage("salvage", Salvage(database).run),
        parts.notifying.stage(parts.deriver.desk),
        *cloud_stages(_house(parts)),
        *remote_stages(settings, database, parts.operations, parts.clock),
        Stage("judging", parts.deriver.run, parts.deriver.drain),
        Stage("watchdog", systemd.watchdog),
    ]
    if settings.web.enabled:
        return [*Web(parts, settled).stages(), *stages]
    settled()
    return stages


def _house(parts: Parts) -> House:
    return House(
        parts.settings, parts.database, parts.clock, parts.deriver, parts.board, parts.operations
    )


async def _open_database(path: Path, *, lasting: bool) -> tuple[Database, str]:
    """Open the database; a command that is just writing has it for a moment only."""
    until_s = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return await asyncio.to_thread(open_or_replace, path, lasting=lasting)
        except AlreadyRunningError:
            if time.monotonic() > until_s:
                raise
            await asyncio.sleep(0.1)


@asynccontextmanager
async def opened(settings: Settings, *, lasting: bool = False) -> AsyncIterator[Parts]:
    """Open the database (`lasting`: for a daemon), wire the parts; close everything at the end."""
    database, damage = await _open_database(settings.storage.path, lasting=lasting)
    try:
        parts = build(settings, database)
        parts.damage = damage
        yield parts
    finally:
        await asyncio.to_thread(database.close)


async def drain_cloud(settings: Settings) -> int:
    """Send what waits for the cloud, while no daemon runs; return how many documents that were.

    Raises ConfigError when the settings cannot work, and what the cloud raises.
    """
    async with opened(settings) as parts:
        return await CloudParts(_house(parts)).drain()


def _note_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a library's callback raised, such as aiomqtt's on a socket that just broke."""
    error = context.get("exception")
    log.warning("callback_failed", message=context.get("message"), error=repr(error))


async def run_gateway(
    settings: Settings,
    stop: asyncio.Event,
    *,
    listener: Listener | None = None,
    started: Callable[[Parts], None] | None = None,
    settled: Callable[[], None] = lambda: None,
) -> None:
    """Run the gateway until `stop` is set, then end in order within 5 s.

    `listener` is told of every alert that changes, `started` is called once all parts are there,
    `settled` once all code is loaded too, soon after.
    Raises ConfigError when the settings cannot work, and whatever crashed a service.
    """
    asyncio.get_running_loop().set_exception_handler(_note_stray)
    async with AsyncExitStack() as stack:
        if settings.mqtt.embedded:
            from gateway.adapters.broker import embedded  # noqa: PLC0415 - only for trying out

            await stack.enter_async_context(embedded(settings.mqtt))
        parts = await stack.enter_async_context(opened(settings, lasting=True))
        parts.deriver.desk.listener = listener
        log.info("starting", version=__version__, database=str(settings.storage.path))
        stages = _stages(parts, settled)
        systemd.notify("READY=1", f"STATUS=wattwarden {__version__}")
        if started is not None:
            started(parts)
        try:
            await run_stages(stop, stages, parts.board)
        finally:
            systemd.notify("STOPPING=1")
    log.info("stopped")
