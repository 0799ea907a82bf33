"""The way to the gateway: joins the Wi-Fi, finds the broker's address."""

from errors import LinkError
from log import log
from ondemand import drop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ports import LinkBoard
    from settings import Settings

MODULES = ("resolve", "mdns", "dnsmsg", "udp", "sntp")
JOIN_AGAIN_AFTER = 4  # failed tries until the Wi-Fi is joined anew


class Finder:
    """Tries the configured networks in turn, and the gateways that mDNS knows in turn."""

    def __init__(self, config: "Settings", board: "LinkBoard") -> None:
        self._config = config
        self._board = board
        self._only: tuple[str, str] | None = None
        self._joined = False
        self._failures = 0
        self._found: list[tuple[str, str, int]] = []

    def use(self, network: "tuple[str, str] | None") -> None:
        """Join anew: this network alone, or with None those of the configuration."""
        self._only = network
        self._joined = False
        self._failures = 0
        self._found = []

    def failed(self) -> None:
        """Note that the gateway could not be reached or was lost."""
        self._failures += 1
        self._found = self._found[1:]
        if self._failures % JOIN_AGAIN_AFTER == 0:
            self._joined = False

    def worked(self) -> None:
        """Note that the gateway was reached."""
        self._failures = 0

    async def join(self) -> None:
        """Be in a network; LinkError when none of them lets the meter in."""
        networks = self._config.wifi if self._only is None else [self._only]
        if not networks or (self._joined and self._board.rssi() is not None):
            return
        for ssid, password in networks:
            if await self._board.wifi(ssid, password):
                self._joined = True
                return
        names = ", ".join([network[0] for network in networks])
        msg = f"no Wi-Fi: {names}"
        raise LinkError(msg)

    async def _resolve(self, host: str) -> str:
        if host.replace(".", "").isdigit():
            return host  # an address already
        try:
            from resolve import resolve  # noqa: PLC0415 - needed until the gateway is reached
        except MemoryError:
            drop(*MODULES)  # what there is of it
            raise
        try:
            return await resolve(host, self._board.random32)
        finally:
            del resolve
            drop(*MODULES)

    async def _ask(self) -> "list[tuple[str, str, int]]":
        try:
            from mdns import find_gateways  # noqa: PLC0415 - as above
        except MemoryError:
            drop(*MODULES)  # what there is of it
            raise
        try:
            return await find_gateways(self._board.random32() & 0xFFFF)
        finally:
            del find_gateways
            drop(*MODULES)

    async def gateway(self) -> "tuple[str, int, str]":
        """Return (IPv4 address, port, the name its certificate must carry)."""
        config = self._config
        if config.mqtt_host is not None:
            address = await self._resolve(config.mqtt_host)
            return address, config.mqtt_port, config.mqtt_name or config.mqtt_host
        if not self._found:
            self._found = await self._ask()
        if not self._found:
            msg = "no gateway answers by mDNS; set mqtt.host if the network blocks multicast"
            raise LinkError(msg)
        name, address, port = self._found[0]
        log(f"link: gateway {name} found at {address}:{port}")
        return address, port, config.mqtt_name or name
