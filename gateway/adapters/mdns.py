"""Tells the network where the gateway is, by multicast DNS (RFC 6762, RFC 6763)."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

import structlog
from zeroconf import IPVersion, NonUniqueNameException, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from gateway.domain.errors import TransientError

log = structlog.get_logger()
# The first is what meters look for (firmware_esp32/mdns.py).
METERS = "_wattwarden-mqtt._tcp.local."
HTTP, HTTPS = "_http._tcp.local.", "_https._tcp.local."
LOOK_S = 60.0
PROBE = ("192.0.2.1", 9)  # RFC 5737: no packet is sent, the kernel only chooses a way out


class NoNetworkError(TransientError):
    """This machine has no network address yet, or multicast is not allowed."""


class Announcer:
    """The service: announces until cancelled, anew when the machine's address changes."""

    def __init__(
        self, name: str, *, mqtt_port: int, web_port: int, tls: bool,
        interfaces: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Port 0 = not announced; `interfaces` None = all."""
        self._name = name
        self._services = [
            (kind, port)
            for kind, port in ((METERS, mqtt_port), (HTTPS if tls else HTTP, web_port))
            if port
        ]
        self._interfaces = interfaces

    async def run(self) -> None:
        """Announce; NoNetworkError where that cannot be done now."""
        while True:
            addresses = self._addresses()
            if not addresses:
                msg = "mdns: this machine has no network address"
                raise NoNetworkError(msg)
            await self._announce(addresses)

    async def _announce(self, addresses: list[str]) -> None:
        try:
            if self._interfaces is None:
                responder = AsyncZeroconf(ip_version=IPVersion.V4Only)
            else:
                responder = AsyncZeroconf(
                    interfaces=list(self._interfaces), ip_version=IPVersion.V4Only
                )
        except OSError as error:
            msg = f"mdns: {error.strerror or error}"
            raise NoNetworkError(msg) from error
        try:
            for info in self._infos(addresses):
                # Another gateway of this name: this one gets a number behind its own.
                await responder.async_register_service(info, allow_name_change=True)
            log.info("mdns_announced", name=f"{self._name}.local", addresses=addresses)
            while True:
                await asyncio.sleep(LOOK_S)
                if self._addresses() != addresses:
                    return
        except (NonUniqueNameException, OSError) as error:
            msg = f"mdns: {error!r}"
            raise NoNetworkError(msg) from error
        finally:
            await responder.async_close()

    def _infos(self, addresses: list[str]) -> list[ServiceInfo]:
        packed = [ipaddress.IPv4Address(address).packed for address in addresses]
        return [
            ServiceInfo(
                kind, f"Wattwarden {self._name}.{kind}", port, addresses=packed,
                properties={"v": "1", "path": "/"}, server=f"{self._name}.local.",
            )
            for kind, port in self._services
        ]  # fmt: skip

    def _addresses(self) -> list[str]:
        if self._interfaces is not None:
            return list(self._interfaces)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(PROBE)
            except OSError:
                return []
            return [str(probe.getsockname()[0])]
