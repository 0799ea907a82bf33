"""Bringing an announced bundle into the inactive slot: signature, fetch, hash, write."""

import os
import sys

from announce import check_signature
from errors import BadBundleError, LinkError
from fetch import Fetcher
from refusals import HASH, flash_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from announce import Entry, Keys
    from fetch import RequestChunk, Sleep
    from slots import Lend, Slots


class Installer:
    """Fetches what is announced; one bundle at a time.

    `wanted` is asked before each piece whether the announcement still stands.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts it joins
        self,
        root: str,
        meter: str,
        keys: "Keys",
        request_chunk: "RequestChunk",
        sleep: "Sleep",
        lend: "Lend",
    ) -> None:
        self.wanted: dict[str, Entry] = {}  # by kind: what `desired` asks for now
        self.fetcher = Fetcher(root, self._request, sleep)
        self._meter = meter
        self._keys = keys
        self._request_chunk = request_chunk
        self._sleep = sleep
        self._lend = lend

    async def pause(self) -> None:
        """Let others run."""
        await self._sleep(0)

    async def check(self, entry: "Entry") -> None:
        """Check the announcement before anything is fetched: it covers size and hash too."""
        await check_signature(entry, self._meter, self._keys, self.pause)

    async def install(self, slots: "Slots", entry: "Entry") -> int:
        """Fetch a bundle, check its hash, write it to the inactive slot; return the slot.

        LinkError while the gateway does not answer, BadBundleError when the bundle is refused,
        FlashError when the record cannot be kept.
        """
        self.fetcher.drop_others(slots.kind, entry)
        path = await self._collect(entry, 2 if slots.kind == "firmware" else 1)
        slot = slots.inactive()
        try:
            if slots.kind == "firmware":
                slots.drop(slot)
                await self._unpack(path, slots.path(slot), entry["version"])
            else:
                os.rename(path, slots.path(slot))
        except OSError as error:
            raise flash_error(error) from error
        slots.stage(slot, entry)
        self.fetcher.drop(entry)
        return slot

    async def check_firmware(self, folder: str) -> None:
        """Read an unpacked firmware back; BadBundleError when it could not be started."""
        # Imported when needed and let go: the meter runs without it for months.
        import container  # noqa: PLC0415

        try:
            await container.check(folder, self.pause)
        finally:
            sys.modules.pop("container", None)

    async def _unpack(self, path: str, folder: str, version: int) -> None:
        import container  # noqa: PLC0415 - see check_firmware

        try:
            await container.unpack(path, folder, version, self.pause, self._lend)
        finally:
            sys.modules.pop("container", None)

    async def _collect(self, entry: "Entry", copies: int) -> str:
        """Return the path of the whole bundle, its hash checked."""
        while True:
            path = await self.fetcher.fetch(entry, copies * entry["size"])
            if await self.fetcher.digest(path) == entry["sha256"]:
                return path
            self.fetcher.drop(entry)
            if not self.fetcher.resumed:
                raise BadBundleError(HASH)
            # A power cut may have torn what lay on the flash: once more from the start.

    async def _request(self, kind: str, version: int, offset: int, length: int) -> None:
        entry = self.wanted.get(kind)
        if entry is None or entry["version"] != version:
            message = "not desired any more"
            raise LinkError(message)
        await self._request_chunk(kind, version, offset, length)
