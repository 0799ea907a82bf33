"""What a meter says on its console while it looks for its gateway, and what that means."""

from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import GatewayError
from provisioning.errors import BoardError, BrokerError, NetworkError

# Each road is tried again by the meter itself: only what it says twice is the cause.
_TWICE: Final = 2
_AGAIN: Final = "then run provision again"


# What the firmware prints (firmware_esp32: finder, dial, resolve, net, app), what that means.
@dataclass(frozen=True, slots=True)
class _Sign:
    """A piece of a line, whose error it is, and what to do about it."""

    words: str
    kind: type[GatewayError]
    advice: str


_SIGNS: Final = (
    _Sign(
        "link: no Wi-Fi",
        NetworkError,
        "the meter cannot join the Wi-Fi: its name or password is wrong, or it is out of reach (an"
        f" ESP32 knows 2.4 GHz only); check both, {_AGAIN}",
    ),
    _Sign(
        "the broker refuses the meter",
        BrokerError,
        "the broker refuses the meter's password; see that mosquitto has read its files (sudo"
        f" systemctl reload mosquitto), {_AGAIN}",
    ),
    _Sign(
        "TLS refused",
        BrokerError,
        "the meter does not trust the broker's certificate: it is of another authority, expired,"
        f" or made out to another name (--broker-name); put that right, {_AGAIN}",
    ),
    _Sign(
        "link: no gateway answers by mDNS",
        NetworkError,
        "the meter hears no gateway in its network, which may block multicast; name this"
        " machine's address with --broker",
    ),
    _Sign(
        "link: no address for",
        NetworkError,
        "the meter cannot resolve the broker's name in its network; give its address with --broker"
        " (and --broker-name for its certificate)",
    ),
    _Sign(
        "does not answer",
        NetworkError,
        "the meter does not reach the broker: another network than this machine's, a guest Wi-Fi,"
        f" or a firewall; put both into one network, {_AGAIN}",
    ),
    _Sign(
        "ECONNREFUSED",
        NetworkError,
        "nobody listens where the meter looks for the broker; check the address and port of"
        f" --broker, {_AGAIN}",
    ),
    _Sign("app: config", BoardError, f"the meter does not take its settings; flash it, {_AGAIN}"),
)


class Hearing:
    """Remembers what a meter has said; `connected` tells that the broker let it in."""

    def __init__(self) -> None:
        self.said = ""
        self.connected = False
        self._counts: dict[str, int] = {}

    def hear(self, line: str) -> None:
        """Take a line; raises what is the cause when the meter has said so twice."""
        if "link: connected" in line:
            self.connected = True
            self._counts.clear()
            return
        sign = next((one for one in _SIGNS if one.words in line), None)
        if sign is None:
            return
        self.said = line[:200]
        self._counts[sign.words] = self._counts.get(sign.words, 0) + 1
        if self._counts[sign.words] >= _TWICE:
            detail = line.partition("] ")[2] or line
            msg = f"{sign.advice} (the meter says: {detail[:160]})"
            raise sign.kind(msg)

    def silence(self, within_s: float) -> GatewayError:
        """Return what to say when no reading came in time."""
        if self.connected:
            return BrokerError(
                f"the meter is connected, but no reading came within {within_s:.0f} s; is the"
                " gateway running? sudo systemctl status wattwarden, and: wattwarden doctor"
            )
        heard = f" (the meter says: {self.said})" if self.said else ""
        return NetworkError(
            f"no reading came within {within_s:.0f} s{heard}; watch the meter with: mpremote"
            " connect PORT, and run provision again"
        )
