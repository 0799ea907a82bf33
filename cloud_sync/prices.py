"""What Firestore and Cloud Storage cost, and what a month of this gateway comes to."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.services.cloud_feed import Usage

GIB = 2**30
DAYS_A_MONTH = 30
LEASES = "lease"  # writes while somebody looks on, counted apart


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars, beyond the free quota. `as_of` is when the table was copied."""

    name: str
    as_of: str
    per_100k_writes: float
    per_100k_reads: float
    per_100k_deletes: float
    per_gib_month: float


# https://cloud.google.com/firestore/pricing, Standard edition, the dearer multi-regions: an
# estimate that is too high is the safer one. The free quota (20,000 writes a day) is not counted.
MULTI_REGION = Prices("Firestore multi-region (nam5, eur3)", "2025-06-01", 0.18, 0.06, 0.02, 0.18)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A month's writes, bytes and dollars. Storage is what a month adds, kept for a month."""

    writes: int
    bytes: int
    write_usd: float
    storage_usd: float

    @property
    def usd(self) -> float:
        """Return all of it."""
        return self.write_usd + self.storage_usd


def estimate(writes: float, stored_bytes: float, prices: Prices = MULTI_REGION) -> Estimate:
    """Return what so many writes and bytes cost."""
    return Estimate(
        round(writes),
        round(stored_bytes),
        writes / 100_000 * prices.per_100k_writes,
        stored_bytes / GIB * prices.per_gib_month,
    )


@dataclass(frozen=True, slots=True)
class MonthView:
    """What was used in the days looked at, and what a month like them comes to."""

    days: int
    used: Estimate
    month: Estimate
    leases: Estimate  # a month's writes while somebody looked on


def month_view(usage: Sequence[Usage], days: int, prices: Prices = MULTI_REGION) -> MonthView:
    """Return a month's estimate from `days` days; what got no answer counts as written."""

    def total(wanted: Sequence[Usage]) -> tuple[int, int]:
        return sum(u.writes + u.unknown for u in wanted), sum(u.bytes for u in wanted)

    factor = DAYS_A_MONTH / max(1, days)
    writes, stored = total([u for u in usage if u.kind != LEASES])
    looked_on, _ = total([u for u in usage if u.kind == LEASES])
    return MonthView(
        days,
        estimate(writes, stored, prices),
        estimate(writes * factor, stored * factor, prices),
        estimate(looked_on * factor, 0, prices),
    )
