"""What a notice says, in the language of who reads it: a title, a sentence, and the evidence."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.alerts import Alert, Severity
from gateway.services.notify.planning import is_fresh
from gateway.services.notify.ports import Message, Stage

LANGUAGES = ("en", "de", "es", "fr", "pt")
MOST_LINES = 5  # of a grouped notice; the rest is counted
LONGEST_TITLE = 100
WHOLE = 1000  # numbers from here on need no decimals
LONGEST_BODY = 900  # characters; FCM takes 4096 bytes of everything together


class Words(msgspec.Struct, frozen=True):
    """One language: sentences with fields, names of alert kinds, names of evidence."""

    texts: dict[str, str]
    kinds: dict[str, str]
    evidence: dict[str, str]
    decimal: str


@lru_cache(maxsize=len(LANGUAGES))
def words(language: str) -> Words:
    """Return a language's words, English for a language we do not speak."""
    known = language if language in LANGUAGES else "en"
    file = resources.files("gateway.services.notify").joinpath(f"words_{known}.json")
    return msgspec.json.decode(file.read_bytes(), type=Words)


class Wording:
    """Writes messages for one site."""

    def __init__(self, site: str, zone: ZoneInfo) -> None:
        self._site = site
        self._zone = zone

    def message(
        self, tag: str, items: Sequence[tuple[Alert, str]], language: str, now_ms: int
    ) -> Message:
        """Return what says all `items` (alert, stage), which share kind and severity, at once."""
        (alert, stage), *others = items
        title, lines = (
            self._many(items, language, now_ms)
            if others
            else self._one(*items[0], language, now_ms)
        )
        critical = any(a.severity is Severity.CRITICAL for a, _ in items)
        fresh = any(is_fresh(a.updated_ms, now_ms) for a, _ in items)
        data = {
            "alert": alert.id, "alerts": str(len(items)), "kind": alert.key[2].value,
            "meter": alert.meter, "severity": alert.severity.value,
            "stage": stage, "site": self._site, "opened": str(alert.opened_ms),
        }  # fmt: skip
        loud = (critical and stage != Stage.RESOLVED) or (stage == Stage.OPENED and fresh)
        return Message(
            tag, _cut(title, LONGEST_TITLE), _cut("\n".join(lines), LONGEST_BODY), critical,
            loud, data,
        )  # fmt: skip

    def test(self, language: str, now_ms: int) -> Message:
        """Return a message that only shows that the road works."""
        said = words(language)
        text = said.texts["test"].format(site=self._site, time=self._clock(now_ms))
        return Message(
            f"test-{now_ms}", said.texts["test_title"], text, critical=False, loud=True,
            data={"stage": "test", "site": self._site},
        )  # fmt: skip

    def _one(self, alert: Alert, stage: str, language: str, now_ms: int) -> tuple[str, list[str]]:
        said = words(language)
        kind = said.kinds[alert.key[2].value]
        fields = {"place": self._place(alert, said), "kind": kind, "site": self._site}
        title = said.texts[_title_key(alert, stage)].format(**fields)
        told = [alert.detail] if language == "en" or not alert.evidence else []
        told += self._evidence(alert, said) if language != "en" else []
        return title, [*told, self._when(alert, stage, said, now_ms)]

    def _many(
        self, items: Sequence[tuple[Alert, str]], language: str, now_ms: int
    ) -> tuple[str, list[str]]:
        said = words(language)
        alert, stage = items[0]
        meters = {a.meter for a, _ in items}
        key = "many_resolved" if stage == Stage.RESOLVED else "many"
        title = said.texts[key].format(
            count=len(items), meters=len(meters), kind=said.kinds[alert.key[2].value]
        )
        lines = [
            f"{self._place(a, said)}: {', '.join(self._evidence(a, said, most=1)) or a.title}"
            for a, _ in items[:MOST_LINES]
        ]
        if len(items) > MOST_LINES:
            lines.append(said.texts["more"].format(count=len(items) - MOST_LINES))
        first = min((a for a, _ in items), key=lambda a: a.opened_ms)
        return title, [*lines, self._when(first, stage, said, now_ms)]

    def _place(self, alert: Alert, said: Words) -> str:
        meter, channel, _ = alert.key
        if not meter:
            return said.texts["gateway"]
        return f"{meter} ({channel})" if channel else meter

    def _when(self, alert: Alert, stage: str, said: Words, now_ms: int) -> str:
        """Return since when; also what marks a late notice as no news."""
        opened = self._clock(alert.opened_ms, now_ms)
        if stage == Stage.RESOLVED:
            over = self._clock(alert.resolved_ms or alert.updated_ms, now_ms)
            return said.texts["was"].format(opened=opened, resolved=over)
        news = stage == Stage.OPENED and is_fresh(alert.opened_ms, now_ms)
        return said.texts["at" if news else "since"].format(time=opened)

    def _clock(self, at_ms: int, now_ms: int | None = None) -> str:
        at = datetime.fromtimestamp(at_ms / 1000, self._zone)
        today = datetime.fromtimestamp((now_ms or at_ms) / 1000, self._zone).date() == at.date()
        return f"{at:%H:%M}" if today else f"{at:%Y-%m-%d %H:%M}"

    def _evidence(self, alert: Alert, said: Words, *, most: int = 3) -> list[str]:
        """Return the numbers that have a name in this language."""
        found = [
            said.evidence[key].format(_number(value, said))
            for key, value in alert.evidence.items()
            if key in said.evidence and value is not None
        ]
        return found[:most]


def _title_key(alert: Alert, stage: str) -> str:
    if stage == Stage.RESOLVED:
        return "title_resolved"
    if stage.startswith(Stage.REMINDER):
        return "title_reminder"
    return "title_critical" if alert.severity is Severity.CRITICAL else "title_warning"


def _number(value: float | str, said: Words) -> str:
    if isinstance(value, str):
        return value
    text = f"{value:.4g}" if abs(value) < WHOLE else f"{value:.0f}"
    return text.replace(".", said.decimal)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
