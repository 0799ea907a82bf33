"""The command line `wattwarden`: every command is thin and imported only when it is called."""

import sys
from collections.abc import Sequence

import click

from gateway import __version__
from gateway.cli.lazy import Lazy, LazyGroup
from gateway.domain.errors import BadInputError, ConfigError, GatewayError, NotFoundError

COMMANDS = {
    "run": Lazy("gateway.cli.run:run", "Run the gateway until it is told to stop."),
    "demo": Lazy(
        "gateway.cli.demo:demo", "Try it out: three simulated homes, a broker and a fault."
    ),
    "check-config": Lazy(
        "gateway.cli.run:check_config", "Check the settings file, and print what would be used."
    ),
    "doctor": Lazy(
        "gateway.cli.doctor:doctor", "Check everything around the gateway; say who must do what."
    ),
    "replay": Lazy("gateway.cli.replay:replay", "Feed a file of readings through the gateway."),
    "export": Lazy(
        "gateway.cli.export:export", "Write readings or intervals to a file or a terminal."
    ),
    "alerts": Lazy("gateway.cli.alerts:alerts", "See alerts and answer them."),
    "notify": Lazy("gateway.cli.notify:notify", "See whether alerts reach people."),
    "cloud": Lazy(
        "gateway.cli.cloud:cloud", "Firebase: what waits, what it costs, sending it now."
    ),
    "meters": Lazy(
        "gateway.cli.meters:meters", "See, add, flash, calibrate, simulate and command meters."
    ),
    "models": Lazy("gateway.cli.models:models", "See and change which models judge."),
    "registry": Lazy(
        "gateway.cli.registry:registry", "Publish models, device bundles and firmware."
    ),
    "train": Lazy("gateway.cli.train:train", "Fit detectors to an archive of readings."),
    "evaluate": Lazy(
        "gateway.cli.evaluate:evaluate", "Put faults into real months; count who finds them."
    ),
    "users": Lazy("gateway.cli.users:users", "Add, change and remove the people who may log in."),
    "backup": Lazy(
        "gateway.cli.backup:backup", "Copy the database, or all of the site, to a file."
    ),
    "restore": Lazy(
        "gateway.cli.backup:restore", "Put a backup in the database's or the site's place."
    ),
    "install": Lazy(
        "gateway.cli.install:install", "Install on Raspberry Pi OS or Debian 12, with a broker."
    ),
    "upgrade": Lazy(
        "gateway.cli.upgrade:upgrade", "Install another version; back to this one if it fails."
    ),
    "certificates": Lazy(
        "gateway.cli.certificates:certificates", "Show and renew those of web server and broker."
    ),
    "uninstall": Lazy(
        "gateway.cli.uninstall:uninstall", "Remove the program; data stays unless told otherwise."
    ),
}
FAILED, WRONG_USE = 1, 2


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="wattwarden")
def cli() -> None:
    """Wattwarden: a home's energy gateway.

    Meters measure, this gateway stores every reading exactly once, judges it and raises alerts.
    Try it with: wattwarden demo
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status: 0 done, 1 failed, 2 wrong usage or configuration."""
    try:
        words = None if args is None else list(args)
        sys.exit(cli.main(args=words, prog_name="wattwarden", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(WRONG_USE)
    except click.ClickException as error:
        _end(error.format_message(), error.exit_code)
    except click.Abort:
        _end("stopped", FAILED)
    except NotFoundError as error:
        _end(error, FAILED)
    except (ConfigError, BadInputError) as error:
        _end(error, WRONG_USE)
    except GatewayError as error:
        _end(error, FAILED)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stdout = None
        sys.exit(FAILED)


def _end(error: object, status: int) -> None:
    click.echo(f"wattwarden: {error}", err=True)
    sys.exit(status)
