"""The process that writes the archive's files: `python -m gateway.archiving`, an order on stdin.

The order is one JSON object: `settings` and `hours`. For each hour one line of JSON is answered
when its file is safe; a line with `error` says why the rest is not.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from gateway.adapters.archive_target import DirectoryTarget
from gateway.adapters.export_files import parquet_bytes
from gateway.adapters.store.archive import SqlHourReader
from gateway.domain.errors import ConfigError, GatewayError
from gateway.services.archiving import ArchiveTarget, Hour, Plan, Written, archive
from gateway.settings import Settings

LOWEST_PRIORITY = 15
FOLDER = "archive"


def target_of(settings: Settings) -> ArchiveTarget:
    """Return where the settings want the archive; ConfigError where it cannot be."""
    wanted = settings.archive
    if not wanted.bucket:
        return DirectoryTarget(wanted.directory or settings.storage.path.with_name(FOLDER))
    # Only here: a directory needs nothing of Google.
    from cloud_sync.bucket import BucketTarget  # noqa: PLC0415
    from cloud_sync.firebase_app import credentials_of, refuse_emulators  # noqa: PLC0415

    cloud = settings.cloud
    if not cloud.project:
        msg = "archive.bucket: needs cloud.project and the cloud's credentials"
        raise ConfigError(msg)
    refuse_emulators(os.environ, development=cloud.development)
    if cloud.credentials_file is None and not os.environ.get("STORAGE_EMULATOR_HOST"):
        msg = (
            "archive.bucket: Cloud Storage takes files from a service account only; set "
            "cloud.credentials_file, or archive into a directory"
        )
        raise ConfigError(msg)
    credentials = credentials_of(cloud, settings.storage.path)
    return BucketTarget(wanted.bucket, credentials, cloud.project)


def write(settings: Settings, hours: Sequence[Hour]) -> Iterator[Written]:
    """Write the files of some hours; yield each when it is safe."""
    reader = SqlHourReader(settings.storage.path, settings.site.zone)
    plan = Plan(settings.site.id, settings.archive.readings, hours)
    yield from archive(reader, target_of(settings), parquet_bytes, plan)


def carry_out(order: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Do what an order says; yield the answers."""
    try:
        settings = Settings.model_validate(order["settings"])
        hours = [Hour(*hour) for hour in _pairs(order["hours"])]
        for done in write(settings, hours):
            yield {"hour": done.hour, "file": done[1:]}
    except (GatewayError, OSError) as error:
        yield {"error": str(error)}


def _pairs(value: object) -> Sequence[tuple[int, int]]:
    if not isinstance(value, list):
        msg = "hours: expected a list"
        raise ConfigError(msg)
    return value


def main() -> None:
    """Read the order and carry it out, at a priority that leaves the daemon its time."""
    os.nice(LOWEST_PRIORITY)
    with contextlib.suppress(BrokenPipeError):  # the daemon has ended; what is safe stays so
        for answer in carry_out(json.load(sys.stdin)):
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
