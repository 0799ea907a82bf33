"""A site's way to a cloud in memory, one wave at a time, at a time that the test says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from cloud_sync.documents import minute_row
from cloud_sync.governor import Governor, Limits
from cloud_sync.memory_cloud import MemoryCloud
from cloud_sync.packing import MinuteRow, rounded
from cloud_sync.planner import Planner
from cloud_sync.reading import Row, merge
from cloud_sync.uploader import Uploader
from gateway.adapters.memory_cloud_feed import MemoryCloudFeed
from gateway.domain.alerts import Alert, AlertKind, AlertState, Severity
from gateway.pipeline.rollups import Bucket
from gateway.services.cloud_feed import MeterFacts

DAY_START_MS = 1_790_000_000_000 // 86_400_000 * 86_400_000
MINUTE_MS = 60_000
UTC = ZoneInfo("UTC")


@dataclass
class FakeClock:
    """Clocks that stand until the test moves them."""

    now_ms: int = DAY_START_MS
    is_trusted: bool = True

    def wall_ms(self) -> int:
        """Return the time the test says."""
        return self.now_ms

    def mono_s(self) -> float:
        """Return it in seconds."""
        return self.now_ms / 1000

    def trusted(self) -> bool:
        """Tell what the test says."""
        return self.is_trusted


def bucket(start_ms: int, power_w: float = 230.5) -> Bucket:
    """Return a full minute of 60 windows."""
    return Bucket(
        start_ms, 60, 60_000, p_sum=power_w * 60_000, p_dt=60_000, p_min=power_w - 3.5,
        p_max=power_w + 7.25, v_sum=231.3 * 60_000, v_dt=60_000, v_min=230.1, v_max=232.0,
        i_sum=power_w / 231.3 * 60_000, i_dt=60_000, reg_at_ms=start_ms + 60_000,
        wh_in=1000 + (start_ms - DAY_START_MS) / MINUTE_MS * power_w / 60, wh_out=0.0,
    )  # fmt: skip


def alert(number: int = 1, *, state: AlertState = AlertState.OPEN) -> Alert:
    """Return an alert as the book keeps it."""
    return Alert(
        f"alert-{number}", ("kitchen", f"load{number}", AlertKind.OVER_CURRENT),
        Severity.CRITICAL, state,
        DAY_START_MS, DAY_START_MS + number, None, 1, "Current far too high",
        "Current at the kitchen was 21.3 A for 3 s; the limit is 16.0 A.",
        {"current_a": 21.3, "limit_a": 16.0},
    )  # fmt: skip


@dataclass
class CloudSite:
    """Meter `kitchen` (1), and `workshop` (2), whose data the test stores."""

    limits: Limits = field(default_factory=lambda: Limits(10_000, 100_000_000))
    clock: FakeClock = field(default_factory=FakeClock)
    cloud: MemoryCloud = field(default_factory=MemoryCloud)

    def __post_init__(self) -> None:
        """Wire the parts."""
        self.cloud.server_ms = self.clock.now_ms
        self.feed = MemoryCloudFeed(self.clock.wall_ms)
        for no, name in ((1, "kitchen"), (2, "workshop")):
            self.feed.meter_facts[no] = MeterFacts(no, name, "", {"grid": "grid"}, 0)
        self.governor = Governor(self.limits)
        planner = Planner(self.feed, "home", UTC, self.clock)
        self.uploader = Uploader(self.feed, self.cloud, planner, self.governor)
        self.stored: dict[Row, MinuteRow] = {}

    def store(self, meter_no: int, first: int, count: int, power_w: float = 230.5) -> None:
        """Store minutes first … first + count - 1 of the day, and set the clock behind them."""
        name = self.feed.meter_facts[meter_no].id
        buckets = [
            bucket(DAY_START_MS + minute * MINUTE_MS, power_w)
            for minute in range(first, first + count)
        ]
        self.feed.add_minutes(meter_no, "grid", buckets)
        for one in buckets:
            self.stored[name, "grid", one.start_ms] = rounded(minute_row(one))
        self.clock.now_ms = max(self.clock.now_ms, DAY_START_MS + (first + count + 5) * MINUTE_MS)

    def in_cloud(self) -> dict[Row, MinuteRow]:
        """Return every minute that the cloud holds."""
        return merge(self.packed().values())

    def packed(self) -> Mapping[str, dict[str, object]]:
        """Return the packed documents."""
        return {p: f for p, f in self.cloud.documents.items() if "/minutes/" in p}

    async def send_all(self) -> int:
        """Send until nothing is left; return how many documents were confirmed."""
        before = self.uploader.state.confirmed
        while await self.uploader.step():
            pass
        return self.uploader.state.confirmed - before
