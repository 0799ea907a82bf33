"""Commands, bundles, calibrations and drift in memory: the twins of the SQLite stores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.pipeline.drift import Day
from gateway.services.bundle_forms import Announced, Progress, Wanted
from gateway.services.calibration_forms import Made, Session
from gateway.services.commands import CommandRow
from tinymodels.detect.minutes import Minutes


@dataclass
class MemoryCommands:
    """Satisfies `CommandStore`."""

    rows: dict[str, CommandRow] = field(default_factory=dict)

    async def begin(self, row: CommandRow, forget_before_ms: int) -> CommandRow | None:
        """Store a command and forget old ones; return what was there under its id before."""
        self.rows = {
            name: one for name, one in self.rows.items() if one.sent_ms >= forget_before_ms
        }
        before = self.rows.get(row.id)
        if before is None:
            self.rows[row.id] = row
        return before

    async def answered(self, command_id: str, meter: str, result: str, at_ms: int) -> None:  # noqa: ARG002 - the port's
        """Store the first answer to a command."""
        row = self.rows.get(command_id)
        if row is not None and row.meter == meter and row.result is None:
            self.rows[command_id] = msgspec.structs.replace(row, result=result)


@dataclass
class MemoryBundles:
    """Satisfies `BundleStore`."""

    bundles: dict[tuple[str, str, int], tuple[Announced, bytes]] = field(default_factory=dict)
    wanted: dict[tuple[str, str], Wanted] = field(default_factory=dict)
    rollouts: dict[tuple[str, str, int], Progress] = field(default_factory=dict)

    async def put(
        self, bundle: Announced, body: bytes, wanted: Wanted | None, keep: int
    ) -> None:  # fmt: skip
        """Store a bundle, and what is wanted; of those nobody wants the newest `keep` stay."""
        which = (bundle.kind, bundle.meter)
        self.bundles[*which, bundle.version] = (bundle, body)
        if wanted is not None:
            await self.want(wanted)
        shall = self.wanted.get(which)
        versions = sorted(v for k, m, v in self.bundles if (k, m) == which)
        for version in versions[:-keep]:
            if shall is None or shall.version != version:
                del self.bundles[*which, version]

    async def want(self, wanted: Wanted) -> None:
        """Note what shall run, in place of what was wanted of that kind."""
        self.wanted[wanted.kind, wanted.meter] = wanted

    async def body(self, kind: str, meter: str, version: int) -> bytes | None:
        """Return a bundle's bytes, None when it is not there."""
        found = self.bundles.get((kind, meter, version))
        return None if found is None else found[1]

    async def load(self) -> tuple[Sequence[Announced], Sequence[Wanted], Sequence[Progress]]:
        """Return all bundles, what is wanted, and the newest progress of each meter and kind."""
        newest: dict[tuple[str, str], Progress] = {}
        for one in self.rollouts.values():
            before = newest.get((one.meter, one.kind))
            if before is None or before.updated_ms < one.updated_ms:
                newest[one.meter, one.kind] = one
        bundles = [bundle for bundle, _ in self.bundles.values()]
        return bundles, list(self.wanted.values()), list(newest.values())

    async def note(self, progress: Progress) -> None:
        """Keep how far a meter is."""
        key = (progress.meter, progress.kind, progress.version)
        self.rollouts[key] = msgspec.structs.replace(progress, offset=0)


@dataclass
class MemoryCalibrations:
    """Satisfies `CalibrationStore`; what it returns is the caller's own, as from a disk."""

    sessions: dict[str, bytes] = field(default_factory=dict)
    kept: dict[tuple[str, int], Made] = field(default_factory=dict)

    async def session(self, meter: str) -> Session | None:
        """Return what was begun."""
        body = self.sessions.get(meter)
        return None if body is None else msgspec.json.decode(body, type=Session)

    async def save_session(self, session: Session, at_ms: int) -> None:  # noqa: ARG002 - the port's
        """Keep it, in place of what was there."""
        self.sessions[session.meter] = msgspec.json.encode(session)

    async def drop_session(self, meter: str) -> None:
        """Forget it."""
        self.sessions.pop(meter, None)

    async def keep(self, made: Made, session: Session | None) -> None:
        """Store a calibration, and the session that made it."""
        self.kept[made.meter, made.version] = made
        if session is not None:
            await self.save_session(session, made.made_ms)

    async def made(self, meter: str) -> Sequence[Made]:
        """Return a meter's calibrations, the newest first."""
        own = [made for (name, _), made in self.kept.items() if name == meter]
        return sorted(own, key=lambda made: -made.version)


@dataclass
class MemorySun:
    """Satisfies `SunStore`; `series` by number of the channel, `reached` by that of the meter."""

    series: dict[int, Minutes] = field(default_factory=dict)
    reached: dict[int, int] = field(default_factory=dict)
    judged: dict[int, int] = field(default_factory=dict)
    told: dict[tuple[str, str], list[tuple[int, int | None]]] = field(default_factory=dict)

    async def quarters(self, channel_no: int, from_ms: int, until_ms: int) -> Minutes:
        """Return mean power of a channel's quarter hours that begin in [from, until)."""
        if channel_no not in self.series:
            return Minutes.from_rows(())
        return self.series[channel_no].between(from_ms, until_ms)

    async def reached_ms(self) -> Mapping[int, int]:
        """Return the time up to which rollups are there, by number of the meter."""
        return self.reached

    async def first_ms(self, channel_no: int) -> int | None:
        """Return when a channel's first quarter hour begins."""
        found = self.series.get(channel_no)
        return int(found.start_ms[0]) if found is not None and len(found) else None

    async def judged_days(self) -> Mapping[int, int]:
        """Return the day that was judged last, by number of the channel."""
        return dict(self.judged)

    async def note_judged(self, channel_no: int, day: int) -> None:
        """Keep the day that was judged last."""
        self.judged[channel_no] = day

    async def alerts(self, meter: str, channel: str) -> list[tuple[int, int | None]]:
        """Return when the alerts about a channel's panels opened and were resolved."""
        return list(self.told.get((meter, channel), []))


@dataclass
class MemoryDrift:
    """Satisfies `DriftStore`."""

    kept: dict[str, dict[int, Day]] = field(default_factory=dict)
    calibrations: MemoryCalibrations = field(default_factory=MemoryCalibrations)

    async def days(self) -> Mapping[str, Mapping[int, Day]]:
        """Return all kept days, by meter and day number."""
        return {meter: dict(days) for meter, days in self.kept.items()}

    async def add_day(self, meter: str, day: Day, forget_before: int) -> None:
        """Keep a day, and forget old ones."""
        self.kept.setdefault(meter, {})[day.day] = day
        for name, days in self.kept.items():
            self.kept[name] = {n: one for n, one in days.items() if n >= forget_before}

    async def calibrated_ms(self) -> Mapping[str, int]:
        """Return since when each meter has its newest calibration."""
        kept = sorted(self.calibrations.kept.items(), key=lambda item: item[0][1])
        return {meter: made.in_force_ms for (meter, _), made in kept}
