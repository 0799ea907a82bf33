"""What the process knows of itself and its files: log, backup, certificate."""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.adapters.store.backup import backup
from gateway.domain.errors import BadInputError, StorageError, TransientError
from gateway.logs import TAIL, Line
from gateway.services.trust import Certificate

PIECE = 1 << 18
GZIP_WINDOW = 31  # zlib's way to say that it shall be gzip
QUICK = 1
LARGEST_PEM = 1 << 16
MS = 1000


class OwnSystem:
    """Satisfies the web's `System`."""

    def __init__(self, database: Path, ca_file: Path | None) -> None:
        self._database = database
        self._ca_file = ca_file
        self._backing_up = False

    def log_tail(self, lines: int, level: str | None) -> list[Line]:
        """Return the newest lines of at least this level, newest last."""
        levels = logging.getLevelNamesMapping()
        least = 0 if level is None else levels[level.upper()]
        found = [line for line in TAIL if levels.get(line.level.upper(), 0) >= least]
        return found[-lines:]

    async def backup(self) -> AsyncIterator[bytes]:
        """Yield a consistent copy of the database, gzipped; one at a time."""
        if self._backing_up:
            msg = "a backup is being made already; try again in a minute"
            raise TransientError(msg)
        self._backing_up = True
        copy = self._database.with_name(f".backup-{os.getpid()}-{time.monotonic_ns()}.db")
        try:
            try:
                await asyncio.to_thread(backup, self._database, copy, _no_progress, replace=True)
            except BadInputError as error:
                raise StorageError(str(error)) from error
            packer = zlib.compressobj(QUICK, wbits=GZIP_WINDOW)
            with copy.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, PIECE):
                    if packed := await asyncio.to_thread(packer.compress, piece):
                        yield packed
            yield packer.flush()
        finally:
            self._backing_up = False
            with contextlib.suppress(OSError):
                copy.unlink(missing_ok=True)

    def certificate(self) -> Certificate | None:
        """Return the site's CA, None where it has none that can be read."""
        if self._ca_file is None:
            return None
        from cryptography import x509  # noqa: PLC0415 - only for this
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

        try:
            found = x509.load_pem_x509_certificate(self._ca_file.read_bytes()[:LARGEST_PEM])
        except (OSError, ValueError):
            return None
        digest = hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest().upper()
        names = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return Certificate(
            found.public_bytes(Encoding.PEM),
            str(names[0].value) if names else found.subject.rfc4514_string(),
            ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)),
            round(found.not_valid_before_utc.timestamp() * MS),
            round(found.not_valid_after_utc.timestamp() * MS),
        )


def _no_progress(_done: int, _total: int) -> None:
    """Nobody watches."""
