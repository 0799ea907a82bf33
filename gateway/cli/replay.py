"""`wattwarden replay`: feed a table of readings through the broker, as a meter would."""

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gateway.adapters.control import call_daemon
from gateway.adapters.table_files import checksum, open_table
from gateway.adapters.virtual_meter import VirtualMeter
from gateway.cli.options import config_option, zone_named
from gateway.domain.errors import BadInputError, GatewayError, TransientError
from gateway.pipeline.decode import decode
from gateway.pipeline.tabular import Line, Source, Window, parse_map, read_lines, windows
from gateway.services.messages import METER_ID
from gateway.settings import Settings

DAEMON_PATIENCE_S = 30.0
BROKER_PATIENCE_S = 300.0
MESSAGE_READINGS = 60  # at full speed; a message of one at a given speed
CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,15}\Z")
FASTEST = "max"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--meter", required=True, help="The meter's id; registered as a recorded meter.")
@click.option("--channel", default="grid", show_default=True, help="The channel to feed.")
@click.option(
    "--map", "maps", multiple=True, metavar="FIELD=COLUMN",
    help="Take a field from another column: p=p_kw:1000 scales, p=imp-exp subtracts. Repeatable.",
)  # fmt: skip
@click.option("--timezone", help="Of times without an offset. [default: the site's]")
@click.option(
    "--speed", default=FASTEST, show_default=True, metavar="N|max",
    help="Times real time, or as fast as the gateway takes it.",
)  # fmt: skip
@config_option
def replay(  # noqa: PLR0913 - one for each option
    *, file: Path, meter: str, channel: str, maps: Sequence[str], timezone: str | None,
    speed: str, config: Path,
) -> None:  # fmt: skip
    """Feed a CSV or Parquet file of readings through the broker, as a meter would.

    The file needs a column t (ISO 8601 or Unix ms) and any of v, f, i, p, q, wh_in, wh_out.
    Replaying the same file again changes nothing. The daemon must be running.

    Example: wattwarden replay house.csv --meter house --map t=ts --map p=p_kw:1000
    """
    settings = Settings.load(config)
    _check_names(meter, channel)
    factor = _speed(speed)
    zone = settings.site.zone if timezone is None else zone_named(timezone, "--timezone")
    table = open_table(file)
    sources = parse_map(maps, table.columns)
    lines = read_lines(table.columns, table.rows(), sources, zone)
    if not lines:
        msg = f"FILE: {file} has no rows"
        raise BadInputError(msg)
    _register(settings, meter)
    boot = checksum(file, meter)
    asyncio.run(_feed(settings, _Job(meter, channel, boot, lines, sources, factor)))


class _Job(msgspec.Struct, frozen=True):
    meter: str
    channel: str
    boot: int
    lines: list[Line]
    sources: dict[str, Source]
    speed: float | None


def _check_names(meter: str, channel: str) -> None:
    if METER_ID.match(meter) is None:
        msg = f"--meter: {meter!r} must be 2 to 32 of a-z, 0-9 and -, not beginning with -"
        raise BadInputError(msg)
    if CHANNEL.match(channel) is None:
        msg = f"--channel: {channel!r} must be 1 to 16 of a-z, 0-9 and _, beginning with a letter"
        raise BadInputError(msg)


def _speed(text: str) -> float | None:
    if text == FASTEST:
        return None
    with contextlib.suppress(ValueError):
        factor = float(text)
        if 0 < factor < float("inf"):
            return factor
    msg = f"--speed: {text!r} must be a number above 0, or {FASTEST}"
    raise BadInputError(msg)


def _register(settings: Settings, meter: str) -> None:
    """Register a recorded meter with the daemon, which may still be starting."""
    deadline_s = time.monotonic() + DAEMON_PATIENCE_S
    while True:
        with contextlib.suppress(TransientError):
            args: dict[str, object] = {"id": meter, "recorded": True}
            if call_daemon(settings.storage.path, "meters.add", args) is not None:
                return
        if time.monotonic() > deadline_s:
            msg = f"no gateway runs on {settings.storage.path}; start it with: wattwarden run"
            raise GatewayError(msg)
        time.sleep(0.2)


async def _feed(settings: Settings, job: _Job) -> None:
    meter = VirtualMeter(
        settings.mqtt, job.meter, boot=job.boot, clock=lambda: (0, None), window=64
    )
    link = asyncio.create_task(meter.run(patience_s=BROKER_PATIENCE_S))
    feeding = asyncio.create_task(_offer_all(meter, job))
    try:
        await asyncio.wait([link, feeding], return_when=asyncio.FIRST_COMPLETED)
        if link.done():
            link.result()
        bad = feeding.result()
    finally:
        for task in (link, feeding):
            task.cancel()
        await asyncio.gather(link, feeding, return_exceptions=True)
    click.echo(f"{len(job.lines)} rows of {job.meter} are safe in the gateway", err=True)
    if bad:
        click.echo(f"{len(bad)} rows break the contract's ranges: first {bad[0]}", err=True)


async def _offer_all(meter: VirtualMeter, job: _Job) -> list[str]:
    """Offer every row, and wait until the gateway has them all; return what it will refuse."""
    bad: list[str] = []
    with _progress() as progress:
        task = progress.add_task("replay", total=len(job.lines))
        pending: list[Window] = []
        started_s, first_ms = time.monotonic(), job.lines[0].t_ms
        for window, line in zip(
            windows(job.lines, job.sources, job.channel, job.boot), job.lines, strict=True
        ):
            if job.speed is not None:
                due_s = started_s + (line.t_ms - first_ms) / 1000 / job.speed
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if pending and (window.missing or len(pending) >= _most(job)):
                await _send(meter, job, pending, bad)
                pending = []
            if window.missing:
                await meter.drop(window.seq - window.missing, window.seq - 1)
            pending.append(window)
            progress.update(task, completed=meter.counters.covered)
        await _send(meter, job, pending, bad)
        waiting = asyncio.create_task(meter.drained())
        while not waiting.done():
            await asyncio.wait([waiting], timeout=0.2)
            progress.update(task, completed=meter.counters.covered)
    return bad


def _most(job: _Job) -> int:
    return MESSAGE_READINGS if job.speed is None else 1


async def _send(meter: VirtualMeter, job: _Job, pending: list[Window], bad: list[str]) -> None:
    readings = [window.reading for window in pending]
    payload = msgspec.json.encode(readings if len(readings) > 1 else readings[0])
    bad.extend(f"seq {rejected.seq}: {rejected.detail}" for rejected in decode(payload).rejected)
    span = (pending[0].seq, pending[-1].seq)
    await meter.offer_encoded(payload, boot=job.boot, span=span, count=len(readings))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(),
    )  # fmt: skip
