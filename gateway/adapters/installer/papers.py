"""Steps that make passwords and certificates; existing ones are kept, since meters trust them."""

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from gateway.adapters.installer.answers import Answers
from gateway.adapters.installer.files import MakeFolder, Owner, PlaceFile, write_whole
from gateway.adapters.installer.layout import ACCOUNT, BROKER_GROUP, Layout
from gateway.adapters.installer.pairs import PlacePair
from gateway.adapters.installer.steps import Act, Step

Purpose = Literal["broker", "web"]
GATEWAY_USER = "gateway"
PASSWORD_BYTES = 24
CERTS = "/etc/mosquitto/certs"


class Kit(Protocol):
    """What the installer's kit makes; it is handed in by the command line."""

    def authority(self) -> bytes:
        """Return the site CA's certificate (PEM); makes the CA where there is none yet."""

    def authority_folder(self) -> Path:
        """Return where the CA's certificate and key lie."""

    def server(self, names: Sequence[str], purpose: Purpose) -> tuple[bytes, bytes]:
        """Return certificate and key (PEM) of a server with these names, signed by the CA."""

    def account_fits(self, user: str, password: str) -> bool:
        """Tell whether the broker's password file has this account with this password."""

    def set_account(self, user: str, password: str) -> None:
        """Put an account into the broker's password file, in place of one of that name."""


class Papers:
    """Passwords and certificates of one installation."""

    def __init__(self, layout: Layout, answers: Answers, kit: Kit) -> None:
        """`kit` makes them, `layout` says where they lie."""
        self._layout = layout
        self._answers = answers
        self._kit = kit

    def password(self) -> PlaceFile:
        """Return the step that makes the gateway's own password at the broker."""
        new = secrets.token_urlsafe(PASSWORD_BYTES).encode() + b"\n"
        return PlaceFile(
            self._layout.mqtt_password, lambda: new, 0o600, self._owner("root", "root"), keep=True
        )

    def broker_accounts(self) -> list[Step]:
        """Return the steps that let the gateway into the broker."""
        layout, path = self._layout, self._layout.broker_passwords
        owner = self._owner("root", BROKER_GROUP)
        before: list[bytes] = []

        def password() -> str:
            return layout.mqtt_password.read_text().split("\n", 1)[0]

        def said() -> str | None:
            there = path.exists() and layout.mqtt_password.exists()
            if there and self._kit.account_fits(GATEWAY_USER, password()):
                return None
            return f"give the gateway its account at the broker ({path})"

        def do() -> None:
            before.append(path.read_bytes())
            self._kit.set_account(GATEWAY_USER, password())

        def undo() -> None:
            if before:
                write_whole(path, before[0], 0o640, owner)

        return [PlaceFile(path, lambda: b"", 0o640, owner, keep=True), Act(said, do, undo)]

    def authority(self) -> list[Step]:
        """Return the steps that make the site's own certificate authority."""
        folder = self._kit.authority_folder()

        def said() -> str | None:
            there = folder.is_dir() and any(folder.iterdir())
            return None if there else f"create the site's certificate authority in {folder}"

        def do() -> None:
            self._kit.authority()

        def undo() -> None:
            shutil.rmtree(folder, ignore_errors=True)

        etc = self._layout.settings_folder
        return [
            MakeFolder(etc, 0o750, self._owner("root", ACCOUNT)),
            Act(said, do, undo),
        ]

    def server_certificates(self) -> list[Step]:
        """Return the steps that give broker and web server their certificates."""
        layout, etc = self._layout, self._layout.settings_folder
        certs = layout.real(CERTS)
        ours = self._owner("root", ACCOUNT)
        root = self._owner("root", "root")
        broker = self._pair(
            "broker",
            PlaceFile(certs / "wattwarden-broker.crt", _nothing, keep=True),
            PlaceFile(
                certs / "wattwarden-broker.key", _nothing, 0o640,
                self._owner("root", BROKER_GROUP), keep=True,
            ),
        )  # fmt: skip
        web = self._pair(
            "web",
            PlaceFile(etc / "web.crt", _nothing, 0o644, ours, keep=True),
            PlaceFile(layout.web_key, _nothing, 0o600, root, keep=True),
        )
        return [
            PlaceFile(certs / "wattwarden-ca.crt", self._kit.authority, keep=True),
            PlaceFile(etc / "ca.crt", self._kit.authority, 0o644, ours, keep=True),
            broker,
            MakeFolder(layout.credstore, 0o700, root),
            web,
        ]

    def _pair(self, purpose: Purpose, certificate: PlaceFile, key: PlaceFile) -> PlacePair:
        names = self._answers.names
        return PlacePair(certificate, key, lambda: self._kit.server(names, purpose))

    def _owner(self, user: str, group: str) -> Owner:
        return Owner() if self._layout.staged else Owner(user, group)


def _nothing() -> bytes:
    """Stand in until the pair is made."""
    return b""
