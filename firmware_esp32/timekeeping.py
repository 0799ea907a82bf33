"""Keeps the meter's clock right by SNTP, for ever, whether the gateway is there or not."""

import asyncio

from clock import FIXED, NTP
from errors import LinkError
from log import log
from resolve import resolve
from sntp import KissError, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from clock import Clock
    from ports import LinkBoard

EVERY_S = 3_600
FIRST_RETRY_S = 8
AFTER_KISS_S = 86_400


async def keep_time(host: str, clock: "Clock", board: "LinkBoard", port: int = 123) -> None:
    """Ask `host` every hour; after a failure sooner, after a kiss-of-death a day later."""
    retry_s = FIRST_RETRY_S
    while clock.source != FIXED:
        try:
            await set_by_ntp(host, clock, board, port)
            retry_s = FIRST_RETRY_S
            pause_s = EVERY_S
        except KissError as error:
            log(f"clock: {error}; asked again in a day")
            pause_s = AFTER_KISS_S
        except LinkError as error:
            pause_s = retry_s
            if retry_s < EVERY_S:
                log(f"clock: {host}: {error}")
            retry_s = min(2 * retry_s, EVERY_S)
        # Jitter: many meters must not ask at once after an outage.
        await asyncio.sleep(pause_s * (0.75 + (board.random32() & 0xFF) / 512))


async def set_by_ntp(host: str, clock: "Clock", board: "LinkBoard", port: int = 123) -> None:
    """Ask once and set the clock; LinkError when there is no good answer."""
    address = await resolve(host, board.random32)
    nonce = b"".join([board.random32().to_bytes(4, "big") for _ in range(2)])
    clock.set(await query(address, nonce, port), NTP)
