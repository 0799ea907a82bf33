"""What stands in the cloud: paths and fields, computed from what the gateway holds.

Pure and deterministic: the same facts give the same document under the same id, so that sending
one again changes nothing. The schema is described in docs/cloud-documents.md.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from cloud_sync.packing import MinuteRow, pack
from cloud_sync.sizes import document_bytes
from gateway.domain.alerts import Alert, HistoryEntry
from gateway.domain.readings import Stored, apparent_power_va, power_factor
from gateway.pipeline.rollups import Bucket
from gateway.services.cloud_feed import DayFacts, GapFacts, MeterFacts, Minutes

SCHEMA = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS_PER_HOUR = 3_600_000
POWER_DECIMALS, ENERGY_DECIMALS = 4, 4
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Document:
    """One document to write whole. `kind` is what its writes are counted as."""

    kind: str
    path: str
    fields: Fields

    @property
    def bytes(self) -> int:
        """Return its size by Firestore's rules."""
        return document_bytes(self.path, self.fields)


def moment(at_ms: int) -> datetime:
    """Return Unix milliseconds as the cloud keeps time."""
    return EPOCH + timedelta(milliseconds=at_ms)


def digest(fields: Mapping[str, object]) -> bytes:
    """Return what is the same exactly where fields are the same."""
    text = json.dumps(fields, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).digest()


def minutes_path(site: str, meter: str, start_ms: int, span_ms: int) -> str:
    """Return where a packed document stands: quarter hours by their start, longer ones apart."""
    stamp = moment(start_ms).strftime("%Y%m%dT%H%M")
    return f"sites/{site}/minutes/{meter}_{stamp}_{span_ms // 60_000}"


def minute_rows(minutes: Minutes) -> dict[str, list[MinuteRow]]:
    """Return 1-minute rollups as the export tells them."""
    return {name: [minute_row(bucket) for bucket in own] for name, own in minutes.items()}


def minute_row(bucket: Bucket) -> MinuteRow:
    """Return one rollup as the export tells it."""
    return MinuteRow(
        bucket.start_ms, bucket.n, bucket.dt_ms, bucket.mean("p"), bucket.p_min, bucket.p_max,
        bucket.mean("q"), bucket.mean("v"), bucket.v_min, bucket.v_max, bucket.mean("i"),
        bucket.wh_in, bucket.wh_out,
    )  # fmt: skip


def minutes_document(site: str, meter: str, span: tuple[int, int], minutes: Minutes) -> Document:
    """Return the packed 1-minute rows of one meter over [start, end), with plain totals."""
    start_ms, end_ms = span
    fields: Fields = {
        "schema": SCHEMA,
        "meter": meter,
        "start": moment(start_ms),
        "end": moment(end_ms),
        "rows": sum(map(len, minutes.values())),
        "totals": {name: _totals(own) for name, own in sorted(minutes.items())},
        "data": pack(minute_rows(minutes), start_ms),
    }
    return Document("minutes", minutes_path(site, meter, start_ms, end_ms - start_ms), fields)


def _totals(buckets: Sequence[Bucket]) -> Fields:
    """Return sums that a query can use without unpacking."""
    whole = Bucket(buckets[0].start_ms)
    for bucket in buckets:
        whole.merge(bucket)
    return _sums(whole)


def _sums(whole: Bucket) -> Fields:
    return {
        "n": whole.n,
        "seconds": round(whole.dt_ms / 1000, 3),
        "p": _round(whole.mean("p")),
        "p_min": _round(whole.p_min),
        "p_max": _round(whole.p_max),
        "wh_in": _round(_count(whole.wh_in, whole.base_in)),
        "wh_out": _round(_count(whole.wh_out, whole.base_out)),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, POWER_DECIMALS)


def _count(register_wh: float | None, base_wh: float) -> float | None:
    """Return a count that never falls, also where the register was reset (rule R)."""
    return None if register_wh is None else register_wh + base_wh


def day_document(site: str, meter: str, local_day: str, facts: DayFacts) -> Document:
    """Return one local day's summary; `local_day` is its date, YYYY-MM-DD."""
    channels: Fields = {}
    for name, bucket in sorted(facts.channels.items()):
        before = facts.before.get(name)
        channels[name] = {
            **_sums(bucket),
            "v_min": _round(bucket.v_min),
            "v_max": _round(bucket.v_max),
            "import_wh": _used(bucket, before, "in"),
            "export_wh": _used(bucket, before, "out"),
        }
    fields: Fields = {
        "schema": SCHEMA,
        "meter": meter,
        "date": local_day,
        "start": moment(facts.start_ms),
        "end": moment(facts.end_ms),
        "channels": channels,
    }
    return Document("day", f"sites/{site}/days/{meter}_{local_day}", fields)


def _used(day: Bucket, before: Bucket | None, way: str) -> float | None:
    """Return what the day counted; None where a register is not known at both its ends."""
    if before is None:
        return None
    ends = [
        _count(cast("float | None", getattr(b, f"wh_{way}")), getattr(b, f"base_{way}"))
        for b in (before, day)
    ]
    if ends[0] is None or ends[1] is None:
        return None
    return round(ends[1] - ends[0], ENERGY_DECIMALS)


def alert_document(site: str, alert: Alert, history: Iterable[HistoryEntry]) -> Document:
    """Return an alert with what was done about it."""
    meter, channel, kind = alert.key
    fields: Fields = {
        "schema": SCHEMA,
        "id": alert.id,
        "meter": meter or None,
        "channel": channel or None,
        "kind": kind.value,
        "severity": alert.severity.value,
        "state": alert.state.value,
        "opened": moment(alert.opened_ms),
        "updated": moment(alert.updated_ms),
        "resolved": None if alert.resolved_ms is None else moment(alert.resolved_ms),
        "snoozed_until": (
            None if alert.snoozed_until_ms is None else moment(alert.snoozed_until_ms)
        ),
        "count": alert.count,
        "title": alert.title,
        "detail": alert.detail,
        "evidence": dict(alert.evidence),
        "historic": alert.historic,
        "history": [
            {"at": moment(entry.at_ms), "who": entry.who, "what": entry.what} for entry in history
        ],
    }
    return Document("alert", f"sites/{site}/alerts/{alert.id}", fields)


def gaps_document(site: str, meter: str, facts: GapFacts) -> Document:
    """Return where a meter's windows are missing, the newest places, and how many in all."""
    fields: Fields = {
        "schema": SCHEMA,
        "meter": meter,
        "provisional": facts.provisional,
        "final": facts.final,
        "spans": [
            {"from": moment(span.from_ms), "to": moment(span.to_ms), "state": span.state}
            for span in facts.spans
        ],
    }
    return Document("gaps", f"sites/{site}/gaps/{meter}", fields)


def latest_document(
    site: str, meter: MeterFacts, reading: Stored, *, kind: str = "latest"
) -> Document:
    """Return a meter's newest reading."""
    channels: Fields = {}
    for name, channel in sorted(reading.ch.items()):
        voltage_v = reading.v if channel.v is None else channel.v
        channels[name] = {
            "role": meter.channels.get(name, "load"),
            "p": channel.p,
            "q": channel.q,
            "v": voltage_v,
            "i": channel.i,
            "pf": _round(power_factor(channel.p, apparent_power_va(voltage_v, channel.i))),
            "wh_in": channel.wh_in,
            "wh_out": channel.wh_out,
        }
    fields: Fields = {
        "schema": SCHEMA,
        "meter": meter.id,
        "label": meter.label,
        "at": moment(reading.at_ms),
        "f": reading.f,
        "flags": list(reading.flags),
        "channels": channels,
    }
    return Document(kind, f"sites/{site}/latest/{meter.id}", fields)


def removed_document(site: str, meter: str, at_ms: int) -> Document:
    """Return what takes the place of the newest reading of a meter that is there no more."""
    fields: Fields = {
        "schema": SCHEMA,
        "meter": meter,
        "label": "",
        "at": moment(at_ms),
        "f": None,
        "flags": [],
        "channels": {},
        "removed": True,
    }
    return Document("latest", f"sites/{site}/latest/{meter}", fields)


@dataclass(frozen=True, slots=True)
class GatewayState:
    """How the gateway is doing, for its status document."""

    version: str
    timezone: str
    started_ms: int
    services: Mapping[str, str]  # name -> state
    meters: Mapping[str, bool]  # id -> online
    waiting: Mapping[str, int]  # by kind
    open_alerts: int
    clock_trusted: bool


def status_document(site: str, state: GatewayState, at_ms: int) -> Document:
    """Return the gateway's status."""
    fields: Fields = {
        "schema": SCHEMA,
        "at": moment(at_ms),
        "version": state.version,
        "timezone": state.timezone,
        "started": moment(state.started_ms),
        "services": dict(sorted(state.services.items())),
        "meters": dict(sorted(state.meters.items())),
        "waiting": dict(sorted(state.waiting.items())),
        "open_alerts": state.open_alerts,
        "clock_trusted": state.clock_trusted,
    }
    return Document("status", f"sites/{site}/status/gateway", fields)
