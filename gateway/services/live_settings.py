"""The settings that people may change while the gateway runs; kept beside the file's."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import ValidationError

from gateway.domain.errors import BadInputError
from gateway.services.deriving import Deriver
from gateway.services.sites import DocumentStore
from gateway.settings import DetectSettings, Settings, explain

Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
SETTINGS = "settings"
LEVEL = "log.level"
LEVELS = ["debug", "info", "warning", "error"]
DETECT: dict[str, dict[str, object]] = {
    "detect.false_alarms_per_month": {"kind": "number", "minimum": 0, "maximum": 1000,
                                      "exclusive": True},
    "detect.daily_limit_kwh": {"kind": "number", "minimum": 0, "exclusive": True,
                               "nullable": True},
    "detect.monthly_limit_kwh": {"kind": "number", "minimum": 0, "exclusive": True,
                                 "nullable": True},
    "detect.contracted_power_w": {"kind": "number", "minimum": 0, "exclusive": True,
                                  "nullable": True},
    "detect.gaussian": {"kind": "boolean"},
}  # fmt: skip
LIMITS: dict[str, dict[str, object]] = {**DETECT, LEVEL: {"kind": "choice", "choices": LEVELS}}
Values = dict[str, Any]


class LiveSettings:
    """The use cases; a change is used at once and after every start."""

    def __init__(
        self,
        store: DocumentStore,
        settings: Settings,
        deriver: Deriver,
        set_level: Callable[[str], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._deriver = deriver
        self._set_level = set_level
        self._file = _values(settings)
        self._changed: Values = {}

    def begin(self, kept: object) -> None:
        """Use what was kept by an earlier run; to be called before the judging begins."""
        if not isinstance(kept, Mapping):
            return
        for key, value in kept.items():
            try:
                self._check({key: value})
            except BadInputError:  # of another version: the file's value holds
                continue
            self._changed[str(key)] = value
        self._deriver.use(self._detect(self._changed))
        if LEVEL in self._changed:
            self._set_level(str(self._changed[LEVEL]))

    async def list_settings(self, args: Args, who: str) -> dict[str, object]:  # noqa: ARG002 - one shape
        """Return values, those of the file, what was changed, and what may be set."""
        return {
            "values": {**self._file, **self._changed}, "file": self._file,
            "changed": sorted(self._changed), "limits": LIMITS,
        }  # fmt: skip

    async def change(self, args: Args, who: str) -> dict[str, object]:
        """Change {values}; null puts back what the file says. BadInputError names a bad key."""
        wanted = args.get("values")
        if not isinstance(wanted, Mapping) or not wanted:
            msg = "values: must name at least one setting"
            raise BadInputError(msg)
        given = {str(key): value for key, value in wanted.items()}
        for key in given.keys() - LIMITS.keys():
            msg = f"values.{key[:60]}: cannot be changed here; known are {', '.join(LIMITS)}"
            raise BadInputError(msg)
        news = {key: value for key, value in given.items() if value is not None}
        self._check(news)
        changed = {k: v for k, v in (self._changed | news).items() if given.get(k, v) is not None}
        detect = self._detect(changed)
        await self._store.put_document(SETTINGS, changed, after=None)
        self._changed = changed

        async def use() -> None:
            self._deriver.use(detect)

        if any(key in DETECT for key in given):
            await self._deriver.rewrite(use)
        if LEVEL in given:
            self._set_level(str(changed.get(LEVEL, self._file[LEVEL])))
        return await self.list_settings({}, who)

    def _check(self, values: Values) -> None:
        """Raise BadInputError for a value that cannot be."""
        for key, value in values.items():
            limit = LIMITS.get(key)
            if limit is None:
                msg = f"values.{str(key)[:60]}: cannot be changed here"
                raise BadInputError(msg)
            if limit["kind"] == "choice" and value not in LEVELS:
                msg = f"values.{key}: must be one of {', '.join(LEVELS)}"
                raise BadInputError(msg)
            if (limit["kind"] == "boolean") != (type(value) is bool):
                msg = f"values.{key}: must be a {limit['kind']}"
                raise BadInputError(msg)
        self._detect(values)

    def _detect(self, changed: Values) -> DetectSettings:
        own = {k.removeprefix("detect."): v for k, v in changed.items() if k in DETECT}
        try:
            return DetectSettings.model_validate({**self._settings.detect.model_dump(), **own})
        except ValidationError as error:
            msg = "; ".join(f"values.detect.{line}" for line in explain(error))
            raise BadInputError(msg) from error

    def reading(self) -> dict[str, Operation]:
        """Return what changes nothing."""
        return {"settings.list": self.list_settings}

    def changing(self) -> dict[str, Operation]:
        """Return what is to be audited."""
        return {"settings.change": self.change}


def _values(settings: Settings) -> Values:
    found = {f"detect.{key}": value for key, value in settings.detect.model_dump().items()}
    return {**{key: found[key] for key in DETECT}, LEVEL: settings.log.level}
