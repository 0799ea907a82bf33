"""Show people rows: a table with colour on a terminal, aligned plain text elsewhere."""

from collections.abc import Callable, Sequence
from datetime import tzinfo

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.pipeline.times import iso

Style = Callable[[str], str]
STYLES = {
    "critical": "bold red", "error": "bold red", "warning": "yellow", "ok": "green",
    "open": "bold", "resolved": "green", "online": "green", "offline": "yellow",
    "provisional": "yellow",
}  # fmt: skip


def show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings on stdout; cells that are known words have their colour."""
    clean = [[printable(cell) for cell in row] for row in rows]
    console = Console()
    if console.is_terminal:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in clean:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(headings, *clean, strict=True)]
    for row in ([*headings], *clean):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def printable(text: str) -> str:
    """Return text without what could steer a terminal; meters and people write some of it."""
    return "".join(char if char.isprintable() else "�" for char in text)


def moment(at_ms: int | None, zone: tzinfo) -> str:
    """Return a time for people: ISO 8601 in the site's zone, "-" for none."""
    if at_ms is None:
        return "-"
    try:
        return iso(at_ms, zone)
    except (OverflowError, ValueError, OSError):  # a clock gone wild
        return f"{at_ms} ms"
