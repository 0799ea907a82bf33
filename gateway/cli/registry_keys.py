"""`wattwarden registry init|add-key|rotate`: whose signatures count."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import example
from gateway.cli.registry import Place, place_options, publisher_at, store_at
from gateway.domain.errors import BadInputError

if TYPE_CHECKING:
    from securesystemslib.signer import Key

ROLES = ("root", "targets", "stable", "canary", "snapshot", "timestamp")
OFFLINE = ("root", "targets")
role_argument = click.argument("role", type=click.Choice(ROLES))


@click.command(
    epilog=example(
        "wattwarden registry init --repository /srv/models --keys ~/keys"
        " --offline-keys /media/stick/keys --root-out models-root.json"
    )
)
@place_options
@click.option(
    "--offline-keys", type=click.Path(path_type=Path),
    help="Where those of root and targets are made: a stick. [default: as --keys]",
)  # fmt: skip
@click.option(
    "--root-out", type=click.Path(path_type=Path), default=Path("models-root.json"),
    show_default=True, help="What gateways pin (models.root_file).",
)  # fmt: skip
def init(place: Place, offline_keys: Path | None, root_out: Path) -> None:
    """Begin a repository: make its keys in --keys, and the root that gateways pin.

    A key file that is there already is used.
    """
    if len(place.folders) != 1:
        msg = "--keys: give the one folder where the keys shall be"
        raise BadInputError(msg)
    keys = place.folders[0]
    from tinymodels.registry.keys import Keyring, key_of, new_key  # noqa: PLC0415
    from tinymodels.registry.publisher import Publisher  # noqa: PLC0415

    ring = Keyring()
    chosen: dict[str, list[Key]] = {}
    for role in ROLES:
        path = ((offline_keys or keys) if role in OFFLINE else keys) / f"{role}.pem"
        signer = key_of(path) if path.exists() else new_key(path)
        ring.add(signer)
        chosen[role] = [signer.public_key]
    root = Publisher(store_at(place), ring).init(chosen)
    root_out.write_bytes(root)
    click.echo(f"the repository is there; gateways need {root_out} as models.root_file")
    if offline_keys is None:
        click.echo(f"move root.pem and targets.pem from {keys} to a stick, and keep a copy")


@click.command(
    "add-key",
    epilog=example("wattwarden registry add-key root --key anna.pub.pem --threshold 2 …"),
)
@role_argument
@click.option("--key", required=True, type=click.Path(path_type=Path, exists=True),
              help="An ed25519 key in PEM; the public half is enough.")  # fmt: skip
@click.option("--threshold", type=click.IntRange(1, 10), help="So many must sign from now on.")
@place_options
def add_key(role: str, key: Path, threshold: int | None, place: Place) -> None:
    """Let one more key sign for a role. Needs the keys of root, of targets for a channel."""
    from tinymodels.registry.keys import public_key_of  # noqa: PLC0415

    found = public_key_of(key)
    publisher_at(place).add_key(role, found, threshold)
    click.echo(f"{found.keyid} signs for {role}")


@click.command(
    epilog=example(
        "wattwarden registry rotate stable --new ~/keys/stable-2.pem --keys ~/keys --keys /media/x",
        "wattwarden registry rotate root --revoke 3f2a91c0 …",
    )
)
@role_argument
@click.option(
    "--new", type=click.Path(path_type=Path), help="The new key's file; made where there is none."
)
@click.option(
    "--revoke", multiple=True, metavar="KEY-ID",
    help="Revoke this key (the begin of its id). [default: all the role has]",
)  # fmt: skip
@click.option("--threshold", type=click.IntRange(1, 10), help="So many must sign from now on.")
@place_options
def rotate(
    role: str, new: Path | None, revoke: tuple[str, ...], threshold: int | None, place: Place
) -> None:
    """Replace a role's keys, or revoke one that was lost or stolen.

    Gateways learn it with their next pull, and believe nothing more that the old key signed.
    """
    from tinymodels.registry.keys import key_of, new_key  # noqa: PLC0415

    if new is None and not revoke:
        msg = "give --new, the key that shall sign from now on, or --revoke"
        raise BadInputError(msg)
    publisher = publisher_at(place)
    key = None
    if new is not None:
        signer = key_of(new) if new.exists() else new_key(new)
        publisher.keys.add(signer)
        key = signer.public_key
    gone = publisher.rotate(role, key, list(revoke), threshold)
    click.echo(f"{role}: revoked {', '.join(one[:12] for one in gone) or 'nothing'}")
