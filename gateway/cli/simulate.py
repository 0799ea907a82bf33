"""`wattwarden meters simulate`: meters made of software, with the real firmware in them."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from gateway.cli.options import config_option, example
from gateway.domain.errors import BadInputError
from gateway.settings import MqttSettings, Settings, read_private
from gateway.supervise import stop_on_signals
from simulation.firmware_files import Runner
from simulation.fleet import Fleet
from simulation.home import Home
from simulation.site import Broker, hang_in, homes

MOST_METERS = 200
LOOK_EVERY_S = 1.0
TELL_EVERY_S = 30.0


@click.command(
    epilog=example(
        "wattwarden meters simulate --count 3 --config config.toml",
        "wattwarden meters simulate --count 20 --passwords meters.json --directory /tmp/meters",
    )
)
@click.option(
    "--count",
    type=click.IntRange(1, MOST_METERS),
    default=3,
    show_default=True,
    help="How many meters, each in a simulated home of its own.",
)
@click.option("--prefix", default="sim", show_default=True, help="Meters are called PREFIX-1, …")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Other homes' habits."
)
@click.option(
    "--seconds", type=click.FloatRange(min=1), help="End by itself; without it Ctrl-C ends it."
)
@click.option(
    "--passwords",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='JSON object {"sim-1": "password", …}, mode 0600; without it no login is sent.',
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the meters' flash here, so that they go on next time; else it is temporary.",
)
@click.option(
    "--interpreter",
    type=click.Choice([runner.value for runner in Runner]),
    default=Runner.AUTO.value,
    show_default=True,
    help="What runs the firmware; auto takes the MicroPython VM where it is installed.",
)
@config_option
def simulate(  # noqa: PLR0913 - one argument an option
    *,
    count: int,
    prefix: str,
    seed: int,
    seconds: float | None,
    passwords: Path | None,
    directory: Path | None,
    interpreter: str,
    config: Path,
) -> None:
    """Run simulated meters against the broker in the settings, until Ctrl-C.

    They are processes that run the meter's real firmware; its converter samples the wires of
    a simulated home. Readings are simulated data: use a gateway of its own for them.
    """
    settings = Settings.load(config)
    secrets = _passwords(passwords)
    with contextlib.ExitStack() as stack:
        place = directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="wattwarden-meters-"))
        )
        fleet = stack.enter_context(Fleet(place, runner=Runner(interpreter)))
        names = [f"{prefix}-{number + 1}" for number in range(count)]
        _hang_in(fleet, names, settings.mqtt, seed, secrets)
        fleet.start()
        kind = fleet.launch.runner.value
        click.echo(f"{count} meters run in {kind}, {names[0]} to {names[-1]}; files: {place}")
        asyncio.run(_watch(fleet, seconds))
    click.echo("all meters have ended")


def _passwords(path: Path | None) -> Mapping[str, str]:
    """Return the meters' passwords, or raise ConfigError or BadInputError."""
    if path is None:
        return {}
    try:
        found = json.loads(read_private(path, key="--passwords"))
    except json.JSONDecodeError as error:
        msg = f"--passwords: {path} is not JSON: {error}"
        raise BadInputError(msg) from error
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        msg = f'--passwords: {path} must hold an object {{"meter": "password"}}'
        raise BadInputError(msg)
    return found


def _hang_in(
    fleet: Fleet, names: list[str], mqtt: MqttSettings, seed: int, secrets: Mapping[str, str]
) -> None:
    ca = mqtt.ca_file.read_bytes() if mqtt.ca_file else None
    broker = Broker(mqtt.host, mqtt.port, ca)
    since_ms = int(time.time()) * 1000
    for name, (home_seed, spec) in zip(names, homes(len(names), seed), strict=True):
        if secrets and name not in secrets:
            msg = f"--passwords: no password for {name}"
            raise BadInputError(msg)
        home = Home(home_seed, spec, since_ms=since_ms)
        hang_in(fleet, home, broker, meter=name, seed=home_seed, password=secrets.get(name))


async def _watch(fleet: Fleet, seconds: float | None) -> None:
    """Say what the meters do until the time is over or a signal comes."""
    stop = stop_on_signals()
    began_s = time.monotonic()
    told_s = began_s
    while not stop.is_set():
        now_s = time.monotonic()
        if seconds is not None and now_s - began_s >= seconds:
            break
        if now_s - told_s >= TELL_EVERY_S:
            told_s = now_s
            for line in _states(fleet):
                click.echo(line)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await stop.wait()


def _states(fleet: Fleet) -> Iterator[str]:
    """Yield how many run, and the last words of each that does not."""
    running = sum(meter.running for meter in fleet.meters.values())
    yield f"{running} of {len(fleet.meters)} meters run"
    for meter in fleet.meters.values():
        if not meter.running:
            last = meter.log().strip().splitlines()[-1:]
            yield f"  {meter.name} is down: {last[0] if last else 'it said nothing'}"
