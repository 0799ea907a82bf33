"""`wattwarden demo`: three simulated homes, a broker and the gateway in one process."""

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gateway import logs
from gateway.adapters.virtual_meter import VirtualMeter
from gateway.app import Parts, run_gateway
from gateway.cli import terminal_view as view
from gateway.cli.terminal_view import AlertRow, MeterRow, Picture
from gateway.pipeline.alert_book import Change
from gateway.settings import ClockSettings, MqttSettings, Settings, StorageSettings, WebSettings
from gateway.supervise import stop_on_signals
from simulation.faults import Fault, FaultKind
from simulation.home import Home
from simulation.houses import demo_homes, late_morning
from simulation.meter_stream import MeterStream

FAULT_AT_S = 20.0
FAULT_S = 15.0
FAULT_HOME = "workshop"
WEB_PORT = 8080
HOST = "127.0.0.1"
DRAIN_S = 3.0  # for what is under way when the demo ends
HELD_S = 3600  # a meter keeps an hour of readings
LONGEST_START_S = 30.0


@dataclass(slots=True)
class DemoMeter:
    """One simulated home, its meter, and what the gateway last stored of it."""

    stream: MeterStream
    link: VirtualMeter
    row: MeterRow
    stored_row: int = 0


@dataclass(slots=True)
class Show:
    """The running demo."""

    meters: list[DemoMeter]
    fault: Fault | None
    started_s: float  # monotonic
    started_ms: int
    picture: Picture = field(default_factory=Picture)
    alerts: dict[str, AlertRow] = field(default_factory=dict)
    opened: int = 0

    @property
    def elapsed_s(self) -> float:
        """Return seconds since the demo began."""
        return time.monotonic() - self.started_s

    @property
    def now_ms(self) -> int:
        """Return wall time that no clock change can turn back."""
        return self.started_ms + int(self.elapsed_s * 1000)

    def hear(self, change: Change) -> None:
        """Take an alert's change that the gateway has committed."""
        alert = change.alert
        self.opened += change.is_new
        self.alerts[alert.id] = AlertRow(
            alert.id,
            max(0.0, (alert.opened_ms - self.started_ms) / 1000),
            alert.meter,
            alert.severity.value,
            alert.state.value,
            alert.title,
            alert.detail,
        )


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    help="End by itself after so many seconds; without it Ctrl-C ends the demo.",
)
@click.option("--no-fault", is_flag=True, help="Inject no fault: nothing should be reported.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Other homes' habits."
)
def demo(seconds: float | None, seed: int, *, no_fault: bool) -> None:
    """Try it out: three simulated homes, their meters, a broker and the gateway, live.

    Twenty seconds in, an announced fault is injected, and the gateway reports it. Everything
    lives in a temporary directory and is gone afterwards.
    """
    logs.configure("error")
    with tempfile.TemporaryDirectory(prefix="wattwarden-demo-") as directory:
        settings = _settings(Path(directory))
        show = asyncio.run(_run(settings, seconds, seed, with_fault=not no_fault))
    for line in summary(show):
        click.echo(line)


def _settings(directory: Path) -> Settings:
    return Settings(
        mqtt=MqttSettings(host=HOST, port=_free_port(), embedded=True),
        storage=StorageSettings(path=directory / "demo.db"),
        web=WebSettings(host=HOST, port=_free_port(WEB_PORT)),
        clock=ClockSettings(trust="always"),
    )


def _free_port(wanted: int = 0) -> int:
    """Return the wanted port, or another one when that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    msg = f"no free port on {HOST}"
    raise click.ClickException(msg)


async def _run(settings: Settings, seconds: float | None, seed: int, *, with_fault: bool) -> Show:
    """Run the gateway and the homes until the time is over or a signal comes."""
    stop = stop_on_signals()
    show = _prepare(settings.mqtt, seed, with_fault=with_fault)
    ready: asyncio.Future[Parts] = asyncio.get_running_loop().create_future()
    gateway = asyncio.create_task(
        run_gateway(settings, stop, listener=show.hear, started=ready.set_result)
    )
    begun: list[asyncio.Future[Any]] = [gateway, ready]
    await asyncio.wait(begun, timeout=LONGEST_START_S, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        links = [asyncio.create_task(meter.link.run()) for meter in show.meters]
        try:
            await _perform(show, ready.result(), gateway, stop, seconds)
        finally:
            for link in links:
                link.cancel()
            await asyncio.gather(*links, return_exceptions=True)
    stop.set()
    await gateway
    if not ready.done():
        msg = f"the gateway was not ready within {LONGEST_START_S:.0f} s"
        raise click.ClickException(msg)
    return show


def _prepare(settings: MqttSettings, seed: int, *, with_fault: bool) -> Show:
    """Build the homes; their history begins now."""
    now_ms = int(time.time() * 1000)
    start_ms = now_ms // 1000 * 1000
    begins_ms = start_ms + int(FAULT_AT_S * 1000)
    fault = Fault(FaultKind.VOLTAGE_SWELL, begins_ms, int(FAULT_S * 1000)) if with_fault else None
    show = Show([], fault, time.monotonic(), now_ms)
    for number, (home_seed, spec) in enumerate(demo_homes(seed, late_morning(now_ms))):
        faults = [fault] if fault and spec.name == FAULT_HOME else []
        stream = MeterStream(
            Home(home_seed, spec, since_ms=start_ms, faults=faults), boot=1000 + number
        )

        def clock() -> tuple[int, int | None]:
            return show.now_ms - start_ms, show.now_ms

        link = VirtualMeter(
            settings, spec.name, boot=stream.boot.boot, capacity=HELD_S, clock=clock
        )
        show.meters.append(DemoMeter(stream, link, MeterRow(spec.name)))
    return show


async def _perform(
    show: Show,
    parts: Parts,
    gateway: "asyncio.Task[None]",
    stop: asyncio.Event,
    seconds: float | None,
) -> None:
    """Let the meters measure every second and show what becomes of it."""
    show.picture.web = f"http://{HOST}:{parts.settings.web.port}/metrics"
    with view.choose(Console()) as screen:
        while not stop.is_set() and not gateway.done():
            if seconds is not None and show.elapsed_s >= seconds:
                break
            await _measure(show)
            _look(show, parts)
            screen.show(show.picture)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0 - show.elapsed_s % 1.0):
                    await stop.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(*(meter.link.drained() for meter in show.meters))
        _look(show, parts)
        screen.show(show.picture)


async def _measure(show: Show) -> None:
    """Give each meter's link the windows that have ended by now, one reading a message."""
    for meter in show.meters:
        due = (show.now_ms - meter.stream.now_ms) // meter.stream.home.dt_ms
        if due > 0:
            for reading in meter.stream.take(due):
                await meter.link.offer([reading])


def _look(show: Show, parts: Parts) -> None:
    """Bring the picture up to date, from what the gateway has stored and judged."""
    for meter in show.meters:
        row = meter.row
        row.online, row.backlog = meter.link.online, meter.link.backlog
        stored = parts.deriver.latest.get(row.meter)
        if stored is not None and stored.row != meter.stored_row:
            meter.stored_row = stored.row
            row.voltage_v = stored.v
            row.powers_w = {n: c.p for n, c in stored.ch.items() if c.p is not None}
            row.history_w.append(row.powers_w.get("grid", 0.0))
    picture = show.picture
    picture.elapsed_s = show.elapsed_s
    picture.meters = [meter.row for meter in show.meters]
    picture.committed = sum(meter.link.counters.covered for meter in show.meters)
    picture.backlog = parts.intake.backlog
    picture.alerts = sorted(show.alerts.values(), key=lambda alert: -alert.at_s)
    if show.fault is not None and show.now_ms >= show.fault.start_ms:
        picture.announced = [f"at {FAULT_HOME} {show.fault.sentence()}"]


def summary(show: Show) -> Iterator[str]:
    """Yield what happened, for the end."""
    counters = [meter.link.counters for meter in show.meters]
    sent, covered = (sum(getattr(c, name) for c in counters) for name in ("offered", "covered"))
    yield (
        f"{show.elapsed_s:.0f} s, {len(show.meters)} meters: {sent} readings sent, "
        f"{covered} committed and acknowledged, {sent - covered} under way"
    )
    announced: Sequence[str] = show.picture.announced
    yield from (f"fault injected: {sentence}" for sentence in announced)
    if not announced:
        yield "no fault injected"
    yield f"alerts raised: {show.opened}"
    yield from (f"  {view.alert_line(alert)}" for alert in show.alerts.values())
