"""A meter's bundle road with a gateway's part played by the test: loses power, links, chunks."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bundles import Bundles
from choice import choose
from errors import BadBundleError, LinkError

from tests.support.signing import Signer
from tinymodels.detect.bundle import pack_firmware

METER = "kitchen"
RELEASE = Signer(1)
SPARE = Signer(2)  # the second pinned release key
SITE = Signer(3)
KEYS = {"release": [RELEASE.public, SPARE.public], "site": [SITE.public]}
KINDS = ("model", "calibration")  # those that are applied while the meter runs
SEVEN = b'{"seven":7}' * 500  # 5500 bytes: several chunks
EIGHT = b'{"eight":8}' * 400


def signer(kind: str) -> Signer:
    """Return who signs bundles of a kind."""
    return SITE if kind == "calibration" else RELEASE


class RestartedError(Exception):
    """The meter reboots."""


class Gateway:
    """Answers `bundle/get` from its shelf; faults are set by the test."""

    def __init__(self) -> None:
        self.shelf: dict[tuple[str, int], bytes] = {}
        self.asked: list[tuple[str, int, int, int]] = []
        self.offline = False
        self.lost = 0  # answers that get lost
        self.only = 1 << 30  # answers until the link goes down

    def put(self, kind: str, version: int, content: bytes) -> dict[str, Any]:
        """Offer a bundle; return its signed announcement."""
        self.shelf[kind, version] = content
        return signer(kind).announce(kind, version, content)

    def answer(self, kind: str, version: int, offset: int, length: int) -> dict[str, Any] | None:
        """Return the chunk message, None when it gets lost. LinkError while offline."""
        if self.offline or self.only <= 0:
            msg = "not connected"
            raise LinkError(msg)
        self.only -= 1
        self.asked.append((kind, version, offset, length))
        assert 0 < length <= 2048
        if self.lost:
            self.lost -= 1
            return None
        message: dict[str, Any] = {"kind": kind, "version": version}
        content = self.shelf.get((kind, version))
        if content is None:
            return {**message, "error": "unknown"}
        if offset + length > len(content):
            return {**message, "error": "range"}
        piece = base64.b64encode(content[offset : offset + length]).decode()
        return {**message, "offset": offset, "data": piece}


class Meter:
    """One boot after the other of a meter's bundle road on one directory.

    A content that contains b"bad" fails its self-test. `running` is what each kind's part
    last took (None = built-in). `on_sleep` and `on_request` are called at those moments.
    """

    def __init__(
        self, root: Path, gateway: Gateway, *, keys: dict[str, list[bytes]] = KEYS
    ) -> None:
        self.root = root
        self.gateway = gateway
        self.keys = keys
        self.retained: dict[str, Any] = {}  # the broker's `desired`: comes after each reboot
        self.loader = True  # False: nobody runs main.py at boot
        self.reboots = True  # False: a wanted reboot is counted, and does not come
        self.events: list[dict[str, Any]] = []
        self.running: dict[str, bytes | None] = {}
        self.restarts = 0
        self.on_sleep: Callable[[], Awaitable[None]] | None = None
        self.on_request: Callable[[], Awaitable[None]] | None = None
        self.lent = memoryview(bytearray(8192))  # as the ring lends it
        self.boot()

    def boot(self) -> None:
        """Start as after power on: loader, then what lies in the active slots."""
        self.firmware_slot = choose(str(self.root)) if self.loader else -1
        self.bundles = Bundles(
            str(self.root),
            METER,
            self.keys,
            request_chunk=self._request,
            send_event=self.events.append,
            apply={kind: self._taker(kind) for kind in ("model", "calibration")},
            lend=lambda size: self.lent[:size],
            restart=self._restart,
            sleep=self._sleep,
        )
        for kind in ("model", "calibration"):
            content = self.bundles.active(kind)
            self.running[kind] = None if content is None else bytes(content)

    def _taker(self, kind: str) -> Callable[[bytes | memoryview | None], None]:
        def take(lent: bytes | memoryview | None) -> None:
            content = None if lent is None else bytes(lent)
            if content and b"bad" in content:
                msg = "vector 0: 1.0 is not 2.0"
                raise BadBundleError(msg)
            if content and b"crash" in content:
                raise ZeroDivisionError
            self.running[kind] = content

        return take

    async def _request(self, kind: str, version: int, offset: int, length: int) -> None:
        if self.on_request:
            await self.on_request()
        message = self.gateway.answer(kind, version, offset, length)
        if message is not None:
            await self.bundles.chunk(message)

    async def _restart(self) -> None:
        self.restarts += 1
        if self.reboots:
            raise RestartedError

    async def _sleep(self, seconds: float) -> None:
        if self.on_sleep:
            await self.on_sleep()
        if seconds >= 1:
            raise asyncio.CancelledError  # the road rests: the test looks at what it came to
        await asyncio.sleep(0)

    async def until_rest(self) -> None:
        """Let the road go on until it waits or reboots the meter (then also boot)."""
        try:
            await self.bundles.run()
        except asyncio.CancelledError:
            pass
        except RestartedError:
            self.boot()
            await self.bundles.desired(self.retained)
            await self.until_rest()

    async def desire(self, *entries: dict[str, Any]) -> None:
        """Receive `desired`, and go on until the road rests."""
        self.retained = {"bundles": list(entries)}
        await self.bundles.desired(self.retained)
        await self.until_rest()

    async def windows(self, count: int = 10) -> None:
        """Measure good windows, and go on until the road rests."""
        for _ in range(count):
            self.bundles.good_window()
        await self.until_rest()

    def why(self) -> list[tuple[str, int, str]]:
        """Return the events so far as (bundle, version, why; "" = well), and forget them."""
        told = [(e["bundle"], e["version"], "" if e["ok"] else e["why"]) for e in self.events]
        assert all(e["kind"] == "model" for e in self.events)
        self.events.clear()
        return told

    def parts(self) -> list[str]:
        """Return the names of downloads that lie about."""
        return [path.name for path in self.root.glob("*.part")]


def firmware(version: int, more: bytes = b"") -> bytes:
    """Return a firmware bundle of that version: an app and some ballast."""
    return pack_firmware(
        {"app.py": b"# version %d\n" % version + more, "other.py": b"x = 1\n" * 700}, version
    )


async def install(meter: Meter, kind: str, version: int, content: bytes) -> dict[str, Any]:
    """Bring a version in and confirm it."""
    entry = meter.gateway.put(kind, version, content)
    await meter.desire(entry)
    await meter.windows()
    assert meter.why() == [(kind, version, "")]
    return entry
