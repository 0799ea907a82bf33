"""The command line `wattwarden`: every command is thin and imported only when it is called."""

import sys
from collections.abc import Sequence

import click

from gateway import __version__
from gateway.cli.lazy import LazyGroup
from gateway.domain.errors import BadInputError, ConfigError, GatewayError, NotFoundError

COMMANDS = {
    "run": "gateway.cli.run:run",
    "demo": "gateway.cli.demo:demo",
    "check-config": "gateway.cli.run:check_config",
    "doctor": "gateway.cli.doctor:doctor",
    "replay": "gateway.cli.replay:replay",
    "export": "gateway.cli.export:export",
    "alerts": "gateway.cli.alerts:alerts",
    "meters": "gateway.cli.meters:meters",
    "users": "gateway.cli.users:users",
    "backup": "gateway.cli.backup:backup",
    "restore": "gateway.cli.backup:restore",
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
