"""E-mail, ntfy, Telegram, webhooks and a hundred more: the roads that apprise knows.

The file of addresses has one a line, `#` begins a comment, and tags may stand before an address:

    mailto://user:password@example.org
    critical = ntfy://ntfy.example.org/house
    escalation = tgram://bottoken/chatid

`critical`: critical alerts alone; `escalation`: only what nobody has acknowledged.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.domain.alerts import Alert, Severity
from gateway.domain.errors import ConfigError
from gateway.services.notify.ports import (
    SENT,
    Message,
    Outcome,
    Result,
    Stage,
    UnknownTargetError,
)
from gateway.settings import read_private

NAME = "apprise"
KEY = "notify.urls_file"
LINE = re.compile(r"^(?:(?P<tags>[a-z, ]+?)\s*=\s*)?(?P<url>[A-Za-z][A-Za-z0-9+.-]*://\S+)$")
TAGS = frozenset({"critical", "escalation"})


@dataclass(frozen=True, slots=True)
class Address:
    """One line of the file; the URL holds secrets and is never logged."""

    id: str
    schema: str
    url: str = field(repr=False)
    tags: frozenset[str] = frozenset()


def read_addresses(path: Path) -> list[Address]:
    """Return the file's addresses; ConfigError naming the line that cannot be used."""
    found = []
    for number, line in enumerate(read_private(path, key=KEY).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = LINE.match(text)
        if match is None:
            msg = f"{KEY}: {path}, line {number}: must be an address such as ntfy://host/topic"
            raise ConfigError(msg)
        url = match["url"]
        tags = frozenset(tag.strip() for tag in (match["tags"] or "").split(",") if tag.strip())
        if tags - TAGS:
            msg = f"{KEY}: {path}, line {number}: tags are {' and '.join(sorted(TAGS))}"
            raise ConfigError(msg)
        schema = url.partition("://")[0].lower()
        number_of = hashlib.sha256(url.encode()).hexdigest()[:8]
        found.append(Address(f"{schema}-{number_of}", schema, url, tags))
    return found


class AppriseRoad:
    """Satisfies `Road`: a target is one address. apprise is imported with the first message."""

    def __init__(self, addresses: list[Address], language: str) -> None:
        self._addresses = {address.id: address for address in addresses}
        self._language = language
        self._services: dict[str, Any] = {}

    async def targets(self) -> Mapping[str, str]:
        """Return the addresses; they all speak the site's language."""
        return dict.fromkeys(self._addresses, self._language)

    def wants(self, target: str, alert: Alert, stage: str) -> bool:
        """Tell by the address's tags."""
        tags = self._addresses[target].tags
        if "escalation" in tags and not stage.startswith(Stage.REMINDER):
            return False
        return "critical" not in tags or alert.severity is Severity.CRITICAL

    async def forget(self, target: str) -> None:
        """Keep an address: only whoever wrote it into the file takes it out."""

    async def send(self, target: str, message: Message) -> Outcome:
        """Send in a thread; apprise tells only whether it worked."""
        if target not in self._addresses:
            raise UnknownTargetError(target)
        return await asyncio.to_thread(self._send, self._addresses[target], message)

    async def close(self) -> None:
        """Nothing stays open between messages."""

    def _send(self, address: Address, message: Message) -> Outcome:
        try:
            service = self._service(address)
        except ConfigError as error:
            return Outcome(Result.REFUSED, str(error))
        kind = "failure" if message.critical else "warning"
        if message.data.get("stage") in (Stage.RESOLVED, "test"):
            kind = "success" if message.data["stage"] == Stage.RESOLVED else "info"
        try:
            done = service.notify(body=message.body, title=message.title, notify_type=kind)
        except Exception as error:  # noqa: BLE001 - a hundred plugins, each with errors of its own
            said = f"{address.schema}: {type(error).__name__}: {error}"
            return Outcome(Result.LATER, said, maybe=True)
        if done:
            return SENT
        return Outcome(Result.LATER, f"{address.schema}: not taken; the log tells more")

    def _service(self, address: Address) -> Any:  # noqa: ANN401 - apprise is published untyped
        """Return apprise's plugin for an address; ConfigError where it knows none."""
        if address.id not in self._services:
            import apprise  # noqa: PLC0415 - half a second and 20 MB that most gateways can spare

            asset = apprise.AppriseAsset(app_id="Wattwarden", app_desc="Wattwarden alerts")
            service = apprise.Apprise.instantiate(address.url, asset=asset)
            if service is None:
                msg = f"{KEY}: apprise knows no way for the address {address.id}"
                raise ConfigError(msg)
            self._services[address.id] = service
        return self._services[address.id]
