"""Options that the commands of the installer's kit share."""

import sys
from collections.abc import Sequence

import click

from provisioning.ports import Choose, SerialPort

port_option = click.option(
    "--port", help="The board's serial port, such as /dev/ttyUSB0; looked for when not given."
)
yes_option = click.option("--yes", is_flag=True, help="Agree to every question, for scripts.")


def chooser() -> Choose | None:
    """Return what asks a person which of several ports to take; None where nobody is there."""
    return _ask if sys.stdin.isatty() else None


def _ask(ports: Sequence[SerialPort]) -> SerialPort:
    for number, port in enumerate(ports, start=1):
        click.echo(f"  {number}  {port.device}  {port.text}", err=True)
    picked: int = click.prompt(
        "Which board", type=click.IntRange(1, len(ports)), err=True, default=1
    )
    return ports[picked - 1]
