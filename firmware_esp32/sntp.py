"""Asking an SNTP server for the time (RFC 4330, RFC 5905): one question, one checked answer."""

import struct

from clock import NTP
from errors import KissError, LinkError
from resolve import resolve
from ticks import ticks_diff, ticks_ms
from udp import Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from clock import Clock
    from ports import LinkBoard

PORT = 123
WITHIN_MS = 3_000
SLOWEST_MS = 1_000  # a longer round trip leaves the time too uncertain
ROUNDING_MS = 10
CLIENT = 0x23  # no warning, version 4, mode 3
SERVER = 4
UNSYNCHRONISED = 3  # leap indicator
LAST_STRATUM = 15
PACKET = 48
TRANSMIT = 40  # where the nonce goes out and the answer's time stands
ORIGINATE = 24
RECEIVE = 32
UNIX_S = 2_208_988_800  # 1970-01-01 in seconds since 1900
ERA_S = 1 << 32  # era 1 begins in February 2036 (RFC 4330, section 3)
HALF_ERA_S = 1 << 31
GO_AWAY = (b"DENY", b"RSTR", b"RATE")


async def query(address: str, nonce: bytes, port: int = PORT, within_ms: int = WITHIN_MS) -> int:
    """Return the server's time in Unix ms, as of now, half the round trip added.

    `nonce` is 8 random bytes that the answer must repeat. LinkError when no good answer
    comes in time; KissError when the server wants no more questions.
    """
    question = Question(address, port)
    try:
        started = ticks_ms()
        question.send(bytes((CLIENT,)) + bytes(TRANSMIT - 1) + nonce)
        while True:
            left_ms = within_ms - ticks_diff(ticks_ms(), started)
            if left_ms <= 0:
                msg = "no answer from the time server"
                raise LinkError(msg)
            for answer in await question.answers(left_ms):
                if answer[ORIGINATE:RECEIVE] == nonce and len(answer) >= PACKET:
                    return _time(answer, ticks_diff(ticks_ms(), started))
    finally:
        question.close()


def _time(answer: bytes, round_trip_ms: int) -> int:
    stratum = answer[1]
    if stratum == 0:
        code = answer[12:16]
        msg = f"the time server says {code!r}"
        raise (KissError if code in GO_AWAY else LinkError)(msg)
    if answer[0] & 7 != SERVER or answer[0] >> 6 == UNSYNCHRONISED or stratum > LAST_STRATUM:
        msg = "the time server is not synchronised itself"
        raise LinkError(msg)
    received_ms = _unix_ms(answer, RECEIVE)
    sent_ms = _unix_ms(answer, TRANSMIT)
    away_ms = round_trip_ms - max(0, sent_ms - received_ms)
    if sent_ms == _unix_ms(bytes(8), 0) or not -ROUNDING_MS <= away_ms <= SLOWEST_MS:
        msg = f"the time server's answer is of no use (round trip {away_ms} ms)"
        raise LinkError(msg)
    return sent_ms + max(0, away_ms) // 2


def _unix_ms(raw: bytes, at: int) -> int:
    seconds, fraction = struct.unpack(">II", raw[at : at + 8])
    if seconds < HALF_ERA_S:
        seconds += ERA_S
    return int((seconds - UNIX_S) * 1000 + (fraction * 1000 >> 32))


async def set_by_ntp(host: str, clock: "Clock", board: "LinkBoard", port: int = 123) -> None:
    """Ask once and set the clock; LinkError when there is no good answer."""
    address = await resolve(host, board.random32)
    nonce = b"".join([board.random32().to_bytes(4, "big") for _ in range(2)])
    clock.set(await query(address, nonce, port), NTP)
