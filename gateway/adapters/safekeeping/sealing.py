"""A file's outer shape: a line that says what it is, then its content, encrypted or not.

Encrypted content is cut into pieces, each sealed by AES-256-GCM under a key that scrypt makes of
the passphrase (RFC 7914). The nonce counts the pieces and marks the last one, so that pieces
cannot be left out, exchanged or cut off unseen (the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizár, 2015).
"""

import base64
import json
import os
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway.domain.errors import BadInputError

MAGIC = b"WATTWARDEN-BACKUP-1 "
LONGEST_HEADER = 1000
PIECE = 1 << 20
TAG = 16
# 64 MB of memory for a moment, half a second on a Pi: dear for whoever tries passphrases.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 16, 8, 1
MOST_N = 1 << 20  # what a file may ask of us
NONCE_PREFIX = 7
LAST = b"\x01"
SHORTEST_PASSPHRASE = 12
CUT_OFF = "FILE: it is cut off; copy it again from where it was made"


def is_sealed(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a backup of a whole site."""
    return head.startswith(MAGIC)


def is_encrypted(path: Path) -> bool:
    """Tell whether a backup of a whole site needs a passphrase; False for any other file."""
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_HEADER)
        return is_sealed(line) and header_of(line)["cipher"] != "none"
    except (OSError, BadInputError):
        return False  # whoever reads it says what is wrong


def check_passphrase(text: str) -> str:
    """Return a passphrase that is long enough; BadInputError otherwise."""
    if len(text) < SHORTEST_PASSPHRASE:
        msg = f"passphrase: must have at least {SHORTEST_PASSPHRASE} characters, has {len(text)}"
        raise BadInputError(msg)
    return text


def _key(passphrase: str, salt: bytes, n: int) -> AESGCM:
    scrypt = Scrypt(salt=salt, length=32, n=n, r=SCRYPT_R, p=SCRYPT_P)
    return AESGCM(scrypt.derive(passphrase.encode()))


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + (LAST if last else b"\x00")


class SealedWriter:
    """Writes content behind the header; `finish` writes the last piece."""

    def __init__(self, out: IO[bytes], passphrase: str | None) -> None:
        """None: not encrypted."""
        self._out = out
        self._held = bytearray()
        self._number = 0
        self._sealer: AESGCM | None = None
        header: dict[str, object] = {"cipher": "none"}
        if passphrase is not None:
            salt, self._prefix = os.urandom(16), os.urandom(NONCE_PREFIX)
            self._sealer = _key(passphrase, salt, SCRYPT_N)
            header = {
                "cipher": "aes-256-gcm", "kdf": "scrypt", "n": SCRYPT_N,
                "salt": base64.b64encode(salt).decode(),
                "nonce": base64.b64encode(self._prefix).decode(),
            }  # fmt: skip
        self._header = MAGIC + json.dumps(header).encode() + b"\n"
        out.write(self._header)

    def write(self, data: bytes | memoryview) -> int:
        """Take bytes; whole pieces go out."""
        given = bytes(data)
        if self._sealer is None:
            self._out.write(given)
            return len(given)
        self._held += given
        while len(self._held) > PIECE:  # the last piece waits for `finish`
            self._seal(bytes(self._held[:PIECE]), last=False)
            del self._held[:PIECE]
        return len(given)

    def flush(self) -> None:
        """Nothing: a piece goes out when it is whole."""

    def finish(self) -> None:
        """Write what is left; without it the file counts as cut off."""
        if self._sealer is not None:
            self._seal(bytes(self._held), last=True)

    def _seal(self, piece: bytes, *, last: bool) -> None:
        if self._sealer is None:
            return
        nonce = _nonce(self._prefix, self._number, last=last)
        self._out.write(self._sealer.encrypt(nonce, piece, self._header))
        self._number += 1


class SealedReader:
    """Reads what `SealedWriter` wrote. BadInputError for anything else, or a wrong passphrase."""

    def __init__(self, source: IO[bytes], passphrase: str | None) -> None:
        """`passphrase` is asked for only where the file needs one."""
        self._source = source
        self._held = b""
        self._number = 0
        self._ended = False
        self._header = source.readline(LONGEST_HEADER)
        fields = header_of(self._header)
        self._sealer: AESGCM | None = None
        if fields["cipher"] == "none":
            return
        if passphrase is None:
            msg = "FILE: it is encrypted; give its passphrase by --passphrase-file"
            raise BadInputError(msg)
        try:
            salt, n = base64.b64decode(fields["salt"]), int(fields["n"])
            self._prefix = base64.b64decode(fields["nonce"])
        except (KeyError, ValueError, TypeError) as error:
            msg = "FILE: its first line is damaged"
            raise BadInputError(msg) from error
        if not 1 < n <= MOST_N or n & (n - 1) or len(self._prefix) != NONCE_PREFIX:
            msg = "FILE: its first line asks for the impossible; it is damaged"
            raise BadInputError(msg)
        self._sealer = _key(passphrase, salt, n)
        self._next = source.read(PIECE + TAG)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes that are proven to be whole up to here, b"" at the end."""
        if self._sealer is None:
            return self._source.read(size)
        while len(self._held) < size and not self._ended:
            self._held += self._open(self._sealer)
        got, self._held = self._held[:size], self._held[size:]
        return got

    def _open(self, sealer: AESGCM) -> bytes:
        piece, self._next = self._next, self._source.read(PIECE + TAG)
        self._ended = not self._next
        nonce = _nonce(self._prefix, self._number, last=self._ended)
        try:
            content = sealer.decrypt(nonce, piece, self._header)
        except InvalidTag as error:
            msg = (
                "FILE: the passphrase is wrong, or the file is damaged"
                if self._number == 0
                else "FILE: it is damaged or cut off; copy it again from where it was made"
            )
            raise BadInputError(msg) from error
        self._number += 1
        return content


def header_of(line: bytes) -> dict[str, Any]:
    """Return the header's fields; BadInputError for a line that is none."""
    try:
        fields: dict[str, Any] = json.loads(line[len(MAGIC) :]) if is_sealed(line) else {}
        known = fields.get("cipher") in ("none", "aes-256-gcm")
    except (ValueError, TypeError, AttributeError):
        known = False
    if not known:
        msg = "FILE: it is no backup of a site, or of a newer version"
        raise BadInputError(msg)
    return fields
