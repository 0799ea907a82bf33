"""What can go wrong while installing, each with its cause and the next step."""

import errno

from gateway.domain.errors import GatewayError

NEXT_STEP = {
    errno.EACCES: "you may not do that; run it as root: sudo wattwarden …",
    errno.EPERM: "you may not do that; run it as root: sudo wattwarden …",
    errno.ENOSPC: "the disk is full; free some space (df -h shows where), then run it again",
    errno.EDQUOT: "the disk is full; free some space (df -h shows where), then run it again",
    errno.EROFS: "the disk is mounted read-only; a worn SD card often ends so: dmesg tells, and"
    " a new card with the newest backup helps",
    errno.EIO: "the disk cannot be read or written; replace it and restore the newest backup",
}


class InstallError(GatewayError):
    """A step could not be done; the administrator must act as the message says."""


class ServiceFailedError(InstallError):
    """A service did not become ready; its own last words are in the message."""


def explain(error: OSError) -> InstallError:
    """Return an InstallError that names the file, the cause and the next step."""
    where = f"{error.filename}: " if error.filename else ""
    said = error.strerror or str(error)
    step = NEXT_STEP.get(error.errno or 0, "")
    return InstallError(f"{where}{said}" + (f": {step}" if step else ""))
