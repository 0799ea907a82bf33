"""`wattwarden demo`: three simulated homes with real firmware, a broker and the gateway."""

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gateway import logs
from gateway.app import Parts, run_gateway
from gateway.cli import terminal_view as view
from gateway.cli.terminal_view import AlertRow, MeterRow, Picture
from gateway.pipeline.alert_book import Change
from gateway.settings import ClockSettings, MqttSettings, Settings, StorageSettings, WebSettings
from gateway.supervise import stop_on_signals
from simulation.faults import Fault, FaultKind
from simulation.fleet import Fleet
from simulation.home import Home
from simulation.houses import demo_homes, late_morning
from simulation.site import Broker, hang_in
from simulation.virtual_meter import VirtualMeter

FAULT_AT_S = 20.0
FAULT_S = 15.0
FAULT_HOME = "workshop"
WEB_PORT = 8080
HOST = "127.0.0.1"
LONGEST_PAUSE_S = 5.0  # between two readings of a meter that is well
LONGEST_START_S = 30.0


@dataclass(slots=True)
class DemoMeter:
    """One simulated meter, and what the gateway last stored of it."""

    device: VirtualMeter
    row: MeterRow
    stored_row: int = 0
    stored_s: float = -LONGEST_PAUSE_S  # monotonic
    sent: int = 0  # windows that the gateway knows of, by their numbers
    committed: int = 0


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
@click.option("--cloud", is_flag=True, help="Send to a Firestore on this machine too.")
def demo(seconds: float | None, seed: int, *, no_fault: bool, cloud: bool) -> None:
    """Try it out: three simulated homes, their meters, a broker and the gateway, live.

    The meters run the real firmware, in the MicroPython VM where it is installed, and sample
    the simulated wires through a simulated analog front end.

    Twenty seconds in, an announced fault is injected, and the gateway reports it. Everything
    lives in a temporary directory and is gone afterwards.
    """
    logs.configure("error")
    with tempfile.TemporaryDirectory(prefix="wattwarden-demo-") as directory:
        root = Path(directory)
        settings = _settings(root)
        with _cloud(settings, wanted=cloud) as (settings, lines):
            show = asyncio.run(_run(settings, root, seconds, seed, with_fault=not no_fault))
            told = lines()
    for line in (*summary(show), *told):
        click.echo(line)


@contextlib.contextmanager
def _cloud(
    settings: Settings, *, wanted: bool
) -> Iterator[tuple[Settings, Callable[[], Sequence[str]]]]:
    """Give the settings with a cloud on loopback, and what tells of it at the end."""
    if not wanted:
        yield settings, tuple
        return
    from gateway.cli.demo_cloud import in_cloud, local_cloud  # noqa: PLC0415 - Google's libraries

    with local_cloud(_free_port()) as cloud:
        yield settings.model_copy(update={"cloud": cloud}), lambda: in_cloud(settings.site.id)


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


async def _run(
    settings: Settings, directory: Path, seconds: float | None, seed: int, *, with_fault: bool
) -> Show:
    """Run the gateway and the homes until the time is over or a signal comes."""
    stop = stop_on_signals()
    show = Show([], None, time.monotonic(), int(time.time() * 1000))
    ready: asyncio.Future[Parts] = asyncio.get_running_loop().create_future()
    gateway = asyncio.create_task(
        run_gateway(settings, stop, listener=show.hear, started=ready.set_result)
    )
    begun: list[asyncio.Future[Any]] = [gateway, ready]
    await asyncio.wait(begun, timeout=LONGEST_START_S, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        with Fleet(directory / "meters") as fleet:
            _prepare(show, fleet, settings.mqtt, seed, with_fault=with_fault)
            await _perform(show, ready.result(), gateway, stop, seconds)
            await asyncio.to_thread(fleet.close)
            _look(show, ready.result())
    stop.set()
    await gateway
    if not ready.done():
        msg = f"the gateway was not ready within {LONGEST_START_S:.0f} s"
        raise click.ClickException(msg)
    return show


def _prepare(
    show: Show, fleet: Fleet, settings: MqttSettings, seed: int, *, with_fault: bool
) -> None:
    """Build the homes, whose history begins now, and start their meters."""
    show.started_s, show.started_ms = time.monotonic(), int(time.time() * 1000)
    start_ms = show.started_ms // 1000 * 1000
    begins_ms = start_ms + int(FAULT_AT_S * 1000)
    if with_fault:
        show.fault = Fault(FaultKind.VOLTAGE_SWELL, begins_ms, int(FAULT_S * 1000))
    broker = Broker(settings.host, settings.port)
    for home_seed, spec in demo_homes(seed, late_morning(start_ms)):
        faults = [show.fault] if show.fault and spec.name == FAULT_HOME else []
        home = Home(home_seed, spec, since_ms=start_ms, faults=faults)
        device = hang_in(fleet, home, broker, meter=spec.name, seed=home_seed)
        show.meters.append(DemoMeter(device, MeterRow(spec.name)))
    fleet.start()


async def _perform(
    show: Show,
    parts: Parts,
    gateway: "asyncio.Task[None]",
    stop: asyncio.Event,
    seconds: float | None,
) -> None:
    """Let the meters measure and show every second what becomes of it."""
    show.picture.web = f"http://{HOST}:{parts.settings.web.port}/metrics"
    with view.choose(Console()) as screen:
        while not stop.is_set() and not gateway.done():
            if seconds is not None and show.elapsed_s >= seconds:
                break
            _look(show, parts)
            screen.show(show.picture)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0 - show.elapsed_s % 1.0):
                    await stop.wait()
        _look(show, parts)
        screen.show(show.picture)


def _look(show: Show, parts: Parts) -> None:
    """Bring the picture up to date, from what the gateway has stored and judged."""
    now_s = time.monotonic()
    for meter in show.meters:
        row = meter.row
        stored = parts.deriver.latest.get(row.meter)
        if stored is not None and stored.row != meter.stored_row:
            meter.stored_row, meter.stored_s = stored.row, now_s
            row.voltage_v = stored.v
            row.powers_w = {n: c.p for n, c in stored.ch.items() if c.p is not None}
            row.history_w.append(row.powers_w.get("grid", 0.0))
        _count(meter, parts)
        row.online = meter.device.running and now_s - meter.stored_s < LONGEST_PAUSE_S
        row.backlog = meter.sent - meter.committed
    picture = show.picture
    picture.elapsed_s = show.elapsed_s
    picture.meters = [meter.row for meter in show.meters]
    picture.committed = sum(meter.committed for meter in show.meters)
    picture.backlog = parts.intake.backlog
    picture.alerts = sorted(show.alerts.values(), key=lambda alert: -alert.at_s)
    if show.fault is not None and show.now_ms >= show.fault.start_ms:
        picture.announced = [f"at {FAULT_HOME} {show.fault.sentence()}"]


def _count(meter: DemoMeter, parts: Parts) -> None:
    """Count windows: each boot numbers them from 0, so none can be missing unseen."""
    known = parts.intake.ledger.meters.get(meter.row.meter)
    boots = [boot for boot in known.boots.values() if boot.runs] if known else []
    meter.sent = sum(boot.received.highest + 1 for boot in boots)
    missing = sum(last - first + 1 for boot in boots for first, last in boot.holes())
    meter.committed = meter.sent - missing


def summary(show: Show) -> Iterator[str]:
    """Yield what happened, for the end."""
    sent = sum(meter.sent for meter in show.meters)
    covered = sum(meter.committed for meter in show.meters)
    yield (
        f"{show.elapsed_s:.0f} s, {len(show.meters)} meters: {sent} readings sent, "
        f"{covered} committed and acknowledged, {sent - covered} missing"
    )
    announced: Sequence[str] = show.picture.announced
    yield from (f"fault injected: {sentence}" for sentence in announced)
    if not announced:
        yield "no fault injected"
    yield f"alerts raised: {show.opened}"
    yield from (f"  {view.alert_line(alert)}" for alert in show.alerts.values())
