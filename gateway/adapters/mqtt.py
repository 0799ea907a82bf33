"""The broker: the only module that knows aiomqtt and paho."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Self

import aiomqtt
import structlog
from paho.mqtt.client import MQTT_ERR_SUCCESS, MQTTMessage

from gateway.domain.errors import BrokerLostError
from gateway.services.batches import Ack
from gateway.settings import MqttSettings, read_secret, tls_context

log = structlog.get_logger()
TOPICS = tuple((f"ww/v1/+/{kind}", 1) for kind in ("readings", "state", "events"))
PACKETS_A_TURN = 64
ACKS_IN_FLIGHT = 20  # what brokers allow a client by default
Deliver = Callable[[str, bytes, int, bool], None]


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
            max_inflight_messages=ACKS_IN_FLIGHT,
            # Acks are small and must not wait for the answer to the one before (Nagle): 40 ms.
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            tls_context=tls_context(settings),
        )
        paho = client._client  # noqa: SLF001 - aiomqtt offers no manual acknowledgement
        paho.manual_ack_set(on=True)
        paho.on_message = self._on_message
        paho.on_publish = self._on_published  # we never wait for one, so aiomqtt need not know
        await client.__aenter__()
        self._client = client
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
        if self._client is None:
            return
        acknowledge = self._client._client.ack  # noqa: SLF001
        for token in tokens:
            if token:
                acknowledge(token, 1)

    def send_ack(self, ack: Ack, now_ms: int | None) -> None:
        """Publish a retained `ack`; while many are under way the newest of each meter waits."""
        self._acks[ack.meter] = (ack, now_ms)
        self._pump()

    def _pump(self) -> None:
        while self._acks and self._client is not None and len(self._acks_out) < ACKS_IN_FLIGHT:
            meter, (ack, now_ms) = self._acks.popitem(last=False)
            info = self._client._client.publish(  # noqa: SLF001 - not awaited: acks coalesce
                f"ww/v1/{meter}/ack", ack_payload(ack, now_ms), qos=1, retain=True
            )
            if info.rc == MQTT_ERR_SUCCESS:
                self._acks_out.add(info.mid)

    def _on_published(self, _client: object, _userdata: object, mid: int, *_: object) -> None:
        self._acks_out.discard(mid)
        if self._acks:
            self._pump()

    def publish_live(self, topic: str, payload: str) -> None:
        """Publish a retained value at QoS 0; dropped when the connection is gone."""
        if self._client is not None:
            self._client._client.publish(topic, payload, qos=0, retain=True)  # noqa: SLF001

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
        """Read what the socket holds, many packets a turn of the loop: half the cost of one each.

        paho itself tells aiomqtt when the connection broke.
        """
        for _ in range(PACKETS_A_TURN):
            if self._client is None:
                return
            paho = self._client._client  # noqa: SLF001
            paho.loop_read()
            sock = paho.socket()
            if not _holds_more(sock):
                _acknowledge_now(sock)
                return

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


def _holds_more(sock: object) -> bool:
    """Tell whether another packet can be read without waiting."""
    if isinstance(sock, ssl.SSLSocket):
        return sock.pending() > 0  # decoded bytes that no further readiness will announce
    if not isinstance(sock, socket.socket):
        return False
    try:
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:  # nothing there; whatever is wrong shows at the next read
        return False


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
    return json.dumps(body, separators=(",", ":")).encode()
