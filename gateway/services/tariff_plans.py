"""Plans as people send and get them: JSON to values and back, each error by its key."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation

from gateway.domain.errors import BadInputError
from gateway.pipeline.tariffs import DAY_MIN, QUARTER_MIN, Entry, Plan

LONGEST_NAME = 80
MOST_ENTRIES = 200
MOST_DECIMALS = 6
DEAREST = Decimal(100_000)  # of a kWh or a day, in the smallest of currencies
CURRENCY = re.compile(r"[A-Z]{3}\Z")
CLOCK = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])\Z")
KEYS = {"id", "name", "valid_from", "currency", "import", "feed_in_per_kwh", "standing_per_day"}
ENTRY_KEYS = {"days", "from", "to", "price_per_kwh"}


def read_plan(plan_id: str, body: Mapping[str, object]) -> Plan:
    """Return a plan, or raise BadInputError naming the key that is wrong."""
    for key in body.keys() - KEYS:
        msg = f"{key[:40]}: unknown key"
        raise BadInputError(msg)
    name, currency = body.get("name", ""), body.get("currency")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME:
        msg = f"name: must have 1 to {LONGEST_NAME} characters"
        raise BadInputError(msg)
    if not isinstance(currency, str) or CURRENCY.match(currency) is None:
        msg = "currency: must be three letters as ISO 4217 has them, such as EUR"
        raise BadInputError(msg)
    entries = body.get("import")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_ENTRIES:
        msg = f"import: must be a list of 1 to {MOST_ENTRIES} prices"
        raise BadInputError(msg)
    plan = Plan(
        plan_id, name.strip(), _day(body.get("valid_from")), currency,
        tuple(_entry(f"import.{index}", entry) for index, entry in enumerate(entries)),
        _money("feed_in_per_kwh", body.get("feed_in_per_kwh", 0)),
        _money("standing_per_day", body.get("standing_per_day", 0)),
    )  # fmt: skip
    plan.week()
    return plan


def plan_json(plan: Plan) -> dict[str, object]:
    """Return a plan as `read_plan` takes it."""
    return {
        "id": plan.id, "name": plan.name, "valid_from": plan.valid_from.isoformat(),
        "currency": plan.currency,
        "import": [
            {"days": list(entry.days), "from": _clock_text(entry.from_min),
             "to": _clock_text(entry.to_min), "price_per_kwh": float(entry.price)}
            for entry in plan.entries
        ],
        "feed_in_per_kwh": float(plan.feed_in), "standing_per_day": float(plan.standing),
    }  # fmt: skip


def _day(value: object) -> date:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
        try:
            found = date.fromisoformat(value)
        except ValueError:
            found = date.min
        if 1970 <= found.year <= 2200:  # noqa: PLR2004 - beyond any bill
            return found
    msg = "valid_from: must be a day from 1970-01-01 to 2200-12-31, as YYYY-MM-DD"
    raise BadInputError(msg)


def _entry(key: str, value: object) -> Entry:
    if not isinstance(value, Mapping) or value.keys() != ENTRY_KEYS:
        msg = f"{key}: must have {', '.join(sorted(ENTRY_KEYS))}"
        raise BadInputError(msg)
    days = value["days"]
    if (
        not isinstance(days, list) or not days
        or any(type(day) is not int or not 0 <= day <= 6 for day in days)  # noqa: PLR2004 - a week
        or len(set(days)) < len(days)
    ):  # fmt: skip
        msg = f"{key}.days: must be some of 0 (Monday) to 6 (Sunday), each once"
        raise BadInputError(msg)
    from_min = _clock(f"{key}.from", value["from"])
    to_min = _clock(f"{key}.to", value["to"])
    if from_min == DAY_MIN:
        msg = f"{key}.from: must be before 24:00"
        raise BadInputError(msg)
    price = _money(f"{key}.price_per_kwh", value["price_per_kwh"])
    return Entry(tuple(sorted(days)), from_min, to_min, price)


def _clock(key: str, value: object) -> int:
    match = CLOCK.match(value) if isinstance(value, str) else None
    if match is not None:
        minute = int(match[1]) * 60 + int(match[2])
        if minute <= DAY_MIN and minute % QUARTER_MIN == 0:
            return minute
    msg = f"{key}: must be a quarter hour from 00:00 to 24:00, as HH:MM"
    raise BadInputError(msg)


def _clock_text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _money(key: str, value: object) -> Decimal:
    if not isinstance(value, bool) and isinstance(value, int | float | str | Decimal):
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if amount.is_finite() and abs(amount) <= DEAREST:
            exponent = amount.normalize().as_tuple().exponent
            if isinstance(exponent, int) and exponent >= -MOST_DECIMALS:
                return amount
    msg = f"{key}: must be a number of at most {DEAREST} with at most {MOST_DECIMALS} decimals"
    raise BadInputError(msg)
