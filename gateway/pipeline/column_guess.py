"""Which column is what: from its name, its unit, and the size of its values."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from gateway.pipeline.sniffing import Form, number

# (field, names it goes by, unit in the name -> scale to SI)
POWER_UNITS = {"mw": 1e6, "kw": 1e3, "w": 1.0}
NAMED: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("q", r"reactive|kvar|var$|^q", {"mvar": 1e6, "kvar": 1e3, "var": 1.0}),
    ("p", r"active.?power|power(?!.?factor)|watt|leistung|pot[eê]ncia|^p$|^p[_ ]|[_( ]k?w\)?$",
     POWER_UNITS),
    ("v", r"(?<!photo)volt|spannung|tens[aã]o|^[vu](l|ln)?_?[123n]?$|^v[_ ]|^u[_ ]", {"kv": 1e3}),
    ("i", r"current|amp|strom|corrente|intensity|^il?_?[123]?$|^i[_ ]", {"ka": 1e3, "ma": 1e-3}),
    ("f", r"hz|freq", {}),
)  # fmt: skip
ENERGY = re.compile(r"k?wh|energy|energie|consumo|consumption|usage", re.IGNORECASE)
EXPORT = re.compile(r"exp|out|feed|gener|prod|inject|liefer", re.IGNORECASE)
SOLAR = re.compile(r"solar|photovolt|\bpv|pv\b|pv_|_pv", re.IGNORECASE)
NEVER = re.compile(r"kvarh|pf|factor|forecast|status|type|price|cost|co2|temp", re.IGNORECASE)
PHASE = re.compile(r"(?<![0-9])([123])\b", re.IGNORECASE)
LINE_TO_LINE = re.compile(r"(?:12|23|31)\b")
MS_PER_HOUR = 3_600_000
SMALL_POWER = 100.0  # a house whose column never says more means kW


def guess_map(form: Form, rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return field → column and scale, as an import's `map` has it; what is not clear is left out.

    Columns of phases 1 to 3 become channels l1 to l3.
    """
    time_columns = set(form.time.split("+")) | {form.time}
    values = {
        name: _values(rows, place, form.decimal)
        for place, name in enumerate(form.columns)
        if name not in time_columns
    }
    found: dict[str, str] = {}
    for field, pattern, units in NAMED:
        for name, column in values.items():
            if _is_named(name, pattern) and column and name not in _taken(found):
                scale = _unit(name, units)
                if field == "p" and scale is None and max(map(abs, column)) < SMALL_POWER:
                    scale = 1000.0
                if (key := _key(field, name, found)) is not None:
                    found[key] = _text(name, scale)
    found |= dict(_energies(form, values, has_power=any(key.endswith("p") for key in found)))
    if found.get("p", "").endswith(":1000") and ":" not in found.get("q", ":"):
        found["q"] += ":1000"  # neither names its unit: both are in thousands
    return _with_main_voltage(found)


def _is_named(name: str, pattern: str) -> bool:
    if NEVER.search(name) or ENERGY.search(name) or LINE_TO_LINE.search(name):
        return False
    return re.search(pattern, name, re.IGNORECASE) is not None


def _taken(found: dict[str, str]) -> set[str]:
    return {text.partition(":")[0] for text in found.values()}


def _key(field: str, name: str, found: dict[str, str]) -> str | None:
    if field in ("p", "q", "i") and SOLAR.search(name):
        return None if f"solar.{field}" in found else f"solar.{field}"
    phase = PHASE.search(name)
    key = f"l{phase[1]}.{field}" if phase is not None and field != "f" else field
    return None if key in found else key


def _with_main_voltage(found: dict[str, str]) -> dict[str, str]:
    """Let the first phase's voltage be the meter's own, which outages are judged by."""
    if "v" not in found and "l1.v" in found:
        return {"v": found["l1.v"], **found}
    return found


def _energies(
    form: Form, values: dict[str, list[float]], *, has_power: bool
) -> Iterator[tuple[str, str]]:
    """Yield registers where a column never falls, else power from the energy of each row."""
    used: set[str] = set()
    for name, column in values.items():
        if not ENERGY.search(name) or NEVER.search(name) or len(column) < 2:  # noqa: PLR2004 - a rise
            continue
        scale = 1.0 if re.search(r"(?<!k)wh", name, re.IGNORECASE) else 1000.0
        rises = all(after >= before for before, after in pairwise(column))
        if rises and column[-1] > 10 * (column[-1] - column[0]) / len(column):
            field = "wh_out" if EXPORT.search(name) else "wh_in"
            text = _text(name, scale)
        elif form.step_s and not has_power and not EXPORT.search(name):
            field, text = "p", _text(name, scale * MS_PER_HOUR / (form.step_s * 1000))
        else:
            continue
        if field not in used:
            used.add(field)
            yield field, text


def _values(rows: Sequence[Sequence[str]], place: int, decimal: str) -> list[float]:
    """Return a column's numbers, none where most of its cells are something else."""
    cells = [row[place] for row in rows if place < len(row) and row[place].strip() not in ("", "?")]
    found = [value for cell in cells if (value := number(cell, decimal)) is not None]
    return found if len(found) * 2 > len(cells) else []


def _unit(name: str, units: dict[str, float]) -> float | None:
    words = re.split(r"[^a-z]+", name.lower())
    return next((scale for unit, scale in units.items() if unit in words), None)


def _text(name: str, scale: float | None) -> str:
    return name if scale in (None, 1.0) else f"{name}:{scale:g}"
