"""Why a bundle is refused: the words of the `model` event's field `why`."""

from errors import BadBundleError

FORM = "form"  # the announcement is not of the contract's form
SIGNATURE = "signature"  # not signed by a pinned key of its kind
VERSION = "version"  # does not rise, nor is it a confirmed one still here
SIZE = "size"  # over the limit, or the gateway has less than announced
HASH = "hash"  # what came is not what was announced
SELFTEST = "selftest"  # its own vectors fail, or a firmware's container does not fit together
POWER_CUT = "power_cut"  # the trial ended with the power, by itself or by the watchdog
UNHEALTHY = "unhealthy"  # the meter was not well on trial
NO_GATEWAY = "no_gateway"  # firmware on trial measured well and never heard of its gateway
DAMAGED = "damaged"  # the active slot's content has changed on the flash
LOADER = "loader"  # no main.py on this board starts the slot
# These may heal; they are tried again with the next `desired`:
UNKNOWN = "unknown"  # the gateway does not have what it announced
SPACE = "space"  # the flash is full
FLASH = "flash"  # the flash cannot be written
MAY_HEAL = (UNKNOWN, SPACE, FLASH)

_NO_SPACE = 28  # ENOSPC


def flash_error(error: OSError) -> BadBundleError:
    """Return the refusal for a flash that could not be written."""
    return BadBundleError(SPACE if error.errno == _NO_SPACE else FLASH, str(error))
