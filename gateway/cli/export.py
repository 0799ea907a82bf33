"""`wattwarden export`: take readings out, also while the daemon runs."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from gateway.adapters.export_files import WRITERS
from gateway.adapters.store.export import SqlExportStore
from gateway.cli.options import config_option
from gateway.domain.errors import BadInputError, ConfigError
from gateway.pipeline.times import parse
from gateway.services.exporting import ALL_RESOLUTIONS, columns, rows
from gateway.settings import Settings


@click.command()
@click.option("--meter", required=True, help="The meter's id.")
@click.option("--channel", required=True, help="The channel, such as grid or solar.")
@click.option("--start", help="From this time on: ISO 8601 or Unix ms. [default: all]")
@click.option("--end", help="Up to, not including, this time. [default: all]")
@click.option(
    "--resolution", type=click.Choice(ALL_RESOLUTIONS), default="raw", show_default=True,
    help="Each reading as it came, or intervals.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(list(WRITERS)), default="csv", show_default=True,
    help="Parquet needs the extra `data` (pyarrow).",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="Write here instead of to standard output.",
)  # fmt: skip
@config_option
def export(  # noqa: PLR0913 - one for each option
    *, meter: str, channel: str, start: str | None, end: str | None, resolution: str, kind: str,
    output: Path | None, config: Path,
) -> None:  # fmt: skip
    """Write one channel's readings or intervals in time order, start included, end not.

    Example: wattwarden export --meter kitchen --channel grid --start 2026-11-01 --end 2026-11-02
    """
    settings = Settings.load(config)
    zone = settings.site.zone
    store = SqlExportStore(settings.storage.path, zone)
    with contextlib.closing(store):
        target = store.find(meter, channel)
        low_ms, high_ms = store.bounds(target)
        start_ms = low_ms if start is None else parse(start, zone, name="--start")
        end_ms = high_ms if end is None else parse(end, zone, name="--end")
        if start is not None and end is not None and end_ms < start_ms:
            msg = "--end: must not be before --start"
            raise BadInputError(msg)
        with _opened(output, kind) as file:
            found = rows(store, target, resolution, start_ms, end_ms)
            WRITERS[kind](columns(resolution), found, file)


@contextlib.contextmanager
def _opened(output: Path | None, kind: str) -> Iterator[IO[bytes]]:
    """Give the file to write: a new one appears only when it is complete."""
    if output is None:
        if kind == "parquet" and sys.stdout.isatty():
            msg = "--output: Parquet is not for a terminal; name a file"
            raise BadInputError(msg)
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(output)
    except OSError as error:
        msg = f"--output: {output} cannot be written: {error.strerror}"
        raise ConfigError(msg) from error
    finally:
        part.unlink(missing_ok=True)
