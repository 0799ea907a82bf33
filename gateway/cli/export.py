"""`wattwarden export`: take readings out, also while the daemon runs."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

import click

from gateway.adapters.export_files import WRITERS
from gateway.adapters.store.export import SqlExportStore
from gateway.cli.options import config_option
from gateway.domain.errors import BadInputError, ConfigError
from gateway.pipeline.times import parse
from gateway.services.exporting import ALL_RESOLUTIONS, columns, rows
from gateway.settings import Settings

FOREVER_MS = 2**53


@click.command()
@click.option("--meter", help="The meter's id.")
@click.option("--channel", help="The channel, such as grid or solar.")
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
@click.option(
    "--archive", type=click.Path(path_type=Path, file_okay=False),
    help="Write an hourly Parquet file per meter below this folder, as [archive] does, of all "
    "channels, and of all meters where --meter names none; whole UTC hours, raw or 1m.",
)  # fmt: skip
@config_option
def export(  # noqa: PLR0913 - one for each option
    *, meter: str | None, channel: str | None, start: str | None, end: str | None,
    resolution: str, kind: str, output: Path | None, archive: Path | None, config: Path,
) -> None:  # fmt: skip
    """Write one channel's readings or intervals in time order, start included, end not.

    Example: wattwarden export --meter kitchen --channel grid --start 2026-11-01 --end 2026-11-02
    """
    settings = Settings.load(config)
    zone = settings.site.zone
    if archive is not None:
        from gateway.cli.export_archive import write_archive  # noqa: PLC0415 - rarely wanted

        span = (_time(start, 0, zone, "--start"), _time(end, FOREVER_MS, zone, "--end"))
        write_archive(settings, archive, meter, span, resolution)
        return
    if meter is None or channel is None:
        msg = "--meter and --channel: name the channel to write"
        raise BadInputError(msg)
    store = SqlExportStore(settings.storage.path, zone)
    with contextlib.closing(store):
        target = store.find(meter, channel)
        low_ms, high_ms = store.bounds(target)
        start_ms = _time(start, low_ms, zone, "--start")
        end_ms = _time(end, high_ms, zone, "--end")
        if start is not None and end is not None and end_ms < start_ms:
            msg = "--end: must not be before --start"
            raise BadInputError(msg)
        with _opened(output, kind) as file:
            found = rows(store, target, resolution, start_ms, end_ms)
            WRITERS[kind](columns(resolution), found, file)


def _time(text: str | None, otherwise_ms: int, zone: ZoneInfo, name: str) -> int:
    return otherwise_ms if text is None else parse(text, zone, name=name)


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
