"""`wattwarden meters provision`: makes a flashed board a meter of this site."""

import socket
import sys
from pathlib import Path
from typing import TypedDict, Unpack

import click

from gateway.cli.kit_options import chooser, port_option, yes_option
from gateway.cli.kit_registry import GatewayRegistry
from gateway.cli.kit_teller import KitTeller
from gateway.cli.options import config_option, example
from gateway.domain.errors import BadInputError, ConfigError
from gateway.settings import Settings
from provisioning.broker_files import BrokerFiles
from provisioning.meter_config import Door, MeterPlan, check
from provisioning.networks import Network, from_file, network
from provisioning.ports import pick
from provisioning.provision import Newest, Site
from provisioning.provision import provision as provision_board
from provisioning.release_keys import release_keys

PLAIN_PORT = 1883


class _Given(TypedDict):
    """The options that say what the meter is to be."""

    label: str | None
    channels: str | None
    rating: float | None
    ssid: str | None
    wifi_file: Path | None
    keep_wifi: bool
    broker: str | None
    broker_name: str | None
    mdns: bool
    tls: bool
    relay: bool | None
    new_password: bool


@click.command(
    epilog=example(
        "sudo wattwarden meters provision kitchen",
        'sudo wattwarden meters provision roof --channels grid,solar --label "Roof"',
        "sudo wattwarden meters provision kitchen --wifi-file wifi.json --yes",
    )
)
@click.argument("meter", metavar="ID")
@port_option
@click.option("--label", help="A name for people.")
@click.option(
    "--channels", metavar="NAMES",
    help="Names of the clamps, in the order of their inputs: grid,solar,load1 …  [grid]",
)  # fmt: skip
@click.option(
    "--rating", type=click.FloatRange(1, 1000), metavar="A",
    help="Rated current of the clamps.  [30]",
)  # fmt: skip
@click.option("--ssid", help="The Wi-Fi's name; its password is asked without being shown.")
@click.option(
    "--wifi-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help='{"ssid": "…", "password": "…"}, mode 0600; a list holds up to four networks.',
)
@click.option("--keep-wifi", is_flag=True, help="Leave the board the networks it knows.")
@click.option("--broker", metavar="HOST[:PORT]", help="Where the meter finds the broker.")
@click.option("--broker-name", metavar="NAME", help="The name in the broker's certificate.")
@click.option("--mdns", is_flag=True, help="Have the meter look for the broker by itself.")
@click.option("--tls/--no-tls", default=True, show_default=True, help="Encrypt, trust our CA.")
@click.option("--relay/--no-relay", default=None, help="Whether a relay is wired.  [no]")
@click.option("--new-password", is_flag=True, help="Give it another password at the broker.")
@click.option(
    "--within", type=click.FloatRange(5, 3600), default=120.0, show_default=True, metavar="S",
    help="How long to wait for the first reading.",
)  # fmt: skip
@yes_option
@config_option
def provision(
    *,
    meter: str,
    port: str | None,
    within: float,
    yes: bool,
    config: Path,
    **given: Unpack[_Given],
) -> None:
    """Make a flashed board the meter ID: name, Wi-Fi, password, keys; wait for a reading.

    Run it on the gateway's machine, as root: it adds the meter to the broker's password file.
    What is not said stays as the board has it: clamps, rating, relay. The Wi-Fi's password comes
    from a prompt or a file and is shown nowhere. When it was interrupted, run it again: nothing
    is done twice. The next step is: sudo wattwarden meters calibrate ID
    """
    settings = Settings.load(config)
    registry = GatewayRegistry(settings)
    registry.expect_daemon()
    networks = _networks(given)
    with KitTeller(yes=yes) as tell:
        plan = _plan(meter, settings, given, networks, registry)
        if not plan.release_keys:
            tell.note("no kit.release_keys: it will take no firmware and models over the air")
        check(plan)
        device = pick(port, chooser())
        first = provision_board(device, plan, _site(settings, registry), tell, within_s=within)
    click.echo(_words(meter, first))


def _words(meter: str, first: Newest) -> str:
    return (
        f"{meter} is a meter of this site. Its first reading:\n  {first.text}\n"
        f"next: sudo wattwarden meters calibrate {meter}"
    )


def _plan(
    meter: str,
    settings: Settings,
    given: _Given,
    networks: tuple[Network, ...] | None,
    registry: GatewayRegistry,
) -> MeterPlan:
    named = given["channels"]
    return MeterPlan(
        meter,
        _door(settings, given),
        channels=None if named is None else tuple(name.strip() for name in named.split(",")),
        networks=networks,
        release_keys=release_keys(settings.kit.release_keys),
        site_keys=(registry.site_key(),),
        rating_a=given["rating"],
        nominal_v=settings.detect.nominal_voltage,
        nominal_hz=settings.detect.nominal_frequency,
        relay=given["relay"],
        label=given["label"],
        new_password=given["new_password"],
    )


def _networks(given: _Given) -> tuple[Network, ...] | None:
    """Return the Wi-Fi networks as given or asked for, None = those the board has."""
    ssid, file = given["ssid"], given["wifi_file"]
    if sum((ssid is not None, file is not None, given["keep_wifi"])) > 1:
        msg = "--ssid, --wifi-file, --keep-wifi: give one of them"
        raise BadInputError(msg)
    if given["keep_wifi"]:
        return None
    if file is not None:
        return from_file(file)
    if not sys.stdin.isatty():
        msg = "--wifi-file: needed where nobody can be asked for the Wi-Fi's password"
        raise BadInputError(msg)
    name: str = ssid or click.prompt("Wi-Fi name", err=True)
    secret: str = click.prompt(
        f"Password of {name} (empty for none)", hide_input=True, default="", show_default=False,
        err=True,
    )  # fmt: skip
    return (network(name, secret),)


def _door(settings: Settings, given: _Given) -> Door:
    """Return how the meter reaches the broker."""
    kit = settings.kit
    host, port = kit.broker_host, kit.broker_port if given["tls"] else PLAIN_PORT
    if given["broker"] is not None:
        host, _, number = given["broker"].partition(":")
        if number and not (number.isdigit() and 0 < int(number) < 1 << 16):
            msg = f"--broker: {number[:10]!r} is no port"
            raise BadInputError(msg)
        port = int(number) if number else port
    own = f"{socket.gethostname().partition('.')[0]}.local"
    name = given["broker_name"] or (host if host is not None else own)
    if given["mdns"] and given["broker"] is not None:
        msg = "--broker, --mdns: give one of them"
        raise BadInputError(msg)
    ca = _ca(kit.ca_file) if given["tls"] else None
    return Door(None if given["mdns"] else host or own, port, name if ca else None, ca)


def _ca(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = (
            f"kit.ca_file: {path} cannot be read ({error.strerror}); the installation makes it:"
            " sudo wattwarden install. For a broker without TLS say --no-tls"
        )
        raise ConfigError(msg) from error


def _site(settings: Settings, registry: GatewayRegistry) -> Site:
    """Return where the meter is put in; a broker without our password file asks for none."""
    kit = settings.kit
    login = settings.mqtt.username is not None or kit.broker_passwords.exists()
    accounts = BrokerFiles(kit.broker_passwords, kit.broker_pid) if login else None
    return Site(accounts, settings.mqtt.host, registry)
