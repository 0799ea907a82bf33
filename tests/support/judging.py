"""Streams of readings for one judge, and what becomes of them in an alert book."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from gateway.domain.alerts import Alert, AlertKind, Finding
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Channel, Stored
from gateway.pipeline.alert_book import AlertBook
from gateway.pipeline.judge import MeterJudge
from gateway.settings import DetectSettings

LISBON = ZoneInfo("Europe/Lisbon")
NOON_MS = 1_760_000_400_000  # 2025-10-09 09:00 UTC, a whole quarter of an hour
METER = MeterInfo(
    "home",
    channels={
        "grid": ChannelInfo("grid", Role.GRID, 40.0),
        "load1": ChannelInfo("load1", Role.LOAD, 16.0),
    },
)


def judge_for(meter: MeterInfo = METER, **settings: float) -> MeterJudge:
    """Return a judge with these detect settings changed."""
    return MeterJudge(meter, DetectSettings(**settings), LISBON)


def channel(
    power_w: float | None = 500.0, current_a: float | None = None, **other: float | None
) -> Channel:
    """Return a channel; current as for PF 1 at 230 V where not given."""
    if current_a is None and power_w is not None:
        current_a = abs(power_w) / 230
    fields: dict[str, float | None] = {"wh_in": None, "wh_out": None, **other}
    return Channel(i=current_a, p=power_w, **fields)


def reading(at_ms: int, dt_ms: int = 1000, **fields: object) -> Stored:
    """Return a usual reading at a time, with these fields changed."""
    usual: dict[str, object] = {
        "row": at_ms,
        "meter": "home",
        "boot": 1,
        "seq": at_ms // 100 % 2**32,
        "n": 1,
        "up_ms": 0,
        "t_ms": at_ms,
        "at_ms": at_ms,
        "received_ms": at_ms + 40,
        "dt_ms": dt_ms,
        "marks": 0,
        "v": 230.0,
        "f": 50.0,
        "ch": {"grid": channel()},
    }
    return Stored(**(usual | fields))  # type: ignore[arg-type] # a test's own typing


def stream(start_ms: int, seconds: float, dt_ms: int = 1000, **fields: object) -> list[Stored]:
    """Return equal readings one after the other, the first window beginning at `start_ms`."""
    count = round(seconds * 1000 / dt_ms)
    return [reading(start_ms + (k + 1) * dt_ms, dt_ms, **fields) for k in range(count)]


def findings(judge: MeterJudge, readings: Iterable[Stored]) -> list[Finding]:
    """Return everything the judge says of these readings."""
    return [finding for one in readings for finding in judge.judge(one)]


def alerts(judge: MeterJudge, readings: Iterable[Stored]) -> list[Alert]:
    """Return the alerts these readings leave behind, in the order they opened."""
    book = AlertBook(())
    seen: dict[str, Alert] = {}
    for one in readings:
        for finding in judge.judge(one):
            change = book.apply(finding, now_ms=one.at_ms, historic=judge.historic(one))
            if change is not None:
                seen[change.alert.id] = change.alert
    return list(seen.values())


def of_kind(kind: AlertKind, found: Iterable[Finding]) -> list[Finding]:
    """Return the findings of one kind."""
    return [finding for finding in found if finding.key[2] is kind]
