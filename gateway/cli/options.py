"""Options that several commands share."""

from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from gateway.domain.errors import BadInputError
from gateway.settings import DEFAULT_CONFIG

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The settings file.",
)
archive_option = click.option(
    "--archive",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of Parquet files: the archive's, or exports called METER-CHANNEL.parquet.",
)
meters_option = click.option(
    "--meters", default="", metavar="ID,…", help="Only these. [default: all]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def example(*commands: str) -> str:
    """Return the end of a --help: commands to try, each on its own line."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)


def words(text: str) -> list[str]:
    """Return what commas part, without blanks around it and without what is empty."""
    return [word.strip() for word in text.split(",") if word.strip()]


def zone_named(name: str, option: str) -> ZoneInfo:
    """Return a time zone; BadInputError names the option that asked for an unknown one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"{option}: unknown zone {name!r}; use an IANA name such as Europe/Lisbon"
        raise BadInputError(msg) from error
