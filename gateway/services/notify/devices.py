"""Phones and browsers that people register for pushes."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping

from gateway.domain.errors import BadInputError, NotFoundError
from gateway.services.accounts import texts, wall_ms
from gateway.services.notify.ports import Device, DeviceStore, Platform
from gateway.services.notify.wording import LANGUAGES

Operation = Callable[[Mapping[str, object], str], Awaitable[dict[str, object]]]
MOST_DEVICES = 20  # of one person; an app that is installed anew brings a new token
LONGEST_NAME = 60
# FCM says only that a token is opaque; today's have about 160 characters of this alphabet.
TOKEN = re.compile(r"[A-Za-z0-9_:.\-]{8,1024}")
SHOWN = 6  # the end of a token, enough to tell two phones apart


class Devices:
    """Registers and removes devices; each belongs to the person who registered it last."""

    def __init__(self, store: DeviceStore, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self._store = store
        self._now_ms = now_ms

    async def add(self, user: str, token: str, platform: str, name: str, language: str) -> Device:
        """Register a device, again too: its token tells which. BadInputError."""
        if TOKEN.fullmatch(token) is None:
            msg = "token: must be a registration token of Firebase Cloud Messaging"
            raise BadInputError(msg)
        if platform not in set(Platform):
            msg = f"platform: must be one of {', '.join(Platform)}"
            raise BadInputError(msg)
        if len(name) > LONGEST_NAME:
            msg = f"name: at most {LONGEST_NAME} characters"
            raise BadInputError(msg)
        if language not in LANGUAGES:
            msg = f"language: must be one of {', '.join(LANGUAGES)}"
            raise BadInputError(msg)
        now_ms = self._now_ms()
        device = Device(
            secrets.token_hex(8), user, token, Platform(platform), name, language, now_ms, now_ms
        )
        return await self._store.save_device(device, MOST_DEVICES)

    async def remove(self, device_id: str, user: str | None) -> None:
        """Remove a device of a person, None = of anybody; NotFoundError."""
        if not await self._store.remove_device(device_id, user):
            msg = f"no device {device_id[:40]!r}"
            raise NotFoundError(msg)

    async def list_devices(self, user: str | None) -> list[Device]:
        """Return devices, of one person or of all."""
        return await self._store.list_devices(user)


def shown(device: Device) -> dict[str, object]:
    """Return a device as callers see it: never with its token, which is enough to push to it."""
    return {
        "id": device.id, "user": device.user, "platform": device.platform.value,
        "name": device.name, "language": device.language, "token_end": device.token[-SHOWN:],
        "created": device.created_ms, "seen": device.seen_ms,
    }  # fmt: skip


def device_operations(devices: Devices) -> dict[str, Operation]:
    """Return what the web and the command line may ask; `who` is whose devices are meant."""

    async def add(args: Mapping[str, object], who: str) -> dict[str, object]:
        token, platform, name, language = texts(args, "token", "platform", "name", "language")
        return shown(await devices.add(who, token, platform, name, language))

    async def remove(args: Mapping[str, object], who: str) -> dict[str, object]:
        device_id, of = texts(args, "id", "of")
        await devices.remove(device_id, who if of == "own" else None)
        return {"id": device_id}

    async def list_all(args: Mapping[str, object], who: str) -> dict[str, object]:
        (of,) = texts(args, "of")
        found = await devices.list_devices(who if of == "own" else None)
        return {"items": [shown(device) for device in found], "next": None}

    return {"devices.add": add, "devices.remove": remove, "devices.list": list_all}
