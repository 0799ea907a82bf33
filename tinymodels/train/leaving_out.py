"""Times in which something was wrong: what was measured then is no pattern of usual life."""

from pathlib import Path
from typing import Final

import msgspec

from gateway.domain.errors import BadInputError
from tinymodels.detect.history import first_weeks

FOREVER_MS: Final = 2**52
ANOMALY: Final = "anomaly"


class _Alert(msgspec.Struct):
    meter: str | None
    kind: str
    opened: int
    resolved: int | None
    channel: str | None = None


class _Page(msgspec.Struct):
    items: list[_Alert]


def spans_of(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Return the spans (from, to) in ms of alerts by meter, those told to be wrong as well.

    `path` holds what `wattwarden alerts list --json` prints. BadInputError for anything else.
    """
    try:
        page = msgspec.json.decode(path.read_bytes(), type=_Page)
    except (OSError, msgspec.MsgspecError) as error:
        msg = f"--leave-out: {path} is not what `wattwarden alerts list --json` prints: {error}"
        raise BadInputError(msg) from error
    found: dict[str, list[tuple[int, int]]] = {}
    anomalies: dict[tuple[str, str | None], list[tuple[int, int]]] = {}
    for alert in page.items:
        if alert.meter is None:
            continue  # the gateway's own
        span = (alert.opened, FOREVER_MS if alert.resolved is None else alert.resolved)
        if alert.kind == ANOMALY:
            anomalies.setdefault((alert.meter, alert.channel), []).append(span)
        else:
            found.setdefault(alert.meter, []).append(span)
    for (meter, _), spans in anomalies.items():
        found.setdefault(meter, []).extend(first_weeks(spans))
    return found
