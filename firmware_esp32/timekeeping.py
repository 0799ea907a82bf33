"""Keeps the meter's clock right by SNTP, for ever, whether the gateway is there or not."""

import asyncio

from clock import FIXED
from errors import KissError, LinkError
from log import log
from ondemand import drop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from clock import Clock
    from ports import LinkBoard

MODULES = ("sntp", "resolve", "mdns", "dnsmsg", "udp")
EVERY_S = 3_600
FIRST_RETRY_S = 8
AFTER_KISS_S = 86_400


async def keep_time(host: str, clock: "Clock", board: "LinkBoard", port: int = 123) -> None:
    """Ask `host` every hour; after a failure sooner, after a kiss-of-death a day later."""
    retry_s = FIRST_RETRY_S
    while clock.source != FIXED:
        try:
            await _ask(host, clock, board, port)
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


async def _ask(host: str, clock: "Clock", board: "LinkBoard", port: int) -> None:
    from sntp import set_by_ntp  # noqa: PLC0415 - needed once an hour

    try:
        await set_by_ntp(host, clock, board, port)
    finally:
        del set_by_ntp
        drop(*MODULES)
