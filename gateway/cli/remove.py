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
from provisioning.broker_files import RESERVED, BrokerFiles
from provisioning.errors import BrokerError


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
    locked_out = _lock_out(settings, meter)
    try:
        invoke(settings, "meters.remove", {"id": meter})
    except NotFoundError:
        if not locked_out:  # neither knows it: a word that was typed wrong
            raise
    account = "its account at the broker is gone, " if locked_out else ""
    click.echo(f"meter {meter} is removed; {account}what it delivered stays")


def _lock_out(settings: Settings, meter: str) -> bool:
    """Take the meter's account away, where the broker is ours; False when it had none."""
    kit = settings.kit
    if not kit.broker_passwords.exists():
        return False
    accounts = BrokerFiles(kit.broker_passwords, kit.broker_pid)
    removed = accounts.remove(meter)
    # Also when the account was gone: an earlier try may have ended before this. A broker that
    # does not run has nobody to cut off.
    with contextlib.suppress(BrokerError):
        accounts.reload()
    return removed
