"""Commands that write: through the daemon's control socket, or straight when none runs."""

import asyncio
import getpass
import os
import time

from gateway import logs
from gateway.adapters.control import call_daemon
from gateway.domain.errors import AlreadyRunningError
from gateway.settings import Settings

STARTING_S = 5.0  # a daemon that holds the database will soon listen


def invoke(settings: Settings, name: str, args: dict[str, object]) -> dict[str, object]:
    """Do one operation and return its result; raises what the operation raises."""
    deadline_s = time.monotonic() + STARTING_S
    while True:
        answer = call_daemon(settings.storage.path, name, args)
        if answer is not None:
            return answer
        try:
            return asyncio.run(_directly(settings, name, args))
        except AlreadyRunningError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


async def _directly(settings: Settings, name: str, args: dict[str, object]) -> dict[str, object]:
    # Imported here: a running daemon answers before all its parts could be imported.
    from gateway.app import opened  # noqa: PLC0415

    logs.configure("warning")  # stdout is the command's own
    async with opened(settings) as parts:
        await parts.load()
        return await parts.operations.call(name, args, _user())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
