"""Where everything of an installation lies, below `/` or below a staging root."""

from dataclasses import dataclass
from pathlib import Path

SERVICE = "wattwarden.service"
BROKER = "mosquitto.service"
ACCOUNT = "wattwarden"
BROKER_GROUP = "mosquitto"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of an installation; `root` is `/`, or DESTDIR for a staging root."""

    root: Path = Path("/")

    @property
    def staged(self) -> bool:
        """Tell whether this is no running system: no accounts, no services, no packages."""
        return self.root != Path("/")

    def real(self, path: Path | str) -> Path:
        """Return where an absolute path of the installed system lies now."""
        if self.staged and Path(path).is_relative_to(self.root):
            return Path(path)
        return self.root / str(path).lstrip("/")

    def shown(self, path: Path) -> str:
        """Return a path as the installed system will see it."""
        return f"/{path.relative_to(self.root)}" if path.is_relative_to(self.root) else str(path)

    @property
    def program(self) -> Path:
        """The folder of all releases; its `bin` is that of the current one."""
        return self.real("/opt/wattwarden")

    @property
    def record(self) -> Path:
        """What the installer has put where."""
        return self.program / "installed.json"

    @property
    def command(self) -> Path:
        """The command on everybody's PATH."""
        return self.real("/usr/local/bin/wattwarden")

    @property
    def settings_folder(self) -> Path:
        """Settings and the secrets beside them."""
        return self.real("/etc/wattwarden")

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.settings_folder / "config.toml"

    @property
    def mqtt_password(self) -> Path:
        """The gateway's own password at the broker, handed over by systemd."""
        return self.settings_folder / "mqtt.password"

    @property
    def authority(self) -> Path:
        """The site's certificate authority: ca.crt, and ca.key for root alone."""
        return self.settings_folder / "authority"

    @property
    def credstore(self) -> Path:
        """Secrets that systemd hands over where they exist (systemd.exec(5))."""
        return self.real("/etc/credstore")

    @property
    def web_key(self) -> Path:
        """The web server's private key."""
        return self.credstore / "wattwarden.web.key"

    @property
    def state(self) -> Path:
        """The only folder the daemon may write."""
        return self.real("/var/lib/wattwarden")

    @property
    def broker_folder(self) -> Path:
        """The broker's settings."""
        return self.real("/etc/mosquitto")

    @property
    def broker_passwords(self) -> Path:
        """Who may connect to the broker."""
        return self.broker_folder / "wattwarden.passwd"

    @property
    def broker_acl(self) -> Path:
        """Who may read and write which topic."""
        return self.broker_folder / "wattwarden.acl"

    @property
    def unit(self) -> Path:
        """The service's unit file."""
        return self.real("/etc/systemd/system") / SERVICE

    @property
    def unit_extras(self) -> Path:
        """Drop-ins of the service."""
        return self.unit.with_name(SERVICE + ".d")

    @property
    def fstab(self) -> Path:
        """How file systems are mounted."""
        return self.real("/etc/fstab")
