"""What is said of solar panels that give too little; see tinymodels.detect.roofs for the judging.

Days are of the zone's standard time, all year: no clock change shortens one or moves an envelope.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.alerts import Alert, AlertKind, Evidence, Finding
from tinymodels.detect.minutes import DAY_MS, MINUTE_MS
from tinymodels.detect.roofs import DayJudged

QUARTER_MS = 15 * MINUTE_MS
TITLE = "The panels give too little"
# Below this part of what it was before, what counts as usual now is not what it was then.
STILL_LESS = 0.85
KILOWATT_W = 1000


def shift_ms(zone: ZoneInfo, at_ms: int) -> int:
    """Return by how much the zone's standard time is ahead of UTC in the year of a time."""
    year = datetime.fromtimestamp(at_ms / 1000, UTC).year
    found = (datetime(year, month, 1, tzinfo=UTC).astimezone(zone) for month in range(1, 13))
    least = min((at.utcoffset() or timedelta() for at in found), default=timedelta())
    ms = round(least.total_seconds() * 1000)
    return ms - ms % QUARTER_MS  # rollups begin on quarters of an hour


def news(
    key: tuple[str, str], judged: DayJudged, opened: Alert | None, shifted_ms: int
) -> Finding | None:
    """Return what a day changes: raised above the limit, told again while it lasts, or over.

    None where all is as usual, or too little is known to say anything.
    """
    if not judged.known:
        return None
    at_ms = judged.end_ms - shifted_ms
    if judged.score > judged.limit or (opened is not None and judged.score >= judged.clear_limit):
        return _raised(key, judged, at_ms, shifted_ms)
    return None if opened is None else _over(key, judged, opened, at_ms)


def not_judged(key: tuple[str, str], at_ms: int) -> Finding:
    """Return the end of an alert about a channel that measures no panels any more."""
    detail = f"{key[1]} of meter {key[0]} measures no solar panels any more."
    return Finding((*key, AlertKind.PV_UNDERPERFORMANCE), active=False, at_ms=at_ms, detail=detail)


def _raised(key: tuple[str, str], judged: DayJudged, at_ms: int, shifted_ms: int) -> Finding:
    meter, channel = key
    said = (
        f"On the best of the last 7 days the solar panels at {meter} ({channel}) gave"
        f" {_watts(judged.given_w)} in the bright hours; in clear weather they usually give"
        f" {_watts(judged.usual_w)}."
    )
    if judged.beside is not None:
        part = 100 * min(judged.beside, 1.0)
        said += f" Their neighbours reached {part:.0f} % of what is usual for them."
    said += " Is a string or the inverter off, or is there dirt, snow or a new shade?"
    since_ms = judged.since_day * DAY_MS - shifted_ms
    return Finding(
        (meter, channel, AlertKind.PV_UNDERPERFORMANCE), active=True, at_ms=at_ms, title=TITLE,
        detail=said, evidence=_evidence(judged, since_ms), fresh=False,
    )  # fmt: skip


def _over(key: tuple[str, str], judged: DayJudged, opened: Alert, at_ms: int) -> Finding:
    """Return the end of an alert; what has merely become usual is not called mended."""
    usual_w = opened.evidence.get("usual_w")
    before_w = float(usual_w) if isinstance(usual_w, int | float) else math.nan
    if judged.usual_w < STILL_LESS * before_w:
        detail = (
            f"The panels have given {_watts(judged.given_w)} at best for six weeks, after"
            f" {_watts(before_w)} before: that counts as usual from now on."
        )
    else:
        detail = f"The panels give {_watts(judged.given_w)} in the bright hours again."
    return Finding((*key, AlertKind.PV_UNDERPERFORMANCE), active=False, at_ms=at_ms, detail=detail)


def _evidence(judged: DayJudged, since_ms: int) -> Evidence:
    evidence: Evidence = {
        "yield_pct": round(100 * judged.best, 1),
        "given_w": round(judged.given_w),
        "usual_w": round(judged.usual_w),
        "days": 7,
        "since_ms": since_ms,
        "score": round(judged.score, 3),
        "limit": round(judged.limit, 3),
    }
    if judged.beside is not None:
        evidence["neighbours_pct"] = round(100 * judged.beside, 1)
    return evidence


def spans_ms(alerts: Sequence[tuple[int, int | None]], shifted_ms: int) -> list[tuple[int, int]]:
    """Return spans [opened, resolved) of alerts in the roof's own time; None lasts."""
    forever_ms = 2**62
    return [
        (opened + shifted_ms, forever_ms if over is None else over + shifted_ms)
        for opened, over in alerts
    ]


def _watts(power_w: float) -> str:
    return f"{power_w / KILOWATT_W:.1f} kW" if power_w >= KILOWATT_W else f"{power_w:.0f} W"
