"""Run named services together, retry what may heal, and stop them in order."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from gateway.domain.errors import TransientError

log = structlog.get_logger()
Service = Callable[[], Awaitable[object]]
STABLE_AFTER_S = 10.0  # seconds without error that reset the backoff
# 2^3 s, full jitter below it (AWS Architecture Blog, 2015): what has healed is used within 10 s.
LONGEST_BACKOFF = 3
SHORTEST_RETRY_S = 0.5  # under 2 tries a second, whatever the dice say


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT or SIGTERM sets."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@dataclass(slots=True)
class Health:
    """How one service is doing, for people and probes."""

    state: str = "starting"  # starting | running | retrying | stopped
    error: str = ""
    retries: int = 0


@dataclass(slots=True)
class Board:
    """The health of every service, by name."""

    services: dict[str, Health] = field(default_factory=dict)

    def of(self, name: str) -> Health:
        """Return a service's health, created when first asked for."""
        return self.services.setdefault(name, Health())


async def forever(name: str, service: Service, board: Board) -> None:
    """Await a service; retry transient errors with full jitter, let every other error crash."""
    attempt = 0
    health = board.of(name)
    while True:
        started = time.monotonic()
        health.state = "running"
        try:
            await service()
        except TransientError as error:
            stable = time.monotonic() - started > STABLE_AFTER_S
            attempt = 0 if stable else min(attempt + 1, LONGEST_BACKOFF)
            delay_s = SHORTEST_RETRY_S + random.uniform(0, 2.0**attempt)  # noqa: S311 - not a secret
            health.state, health.error = "retrying", str(error)
            health.retries += 1
            log.warning(
                "service_retrying", service=name, error=str(error), delay_s=round(delay_s, 2)
            )
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError:
            health.state = "stopped"
            raise
        else:
            msg = f"{name} returned; services run until cancelled"
            raise RuntimeError(msg)


@dataclass(frozen=True, slots=True)
class Stage:
    """One service and how it is stopped: cancelled, after `drain` when it has one."""

    name: str
    run: Service
    drain: Service | None = None


async def run_stages(
    stop: asyncio.Event, stages: list[Stage], board: Board, *, grace_s: float = 4.0
) -> None:
    """Run all stages in one TaskGroup; on stop, end them in their order, draining each.

    A crash of one cancels all and propagates, so that systemd restarts the process.
    `grace_s` bounds the whole shutdown; what is left then is cancelled at once.
    """
    try:
        await _run_group(stop, stages, board, grace_s)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    """Return the error that began it all: the others were cancelled because of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _run_group(
    stop: asyncio.Event, stages: list[Stage], board: Board, grace_s: float
) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(forever(stage.name, stage.run, board), name=stage.name)
            for stage in stages
        ]
        await stop.wait()
        log.info("stopping")
        deadline = asyncio.get_running_loop().time() + grace_s
        for stage, task in zip(stages, tasks, strict=True):
            await _end(stage, task, deadline)


async def _end(stage: Stage, task: asyncio.Task[None], deadline: float) -> None:
    if stage.drain is not None:
        try:
            async with asyncio.timeout_at(deadline):
                await stage.drain()
        except TimeoutError:
            log.warning("drain_timed_out", service=stage.name)
    task.cancel()
    await asyncio.wait([task], timeout=1)
