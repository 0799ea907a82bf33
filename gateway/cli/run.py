"""`wattwarden run` and `wattwarden check-config`."""

import asyncio
import gc
import sys
from pathlib import Path

import click

from gateway import logs
from gateway.adapters.heap import keep_small
from gateway.cli.options import config_option
from gateway.settings import Settings, check_files

SWITCH_INTERVAL_S = 0.0005


@click.command()
@config_option
def run(config: Path) -> None:
    """Run the gateway until it is told to stop (SIGTERM or Ctrl-C)."""
    settings = Settings.load(config)
    check_files(settings)
    logs.configure(settings.log.level)
    keep_small()
    gc.disable()  # until all is loaded: what a start makes lives as long as the process
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    # Imported here so that check-config answers at once.
    from gateway.app import run_gateway  # noqa: PLC0415
    from gateway.supervise import stop_on_signals  # noqa: PLC0415

    # The writer thread takes the interpreter back after every SQL step; with Python's default of
    # 5 ms it would wait that long each time the loop is busy (docs/performance.md).
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    await run_gateway(settings, stop_on_signals(), settled=_spare_collector)


def _spare_collector() -> None:
    """Take what start-up has made, which lives as long as the process, from the collector."""
    gc.enable()
    gc.collect()
    gc.freeze()


@click.command("check-config")
@config_option
def check_config(config: Path) -> None:
    """Check the settings file and print what would be used."""
    settings = Settings.load(config)
    check_files(settings, of_service=False)
    click.echo(settings.model_dump_json(indent=2))
