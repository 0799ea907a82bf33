"""An import as people see it, and the file to try one with."""

import math
import re
from zoneinfo import ZoneInfo

from gateway.services.import_jobs import ImportJob

QUARTERS = 192
NO_METER = re.compile(r"[^a-z0-9]+")


def job_json(job: ImportJob, zone: ZoneInfo) -> dict[str, object]:
    """Return an import as the API gives it."""
    form, choice = job.form, job.choice
    guess = None if form is None else {
        "time": form.time, "timezone": str(zone), "map": job.guess, "meter": meter_name(job.file),
        "delimiter": form.delimiter, "decimal": form.decimal, "date_order": form.date_order,
        "step_s": form.step_s,
    }  # fmt: skip
    return {
        "id": job.id, "file": job.file, "size_bytes": job.size_bytes,
        "created_ms": job.created_ms, "created_by": job.created_by, "state": job.state,
        "columns": [] if form is None else list(form.columns), "preview": job.preview,
        "rows": job.rows, "guess": guess, "rows_done": job.rows_done,
        "rows_total": job.rows_total,
        "errors": [{"line": e.line, "column": e.column, "text": e.text} for e in job.errors],
        "error_count": job.error_count, "error": job.error,
        "meter": None if choice is None else choice.meter,
        "channel": None if choice is None else choice.channel,
        "timezone": None if choice is None else choice.timezone,
        "map": None if choice is None else choice.map,
        "from_ms": job.from_ms, "to_ms": job.to_ms, "alerts": job.alerts,
        "started_ms": job.started_ms, "finished_ms": job.finished_ms,
    }  # fmt: skip


def meter_name(file: str) -> str:
    """Return a meter's id that suits a file's name."""
    name = NO_METER.sub("-", file.lower().split(".")[0]).strip("-")[:32].strip("-")
    return name if len(name) > 1 else "imported"


def sample_csv() -> str:
    """Return two days of a house in quarter hours, with a solar roof and an over-voltage."""
    lines = ["time,power_kw,solar_kw,voltage_v"]
    for quarter in range(QUARTERS):
        day, hour = divmod(quarter / 4, 24)
        sun_kw = max(0.0, math.sin((hour - 6) / 12 * math.pi)) * 2.4
        evening_kw = 1.6 * math.exp(-((hour - 19.5) ** 2) / 3)
        load_kw = 0.25 + evening_kw + 0.08 * math.sin(quarter * 2.4)
        voltage_v = 231 + 2 * math.sin(quarter / 7) + (27 if 130 <= quarter < 136 else 0)  # noqa: PLR2004 - a noon
        stamp = f"2026-03-{7 + int(day):02} {int(hour):02}:{quarter % 4 * 15:02}"
        lines.append(f"{stamp},{load_kw - sun_kw:.3f},{sun_kw:.3f},{voltage_v:.1f}")
    return "\n".join(lines) + "\n"
