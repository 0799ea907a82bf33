"""A connection to the broker that Home Assistant listens to."""

import asyncio
import contextlib
from typing import Self

import aiomqtt
import structlog
from paho.mqtt.client import MQTTMessage

from gateway.domain.errors import BrokerLostError
from gateway.services.homeassistant import Discovery
from gateway.services.homeassistant_feed import OFFLINE
from gateway.settings import MqttSettings, read_secret, tls_context

log = structlog.get_logger()
LISTEN_S = 1.0  # retained messages come at once; nothing tells that these were all
MOST_RETAINED = 20_000
GOODBYE_S = 1.0


class MqttHomeLink:
    """Satisfies `HomeLink`; a context manager. The last will says that the gateway is gone."""

    def __init__(self, settings: MqttSettings, discovery: Discovery) -> None:
        self._settings = settings
        self._discovery = discovery
        self._client: aiomqtt.Client | None = None
        self._retained: set[str] = set()

    async def __aenter__(self) -> Self:
        """Connect and look at what stands there, or raise BrokerLostError."""
        settings = self._settings
        secret = settings.password_file
        client = aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=read_secret(secret, key="homeassistant.password_file") if secret else None,
            identifier=f"{self._discovery.node}-ha",
            protocol=aiomqtt.ProtocolVersion.V311,
            tls_context=tls_context(settings),
            will=aiomqtt.Will(self._discovery.gateway_topic, OFFLINE, qos=1, retain=True),
        )
        # Straight from paho's callback: aiomqtt's queue would have no bound.
        client._client.on_message = self._on_message  # noqa: SLF001
        try:
            await client.__aenter__()
            self._client = client
            await client.subscribe(self._discovery.pattern, qos=1)
        except (aiomqtt.MqttError, OSError) as error:
            msg = f"homeassistant: broker {settings.host}:{settings.port}: {error}"
            raise BrokerLostError(msg) from error
        await asyncio.sleep(LISTEN_S)
        log.info("homeassistant_connected", host=settings.host, port=settings.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Say goodbye and disconnect."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                topic = self._discovery.gateway_topic
                await client.publish(topic, OFFLINE, qos=1, retain=True, timeout=GOODBYE_S)
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                await client.__aexit__(None, None, None)

    def publish(self, topic: str, payload: str) -> None:
        """Publish retained, at QoS 1; paho keeps what is not acknowledged."""
        if self._client is not None:
            self._client._client.publish(topic, payload, qos=1, retain=True)  # noqa: SLF001

    def retained(self) -> list[str]:
        """Return the topics of our configurations that the broker held when we came."""
        return sorted(self._retained)

    async def closed(self) -> None:
        """Wait until the connection is gone, then raise BrokerLostError."""
        if self._client is not None:
            lost = self._client._disconnected  # noqa: SLF001 - aiomqtt tells only its iterator
            with contextlib.suppress(aiomqtt.MqttError, OSError, ValueError):
                await asyncio.shield(lost)
        msg = "homeassistant: the connection to the broker was lost"
        raise BrokerLostError(msg)

    def _on_message(self, _client: object, _userdata: object, message: MQTTMessage) -> None:
        if message.retain and message.payload and len(self._retained) < MOST_RETAINED:
            self._retained.add(message.topic)
