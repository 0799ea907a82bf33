"""`wattwarden registry`: publish models, device bundles and firmware for gateways to pull."""

import getpass
import json
import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

import click

from gateway.cli.lazy import Lazy, LazyGroup
from gateway.cli.options import example, json_option
from gateway.cli.tables import show

if TYPE_CHECKING:
    from tinymodels.registry.ports import RepositoryStore
    from tinymodels.registry.publisher import Publisher

GOOGLE = "gs://"
Command = Callable[..., Any]
KEYS_LATER = {
    "init": Lazy("gateway.cli.registry_keys:init", "Begin a repository: its keys and its root."),
    "add-key": Lazy("gateway.cli.registry_keys:add_key", "Let one more key sign for a role."),
    "rotate": Lazy("gateway.cli.registry_keys:rotate", "Replace a role's keys, or revoke one."),
}


class Place(NamedTuple):
    """Where a repository lies, and what this machine may do there."""

    repository: str
    credentials: Path | None
    folders: tuple[Path, ...]


def place_options(command: Command) -> Command:
    """Add `--repository`, `--credentials` and `--keys`; the command gets them as `place`."""

    @wraps(command)
    def placed(
        repository: str, credentials: Path | None, folders: tuple[Path, ...], **rest: object
    ) -> object:
        return command(place=Place(repository, credentials, folders), **rest)

    for option in (
        click.option(
            "--keys", "folders", multiple=True, type=click.Path(path_type=Path),
            help="A folder of keys; may be given several times. Keys may also stand in the "
            "environment, as WATTWARDEN_REGISTRY_KEY_STABLE and so on.",
        ),
        click.option(
            "--credentials", type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="A service account's key for gs://. [default: the machine's own]",
        ),
        click.option(
            "--repository", required=True, envvar="WATTWARDEN_REGISTRY", metavar="DIR|gs://…",
            help="Where it lies: a directory (for a web server, say), or gs://bucket/folder.",
        ),
    ):  # fmt: skip
        placed = option(placed)
    return placed


channel_option = click.option(
    "--channel", type=click.Choice(["canary", "stable"]), default="canary", show_default=True,
    help="Who shall get it: homes that try things first, or all.",
)  # fmt: skip


class _Why(TypedDict):
    """What speaks for a file, in the words of the options."""

    verdict: Path | None
    entry: Path | None
    force: bool
    reason: str


@click.group(cls=LazyGroup, lazy=KEYS_LATER)
def registry() -> None:
    """Publish models, device bundles and firmware; gateways pull them. See docs/registry.md."""


def store_at(place: Place) -> "RepositoryStore":
    """Return where a repository lies."""
    from cloud_sync.objects import BucketStore, DirectoryStore  # noqa: PLC0415 - Google's, maybe

    if not place.repository.startswith(GOOGLE):
        return DirectoryStore(Path(place.repository))
    bucket, _, prefix = place.repository.removeprefix(GOOGLE).partition("/")
    found, project = google_credentials(place.credentials)
    return BucketStore(bucket, found, project, prefix)


def google_credentials(path: Path | None) -> tuple[Any, str]:
    """Return whom we speak to Google as, and for which project; nobody to an emulator."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return AnonymousCredentials(), "emulator"
    scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
    if path is not None:
        found, project = google.auth.load_credentials_from_file(str(path), scopes=scopes)
    else:
        found, project = google.auth.default(scopes=scopes)
    return found, project or ""


def publisher_at(place: Place) -> "Publisher":
    """Return a publisher with its keys."""
    from tinymodels.registry.keys import Keyring  # noqa: PLC0415 - a fifth of a second
    from tinymodels.registry.publisher import Publisher  # noqa: PLC0415

    return Publisher(store_at(place), Keyring.load(place.folders, os.environ))


@registry.command(
    epilog=example(
        "wattwarden registry publish out/charts-pooled-grid-7.wwm --repository /srv/models"
        " --keys ~/keys",
        'wattwarden registry publish m.wwm --force --reason "for the test bench" …',
    )
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@channel_option
@click.option(
    "--verdict", type=click.Path(path_type=Path, exists=True),
    help="The gate's verdict. [default: FILE.verdict.json, else report.json beside it]",
)  # fmt: skip
@click.option(
    "--entry", type=click.Path(path_type=Path, exists=True),
    help="A device bundle's signed entry. [default: FILE.json]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Publish what the gate did not pass.")
@click.option("--reason", default="", help="Why; recorded in the target's metadata.")
@place_options
def publish(files: tuple[Path, ...], channel: str, place: Place, **wanted: Unpack[_Why]) -> None:
    """Offer models (.wwm) or meters' bundles (.bin with its .json) in a channel."""
    from tinymodels.registry.items import gated, item_of, verdict_of  # noqa: PLC0415

    allow = partial(gated, force=wanted["force"], reason=wanted["reason"], by=getpass.getuser())
    items = [
        allow(item_of(file, wanted["entry"]), verdict_of(file, wanted["verdict"])) for file in files
    ]
    for path in publisher_at(place).publish(channel, items):
        click.echo(f"{path} is published")


@registry.command(epilog=example("wattwarden registry promote charts-pooled-grid-7.wwm …"))
@click.argument("name")
@place_options
def promote(name: str, place: Place) -> None:
    """Offer to all homes (stable) what canary homes have."""
    path = publisher_at(place).promote(name)
    click.echo(f"{path} is published")


@registry.command(epilog=example("wattwarden registry withdraw charts-pooled-grid-7.wwm …"))
@click.argument("name")
@channel_option
@place_options
def withdraw(name: str, channel: str, place: Place) -> None:
    """Offer something no more. Homes that run it go on; publish a higher version to replace it."""
    publisher_at(place).withdraw(channel, name)
    click.echo(f"{channel}/{name} is offered no more")


@registry.command(epilog=example("wattwarden registry renew --repository /srv/models --keys keys"))
@place_options
def renew(place: Place) -> None:
    """Sign again what ends soon. Run it every week: after 30 days nobody believes the old one."""
    done = publisher_at(place).renew()
    click.echo(f"renewed: {', '.join(done)}")


@registry.command("show", epilog=example("wattwarden registry show --repository /srv/models"))
@place_options
@json_option
def show_all(place: Place, *, as_json: bool) -> None:
    """Show what is offered, whose keys sign, and until when."""
    from tinymodels.registry.publisher import listing  # noqa: PLC0415
    from tinymodels.registry.repository import ROLES, Repository  # noqa: PLC0415

    found = Repository.load(store_at(place))
    targets, roles = listing(found), {
        role: {"keys": found.key_ids(role), "expires": found.expires(role).isoformat()}
        for role in ROLES
    }  # fmt: skip
    if as_json:
        items = [{**one._asdict(), "custom": dict(one.custom)} for one in targets]
        click.echo(json.dumps({"items": items, "roles": roles, "next": None}))
        return
    show(
        ("target", "bytes", "gate", "sha256"),
        [[one.path, str(one.length), _gate(one.custom), one.sha256[:16]] for one in targets],
    )
    show(
        ("role", "keys", "good until"),
        [[role, ", ".join(k[:12] for k in found.key_ids(role)), str(found.expires(role))]
         for role in ROLES],
    )  # fmt: skip


def _gate(custom: Any) -> str:  # noqa: ANN401 - a target's own metadata
    if forced := custom.get("forced"):
        return f"forced: {forced['reason']}"[:60]
    return "passed" if custom.get("gate") else "-"
