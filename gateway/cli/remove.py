"""`wattwarden meters remove`: ends a meter's access, at the broker and in the gateway."""

import contextlib
import sys
from pathlib import Path

import click

from gateway.cli.call import invoke
from gateway.cli.kit_options import yes_option
from gateway.cli.options import config_option, example
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.settings import Settings
from provisioning import login_check
from provisioning.broker_files import RESERVED, BrokerFiles
from provisioning.errors import BrokerError
from provisioning.meter_config import Door


@click.command(epilog=example("sudo wattwarden meters remove kitchen"))
@click.argument("meter", metavar="ID")
@yes_option
@config_option
def remove(meter: str, config: Path, *, yes: bool) -> None:
    """End a meter's access: its account at the broker, and the gateway's ear for it.

    The broker cuts it off within seconds. What it has delivered stays. On the broker's machine
    it takes root, for the password file.
    """
    settings = Settings.load(config)
    if meter in RESERVED:
        msg = f"ID: {meter!r} is no meter"
        raise BadInputError(msg)
    if not yes and not sys.stdin.isatty():
        msg = "--yes: needed where nobody can be asked; the meter's readings will be refused"
        raise BadInputError(msg)
    if not yes:
        click.confirm(f"Refuse readings of {meter} from now on?", abort=True, err=True)
    locked_out, untold = _lock_out(settings, meter)
    try:
        invoke(settings, "meters.remove", {"id": meter})
    except NotFoundError:
        if not locked_out:  # neither knows it: a word that was typed wrong
            raise
    if untold:
        raise BrokerError(untold)
    account = "its account at the broker is gone, " if locked_out else ""
    click.echo(f"meter {meter} is removed; {account}what it delivered stays")


def _lock_out(settings: Settings, meter: str) -> tuple[bool, str]:
    """Take the meter's account away, where the broker is ours.

    Return whether it had one, and what is wrong with a broker that still lets it in, else "".
    """
    kit = settings.kit
    if not kit.broker_passwords.exists():
        return False, ""
    accounts = BrokerFiles(kit.broker_passwords, kit.broker_pid)
    removed = accounts.remove(meter)
    # Also when the account was gone: an earlier try may have ended before this.
    try:
        accounts.reload()
    except BrokerError:
        if _answers(settings):
            return removed, (
                f"restart mosquitto: the meter still has access. {meter} is out of"
                f" {kit.broker_passwords}, but a broker runs that {kit.broker_pid} does not lead"
                " to, so it was not told. Run: sudo systemctl restart mosquitto"
            )
    return removed, ""  # a broker that does not run has nobody to cut off


def _answers(settings: Settings) -> bool:
    """Tell whether a broker listens at a door that the meter may use, whatever it shows there."""
    for port in (settings.kit.broker_port, settings.mqtt.port):
        with contextlib.suppress(BrokerError):
            login_check.look(settings.mqtt.host, Door(None, port))
            return True
    return False
