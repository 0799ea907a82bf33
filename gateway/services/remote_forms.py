"""What a command from the cloud looks like, who may give which, and what it asks of the gateway."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from gateway.domain.errors import BadInputError
from gateway.pipeline.alert_book import LONGEST_SNOOZE_MIN
from gateway.services.messages import METER_ID

ID = re.compile(r"[A-Za-z0-9_-]{8,64}\Z")
VERSION = 1
LONGEST_LIFE_MS = 3_600_000  # of a command; one that comes later would surprise people
LONGEST_NAME = 60  # in the audit
RANK = {"viewer": 0, "operator": 1, "admin": 2}
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Kind(StrEnum):
    """What may be asked from afar."""

    RELAY = "relay"
    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    IDENTIFY = "identify"
    SETTINGS = "settings"
    DEVICE = "device"  # a phone far away registers for pushes


# The least role that may give it: as over the local API.
NEEDS = {
    Kind.RELAY: "admin",
    Kind.ACKNOWLEDGE: "operator",
    Kind.SNOOZE: "operator",
    Kind.IDENTIFY: "operator",
    Kind.SETTINGS: "admin",
    Kind.DEVICE: "viewer",
}


class State(StrEnum):
    """Where a command's document stands."""

    NEW = "new"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"


class RemoteResult(msgspec.Struct, frozen=True):
    """What is written back: `data` is the operation's own answer."""

    state: State
    ok: bool
    error: str | None = None
    data: dict[str, object] = {}


class RelayArgs(msgspec.Struct, forbid_unknown_fields=True):
    """Switch a meter's relay."""

    meter: Text
    on: bool


class AlertArgs(msgspec.Struct, forbid_unknown_fields=True):
    """Look after an alert."""

    alert: Text


class SnoozeArgs(msgspec.Struct, forbid_unknown_fields=True):
    """Keep an alert quiet."""

    alert: Text
    minutes: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_SNOOZE_MIN)]


class IdentifyArgs(msgspec.Struct, forbid_unknown_fields=True):
    """Have a meter blink."""

    meter: Text
    seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 10


class SettingsArgs(msgspec.Struct, forbid_unknown_fields=True):
    """Change settings of the subset that may be changed while running."""

    values: dict[str, object]


class DeviceArgs(msgspec.Struct, forbid_unknown_fields=True):
    """Register a phone or browser of the person who asks."""

    token: Annotated[str, msgspec.Meta(min_length=8, max_length=1024)]
    platform: Text
    name: Annotated[str, msgspec.Meta(max_length=60)] = ""
    language: Text = "en"


ARGS: dict[Kind, type[msgspec.Struct]] = {
    Kind.RELAY: RelayArgs, Kind.ACKNOWLEDGE: AlertArgs, Kind.SNOOZE: SnoozeArgs,
    Kind.IDENTIFY: IdentifyArgs, Kind.SETTINGS: SettingsArgs, Kind.DEVICE: DeviceArgs,
}  # fmt: skip


class RemoteCommand(msgspec.Struct, frozen=True):
    """A command as the function wrote it; `uid` and `role` are stamped, not claimed."""

    v: Literal[1]
    id: Text
    kind: Kind
    args: dict[str, object]
    uid: Text
    who: Text
    role: Literal["admin", "operator", "viewer"]
    created_ms: Annotated[int, msgspec.Meta(ge=0)]
    expires_ms: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def caller(self) -> str:
        """Return in whose name it is done: devices belong to the local account of that name."""
        return self.who if self.kind is Kind.DEVICE else f"cloud:{self.who}"[:LONGEST_NAME]

    def operation(self) -> tuple[str, dict[str, object]]:
        """Return the gateway's operation and its arguments."""
        args = self.args
        if self.kind is Kind.ACKNOWLEDGE:
            return "alerts.acknowledge", {"id": args["alert"]}
        if self.kind is Kind.SNOOZE:
            return "alerts.snooze", {"id": args["alert"], "minutes": args["minutes"]}
        if self.kind is Kind.SETTINGS:
            return "settings.change", {"values": args["values"]}
        if self.kind is Kind.DEVICE:
            return "devices.add", dict(args)
        given = {"on": args["on"]} if self.kind is Kind.RELAY else {"seconds": args["seconds"]}
        ttl_ms = 10_000
        return "meters.command", {
            "id": args["meter"], "kind": self.kind.value, "args": given, "ttl_ms": ttl_ms,
            "command_id": self.id,
        }  # fmt: skip


def read_command(document_id: str, fields: Mapping[str, object]) -> RemoteCommand:
    """Return a document as a command with its arguments checked, or raise BadInputError."""
    try:
        command = msgspec.convert(dict(fields), RemoteCommand, strict=True)
        args = msgspec.convert(command.args, ARGS[command.kind], strict=True)
    except (msgspec.ValidationError, TypeError) as error:
        raise BadInputError(str(error)) from error
    if command.id != document_id or ID.match(command.id) is None:
        msg = "id: must be the document's, 8 to 64 letters, digits, - and _"
        raise BadInputError(msg)
    if not 0 < command.expires_ms - command.created_ms <= LONGEST_LIFE_MS:
        msg = f"expires_ms: at most {LONGEST_LIFE_MS} ms after created_ms"
        raise BadInputError(msg)
    meter = getattr(args, "meter", None)
    if meter is not None and METER_ID.match(meter) is None:
        msg = "args.meter: no name of a meter"
        raise BadInputError(msg)
    return msgspec.structs.replace(command, args=msgspec.to_builtins(args))


def may(role: str | None, kind: Kind) -> bool:
    """Tell whether a role may give such a command."""
    return role in RANK and RANK[role] >= RANK[NEEDS[kind]]
