"""Which file of the wheel goes where, and with what rights."""

from collections.abc import Callable

from gateway.adapters.installer.answers import Answers
from gateway.adapters.installer.files import Owner, PlaceFile
from gateway.adapters.installer.layout import BROKER_GROUP, SERVICE, Layout
from gateway.adapters.installer.machine import SYSUSERS
from gateway.adapters.installer.record import Record
from gateway.adapters.installer.wheel import Wheel

BROKER_DROP_IN = "/etc/systemd/system/mosquitto.service.d/wattwarden.conf"
JOURNAL = "/etc/systemd/journald.conf.d/wattwarden.conf"
WATCHDOG = "/etc/systemd/system.conf.d/wattwarden.conf"
INTERNET = f"/etc/systemd/system/{SERVICE}.d/internet.conf"
UNITS = "/etc/systemd/system"
TIMER = "wattwarden-certificates.timer"
RENEWAL = "wattwarden-certificates.service"
CONF_D = "/etc/mosquitto/conf.d"
LAN = f"{CONF_D}/wattwarden-lan.conf"


class Shipped:
    """The files of one wheel on one machine."""

    def __init__(self, layout: Layout, wheel: Wheel, record: Record) -> None:
        """`record` knows which of them people have changed."""
        self._layout = layout
        self._wheel = wheel
        self._record = record

    def content(self, name: str) -> Callable[[], bytes]:
        """Return what gives `systemd/<name>` of the wheel."""
        found = self._wheel.share(f"systemd/{name}")  # now: a wheel that lacks it changes nothing
        return lambda: found

    def unit(self, answers: Answers) -> list[PlaceFile]:
        """Return the service's files."""
        files = [self._file(SERVICE, f"{UNITS}/{SERVICE}")]
        if answers.internet:
            files.append(self._file("internet.conf", INTERNET))
        return files

    def renewal(self) -> list[PlaceFile]:
        """Return what renews certificates in time."""
        return [self._file(name, f"{UNITS}/{name}") for name in (TIMER, RENEWAL)]

    def sysusers(self) -> PlaceFile:
        """Return the description of the daemon's account."""
        return self._file("sysusers.conf", SYSUSERS)

    def broker(self, answers: Answers) -> list[PlaceFile]:
        """Return the broker's files; its passwords and certificates are not among them."""
        files = [
            self._file("mosquitto/wattwarden.conf", f"{CONF_D}/wattwarden.conf"),
            self._file("mosquitto.service.conf", BROKER_DROP_IN),
        ]
        if answers.lan:
            files.append(
                self._file("mosquitto/wattwarden-lan.conf", f"{CONF_D}/wattwarden-lan.conf")
            )
        return files

    def acl(self) -> PlaceFile:
        """Return who may read and write what; entries of meters are added to it later."""
        return PlaceFile(
            self._layout.broker_acl,
            self.content("mosquitto/acl"),
            0o640,
            self._of_broker(),
            record=self._record,
        )

    def card_care(self) -> list[PlaceFile]:
        """Return what keeps the card alive and the machine from hanging."""
        return [self._file("journald.conf", JOURNAL), self._file("system.conf", WATCHDOG)]

    def _file(self, name: str, path: str) -> PlaceFile:
        return PlaceFile(self._layout.real(path), self.content(name), record=self._record)

    def _of_broker(self) -> Owner:
        return Owner() if self._layout.staged else Owner("root", BROKER_GROUP)


def all_paths() -> list[str]:
    """Return every file this module may place, for whoever removes them."""
    units = [f"{UNITS}/{name}" for name in (SERVICE, TIMER, RENEWAL)]
    conf = [f"{CONF_D}/wattwarden.conf", LAN]
    return [*units, INTERNET, SYSUSERS, BROKER_DROP_IN, JOURNAL, WATCHDOG, *conf]
