"""`wattwarden cloud login` and `forget-device`: who may speak for this house, and to whom."""

import os
from pathlib import Path
from typing import Any

import click

from cloud_sync.errors import CloudDownError, ForbiddenError
from cloud_sync.firebase_app import refuse_emulators
from cloud_sync.identity import Identity, identity_path
from cloud_sync.login import Project, forget, log_in
from gateway.cli.call import invoke
from gateway.cli.options import config_option, example
from gateway.cli.tables import moment, show
from gateway.domain.errors import BadInputError
from gateway.settings import Settings, read_secret


@click.command(epilog=example("sudo -u wattwarden wattwarden cloud login --email anna@example.org"))
@click.option("--email", prompt="E-mail of your account", help="A person's account in the project.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="A file of mode 0600 with its password; asked for otherwise.",
)
@config_option
def login(email: str, password_file: Path | None, config: Path) -> None:
    """Give this gateway an identity of its own in the Firebase project.

    Your account must be an admin of the site, or founds it. Its password is used once and not
    kept: what is kept, with mode 0600, lets the gateway write below its own site and nowhere else.
    """
    settings = Settings.load(config)
    refuse_emulators(os.environ, development=settings.cloud.development)
    project = Project.of(settings)
    if password_file is None:
        password = click.prompt("Password", hide_input=True)
    else:
        password = read_secret(password_file, key="--password-file")
    identity = log_in(project, email, password)
    path = identity_path(settings.cloud, settings.storage.path)
    identity.save(path)
    click.echo(f"logged in as {identity.uid}; the identity is kept in {path}")
    if settings.cloud.credentials_file is not None:
        click.echo("cloud.credentials_file is set and goes first; remove it to use this", err=True)
    click.echo("restart the gateway: systemctl restart wattwarden")


@click.command(
    "forget-device",
    epilog=example(
        "wattwarden cloud forget-device", "wattwarden cloud forget-device 0f3a9c1b2d4e5f60",
        "wattwarden cloud forget-device --this",
    ),
)  # fmt: skip
@click.argument("device", metavar="[ID]", required=False)
@click.option("--this", is_flag=True, help="Forget this gateway's own identity in the project.")
@config_option
def forget_device(device: str | None, config: Path, *, this: bool) -> None:
    """Forget a phone or browser that alerts are pushed to; without ID list them."""
    settings = Settings.load(config)
    if this and device is not None:
        msg = "ID, --this: give one of them"
        raise BadInputError(msg)
    if this:
        _forget_gateway(settings)
    elif device is None:
        _list_devices(settings)
    else:
        invoke(settings, "devices.remove", {"id": device, "of": "all"})
        click.echo(f"device {device} is forgotten")


def _list_devices(settings: Settings) -> None:
    found: dict[str, Any] = invoke(settings, "devices.list", {"of": "all"})
    if not found["items"]:
        click.echo("no devices", err=True)
        return
    zone = settings.site.zone
    show(
        ("id", "user", "platform", "name", "language", "seen"),
        [
            (d["id"], d["user"], d["platform"], d["name"] or "-", d["language"],
             moment(d["seen"], zone))
            for d in found["items"]
        ],
    )  # fmt: skip


def _forget_gateway(settings: Settings) -> None:
    """Have the project take the identity back, and remove its file in any case."""
    refuse_emulators(os.environ, development=settings.cloud.development)
    path = identity_path(settings.cloud, settings.storage.path)
    identity = Identity.load(path)
    try:
        forget(Project.of(settings), identity)
    except (CloudDownError, ForbiddenError, BadInputError) as error:
        click.echo(
            f"the project could not be told ({error}); disable the user {identity.uid} in the"
            " Firebase console", err=True,
        )  # fmt: skip
    path.unlink(missing_ok=True)
    click.echo(f"the identity {identity.uid} is forgotten; restart the gateway")
