"""What people and programs may do with calibrations, by name: one door for all callers."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import msgspec

from calibration.apply import Applied
from calibration.certificate import certificate
from calibration.points import Pair, settled
from calibration.sums import RawSums
from calibration.uncertainty import Instrument
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.services.calibrating import Calibrating
from gateway.services.calibration_forms import Load, Made, Session, shown

Args = Mapping[str, object]
Result = dict[str, object]
Operation = Callable[[Args, str], Awaitable[Result]]
Audit = Callable[[str, str, str], Awaitable[None]]
T = TypeVar("T")


def calibration_operations(
    calibrating: Calibrating, audit: Audit, site: str
) -> dict[str, Operation]:
    """Return all of them; those that change what a meter does audit themselves."""

    def audited(call: Callable[..., Awaitable[Result]], name: str) -> Operation:
        async def run(args: Args, who: str) -> Result:
            done = await call(calibrating, args, who)
            await audit(who, name, f"{_meter(args)} version {done.get('version')}")
            return done

        return run

    return {
        "calibration.begin": partial(_begin, calibrating),
        "calibration.collect": partial(_collect, calibrating),
        "calibration.no_load": partial(_no_load, calibrating),
        "calibration.load": partial(_load, calibrating),
        "calibration.check": partial(_check, calibrating),
        "calibration.status": partial(_status, calibrating),
        "calibration.drop": partial(_drop, calibrating),
        "calibration.show": partial(_show, calibrating),
        "calibration.list": partial(_list, calibrating),
        "calibration.certificate": partial(_certificate, calibrating, site),
        "calibration.finish": audited(_finish, "calibration.finish"),
        "calibration.rollback": audited(_rollback, "calibration.rollback"),
    }


async def _begin(calibrating: Calibrating, args: Args, who: str) -> Result:
    """Begin or go on: {id, instrument, fresh?} gives what has been done already."""
    instrument = _as(args, "instrument", Instrument)
    if not 0 < instrument.class_pct <= 10:  # noqa: PLR2004 - worse is no reference
        msg = "instrument.class_pct: from above 0 to 10 % of the reading"
        raise BadInputError(msg)
    fresh = args.get("fresh") is True
    return _done(await calibrating.begin(_meter(args), instrument, fresh=fresh, by=who))


async def _collect(calibrating: Calibrating, args: Args, who: str) -> Result:
    """Measure a stretch: {id, seconds, shown?} gives {sums, shown}."""
    seconds = args.get("seconds")
    if type(seconds) is not int:
        msg = "seconds: must be a whole number"
        raise BadInputError(msg)
    shown_too = args.get("shown") is True
    found = await calibrating.collect(_meter(args), seconds, by=who, shown=shown_too)
    return dict(msgspec.to_builtins(found))


async def _no_load(calibrating: Calibrating, args: Args, _: str) -> Result:
    """Keep {id, parts: [sums]} as the measurement without load."""
    return _done(await calibrating.no_load(_meter(args), _as(args, "parts", list[RawSums])))


async def _load(calibrating: Calibrating, args: Args, _: str) -> Result:
    """Keep {id, channel, pairs, reversed?} as a load."""
    pairs = _as(args, "pairs", list[Pair])
    allow = args.get("reversed") is True
    session = await calibrating.load(
        _meter(args), _text(args, "channel"), pairs, allow_reversed=allow
    )
    return _done(session)


async def _finish(calibrating: Calibrating, args: Args, who: str) -> Result:
    """Fit, sign and send: {id} gives the calibration."""
    return shown(await calibrating.finish(_meter(args), by=who))


async def _check(calibrating: Calibrating, args: Args, _: str) -> Result:
    """Compare {id, channel, pairs, shown} gives {error_pct, allowed_pct, passed}."""
    pairs, seen = _as(args, "pairs", list[Pair]), _as(args, "shown", Applied)
    check = await calibrating.check(_meter(args), _text(args, "channel"), pairs, seen)
    return {**msgspec.to_builtins(check), "passed": check.passed}


async def _status(calibrating: Calibrating, args: Args, _: str) -> Result:
    """Tell how far the meter is with its newest calibration."""
    progress = calibrating.progress(_meter(args))
    return {} if progress is None else dict(msgspec.to_builtins(progress))


async def _drop(calibrating: Calibrating, args: Args, _: str) -> Result:
    """End a session, done or interrupted."""
    await calibrating.drop(_meter(args))
    return {"id": _meter(args)}


async def _show(calibrating: Calibrating, args: Args, _: str) -> Result:
    """Show {id, version?}."""
    return _with_state(calibrating, await calibrating.one(_meter(args), _version(args)))


async def _list(calibrating: Calibrating, args: Args, _: str) -> Result:
    """List a meter's calibrations, the newest first."""
    made = await calibrating.made(_meter(args))
    return {"items": [_with_state(calibrating, one) for one in made], "next": None}


async def _certificate(calibrating: Calibrating, site: str, args: Args, _: str) -> Result:
    """Return {html}: one page about {id, version?}; NotFoundError for nominal parts."""
    made = await calibrating.one(_meter(args), _version(args))
    if not made.loads:
        msg = f"calibration {made.version} is nominal parts: nothing was measured"
        raise NotFoundError(msg)
    return {"html": certificate(shown(made), site=site), "version": made.version}


async def _rollback(calibrating: Calibrating, args: Args, who: str) -> Result:
    """Send an earlier one again, or nominal parts: {id, version?} gives it as a new version."""
    return shown(await calibrating.rollback(_meter(args), _version(args), by=who))


def _with_state(calibrating: Calibrating, made: Made) -> Result:
    progress = calibrating.progress(made.meter)
    known = progress is not None and progress.version == made.version
    state = progress.state if known and progress is not None else "earlier"
    return {**shown(made), "state": state, "why": progress.why if known and progress else ""}


def _done(session: Session) -> Result:
    """Return what of a session is done."""
    no_load = session.no_load
    return {
        "id": session.meter,
        "version": session.version,
        "channels": list(no_load.channels) if no_load else [],
        "idle_rms": {name: row.rms for name, row in no_load.channels.items()} if no_load else {},
        "loads": [
            {
                "channel": one.channel,
                "i": sum(pair.reference.i for pair in one.pairs) / len(one.pairs),
                "error": _error(session, one),
            }
            for one in session.loads
        ],
    }


def _error(session: Session, load: Load) -> float | None:
    if session.no_load is None:
        return None
    idle = session.no_load.channels[load.channel].rms
    found = settled(load.channel, load.pairs, idle).error
    return found if found < 1 else None


def _meter(args: Args) -> str:
    return _text(args, "id")


def _text(args: Args, key: str) -> str:
    value = args.get(key)
    if not isinstance(value, str):
        msg = f"{key}: must be given, as text"
        raise BadInputError(msg)
    return value


def _version(args: Args) -> int | None:
    version = args.get("version")
    if version is not None and type(version) is not int:
        msg = "version: must be a whole number"
        raise BadInputError(msg)
    return version


def _as(args: Args, key: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(args.get(key), kind)
    except msgspec.ValidationError as error:
        msg = f"{key}: {error}"
        raise BadInputError(msg) from error
