"""The model card: what a model is, what it was made of, how it fared, what it weighs."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tinymodels.train.figures import Report
from tinymodels.train.report import markdown, unreached

SCHEMA: Final = 1
# What DETECTION asks of a card, and the gate looks for.
NEEDED: Final = (
    "schema", "kind", "meters", "channel", "data_from_ms", "data_to_ms", "features", "limits",
    "faults", "sizes", "hashes", "seed",
)  # fmt: skip


def make_card(
    about: Mapping[str, Any],
    report: Report,
    files: Mapping[str, bytes],
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """Return the card as JSON values.

    `about` has kind, meters, channel, data_from_ms, data_to_ms, features and seed; `files` the
    model's parts by name; `limits` the score limits by budget.
    """
    return {
        "schema": SCHEMA,
        **about,
        "limits": dict(limits),
        "faults": fault_table(report),
        "sizes": {name: len(body) for name, body in files.items()},
        "hashes": {name: hashlib.sha256(body).hexdigest() for name, body in files.items()},
    }


def fault_table(report: Report) -> dict[str, Any]:
    """Return recall, placebo and delay per budget and fault, and the false alarms."""
    return {
        budget: {
            "false_alarms_per_month": round(figures.false_alarms_per_month, 3),
            "months": round(figures.months, 2),
            "by_fault": {
                name: {
                    "events": fault.events,
                    "recall": round(fault.recall, 4),
                    "lower": round(fault.lower, 4),
                    "placebo": round(fault.placebo, 4),
                    "delay_ms": fault.delay_ms(0.5),
                }
                for name, fault in figures.faults.items()
            },
        }
        for budget, figures in report.budgets.items()
    }


def missing(card: Mapping[str, Any]) -> list[str]:
    """Return which of NEEDED a card lacks or leaves empty; [] where it is complete."""
    return [name for name in NEEDED if name not in card or card[name] in (None, "", [], {})]


def card_page(card: Mapping[str, Any], report: Report) -> str:
    """Return the card as a Markdown page."""
    meters = ", ".join(map(str, card["meters"]))
    fitted = (
        f"Fitted on {_day(card['data_from_ms'])} to {_day(card['data_to_ms'])}, seed "
        f"{card['seed']}; features: {', '.join(card['features'])}."
    )
    lines = [
        f"# Model card: {card['kind']} for {card['channel']} of {meters}",
        "",
        fitted,
        "",
        "| part | bytes | SHA-256 |",
        "|---|---|---|",
        *(
            f"| {name} | {size} | `{card['hashes'][name]}` |"
            for name, size in card["sizes"].items()
        ),
        "",
        "Limits on the score by allowed false alarms a month: "
        + ", ".join(f"{name}: {limit:.4g}" for name, limit in card["limits"].items()),
        "",
        "## How it was judged",
        markdown([report]),
        *_short_of(report),
    ]
    return "\n".join(lines) + "\n"


def _short_of(report: Report) -> Sequence[str]:
    """Return what is not reached, at every budget."""
    lines = []
    for budget in report.budgets:
        short = unreached(report, budget) or ["Every target is met."]
        lines += [f"### Not reached at {budget} a month", "", *(f"- {text}" for text in short), ""]
    return lines


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
