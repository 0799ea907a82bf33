"""A house as the installer's kit finds it: our broker files, the daemon, a board on USB."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from provisioning.authority import Authority
from provisioning.broker_files import BrokerFiles, new_password
from simulation.canned import CannedChain
from simulation.chain import Chain
from simulation.sources import Load, SteadySource, Wire
from simulation.supply import Supply
from tests.support.api import write_secret
from tests.support.daemon import Daemon, clean_environment, command
from tests.support.meter_image import write_image
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port, wait_for_port
from tests.support.usb_board import UsbBoard

SHIPPED: Final = Path(__file__).parents[2] / "systemd" / "mosquitto"
WIFI: Final = {"attic": "correct horse"}
WATTS: Final = (1500.0, 700.0, 400.0)
START_S: Final = 120.0  # also where other tests take the machine
# The one cache of all tests of a run: linking the firmware takes seconds.
CACHE: Final = Path(os.environ.get("WATTWARDEN_TEST_CACHE", "/var/tmp/wattwarden-test-cache"))  # noqa: S108


class KitBroker(Mosquitto):
    """Mosquitto on the shipped files, with a CA and accounts made by the kit's own code."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.tls_port = free_port()
        self.authority = Authority.load_or_create(directory / "authority")
        issued = self.authority.issue(["localhost", "127.0.0.1"])
        for name, content in (
            ("ca.crt", self.authority.certificate),
            ("broker.crt", issued.certificate),
        ):
            (directory / name).write_bytes(content)
        write_secret(directory / "broker.key", issued.key.decode())
        shutil.copy(SHIPPED / "acl", directory / "wattwarden.acl")
        self.passwords = directory / "wattwarden.passwd"
        self.passwords.touch(mode=0o640)
        self.pid_file = directory / "mosquitto.pid"
        self.accounts = BrokerFiles(self.passwords, self.pid_file)

    def start(self) -> None:
        """Start (again) and wait until both doors are open."""
        super().start()
        wait_for_port(self.tls_port)

    def _configuration(self) -> str:
        changes = {
            "/etc/mosquitto/wattwarden.": f"{self.directory}/wattwarden.",
            "listener 1883 127.0.0.1": f"listener {self.port} 127.0.0.1",
            "listener 8883": f"listener {self.tls_port} 127.0.0.1",
            "/etc/mosquitto/certs/wattwarden-ca.crt": str(self.directory / "ca.crt"),
            "/etc/mosquitto/certs/wattwarden-broker.crt": str(self.directory / "broker.crt"),
            "/etc/mosquitto/certs/wattwarden-broker.key": str(self.directory / "broker.key"),
        }
        names = ("wattwarden.conf", "wattwarden-lan.conf")
        text = "".join((SHIPPED / name).read_text() for name in names)
        for shipped, ours in changes.items():
            assert shipped in text, f"the shipped configuration has no {shipped!r} any more"
            text = text.replace(shipped, ours)
        place = f"persistence_location {self.directory}/\npid_file {self.pid_file}\n"
        user = "user root\n" if os.geteuid() == 0 else ""
        return f"{place}log_dest stderr\n{user}{text}"


class KitSite:
    """Broker and daemon as installed, a supply, boards to plug in; a context manager."""

    def __init__(self, directory: Path, *, settings: dict[str, Any] | None = None) -> None:
        self.directory = directory
        self.broker = KitBroker(directory / "mosquitto")
        secret = new_password()
        self.broker.accounts.set_password("gateway", secret)
        self.gateway_secret = secret
        password = write_secret(directory / "gateway.password", secret)
        self.supply = Supply()
        kit = {
            "broker_passwords": str(self.broker.passwords),
            "broker_pid": str(self.broker.pid_file),
            "broker_host": "localhost",
            "broker_port": self.broker.tls_port,
            "ca_file": str(self.broker.directory / "ca.crt"),
        }
        self.daemon = Daemon(
            directory / "d",
            mqtt_port=self.broker.port,
            settings={
                "mqtt": {"username": "gateway", "password_file": str(password)},
                "kit": kit,
                "meters": {"auto_register": False},
                **(settings or {}),
            },
        )
        self.image, self.sha256 = write_image(directory / "micropython.bin")
        self.wifi = write_secret(
            directory / "wifi.json", '{"ssid": "attic", "password": "correct horse"}'
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.broker)
            stack.push(self.daemon)
            self.daemon.start(within_s=START_S)
            stack.callback(self.supply.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def plug_in(
        self,
        name: str = "board",
        *,
        clamps: int = 1,
        content: Path | None = None,
        chain: Chain | None = None,
        speed: float = 1.0,
    ) -> UsbBoard:
        """Return a board on USB, its clamps on steady loads; it is unplugged at the end.

        `content` is what its flash holds, by default nothing.
        """
        chain = chain or CannedChain(1, clamps=clamps)
        source = SteadySource(Wire(), *[[Load(WATTS[k])] for k in range(clamps)])
        self.supply.add(name, source, chain)
        folder = self.directory / name
        folder.mkdir(parents=True)
        if content is not None:
            shutil.copy(content, folder / "flash.bin")
        board = UsbBoard(folder, self.image)
        self.wire(name, board, speed=speed)
        self._stack.enter_context(board)
        return board

    def wire(
        self, name: str, board: UsbBoard, *, wifi: dict[str, str] | None = None, speed: float = 1.0
    ) -> None:
        """Put other Wi-Fi networks in a board's reach, from its next boot on."""
        chain = self.supply.meter(name).chain
        board.wire(
            dict(self.supply.address(name)),
            networks=WIFI if wifi is None else wifi,
            frame_us=chain.frame_us,
            read_us=chain.read_us,
            speed=speed,
        )

    def meters(self, *words: str, within_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Run `wattwarden meters WORDS`, with the settings where the command takes them."""
        return subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=self.environment(),
            timeout=within_s,
            check=False,
        )

    def command(self, *words: str) -> list[str]:
        """Return the command line of `wattwarden meters WORDS`."""
        config = [] if words[0] == "flash" else ["--config", str(self.daemon.config)]
        return [*command(), "meters", *words, *config]

    def environment(self) -> dict[str, str]:
        """Return the environment of a fresh account with the tests' own cache."""
        return {**clean_environment(self.directory), "XDG_CACHE_HOME": str(CACHE)}

    def flash_words(self, board: UsbBoard, *more: str) -> Sequence[str]:
        """Return the words that flash a board with the test's image."""
        image = ("--image", str(self.image), "--sha256", self.sha256)
        return ("flash", "--port", str(board.port), *image, "--yes", *more)

    def provision_words(self, board: UsbBoard, meter: str, *more: str) -> Sequence[str]:
        """Return the words that make a board a meter."""
        port = ("--port", str(board.port), "--wifi-file", str(self.wifi))
        return ("provision", meter, *port, "--yes", "--within", "120", *more)
