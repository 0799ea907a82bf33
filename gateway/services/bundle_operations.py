"""What people and programs may do with bundles, by name."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec

from gateway.domain.errors import BadInputError
from gateway.services.bundle_forms import EVERY_METER, from_base64, signed_text
from gateway.services.rollout import Rollout

Args = Mapping[str, object]
Operation = Callable[[Args, str], Awaitable[dict[str, object]]]
Audit = Callable[[str, str, str], Awaitable[None]]
Verify = Callable[[bytes, bytes], bool]  # signature, text: did the site's key sign it?


def bundle_operations(rollout: Rollout, audit: Audit, verify: Verify) -> dict[str, Operation]:
    """Return `bundles.publish`, `.want` and `.list`; all audit themselves."""
    return {
        "bundles.publish": partial(_publish, rollout, audit, verify),
        "bundles.want": partial(_want, rollout, audit),
        "bundles.list": partial(_list, rollout),
    }


async def _publish(
    rollout: Rollout, audit: Audit, verify: Verify, args: Args, who: str
) -> dict[str, object]:
    """Publish {kind, meter, version, body, sig}, the last two in base64; gives the announcement.

    `meter` is an id or "*". A calibration must be signed by the site's key; release keys lie
    elsewhere, and what they sign is checked by the meter.
    """
    kind, meter, version = _which(args)
    body, sig = from_base64(args.get("body"), "body"), from_base64(args.get("sig"), "sig")
    if kind == "calibration":
        if meter == EVERY_METER:
            msg = "meter: a calibration is for one meter"
            raise BadInputError(msg)
        if not verify(sig, signed_text(kind, meter, version, body)):
            msg = "sig: not by this site's key, so no meter of it would take the calibration"
            raise BadInputError(msg)
    bundle = await rollout.publish(kind, meter, version, body, sig, by=who)
    await audit(who, "bundles.publish", f"{kind} {version} for {meter} {bundle.sha256[:16]}")
    return dict(msgspec.to_builtins(bundle))


async def _want(rollout: Rollout, audit: Audit, args: Args, who: str) -> dict[str, object]:
    """Want a stored {kind, meter, version} again."""
    kind, meter, version = _which(args)
    await rollout.want(kind, meter, version)
    await audit(who, "bundles.want", f"{kind} {version} for {meter}")
    return {"kind": kind, "meter": meter, "version": version}


async def _list(rollout: Rollout, args: Args, _: str) -> dict[str, object]:
    """List what a {meter} shall run, and how far it is."""
    meter = args.get("meter")
    if not isinstance(meter, str):
        msg = "meter: must be given, as text"
        raise BadInputError(msg)
    await rollout.load()
    return {
        "desired": [msgspec.to_builtins(one) for one in rollout.desired(meter)],
        "progress": [msgspec.to_builtins(one) for one in rollout.progress(meter)],
    }


def _which(args: Args) -> tuple[str, str, int]:
    kind, meter, version = args.get("kind"), args.get("meter"), args.get("version")
    if not isinstance(kind, str) or not isinstance(meter, str) or type(version) is not int:
        msg = "kind, meter, version: must be given; the version as a whole number"
        raise BadInputError(msg)
    return kind, meter, version
