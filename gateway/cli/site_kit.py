"""Gives the installation what the installer's kit makes: the site's CA and broker accounts."""

from collections.abc import Sequence
from pathlib import Path

from gateway.adapters.installer.layout import Layout
from provisioning.authority import Authority, Purpose
from provisioning.broker_files import BrokerFiles


class SiteKit:
    """Satisfies the installer's `Kit` with provisioning's authority and password file."""

    def __init__(self, layout: Layout, site: str = "home") -> None:
        """`site` is the house's name, which the CA's certificate bears."""
        self._folder = layout.authority
        self._accounts = BrokerFiles(layout.broker_passwords)
        self._site = site

    def authority_folder(self) -> Path:
        """Return where the CA's certificate and key lie."""
        return self._folder

    def authority(self) -> bytes:
        """Return the CA's certificate, PEM; makes the CA where there is none."""
        return self._authority().certificate

    def server(self, names: Sequence[str], purpose: Purpose) -> tuple[bytes, bytes]:
        """Return certificate and key of a server, PEM."""
        issued = self._authority().issue(names, purpose)
        return issued.certificate, issued.key

    def account_fits(self, user: str, password: str) -> bool:
        """Tell whether the broker would let the user in with this password."""
        return self._accounts.matches(user, password)

    def set_account(self, user: str, password: str) -> None:
        """Give the user an account at the broker, or another password."""
        self._accounts.set_password(user, password)

    def _authority(self) -> Authority:
        return Authority.load_or_create(self._folder, site=self._site)
