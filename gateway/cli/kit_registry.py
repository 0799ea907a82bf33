"""The gateway as the installer's kit sees it: by its control socket and its database."""

import os
from collections.abc import Sequence

from gateway.adapters.control import call_daemon
from gateway.adapters.site_key import SiteKey
from gateway.adapters.store.inventory import newest_reading
from gateway.adapters.store.readonly import snapshot
from gateway.cli.call import invoke
from gateway.cli.tables import moment
from gateway.domain.errors import ConfigError, NotFoundError
from gateway.domain.readings import Stored
from gateway.settings import Settings
from gateway.wiring_meters import site_key_path
from provisioning.provision import Newest


class GatewayRegistry:
    """A provisioning.provision.Registry. ConfigError when the daemon does not run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def expect_daemon(self) -> None:
        """Raise ConfigError when no daemon takes readings."""
        try:
            answered = call_daemon(self._settings.storage.path, "kit.there", {})
        except NotFoundError:  # it answers: it knows no such operation
            return
        if answered is None:
            msg = "the gateway does not run; start it: sudo systemctl start wattwarden"
            raise ConfigError(msg)

    def register(self, meter: str, label: str | None) -> None:
        """Let a meter in."""
        args: dict[str, object] = {"id": meter, "recorded": False}
        if label is not None:
            args["label"] = label
        done = invoke(self._settings, "meters.add", args)
        if label is not None and not done["added"]:
            invoke(self._settings, "meters.update", {"id": meter, "label": label})

    def rate(self, meter: str, channels: Sequence[str], rating_a: float) -> None:
        """Tell the gateway the rated current of a meter's clamps."""
        change = {name: {"rating_a": rating_a} for name in channels}
        invoke(self._settings, "meters.update", {"id": meter, "channels": change})

    def newest(self, meter: str) -> Newest | None:
        """Return a meter's newest reading."""
        with snapshot(self._settings.storage.path) as db:
            found = newest_reading(db, meter)
        return None if found is None else Newest(found.boot, found.seq, self._words(found))

    def site_key(self) -> bytes:
        """Return the site's public key; one that is made here belongs to the daemon."""
        path = site_key_path(self._settings)
        fresh = not path.exists()
        key = SiteKey.load_or_create(path)
        if fresh and os.geteuid() == 0:
            owner = self._settings.storage.path.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
        return bytes.fromhex(key.public_hex)

    def _words(self, reading: Stored) -> str:
        volts = "no voltage" if reading.v is None else f"{reading.v:.1f} V"
        channels = [
            f"{name} {channel.p:.1f} W" + ("" if channel.i is None else f" at {channel.i:.2f} A")
            for name, channel in reading.ch.items()
            if channel.p is not None
        ]
        at = moment(reading.at_ms, self._settings.site.zone)
        return f"{', '.join(channels) or 'no power yet'}, {volts}, {at}"
