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
from gateway.services.tokens import MOST_DAYS, USUAL_DAYS
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
        click.echo(f"{person['name']:<24} {person['role']:<9} since {_day(person['created'])}")


@users.command("setup-code")
@json_option
@config_option
def setup_code(config: Path, *, as_json: bool) -> None:
    """Print a code with which the first administrator can be made in the browser, once."""
    made = invoke(Settings.load(config), "users.setup_code", {})
    click.echo(json.dumps(made) if as_json else f"{made['code']} (holds for 24 hours)")


@users.group()
def token() -> None:
    """Add, list and revoke tokens, with which scripts use the API."""


@token.command("add")
@click.argument("name")
@role_option
@click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), default=USUAL_DAYS, show_default=True,
    help="How long it may be used.",
)  # fmt: skip
@config_option
def add_token(name: str, role: str, days: int, config: Path) -> None:
    """Make a token and print it on standard output; it is shown this once."""
    args: dict[str, object] = {"name": name, "role": role, "days": days}
    made = invoke(Settings.load(config), "tokens.add", args)
    click.echo(made["token"])
    click.echo(f"token {name} may be used as {role} for {days} days", err=True)


@token.command("list")
@json_option
@config_option
def list_tokens(config: Path, *, as_json: bool) -> None:
    """List the tokens, without the tokens themselves."""
    found = invoke(Settings.load(config), "tokens.list", {})
    if as_json:
        click.echo(json.dumps(found))
        return
    items = found["items"]
    if not isinstance(items, list) or not items:
        click.echo("there are no tokens; add one with: wattwarden users token add NAME", err=True)
        return
    for item in items:
        seen = "never used" if item["seen"] is None else f"last used {_day(item['seen'])}"
        click.echo(f"{item['name']:<24} {item['role']:<9} until {_day(item['expires'])}  {seen}")


@token.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def remove_token(name: str, config: Path, *, yes: bool) -> None:
    """Revoke a token at once."""
    settings = Settings.load(config)
    if not yes:
        click.confirm(f"Revoke the token {name}?", abort=True, err=True)
    invoke(settings, "tokens.remove", {"name": name})
    click.echo(f"the token {name} is revoked")


def _day(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_ms / 1000))


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
