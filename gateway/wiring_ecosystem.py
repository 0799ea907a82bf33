"""Wires what others in the home see of the gateway: Home Assistant, and its name in the network."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from gateway.domain.errors import TransientError
from gateway.settings import MqttSettings, Settings
from gateway.supervise import Stage

if TYPE_CHECKING:
    from gateway.app import Parts

log = structlog.get_logger()
AGAIN_S = 10.0


def ecosystem_stages(parts: "Parts") -> list[Stage]:
    """Return the services that the settings ask for; others cost nothing."""
    stages = []
    if parts.settings.homeassistant.enabled:
        stages.append(_home_assistant(parts))
    if parts.settings.mdns.enabled:
        stages.append(_mdns(parts.settings))
    return stages


def _home_assistant(parts: "Parts") -> Stage:
    from gateway.adapters.homeassistant_link import MqttHomeLink  # noqa: PLC0415 - when wanted
    from gateway.services.homeassistant import Discovery  # noqa: PLC0415
    from gateway.services.homeassistant_feed import HomeAssistantFeed  # noqa: PLC0415

    settings = parts.settings
    wanted = settings.homeassistant
    discovery = Discovery(settings.site.id, wanted.discovery_prefix)
    broker = settings.mqtt
    if wanted.host is not None:
        broker = MqttSettings(
            host=wanted.host, port=wanted.port, username=wanted.username,
            password_file=wanted.password_file, ca_file=wanted.ca_file,
        )  # fmt: skip
    feed = HomeAssistantFeed(
        discovery, lambda: MqttHomeLink(broker, discovery), parts.deriver,
        lambda: parts.intake.ledger, parts.clock, mirror=wanted.host is not None,
    )  # fmt: skip
    return Stage("homeassistant", _patient(feed.run, "homeassistant"))


def _mdns(settings: Settings) -> Stage:
    from gateway.adapters.mdns import Announcer  # noqa: PLC0415 - when wanted

    web = settings.web
    announcer = Announcer(
        settings.mdns.name, mqtt_port=settings.mdns.mqtt_port,
        web_port=web.port if web.enabled else 0, tls=web.cert_file is not None,
    )  # fmt: skip
    return Stage("mdns", _patient(announcer.run, "mdns"))


def _patient(run: Callable[[], Awaitable[None]], name: str) -> Callable[[], Awaitable[None]]:
    """Have a service try again by itself: the gateway is ready without it."""

    async def again() -> None:
        told = ""
        while True:
            try:
                await run()
            except TransientError as error:
                if str(error) != told:  # once, not every ten seconds for a weekend
                    told = str(error)
                    log.warning("waiting", service=name, error=told)
            await asyncio.sleep(AGAIN_S)

    return again
