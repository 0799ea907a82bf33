"""A broker inside the process, for trying things out; production has mosquitto."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amqtt.broker import Broker
from amqtt.errors import AMQTTError

from gateway.domain.errors import ConfigError
from gateway.settings import MqttSettings

START_S = 10.0


@asynccontextmanager
async def embedded(settings: MqttSettings) -> AsyncIterator[None]:
    """Run an MQTT 3.1.1 broker on the settings' host and port while inside.

    It asks for no password, so it only listens on loopback; ConfigError otherwise, or when
    the port is taken.
    """
    if settings.host not in ("127.0.0.1", "::1", "localhost"):
        msg = (
            "mqtt.embedded: the embedded broker has no login, so mqtt.host must be loopback,"
            f" not {settings.host}"
        )
        raise ConfigError(msg)
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{settings.host}:{settings.port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    try:
        async with asyncio.timeout(START_S):
            await broker.start()
    except (AMQTTError, OSError, TimeoutError) as error:
        where = f"{settings.host}:{settings.port}"
        msg = f"mqtt.port: the embedded broker cannot listen on {where}: {error}"
        raise ConfigError(msg) from error
    try:
        yield
    finally:
        await broker.shutdown()
