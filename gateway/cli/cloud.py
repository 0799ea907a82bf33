"""`wattwarden cloud`: what waits for the cloud, what it costs, and sending it now."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from cloud_sync.governor import BULK_SHARE
from cloud_sync.prices import LEASES, MULTI_REGION, MonthView, month_view
from gateway import logs
from gateway.adapters.control import call_daemon
from gateway.adapters.store.cloud_due import read_backlog, read_dead, read_usage
from gateway.adapters.store.readonly import snapshot
from gateway.cli.lazy import Lazy, LazyGroup
from gateway.cli.options import config_option, example, json_option
from gateway.cli.tables import moment, printable, show
from gateway.domain.errors import GatewayError
from gateway.services.cloud_feed import DAY_MS, DeadDocument, Usage
from gateway.settings import Settings

DAYS = 30
MOST_DEAD = 20
POLL_S = 0.5
MEGABYTE = 1_000_000
# One document per reading at 1 Hz: what packing saves is told beside it.
WRITES_UNPACKED = 30 * 86_400
LATER = {
    "login": Lazy(
        "gateway.cli.cloud_login:login", "Give this gateway an identity in the Firebase project."
    ),
    "forget-device": Lazy(
        "gateway.cli.cloud_login:forget_device", "Forget a phone or browser that alerts go to."
    ),
}


@click.group(cls=LazyGroup, lazy=LATER)
def cloud() -> None:
    """Firebase: what waits for it, what it costs, sending it now."""


@cloud.command()
@config_option
@json_option
def status(config: Path, *, as_json: bool) -> None:
    """Show what waits for the cloud, what was written today, and what it refused."""
    settings = Settings.load(config)
    today = time.time_ns() // 1_000_000 // DAY_MS
    with snapshot(settings.storage.path) as db:
        backlog = read_backlog(db)
        used = read_usage(db, today, today)
        dead = read_dead(db, MOST_DEAD)
    on = settings.cloud.enabled  # a daemon without cloud does not know of it
    live = call_daemon(settings.storage.path, "cloud.status", {}) if on else None
    told = {
        "enabled": settings.cloud.enabled,
        "daemon": live,
        "waiting": backlog.waiting,
        "oldest_ms": backlog.oldest_ms or None,
        "today": {"writes": _writes(used), "limit": settings.cloud.daily_writes},
        "refused": [entry._asdict() for entry in dead],
    }
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(_sentence(settings, live))
    waiting = ", ".join(f"{count} {kind}" for kind, count in backlog.waiting.items() if count)
    since = moment(backlog.oldest_ms or None, settings.site.zone)
    click.echo(f"waiting: {waiting or 'nothing'}; oldest of {since}")
    share = BULK_SHARE * settings.cloud.daily_writes
    click.echo(f"today: {_writes(used)} writes of {share:.0f}, the rest is for alerts")
    _show_dead(dead, settings)


def _writes(used: Sequence[Usage]) -> int:
    return sum(usage.writes + usage.unknown for usage in used)


def _sentence(settings: Settings, live: dict[str, object] | None) -> str:
    if not settings.cloud.enabled:
        return "the cloud is off; see docs/cloud.md"
    if live is None:
        return f"project {settings.cloud.project}: the daemon does not run, nothing is sent"
    detail = f": {live['detail']} (who must act: {live['who']})" if live["detail"] else ""
    skew = live["skew_ms"]
    clock = f"; the cloud's clock is {int(str(skew)) / 1000:+.1f} s from ours" if skew else ""
    return printable(f"project {settings.cloud.project}: {live['word']}{detail}{clock}")


def _show_dead(dead: Sequence[DeadDocument], settings: Settings) -> None:
    if dead:
        click.echo("refused by the cloud and set aside; the makers must look at it:")
        rows = [[moment(d.at_ms, settings.site.zone), d.path, d.reason[:80]] for d in dead]
        show(("when", "document", "why"), rows)


@cloud.command(epilog=example("wattwarden cloud cost --days 7"))
@click.option("--days", type=click.IntRange(1, 366), default=DAYS, show_default=True,
              help="Judge by so many days before now.")  # fmt: skip
@config_option
@json_option
def cost(days: int, config: Path, *, as_json: bool) -> None:
    """Estimate what a month costs, in US dollars, from what was written lately."""
    settings = Settings.load(config)
    now = time.time_ns() / 1_000_000 / DAY_MS
    with snapshot(settings.storage.path) as db:
        used = read_usage(db, int(now) - days + 1, int(now))
        query = "SELECT count(*) FROM meters WHERE removed_ms IS NULL"
        meters = int(db.execute(query).fetchone()[0])
    begun = min((usage.day for usage in used), default=int(now))
    view = month_view(used, max(1, round(now - begun)))
    if as_json:
        click.echo(json.dumps(_figures(view, meters)))
        return
    _tell(view, used, meters)


def _figures(view: MonthView, meters: int) -> dict[str, object]:
    return {
        "days": view.days,
        "meters": meters,
        "writes_month": view.month.writes,
        "bytes_month": view.month.bytes,
        "leases_month": view.leases.writes,
        "usd_month": round(view.month.usd + view.leases.usd, 4),
        "prices": {"name": MULTI_REGION.name, "as_of": MULTI_REGION.as_of},
    }


def _tell(view: MonthView, used: Sequence[Usage], meters: int) -> None:
    by_kind: dict[str, list[int]] = {}
    for usage in used:
        sums = by_kind.setdefault(usage.kind, [0, 0])
        sums[0] += usage.writes + usage.unknown
        sums[1] += usage.bytes
    rows = [[k, f"{w:,}", f"{b / MEGABYTE:.2f} MB"] for k, (w, b) in sorted(by_kind.items())]
    if rows:
        show(("documents", "writes", "written"), rows)
    month, each = view.month, max(1, meters)
    click.echo(
        f"a month at this rate ({view.days} days looked at, {meters} meters): "
        f"{month.writes:,} writes and {month.bytes / MEGABYTE:.1f} MB, {month.usd:.4f} USD; "
        f"per meter {month.writes / each:,.0f} writes, {month.usd / each:.4f} USD"
    )
    if view.leases.writes:
        click.echo(f"while people look on ({LEASES}): {view.leases.writes:,} writes, "
                   f"{view.leases.usd:.4f} USD")  # fmt: skip
    click.echo(f"one document per reading would be {WRITES_UNPACKED:,} writes a meter")
    prices = MULTI_REGION
    click.echo(
        f"prices of {prices.as_of}: {prices.name}, {prices.per_100k_writes} USD per 100,000 "
        f"writes, {prices.per_gib_month} USD per GiB and month; free quota not counted"
    )


@cloud.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=600.0, show_default=True,
              help="Give up after so long.")  # fmt: skip
@config_option
def drain(seconds: float, config: Path) -> None:
    """Send all that is over now, without waiting for late readings, and wait until it is safe."""
    settings = Settings.load(config)
    if not settings.cloud.enabled:
        msg = "cloud.enabled: the cloud is off; see docs/cloud.md"
        raise click.ClickException(msg)
    begun = call_daemon(settings.storage.path, "cloud.hurry", {})
    if begun is None:
        sent = asyncio.run(_drain_directly(settings, seconds))
        click.echo(f"{sent} documents sent; nothing waits")
        return
    deadline_s = time.monotonic() + seconds
    state = begun
    while int(str(state["idle_turns"])) <= int(str(begun["idle_turns"])):
        if time.monotonic() > deadline_s:
            msg = f"not drained within {seconds:.0f} s: {state['word']} {state['detail']}"
            raise GatewayError(msg)
        time.sleep(POLL_S)
        state = call_daemon(settings.storage.path, "cloud.status", {}) or state
    sent = int(str(state["confirmed"])) - int(str(begun["confirmed"]))
    click.echo(f"{sent} documents sent; nothing waits")


async def _drain_directly(settings: Settings, seconds: float) -> int:
    # Imported here: a running daemon answers before all its parts could be imported.
    from gateway.app import drain_cloud  # noqa: PLC0415

    logs.configure("warning")  # stdout is the command's own
    async with asyncio.timeout(seconds):
        return await drain_cloud(settings)
