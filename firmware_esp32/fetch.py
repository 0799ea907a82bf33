"""Fetching a bundle from the gateway piece by piece, going on from what lies on the flash."""

import hashlib
import os
from binascii import a2b_base64, hexlify

from errors import BadBundleError, LinkError
from refusals import SIZE, SPACE, UNKNOWN, flash_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Entry = dict[str, Any]
    RequestChunk = Callable[[str, int, int, int], Awaitable[None]]
    Sleep = Callable[[float], Awaitable[None]]

CHUNK = 512  # bytes asked for at a time: the contract allows 2048, a small heap does not
RESERVE = 24_576  # bytes of flash left to the meter's own records
_ANSWER_S = 10.0
_POLL_S = 0.05
_ASKS = 3  # for one piece, before another bundle gets its turn
_PIECE = 256  # bytes hashed at a time
_HASH_DIGITS = 16  # of the hash, in a part's name


class Fetcher:
    """Downloads one bundle at a time into `<root>/<kind>_<hash>.part`."""

    def __init__(self, root: str, request_chunk: "RequestChunk", sleep: "Sleep") -> None:
        self.resumed = False  # the last fetch went on from an earlier boot's part
        self._root = root
        self._request_chunk = request_chunk
        self._sleep = sleep
        self._asked: tuple[str, int, int, int] | None = None
        self._answer: bytes | None = None
        self._error = ""
        self._own: set[str] = set()  # parts begun since this boot

    def path(self, entry: "Entry") -> str:
        """Return where the bundle is collected."""
        return f"{self._root}/{entry['kind']}_{entry['sha256'][:_HASH_DIGITS]}.part"

    def drop(self, entry: "Entry") -> None:
        """Remove what was collected of a bundle."""
        path = self.path(entry)
        self._own.discard(path)
        try:
            os.remove(path)
        except OSError:
            pass  # nothing was collected

    def drop_others(self, kind: str, entry: "Entry") -> None:
        """Remove what was collected of other bundles of this kind: nobody wants them now."""
        keep = self.path(entry)
        for path in self._parts(kind):
            if path != keep:
                os.remove(path)

    def drop_held(self, kind: str, hashes: "list[str]") -> None:
        """Remove what was collected of bundles that are in a slot since: the power had gone."""
        for path in self._parts(kind):
            for sha256 in hashes:
                if sha256 and sha256[:_HASH_DIGITS] in path:
                    os.remove(path)

    def _parts(self, kind: str) -> "list[str]":
        names = os.listdir(self._root or "/")
        return [
            f"{self._root}/{name}"
            for name in names
            if name.startswith(kind + "_") and name.endswith(".part")
        ]

    def answered(self, message: "dict[str, Any]") -> None:
        """Take a `bundle/chunk` message; what was not asked for is ignored."""
        asked = self._asked
        if asked is None or (message.get("kind"), message.get("version")) != asked[:2]:
            return
        if "error" in message:
            self._error = str(message["error"])[:32]
            return
        if message.get("offset") != asked[2]:
            return
        try:
            data = a2b_base64(message["data"])
        except (KeyError, ValueError, TypeError):
            return  # asked for again
        if 0 < len(data) <= asked[3]:
            self._answer = data

    async def fetch(self, entry: "Entry", room: int) -> str:
        """Collect the whole bundle and return its path; `room` is the flash it will take.

        LinkError when the gateway does not answer (what was collected stays). BadBundleError:
        "unknown" (the gateway has no such bundle), "size" (it has less of it than announced),
        "space" (the flash is full), "flash" (it cannot be written).
        """
        path = self.path(entry)
        size = entry["size"]
        have = _size(path)
        if have > size:
            self.drop(entry)
            have = 0
        self._check_space(room - have)
        self.resumed = have > 0 and path not in self._own
        if not have:
            self._own.add(path)
        while have < size:
            piece = await self._piece(entry, have, min(CHUNK, size - have))
            self._append(entry, path, piece)
            have += len(piece)
        return path

    def _check_space(self, room: int) -> None:
        numbers = os.statvfs(self._root or "/")
        if numbers[1] * numbers[4] < room + RESERVE:
            raise BadBundleError(SPACE)

    def _append(self, entry: "Entry", path: str, piece: bytes) -> None:
        try:
            with open(path, "ab") as file:
                file.write(piece)
        except OSError as error:
            self.drop(entry)
            raise flash_error(error) from error

    async def _piece(self, entry: "Entry", offset: int, length: int) -> bytes:
        """Ask until the piece is here."""
        for _ in range(_ASKS):
            self._answer = None
            self._error = ""
            self._asked = (entry["kind"], entry["version"], offset, length)
            try:
                await self._request_chunk(entry["kind"], entry["version"], offset, length)
                answer, error = await self._wait()
            finally:
                self._asked = None
            if error:
                raise BadBundleError(SIZE if error == "range" else UNKNOWN)
            if answer:
                return answer
        message = "the gateway does not answer"
        raise LinkError(message)

    async def _wait(self) -> "tuple[bytes | None, str]":
        waited_s = 0.0
        while self._answer is None and not self._error and waited_s < _ANSWER_S:
            await self._sleep(_POLL_S)
            waited_s += _POLL_S
        return self._answer, self._error

    async def digest(self, path: str) -> str:
        """Return the SHA-256 of a file in hex, letting others run in between."""
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while True:
                piece = file.read(_PIECE)
                if not piece:
                    break
                digest.update(piece)
                await self._sleep(0)
        return hexlify(digest.digest()).decode()


def _size(path: str) -> int:
    try:
        return int(os.stat(path)[6])
    except OSError:
        return 0
