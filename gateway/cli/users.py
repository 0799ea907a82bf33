"""`wattwarden users`: who may log in. Thin: all is done by the daemon's operations."""

import json
import stat
import sys
import time
from pathlib import Path

import click

from gateway.cli.call import invoke
from gateway.cli.options import config_option, json_option
from gateway.domain.errors import BadInputError
from gateway.services.accounts import SHORTEST_PASSWORD, UserRole
from gateway.settings import Settings

password_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="Take the password from this file's first line instead of asking.",
)
role_option = click.option(
    "--role",
    type=click.Choice([role.value for role in UserRole]),
    required=True,
    help="What the person may do: all, run the site, or look.",
)


@click.group()
def users() -> None:
    """Add, change and remove the people who may log in."""


@users.command()
@click.argument("name")
@role_option
@password_option
@config_option
def add(name: str, role: str, password_file: Path | None, config: Path) -> None:
    """Add a person; the password is asked for twice or read from a file."""
    settings = Settings.load(config)
    password = _password(password_file)
    invoke(settings, "users.add", {"name": name, "role": role, "password": password})
    click.echo(f"{name} may log in as {role}")


@users.command()
@click.argument("name")
@password_option
@config_option
def passwd(name: str, password_file: Path | None, config: Path) -> None:
    """Set a person's password; all of the person's sessions end."""
    settings = Settings.load(config)
    password = _password(password_file)
    invoke(settings, "users.passwd", {"name": name, "password": password})
    click.echo(f"{name} has a new password; all sessions have ended")


@users.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def remove(name: str, config: Path, *, yes: bool) -> None:
    """Remove a person and end the person's sessions."""
    settings = Settings.load(config)
    if not yes:
        click.confirm(f"Remove {name}?", abort=True, err=True)
    invoke(settings, "users.remove", {"name": name})
    click.echo(f"{name} is removed")


@users.command("list")
@json_option
@config_option
def list_users(config: Path, *, as_json: bool) -> None:
    """List the people who may log in."""
    found = invoke(Settings.load(config), "users.list", {})
    if as_json:
        click.echo(json.dumps(found))
        return
    people = found["items"]
    if not isinstance(people, list) or not people:
        click.echo("nobody may log in yet; add the first with: wattwarden users add NAME", err=True)
        return
    for person in people:
        since = time.strftime("%Y-%m-%d", time.gmtime(person["created"] / 1000))
        click.echo(f"{person['name']:<24} {person['role']:<9} since {since}")


def _password(file: Path | None) -> str:
    """Return a password of allowed length from a file, or asked for twice without echo."""
    if file is not None:
        password, source = _first_line(file), f"--password-file: {file}:"
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        source = "password:"
    else:
        msg = "no terminal to ask for the password on; give --password-file"
        raise click.UsageError(msg)
    if len(password) < SHORTEST_PASSWORD:
        msg = f"{source} must have at least {SHORTEST_PASSWORD} characters, has {len(password)}"
        raise BadInputError(msg)
    return str(password)


def _first_line(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot be read: {error}"
        raise click.BadParameter(msg, param_hint="--password-file") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        click.echo(f"warning: {file} can be read by others; run: chmod 600 {file}", err=True)
    return text.split("\n", 1)[0].rstrip("\r")
