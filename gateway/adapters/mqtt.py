"""The broker: the only module that knows aiomqtt and paho."""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Iterable
from typing import Self

import aiomqtt
import msgspec
import structlog
from paho.mqtt.client import MQTTMessage

from gateway.adapters.mqtt_frames import Deliver, FrameReader
from gateway.adapters.mqtt_writing import PacketWriter
from gateway.domain.errors import BrokerLostError
from gateway.services.batches import Ack
from gateway.settings import MqttSettings, read_secret, tls_context

log = structlog.get_logger()
TOPICS = (
    *((f"ww/v1/+/{kind}", 1) for kind in ("readings", "state", "events", "result")),
    ("ww/v1/+/bundle/get", 0),  # asked again when it is lost, and of no use when it is late
)
# A link that died without a word is noticed after two of these at most: before its meters, of whom
# nothing comes either, are called silent (120 s).
KEEPALIVE_S = 30
ACKS_IN_FLIGHT = 20  # what brokers allow a client by default


class BrokerSession:
    """One connection on a persistent session; messages are acknowledged by hand.

    aiomqtt connects and keeps the connection alive; messages go straight from paho's callback
    to `deliver`, since an iterator costs twice the time a message (docs/performance.md).
    """

    def __init__(self, settings: MqttSettings, client_id: str, deliver: Deliver) -> None:
        self._settings = settings
        self._client_id = client_id
        self._deliver = deliver
        self._client: aiomqtt.Client | None = None
        self._frames: FrameReader | None = None
        self._writer: PacketWriter | None = None
        self._acks: OrderedDict[str, tuple[Ack, int | None]] = OrderedDict()
        self._acks_out: set[int] = set()

    async def __aenter__(self) -> Self:
        """Connect and subscribe, or raise BrokerLostError saying what the broker said."""
        try:
            await self._open()
            await self._connected().subscribe(list(TOPICS))
        except (aiomqtt.MqttError, OSError) as error:
            await self._leave()
            where = f"{self._settings.host}:{self._settings.port}"
            msg = f"broker {where}: {str(error) or type(error).__name__}"
            raise BrokerLostError(msg) from error
        log.info("broker_connected", host=self._settings.host, port=self._settings.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect; the broker keeps the session and what comes meanwhile."""
        await self._leave()

    async def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            if self._writer is not None:
                self._writer.flush()
            try:
                await client.__aexit__(None, None, None)
            except aiomqtt.MqttError as error:
                log.debug("broker_left", error=str(error))

    async def _open(self) -> None:
        settings = self._settings
        secret = settings.password_file
        client = aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=read_secret(secret, key="mqtt.password_file") if secret else None,
            identifier=self._client_id,
            # Not 5: paho builds a table of properties for each message, a third of all we do.
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            keepalive=KEEPALIVE_S,
            max_inflight_messages=ACKS_IN_FLIGHT,
            # Acks are small and must not wait for the answer to the one before (Nagle): 40 ms.
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            tls_context=tls_context(settings),
        )
        paho = client._client  # noqa: SLF001 - aiomqtt offers no manual acknowledgement
        paho.manual_ack_set(on=True)
        paho.on_message = self._on_message
        paho.on_publish = None  # we never wait for one, so aiomqtt need not know
        await client.__aenter__()
        self._client = client
        self._writer = PacketWriter(paho)
        self._frames = FrameReader(paho, self._deliver, self._confirmed)
        self.resume()

    def _connected(self) -> aiomqtt.Client:
        if self._client is None:
            msg = "not connected to the broker"
            raise BrokerLostError(msg)
        return self._client

    def _on_message(self, _client: object, _userdata: object, message: MQTTMessage) -> None:
        token = message.mid if message.qos else 0
        self._deliver(message.topic, bytes(message.payload), token, message.retain)

    def acknowledge(self, tokens: Iterable[int]) -> None:
        """Send the PUBACK of each message."""
        if self._client is not None and self._writer is not None:
            self._writer.acknowledge(token for token in tokens if token)

    def send_ack(self, ack: Ack, now_ms: int | None) -> None:
        """Publish a retained `ack`; while many are under way the newest of each meter waits."""
        self._acks[ack.meter] = (ack, now_ms)
        self._pump()

    def _pump(self) -> None:
        if self._client is None or self._writer is None:
            return
        while self._acks and len(self._acks_out) < ACKS_IN_FLIGHT:
            meter, (ack, now_ms) = self._acks.popitem(last=False)
            topic, payload = f"ww/v1/{meter}/ack", ack_payload(ack, now_ms)
            self._acks_out.add(self._writer.publish_surely(topic, payload))

    def _confirmed(self, packet_id: int) -> bool:
        """Note that the broker has an ack; False when it is no ack's answer."""
        if packet_id not in self._acks_out:
            return False
        self._acks_out.remove(packet_id)
        if self._acks:
            self._pump()
        return True

    def publish_live(self, topic: str, payload: str) -> None:
        """Publish a retained value at QoS 0; dropped when the connection is gone."""
        if self._client is not None and self._writer is not None:
            self._writer.publish(topic, payload.encode())

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1; lost when the connection is gone."""
        if self._client is not None and self._writer is not None:
            self._writer.flush()
            self._client._client.publish(topic, payload, qos=1, retain=retain)  # noqa: SLF001

    def pause(self) -> None:
        """Stop reading from the socket, so that the broker holds what we cannot take."""
        sock = None if self._client is None else self._client._client.socket()  # noqa: SLF001
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock.fileno())

    def resume(self) -> None:
        """Go on reading from the socket."""
        sock = None if self._client is None else self._client._client.socket()  # noqa: SLF001
        if sock is not None:
            asyncio.get_running_loop().add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        """Read what the socket holds; paho itself tells aiomqtt when the connection broke."""
        if self._client is None or self._frames is None:
            return
        self._frames.read()
        _acknowledge_now(self._client._client.socket())  # noqa: SLF001

    async def closed(self) -> None:
        """Wait until the connection is gone, then raise BrokerLostError."""
        lost = self._connected()._disconnected  # noqa: SLF001
        try:
            await asyncio.shield(lost)
        except aiomqtt.MqttError as error:
            msg = f"connection to the broker lost: {_plain(error)}"
            raise BrokerLostError(msg) from error
        except (OSError, ValueError) as error:
            msg = f"connection to the broker broke: {error}"
            raise BrokerLostError(msg) from error
        msg = "the broker closed the connection"
        raise BrokerLostError(msg)


def _acknowledge_now(sock: object) -> None:
    """Have the kernel acknowledge what it received (tcp(7): lasts until the next read).

    A broker without TCP_NODELAY, mosquitto's default, holds back its next small message until
    then, and our PUBACK comes only after the commit: 40 ms more for each reading.
    """
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # the connection broke: the next read tells
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _plain(error: aiomqtt.MqttError) -> str:
    """Return what happened in words; paho calls a closed connection an unspecified error."""
    said = str(error)
    return "the broker closed it" if "Unspecified error" in said else said


def ack_payload(ack: Ack, now_ms: int | None) -> bytes:
    """Return the `ack` message as the contract has it (section 2)."""
    regs = {
        channel: {
            "wh_in": None if pair[0] is None else pair[0].wh,
            "wh_out": None if pair[1] is None else pair[1].wh,
        }
        for channel, pair in ack.regs.items()
    }
    more = [{"boot": boot, "upto": upto} for boot, upto in ack.more]
    body = {"boot": ack.boot, "upto": ack.upto, "more": more, "now": now_ms, "regs": regs}
    return msgspec.json.encode(body)
