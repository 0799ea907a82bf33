"""Large JSON answers: encoded and compressed in the thread that read them, with an ETag."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import orjson
from fastapi import Request, Response

T = TypeVar("T")
# They may be kept, but a browser has to ask whether they still hold.
KEPT = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Cookie, Authorization"}
LEAST_TO_COMPRESS = 1024
LEVEL = 1  # twice the speed of the default level for a tenth more bytes


def _encode(value: object) -> bytes:
    """Encode what may hold numpy's arrays; NaN is null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass(frozen=True, slots=True)
class Packet:
    """A body ready to be sent: `body` is gzip where `packed`."""

    body: bytes
    etag: str
    packed: bool


def packer(request: Request, shape: Callable[[T], object]) -> Callable[[T], Packet]:
    """Return what turns a result into a packet; for a thread, it touches nothing shared."""
    wanted = "gzip" in request.headers.get("accept-encoding", "")

    def pack(result: T) -> Packet:
        body = _encode(shape(result))
        # Weak: the same for the plain and the compressed body.
        etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if not wanted or len(body) < LEAST_TO_COMPRESS:
            return Packet(body, etag, packed=False)
        return Packet(gzip.compress(body, LEVEL, mtime=0), etag, packed=True)

    return pack


def answer(request: Request, packet: Packet) -> Response:
    """Return the response: 304 where the caller holds this body already."""
    headers = {**KEPT, "ETag": packet.etag}
    if _holds(request.headers.get("if-none-match", ""), packet.etag):
        return Response(status_code=304, headers=headers)
    if packet.packed:
        headers["Content-Encoding"] = "gzip"
    return Response(packet.body, media_type="application/json", headers=headers)


def _holds(header: str, etag: str) -> bool:
    """Compare weakly (RFC 9110, 13.1.2): a client may have dropped the W/."""
    held = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in held or etag.removeprefix("W/") in held
