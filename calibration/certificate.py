"""One page about a calibration, as HTML that prints well; it says what it is not."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

STYLE = """
@page { size: A4; margin: 16mm }
body { font: 10.5pt/1.4 system-ui, sans-serif; color: #111; max-width: 178mm; margin: 8mm auto }
h1 { font-size: 17pt; margin: 0 0 2mm } h2 { font-size: 11.5pt; margin: 5mm 0 1.5mm }
table { border-collapse: collapse; width: 100%; font-size: 9.5pt }
th, td { text-align: left; padding: .8mm 2mm; border-bottom: .2mm solid #999 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
td { white-space: nowrap } .dense td { padding: 0 2mm }
.dense, .dense table { font-size: 8pt; line-height: 1.2 }
.not { border: .4mm solid #111; padding: 2mm 3mm; margin-top: 5mm } small { color: #444 }
"""
_ROOMY = 12  # points; more are set small, or they would not fit on a page
_NOT = (
    "This is no verification under legal metrology and no certificate of an accredited"
    " laboratory. The meter is of no accuracy class and must not be used for billing. The page"
    " reports a comparison with the reference instrument named above, whose own traceability"
    " nobody has checked here. It holds for the wiring and clamps as they were on that day:"
    " moving or opening a clamp, another voltage adapter or another board ends it."
)


def certificate(shown: Mapping[str, Any], *, site: str) -> str:
    """Return the page for a calibration as `calibration_forms.shown` gives it."""
    made = datetime.fromtimestamp(shown["made"] / 1000, UTC)
    reference = shown["reference"]
    name = reference["name"] or "not named"
    facts = [
        ("Meter", shown["meter"]),
        ("Site", site),
        ("Calibration", f"version {shown['version']} {shown['note']}".strip()),
        ("Made", f"{made:%Y-%m-%d %H:%M} UTC by {shown['by']}"),
        ("Reference", f"{name}, accuracy {reference['class_pct']:g} % of the reading"),
        ("Voltage", f"± {shown['voltage_uncertainty_pct']:.2f} % at the level of that day"),
    ]
    return "".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8>",
            f"<title>Calibration of {escape(shown['meter'])}</title><style>{STYLE}</style>",
            "<body class=dense>" if len(shown["points"]) > _ROOMY else "<body>",
            "<h1>Calibration report</h1>",
            _facts(facts),
            "<h2>Loads, resistive</h2>",
            _points(shown["points"]),
            _budget_note(),
            "<h2>Uncertainty of loads (k = 2), means of 10 s</h2>",
            _loads(shown["loads"]),
            "<h2>Checked on another load</h2>",
            _checks(shown["checks"]),
            f"<p class=not><b>What this is not.</b> {_NOT}</p>",
            "</html>",
        ]
    )


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(key)}<td>{escape(value)}" for key, value in facts)
    return f"<table>{rows}</table>"


def _points(points: Sequence[Mapping[str, Any]]) -> str:
    head = ["channel", "A", "W", "residual", "uncertainty (k = 2)"]
    head += ["reference", "noise", "fit", "temperature"]
    rows = [
        [
            point["channel"], f"{point['i']:.3g}", f"{point['p']:.4g}",
            f"{point['residual_pct']:+.2f} %", f"± {point['uncertainty_pct']:.2f} %",
            *(f"{point['budget_pct'][key]:.3f} %" for key in
              ("reference", "noise", "fit", "temperature")),
        ]
        for point in points
    ]  # fmt: skip
    return _table(head, rows)


def _budget_note() -> str:
    return (
        "<p><small>Residual: how far the fitted record reads this load off. Uncertainty: expanded,"
        " k = 2, about 95 %, of active power at this load, after the GUM (JCGM 100:2008); the last"
        " four columns are its standard components. Temperature stands for 0 to 50 °C.</small></p>"
    )


def _loads(loads: Sequence[Mapping[str, Any]]) -> str:
    channels = list(dict.fromkeys(load["channel"] for load in loads))
    first = [load for load in loads if load["channel"] == channels[0]] if channels else []
    head = ["channel"] + [
        f"{load['p']:g} W" + (f", PF {load['factor']:g}" if load["factor"] < 1 else "")
        for load in first
    ]
    rows = [
        [name, *(f"± {load['p_pct']:.2g} %" for load in loads if load["channel"] == name)]
        for name in channels
    ]
    return _table(head, rows)


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    if not checks:
        return "<p>Not done: nothing has confirmed this calibration yet.</p>"
    rows = [
        [
            check["channel"], f"{check['reference']['p']:.4g}", f"{check['shown']['p']:.4g}",
            f"{check['error_pct']:+.2f} %", f"± {check['allowed_pct']:.2f} %",
            "agrees" if check["passed"] else "does not agree",
        ]
        for check in checks
    ]  # fmt: skip
    return _table(
        ["channel", "reference W", "meter W", "difference", "explained (k = 3)", ""], rows
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th{' class=n' if k else ''}>{escape(text)}" for k, text in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if k else ''}>{escape(text)}" for k, text in enumerate(row))
        for row in rows
    )
    return f"<table><tr>{top}{body}</table>"
