"""The fault table as Markdown: recall beside placebo, delays, bounds; and what was not reached."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tinymodels.train.figures import BudgetFigures, FaultFigures, Report, SeriesFacts

HEAD = (
    "| fault | events | recall (placebo) | 95 % lower bound | within | delay: half / 9 of 10 "
    "| target |"
)
RULE = "|---|---|---|---|---|---|---|"
SECONDS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"))


def markdown(reports: Sequence[Report]) -> str:
    """Return the whole table: what it was measured on, then each detector at each budget."""
    parts = [series_lines(reports[0].series)] if reports else []
    for report in reports:
        parts.append(f"### {report.detector}")
        parts += [_budget(figures) for figures in report.budgets.values()]
    return "\n\n".join(parts) + "\n"


def comparison(reports: Sequence[Report], budget: str) -> str:
    """Return one row per fault and a column per detector: recall (placebo)."""
    kept = [report for report in reports if budget in report.budgets]
    names = dict.fromkeys(name for report in kept for name in report.budgets[budget].faults)
    head = "| fault | " + " | ".join(report.detector for report in kept) + " |"
    lines = [head, "|---" * (len(kept) + 1) + "|"]
    for name in names:
        cells = []
        for report in kept:
            fault = report.budgets[budget].faults.get(name)
            cells.append(f"{fault.recall:.2f} ({fault.placebo:.2f})" if fault else "-")
        lines.append(f"| {plain(name)} | " + " | ".join(cells) + " |")
    rates = (f"{report.budgets[budget].false_alarms_per_month:.2f}" for report in kept)
    lines.append("| *false alarms per month* | " + " | ".join(rates) + " |")
    return "\n".join(lines)


def unreached(report: Report, budget: str) -> list[str]:
    """Return a plain sentence for the budget and for each target that is not met; [] if all are."""
    figures = report.budgets[budget]
    lines = []
    if not figures.within:
        lines.append(
            f"{report.detector} gave {figures.false_alarms_per_month:.2f} false alarms a month "
            f"where {budget} are allowed."
        )
    for name, fault in figures.faults.items():
        if fault.met is False:
            lines.append(
                f"{plain(name)}: recall {fault.recall:.3f} of {fault.events} events, lower bound "
                f"{fault.lower:.3f}, where {fault.target} is asked within {span(fault.limit_ms)}."
            )
    return lines


def series_lines(series: Iterable[SeriesFacts]) -> str:
    """Return a table of what was measured on, modelled columns named."""
    lines = [
        "| series | test | days | refits | supply V/kW | modelled |",
        "|---|---|---|---|---|---|",
    ]
    for facts in series:
        kind = "simulated home" if facts.simulated else ", ".join(facts.modelled) or "nothing"
        lines.append(
            f"| {facts.name} | {_day(facts.test_from_ms)} to {_day(facts.test_to_ms)} | "
            f"{facts.clean_days:.0f} | {facts.refits} | {facts.slope_v_per_kw:.1f} | {kind} |"
        )
    return "\n".join(lines)


def plain(name: str) -> str:
    """Return a fault's name for people."""
    return name.replace("_", " ")


def span(length_ms: int) -> str:
    """Return a length of time in its largest fitting unit."""
    for unit_ms, unit in SECONDS:
        if length_ms >= unit_ms:
            return f"{length_ms / unit_ms:.3g} {unit}"
    return f"{length_ms / 1000:.3g} s"


def _budget(figures: BudgetFigures) -> str:
    verdict = "within" if figures.within else "**over**"
    rate = (
        f"At {figures.allowed_per_month:g} allowed: "
        f"{figures.false_alarms_per_month:.2f} false alarms a month ({figures.false_alarms} in "
        f"{figures.months:.1f} months; {figures.alerts} alerts), {verdict} the budget."
    )
    rows = (_row(name, fault) for name, fault in figures.faults.items())
    return "\n".join((rate, "", HEAD, RULE, *rows))


def _row(name: str, fault: FaultFigures) -> str:
    half, most = fault.delay_ms(0.5), fault.delay_ms(0.9)
    delays = "-" if half is None or most is None else f"{span(half)} / {span(most)}"
    target = (
        "-" if fault.target is None else f"≥ {fault.target:g} {'met' if fault.met else 'NOT met'}"
    )
    return (
        f"| {plain(name)} | {fault.events} | {fault.recall:.3f} ({fault.placebo:.2f}) | "
        f"{fault.lower:.3f} | {span(fault.limit_ms)} | {delays} | {target} |"
    )


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
