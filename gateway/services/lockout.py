"""Slow down password guessing: exponential lock-out per user and address, in bounded memory."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_TRIES = 5  # wrong passwords for one name from one address before the first lock-out
ADDRESS_FREE_TRIES = 30  # the same over all names: guessing one password for many people
LONGEST_WAIT_S = 900.0  # the wait doubles from 1 s up to this
FORGET_AFTER_S = 3600.0  # without a further failure
LARGEST_TABLE = 4096  # the entry that was quiet longest makes room
IPV6_NETWORK_BITS = 64  # what one household's line gets; it may use any address in it

_Key = tuple[str, str]  # user ("" = all), network


@dataclass(slots=True)
class _Count:
    failures: int
    free_at_s: float
    seen_s: float


class Lockout:
    """Counts attempts as failures until they are refunded, so that parallel ones count too."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()

    def charge(self, user: str, address: str) -> float:
        """Count an attempt and return 0, or return the seconds to wait and count nothing."""
        now_s = self._clock_s()
        limits = _limits(user, address)
        wait_s = max(self._wait_s(key, now_s) for key in limits)
        if wait_s > 0:
            return wait_s
        for key, free_tries in limits.items():
            self._count(key, free_tries, now_s)
        return 0.0

    def refund(self, user: str, address: str, *, forget: bool) -> None:
        """Take an attempt back; with `forget` (right password) all of this user's from there."""
        for key, free_tries in _limits(user, address).items():
            count = self._counts.get(key)
            if count is None:
                continue
            count.failures -= 1
            if count.failures < free_tries:
                count.free_at_s = 0.0
            if count.failures <= 0 or (forget and key[0]):
                del self._counts[key]

    def __len__(self) -> int:
        return len(self._counts)

    def _wait_s(self, key: _Key, now_s: float) -> float:
        count = self._counts.get(key)
        if count is None:
            return 0.0
        if now_s - count.seen_s > FORGET_AFTER_S:
            del self._counts[key]
            return 0.0
        return max(0.0, count.free_at_s - now_s)

    def _count(self, key: _Key, free_tries: int, now_s: float) -> None:
        count = self._counts.setdefault(key, _Count(0, 0.0, now_s))
        self._counts.move_to_end(key)
        count.failures += 1
        count.seen_s = now_s
        over = count.failures - free_tries
        if over >= 0:
            # The exponent is bounded so that the float is too.
            count.free_at_s = now_s + min(2.0 ** min(over, 20), LONGEST_WAIT_S)
        while len(self._counts) > LARGEST_TABLE:
            self._counts.popitem(last=False)


def _limits(user: str, address: str) -> dict[_Key, int]:
    where = _network(address)
    return {(user or "?", where): FREE_TRIES, ("", where): ADDRESS_FREE_TRIES}


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, IPV6_NETWORK_BITS), strict=False))
