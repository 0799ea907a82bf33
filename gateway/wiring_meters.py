"""Wires what the gateway does to meters: commands, bundles, calibrations."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.adapters.store.bundles import SqlBundles
from gateway.adapters.store.calibrations import SqlCalibrations
from gateway.adapters.store.commands import SqlCommands
from gateway.adapters.store.database import Database
from gateway.adapters.store.drift import SqlDrift
from gateway.adapters.store.sun import SqlSun
from gateway.services.accounts import Accounts
from gateway.services.bundle_operations import bundle_operations
from gateway.services.calibrating import Calibrating
from gateway.services.calibration_operations import calibration_operations
from gateway.services.commands import Commands, command_operation
from gateway.services.deriving import Deriver
from gateway.services.drift_watch import DriftWatch
from gateway.services.events import EventDesk
from gateway.services.farewell import Farewell
from gateway.services.intake import Hooks, Intake
from gateway.services.operations import Operations
from gateway.services.placer import Now
from gateway.services.rollout import Rollout
from gateway.services.sun_watch import SunWatch
from gateway.settings import Settings
from gateway.supervise import Stage
from tinymodels.detect.contract import Options

if TYPE_CHECKING:
    from gateway.adapters.site_key import SiteKey

_state = msgspec.json.Decoder(dict[str, object])


def site_key_path(settings: Settings) -> Path:
    """Return where the site's key lies: `site.key_file`, else beside the database."""
    return settings.site.key_file or settings.storage.path.with_name("site_key.pem")


class MeterCare:
    """The parts that speak to meters; `intake` is given later, since it needs our hooks."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        settings: Settings,
        database: Database,
        now: Now,
        accounts: Accounts,
        *,
        intake: Callable[[], Intake],
        deriver: Deriver,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self.here: set[str] = set()  # meters that have said they are online

        def send(meter: str, tail: str, payload: bytes, *, retain: bool = False) -> bool:
            return intake().send(meter, tail, payload, retain=retain)

        self.commands = Commands(
            SqlCommands(database), send, lambda: intake().ledger, now, accounts.note
        )
        self.rollout = Rollout(SqlBundles(database), send, lambda: intake().ledger, now)
        self.farewell = Farewell(send, lambda: intake().ledger)
        self.calibrating = Calibrating(
            SqlCalibrations(database), commands=self.commands, rollout=self.rollout,
            key=lambda: self.site_key, latest=deriver.latest.get, now=now,
        )  # fmt: skip
        self.drift = DriftWatch(SqlDrift(database), deriver, lambda: intake().ledger)
        budget = Options(settings.site.zone, settings.detect.false_alarms_per_month)
        self.sun = SunWatch(SqlSun(database), deriver, lambda: intake().ledger, now, budget)

    @cached_property
    def site_key(self) -> "SiteKey":
        """Return the site's key, made when it is first needed."""
        # Imported here: 7 MB that a gateway carries only once it calibrates.
        from gateway.adapters.site_key import SiteKey  # noqa: PLC0415

        return SiteKey.load_or_create(site_key_path(self._settings))

    def hook(self, hooks: Hooks, events: EventDesk) -> Hooks:
        """Have the intake tell us of events, states, results, requests and connections."""

        def event(meter: str, told: dict[str, object], received_ms: int) -> None:
            events.take(meter, told, received_ms)
            self.rollout.event(meter, told)

        hooks.event, hooks.told, hooks.linked = event, self._told, self._linked
        return hooks

    def offer(self, operations: Operations) -> None:
        """Offer our operations, and hear of meters that are removed."""
        operations.when_removed(self._removed)
        operations.offer(
            {"meters.command": command_operation(self.commands)}
            | bundle_operations(
                self.rollout,
                self._accounts.note,
                self._signed_here,
            )
            | calibration_operations(self.calibrating, self._accounts.note, self._settings.site.id)
        )

    def _removed(self, meter: str) -> None:
        self.rollout.announce(meter)  # forgets what it was told
        self.farewell.clear(meter)

    def _signed_here(self, signature: bytes, text: bytes) -> bool:
        return self.site_key.verifies(signature, text)

    def stages(self) -> list[Stage]:
        """Return our services."""
        return [
            Stage("rollout", self.rollout.run),
            Stage("drift", self.drift.run),
            Stage("sun", self.sun.run),
        ]

    def _told(self, meter: str, kind: str, payload: bytes) -> None:
        if kind == "result":
            self.commands.heard(meter, payload)
        elif kind == "bundle":
            self.rollout.asked(meter, payload)
        else:
            self._stated(meter, payload)

    def _stated(self, meter: str, payload: bytes) -> None:
        try:
            said = _state.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # the intake has put it with the dead letters
        here = said.get("online") is True
        (self.here.add if here else self.here.discard)(meter)
        self.commands.online(meter, here=here)
        self.rollout.stated(meter, said)
        self.farewell.stated(meter, payload)

    def _linked(self) -> None:
        self.commands.linked()
        self.rollout.linked()
        self.farewell.linked()
