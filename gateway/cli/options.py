"""Options that several commands share."""

from pathlib import Path

import click

from gateway.settings import DEFAULT_CONFIG

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The settings file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def example(*commands: str) -> str:
    """Return the end of a --help: commands to try, each on its own line."""
    return "\b\nExample:\n" + "\n".join(f"  {command}" for command in commands)
