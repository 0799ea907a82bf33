"""What may be announced in `desired`, and whose signature each kind of bundle needs."""

import sys
from binascii import a2b_base64

from errors import BadBundleError
from refusals import SIGNATURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    Entry = dict[str, Any]
    Keys = dict[str, list[bytes]]
    Pause = Callable[[], Awaitable[None]]

# Calibration first: a model may have been fitted to what it corrects.
KINDS = ("calibration", "model", "firmware")
MOST_BYTES = {"model": 8_192, "calibration": 8_192, "firmware": 307_200}
SIGNERS = {"model": "release", "calibration": "site", "firmware": "release"}
MOST_NUMBER = 1_000_000_000  # of a version; fits the board's small ints
_HEX = "0123456789abcdef"
_SHA256_DIGITS = 64
_MOST_SIGNATURE = 128  # characters; 64 bytes are 88 in base64


def well_formed(entry: object) -> bool:
    """Tell whether an entry of `desired` has the contract's form."""
    if not isinstance(entry, dict) or entry.get("kind") not in KINDS:
        return False
    for name in ("version", "size"):
        number = entry.get(name)
        if not isinstance(number, int) or isinstance(number, bool):
            return False
        if not 0 < number <= MOST_NUMBER:
            return False
    sha256, sig = entry.get("sha256"), entry.get("sig")
    if not isinstance(sha256, str) or not isinstance(sig, str):
        return False
    if len(sha256) != _SHA256_DIGITS or len(sig) > _MOST_SIGNATURE:
        return False
    return all(character in _HEX for character in sha256)


async def check_signature(entry: "Entry", meter: str, keys: "Keys", pause: "Pause") -> None:
    """Raise BadBundleError "signature" unless a pinned key of the kind signed the entry.

    `keys` maps "release" and "site" to raw public keys. Signed for this meter or for all ("*").
    Awaits `pause` between slices of at most 20 ms (estimated) on a board.
    """
    # Needed now and then, so its code and tables do not stay in RAM.
    from canon import announced  # noqa: PLC0415
    from ed25519 import verify  # noqa: PLC0415

    kind = entry["kind"]
    try:
        signature = a2b_base64(entry["sig"])
        for key in keys.get(SIGNERS[kind], ()):
            for to in (meter, "*"):
                text = announced(kind, to, entry["sha256"], entry["size"], entry["version"])
                if await verify(key, signature, text, pause):
                    return
    except ValueError as error:
        raise BadBundleError(SIGNATURE, str(error)) from error
    finally:
        for name in ("canon", "ed25519", "sha512"):
            sys.modules.pop(name, None)
    raise BadBundleError(SIGNATURE)
