"""A home as it is installed: the shipped broker with TLS, the daemon, ways that fail, meters."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from simulation.canned import CannedChain
from simulation.chain import Chain
from simulation.firmware_files import HEAP, Runner
from simulation.fleet import NETWORKS, FlashImage, Fleet, Setup
from simulation.sources import Load, SteadySource, Wire
from simulation.virtual_meter import VirtualMeter
from tests.support.api import write_secret
from tests.support.certificates import Authority
from tests.support.chaos_proxy import ChaosProxy
from tests.support.daemon import Daemon
from tests.support.feeding import query
from tests.support.gateway_stub import until
from tests.support.meter_watch import Watcher
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port, wait_for_port

SHIPPED: Final = Path(__file__).parents[2] / "systemd" / "mosquitto"
GATEWAY: Final = "gateway"
NAMES: Final = ("grid", "load1", "load2", "load3", "load4", "load5")
# Every tenth watt of the sensor's rating is seen well; each channel has a load of its own.
WATTS: Final = (1500.0, 700.0, 400.0, 300.0, 200.0, 100.0)


# A gateway whose words about bundles the broker keeps to itself.
SILENT: Final = "silent"
SILENT_ACL: Final = f"""
user {SILENT}
topic readwrite ww/v1/#
topic deny ww/v1/+/desired
topic deny ww/v1/+/bundle/chunk
"""


def secret_of(user: str) -> str:
    """Return the password of a user of this broker."""
    return f"secret-of-{user}"


class ShippedBroker(Mosquitto):
    """Mosquitto on the shipped files, changed in nothing but paths and ports.

    The gateway comes in by `port`, meters by TLS on `tls_port`, all of `users` by password.
    """

    def __init__(self, directory: Path, authority: Authority, users: Sequence[str]) -> None:
        super().__init__(directory)
        self.tls_port = free_port()
        self._authority = authority
        directory.mkdir(parents=True, exist_ok=True)
        acl = (SHIPPED / "acl").read_text(encoding="utf-8")
        (directory / "wattwarden.acl").write_text(acl + SILENT_ACL, encoding="utf-8")
        passwords = directory / "wattwarden.passwd"
        passwords.write_text("".join(f"{user}:{secret_of(user)}\n" for user in users))
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, timeout=30)
        self._server = authority.server()

    def start(self) -> None:
        """Start (again) and wait until both doors are open."""
        super().start()
        wait_for_port(self.tls_port)

    def _configuration(self) -> str:
        changes = {
            "/etc/mosquitto/wattwarden.": f"{self.directory}/wattwarden.",
            "listener 1883 127.0.0.1": f"listener {self.port} 127.0.0.1",
            "listener 8883": f"listener {self.tls_port} 127.0.0.1",
            "/etc/mosquitto/certs/wattwarden-ca.crt": str(self._authority.ca_file),
            "/etc/mosquitto/certs/wattwarden-broker.crt": str(self._server.certificate),
            "/etc/mosquitto/certs/wattwarden-broker.key": str(self._server.key),
        }
        text = "".join(
            (SHIPPED / name).read_text() for name in ("wattwarden.conf", "wattwarden-lan.conf")
        )
        for shipped, ours in changes.items():
            assert shipped in text, f"the shipped configuration has no {shipped!r} any more"
            text = text.replace(shipped, ours)
        # What Debian's own main file says before it includes ours, and a log we can read.
        head = f"persistence_location {self.directory}/\nlog_dest stderr\n"
        user = "user root\n" if os.geteuid() == 0 else ""
        return head + user + text


class MeterSite:
    """Broker, daemon, a proxy per way, a watcher and a fleet of meters; a context manager.

    `ways` are names of proxies between meters and broker: each can be cut by itself. Keep
    `directory` short (see Daemon). `meters` are the ids that may log in. Where the daemon does not
    hand out bundles, a test has that part to itself.
    """

    def __init__(
        self,
        directory: Path,
        meters: Sequence[str],
        *,
        ways: Sequence[str] = ("lan",),
        runner: Runner = Runner.VM,
        heap: str = HEAP,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        hands_out_bundles: bool = True,
    ) -> None:
        self.directory = directory
        self.meters = list(meters)
        self.authority = Authority(directory / "ca")
        daemon = GATEWAY if hands_out_bundles else SILENT
        users = [GATEWAY, SILENT, *meters]
        self.broker = ShippedBroker(directory / "mosquitto", self.authority, users)
        password = write_secret(directory / "gateway.password", secret_of(daemon))
        login = {"username": daemon, "password_file": str(password)}
        self.daemon = Daemon(
            directory / "d",
            mqtt_port=self.broker.port,
            settings={"mqtt": login, **(settings or {})},
        )
        self.proxies = {way: ChaosProxy(self.broker.tls_port) for way in ways}
        self.watcher = Watcher(self.broker.port, GATEWAY, secret_of(GATEWAY))
        self.fleet = Fleet(directory / "fleet", runner=runner, heap=heap)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.broker)
            stack.enter_context(self.daemon)
            stack.enter_context(self.watcher)
            for proxy in self.proxies.values():
                stack.enter_context(proxy)
            stack.enter_context(self.fleet)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(
        self,
        name: str,
        *,
        way: str = "lan",
        chain: Chain | None = None,
        setup: Setup | None = None,
        watts: Sequence[float] = WATTS,
    ) -> VirtualMeter:
        """Hang a meter on a steady load per clamp; it is down until started.

        Its login, way, CA and channels are put into the setup's config.
        """
        chain = chain or CannedChain(len(self.fleet.meters) + 1)
        setup = setup or Setup(config={})
        source = SteadySource(Wire(), *[[Load(watts[k])] for k in range(chain.clamps)])
        root = "/flash" if setup.flash else str(self.fleet.directory / name / "root")
        (ssid, wifi), *_ = NETWORKS.items()
        config: dict[str, Any] = {
            "meter": name,
            "wifi": [{"ssid": ssid, "password": wifi}],
            "channels": list(NAMES[: chain.clamps]),
            "mqtt": {
                "host": "localhost",
                "port": self.proxies[way].port,
                "user": name,
                "password": secret_of(name),
                "ca": f"{root}/ca.crt",
            },
            **setup.config,
        }
        files = {"ca.crt": self.authority.ca_file.read_bytes(), **setup.files}
        return self.fleet.add(name, source, chain, replace(setup, config=config, files=files))

    def known(self, name: str) -> None:
        """Wait until the gateway knows a meter; others hear its readings before they are stored."""
        known = "SELECT 1 FROM meters WHERE id = ?"
        until(lambda: query(self.daemon.database, known, name), within_s=60)

    def logs(self, lines: int = 8) -> str:
        """Return the ends of all logs, for messages."""
        parts = [
            f"--- {meter.name}: {meter.boots} boots, crashes {meter.crashes}\n"
            + "\n".join(meter.log().splitlines()[-lines:])
            for meter in self.fleet.meters.values()
        ]
        return "\n".join([*parts, "--- daemon", self.daemon.log_tail(lines)])


__all__ = ["FlashImage", "MeterSite", "Setup", "ShippedBroker", "secret_of"]
