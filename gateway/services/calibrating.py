"""Calibrations: measured step by step, fitted, signed, sent, checked; each step outlives a kill."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from calibration import judge
from calibration.apply import Applied
from calibration.fit import LEAST_LOADS, LoadPoint, fit
from calibration.nominal import nominal_channel, nominal_record
from calibration.points import Pair, merged, spread
from calibration.record import POINTS_MAX, CalibrationRecord, ChannelRecord
from calibration.sums import RawSums, combined, parse
from calibration.uncertainty import Instrument, repeatability
from gateway.domain.errors import BadInputError, NotFoundError, TransientError
from gateway.domain.readings import Stored
from gateway.services.bundle_forms import Progress, signed_text
from gateway.services.calibration_checks import Seen, compared, differences
from gateway.services.calibration_forms import CalibrationStore, Check, Load, Made, Session
from gateway.services.commands import Commands
from gateway.services.placer import Now
from gateway.services.rollout import Rollout

KIND = "calibration"
LONGEST_COLLECT_S = 30  # of one stretch: callers wait for a minute at most
MOST_PAIRS = 400
LOOK_S = 0.05
SHOWN_S = 20.0
TOO_LATE = "expired"  # a meter's answer to an order that is older than its time to live


class Key(Protocol):
    """What signs."""

    def sign(self, message: bytes) -> bytes:
        """Return an ed25519 signature."""


class Collected(msgspec.Struct, frozen=True):
    """One stretch: raw sums, and per channel what the meter itself showed meanwhile."""

    sums: RawSums
    shown: Mapping[str, Applied]


class Calibrating:
    """One session per meter; all calls from the event loop, one at a time per meter."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        store: CalibrationStore,
        *,
        commands: Commands,
        rollout: Rollout,
        key: Callable[[], Key],
        latest: Callable[[str], Stored | None],
        now: Now,
    ) -> None:
        self._store = store
        self._commands = commands
        self._rollout = rollout
        self._key = key
        self._latest = latest
        self._now = now

    async def begin(self, meter: str, instrument: Instrument, *, fresh: bool, by: str) -> Session:
        """Return the session that was interrupted, or begin one.

        `fresh` forgets an interrupted one. BadInputError when something was measured in it against
        another reference instrument: points of two do not belong into one record.
        """
        session = await self._store.session(meter)
        if session is not None and not fresh:
            if session.instrument == instrument:
                return session
            if session.no_load is not None:
                msg = (
                    f"meter {meter}: a calibration was begun with another reference:"
                    f" {differences(session.instrument, instrument)}. Give the same again to go on"
                    " with it, or --fresh to forget it and begin anew"
                )
                raise BadInputError(msg)
        session = Session(meter, self._now.wall_ms(), by, instrument)
        await self._store.save_session(session, self._now.wall_ms())
        return session

    async def collect(self, meter: str, seconds: int, *, by: str, shown: bool = False) -> Collected:
        """Measure for some seconds; `shown` also tells what the meter itself read meanwhile.

        BadInputError tells why the meter could not, TransientError that it may later.
        """
        if not 1 <= seconds <= LONGEST_COLLECT_S:
            msg = f"seconds: from 1 to {LONGEST_COLLECT_S}"
            raise BadInputError(msg)
        if not shown:
            return Collected(parse(await self._told(meter, "calibrate", by, seconds=seconds)), {})
        up = (await self._told(meter, "report", by)).get("up")
        rows = Seen(up if isinstance(up, int) else 0)
        watching = asyncio.create_task(self._watch(meter, rows))
        try:
            data = await self._told(meter, "calibrate", by, seconds=seconds)
            with contextlib.suppress(TimeoutError):  # readings take their time to be stored
                async with asyncio.timeout(SHOWN_S):
                    await rows.enough.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return Collected(parse(data), rows.means())

    async def _told(self, meter: str, kind: str, by: str, **args: object) -> dict[str, object]:
        done = await self._commands.send(meter, kind, args, by=by)
        if not done.ok and done.error == TOO_LATE:
            msg = (
                f"meter {meter} got the order to measure too late; look at its Wi-Fi: wattwarden"
                " doctor. Then run the same command again, it goes on where it was"
            )
            raise TransientError(msg)
        if not done.ok:
            msg = f"meter {meter}: {done.error}"
            raise BadInputError(msg)
        return done.data

    async def _watch(self, meter: str, seen: Seen) -> None:
        """Note each reading of the meter, until cancelled."""
        before = None
        while True:
            newest = self._latest(meter)
            if newest is not None and newest is not before:
                before = newest
                seen.add(newest)
            await asyncio.sleep(LOOK_S)

    async def no_load(self, meter: str, parts: Sequence[RawSums]) -> Session:
        """Keep the measurement without load. BadInputError says what is wrong with it."""
        session = await self._session(meter)
        if not parts or len(parts) > MOST_PAIRS:
            msg = f"parts: from 1 to {MOST_PAIRS} stretches"
            raise BadInputError(msg)
        whole = combined(parts)
        judge.judge_no_load(whole)
        session.no_load, session.loads, session.version = whole, [], 0
        await self._store.save_session(session, self._now.wall_ms())
        return session

    async def load(
        self, meter: str, channel: str, pairs: Sequence[Pair], *, allow_reversed: bool
    ) -> Session:
        """Keep a load. BadInputError says what is wrong with it, and what to do."""
        session = await self._session(meter)
        no_load = _measured(session)
        _check_pairs(pairs)
        point = merged(channel, pairs)
        judge.judge_load(
            channel, point.sums, point.reference, no_load, allow_reversed=allow_reversed
        )
        own = [one for one in session.loads if one.channel == channel]
        if len(own) >= POINTS_MAX - 1:
            msg = f"channel {channel}: {len(own)} loads are there already, as many as fit"
            raise BadInputError(msg)
        alone = replace(no_load, channels={channel: no_load.channels[channel]})
        fit(alone, [*_points(own), point], version=1)  # says what does not fit together
        session.loads.append(Load(channel, pairs))
        session.version = 0
        await self._store.save_session(session, self._now.wall_ms())
        return session

    async def finish(self, meter: str, *, by: str) -> Made:
        """Fit, sign and send; called again it sends the same record again.

        Channels without a load keep what the meter has for them. BadInputError when what it has was
        not made here, when no channel has a load, or one has fewer than two that are apart.
        """
        session = await self._session(meter)
        if session.version:
            made = await self._one(meter, session.version)
        else:
            made = await self._fitted(session, by)
            session.version = made.version
            await self._store.keep(made, session)
        await self._publish(made, by)
        return made

    async def _fitted(self, session: Session, by: str) -> Made:
        now_ms = self._now.wall_ms()
        no_load = _measured(session)
        kept, note = await self._kept(session, no_load, by) if session.loads else ([], "")
        version = await self._next_version(session.meter, by)
        errors = [spread(one.channel, one.pairs).volts for one in session.loads]
        record = fit(
            no_load,
            _points(session.loads),
            version=version,
            made=_date(now_ms),
            repeats=repeatability(errors) if errors else 1.0,
            kept=kept,
        )
        _check_curves(record, {load.channel for load in session.loads})
        return Made(
            session.meter, version, now_ms, by, record, session.instrument, no_load,
            session.loads, note=note,
        )  # fmt: skip

    async def _kept(
        self, session: Session, no_load: RawSums, by: str
    ) -> tuple[list[ChannelRecord], str]:
        """Return what the meter has for the channels without a load, and a note that says so."""
        measured = {load.channel for load in session.loads}
        names = [name for name in no_load.channels if name not in measured]
        if not names:
            return [], ""
        runs = _runs(await self._told(session.meter, "report", by))
        if not runs:
            return [nominal_channel(name) for name in names], f"{_list(names)} by nominal parts"
        made = [one for one in await self._store.made(session.meter) if one.version == runs]
        known = {channel.name: channel for one in made for channel in one.record.channels}
        for name in names:
            if name not in known:
                msg = (
                    f"channel {name} was not measured, and the meter's calibration {runs} was not"
                    f" made here, so it cannot be kept. Run this again without --channel, it asks"
                    f" for loads on {name} too"
                )
                raise BadInputError(msg)
        return [known[name] for name in names], f"{_list(names)} as version {runs}"

    async def _next_version(self, meter: str, by: str) -> int:
        """Return a version above all that the gateway or the meter know of."""
        await self._rollout.load()
        made = await self._store.made(meter)
        known = max((one.version for one in made), default=0)
        told = await self._commands.send(meter, "report", {}, by=by)
        return max(known, self._rollout.highest(KIND, meter), _runs(told.data)) + 1

    async def _publish(self, made: Made, by: str) -> None:
        body = made.record.as_json().encode()
        text = signed_text(KIND, made.meter, made.version, body)
        sig = self._key().sign(text)
        await self._rollout.publish(KIND, made.meter, made.version, body, sig, by=by)

    def progress(self, meter: str) -> Progress | None:
        """Return how far the meter is with its newest calibration."""
        found = [one for one in self._rollout.progress(meter) if one.kind == KIND]
        return found[0] if found else None

    async def check(self, meter: str, channel: str, pairs: Sequence[Pair], shown: Applied) -> Check:
        """Compare what the meter shows with one more load; `drop` ends the session.

        BadInputError for a channel that this calibration did not measure.
        """
        session = await self._session(meter)
        if not session.version:
            msg = f"meter {meter}: nothing was sent yet that could be checked"
            raise BadInputError(msg)
        _check_pairs(pairs)
        made = await self._one(meter, session.version)
        if all(load.channel != channel for load in made.loads):
            msg = f"channel {channel}: calibration {made.version} did not measure it"
            raise BadInputError(msg)
        reference = merged(channel, pairs).reference
        judge.judge_reference(reference, f"channel {channel}, check")
        check = compared(made, session.instrument, channel, pairs, shown, self._now.wall_ms())
        await self._store.keep(msgspec.structs.replace(made, checks=[*made.checks, check]), session)
        return check

    async def drop(self, meter: str) -> None:
        """End a session, done or interrupted; the calibration in force stays."""
        await self._store.drop_session(meter)

    async def made(self, meter: str) -> Sequence[Made]:
        """Return a meter's calibrations, the newest first."""
        return await self._store.made(meter)

    async def one(self, meter: str, version: int | None) -> Made:
        """Return a calibration, by default the newest. NotFoundError when there is none."""
        return await self._one(meter, version)

    async def rollback(self, meter: str, version: int | None, *, by: str) -> Made:
        """Send an earlier record again under a new version; by default the one before.

        Before the first one are nominal parts. A session whose record was sent ends with it.
        NotFoundError when the meter was given nothing that was made here.
        """
        made = await self._store.made(meter)
        wanted = self._rollout.wanted_version(KIND, meter)
        earlier = [one for one in made if one.version < (wanted or 0)]
        if version is not None:
            earlier = [await self._one(meter, version)]
        now = [one for one in made if one.version == wanted]
        if not earlier and not now:
            msg = f"meter {meter} has no calibration that was made here, so none to take back"
            raise NotFoundError(msg)
        number = await self._next_version(meter, by)
        if earlier:
            again = msgspec.structs.replace(
                earlier[0],
                version=number,
                record=replace(earlier[0].record, version=number),
                note=f"as version {earlier[0].version}",
                since_ms=self._now.wall_ms(),
            )
        else:
            again = self._nominal(now[0], number, by)
        session = await self._store.session(meter)
        if session is not None and session.version:
            await self._store.drop_session(meter)  # gone on with, it would send what was taken back
        await self._store.keep(again, None)
        await self._publish(again, by)
        return again

    def _nominal(self, first: Made, version: int, by: str) -> Made:
        """Return what a meter had before its first calibration, as a version of its own."""
        now_ms = self._now.wall_ms()
        names = [channel.name for channel in first.record.channels]
        record = nominal_record(names, version, _date(now_ms))
        note = f"nominal parts, as before version {first.version}"
        return Made(first.meter, version, now_ms, by, record, note=note)

    async def _session(self, meter: str) -> Session:
        session = await self._store.session(meter)
        if session is None:
            msg = f"meter {meter}: no calibration has been begun"
            raise NotFoundError(msg)
        return session

    async def _one(self, meter: str, version: int | None) -> Made:
        made = await self._store.made(meter)
        for one in made:
            if version in (None, one.version):
                return one
        which = "" if version is None else f" version {version}"
        msg = f"meter {meter} has no calibration{which} that was made here"
        raise NotFoundError(msg)


def _measured(session: Session) -> RawSums:
    if session.no_load is None:
        msg = f"meter {session.meter}: measure without load first"
        raise BadInputError(msg)
    return session.no_load


def _check_curves(record: CalibrationRecord, measured: Collection[str]) -> None:
    """Refuse a channel whose loads are too few, or too much alike, for a curve."""
    for channel in record.channels:
        if channel.name in measured and len(channel.points) < LEAST_LOADS:
            msg = (
                f"channel {channel.name}: {LEAST_LOADS} loads are the least, and their currents"
                " must be 20 % apart or more. What was measured is kept: add a load"
            )
            raise BadInputError(msg)


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def _runs(report: Mapping[str, object]) -> int:
    """Return which calibration a meter says it runs, 0 for nominal parts."""
    versions = report.get("versions")
    runs = versions.get(KIND) if isinstance(versions, Mapping) else None
    return runs if isinstance(runs, int) else 0


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _check_pairs(pairs: Sequence[Pair]) -> None:
    if not 1 <= len(pairs) <= MOST_PAIRS:
        msg = f"pairs: from 1 to {MOST_PAIRS} stretches"
        raise BadInputError(msg)


def _points(loads: Sequence[Load]) -> list[LoadPoint]:
    return [merged(load.channel, load.pairs) for load in loads]
