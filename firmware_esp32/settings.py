"""What provisioning decided about this meter: the checked values of config.json."""


class Settings:
    """`config.load_config` makes one; the values stay while the checking is let go.

    `wifi` is tried in order; an empty list means that the network is up without it. With
    `mqtt_host` None the gateway is looked for by mDNS; `mqtt_ca` None means no TLS.
    `mqtt_name` is what the broker's certificate must be made out to (None: the host's name).
    `relay` tells whether one is wired.
    """

    def __init__(self, meter: str, channels: "list[str]") -> None:
        self.meter = meter
        self.channels = channels
        self.wifi: list[tuple[str, str]] = []
        self.mqtt_host: str | None = None
        self.mqtt_port = 1883
        self.mqtt_user: str | None = None
        self.mqtt_password: str | None = None
        self.mqtt_ca: str | None = None
        self.mqtt_name: str | None = None
        self.ntp: str | None = None
        self.nominal_v = 230.0
        self.nominal_hz = 50.0
        self.rating_a = 30.0
        self.relay = True
        self.release_keys: list[bytes] = []
        self.site_keys: list[bytes] = []
