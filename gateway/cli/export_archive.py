"""`wattwarden export --archive`: the archive's files by hand, with the archive's own code."""

from pathlib import Path

import click

from gateway.adapters.archive_target import DirectoryTarget
from gateway.adapters.export_files import parquet_bytes
from gateway.adapters.store.archive import SqlHourReader
from gateway.domain.errors import BadInputError
from gateway.services.archiving import Plan, archive
from gateway.settings import Settings

RESOLUTIONS = ("raw", "1m")


def write_archive(
    settings: Settings, root: Path, meter: str | None, span: tuple[int, int], resolution: str
) -> None:
    """Write every hour of a span in ms that has data; tell how much that was."""
    if resolution not in RESOLUTIONS:
        msg = f"--resolution: an archive holds {' or '.join(RESOLUTIONS)}"
        raise BadInputError(msg)
    reader = SqlHourReader(settings.storage.path, settings.site.zone)
    hours = reader.all_hours([] if meter is None else [meter], *span)
    plan = Plan(settings.site.id, resolution, hours)
    files = rows = 0
    for written in archive(reader, DirectoryTarget(root), parquet_bytes, plan):
        files += bool(written.name)
        rows += written.rows
    click.echo(f"{root}: {files} files, {rows} rows", err=True)
