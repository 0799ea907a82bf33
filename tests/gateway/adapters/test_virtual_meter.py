"""The virtual meter against a real broker and a gateway that answers by hand."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import msgspec
import pytest

from gateway.adapters import virtual_meter
from gateway.adapters.virtual_meter import VirtualMeter
from gateway.domain.errors import BrokerLostError, ConfigError
from gateway.settings import MqttSettings
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port

BOOT = 77


def reading(seq: int, boot: int = BOOT) -> dict[str, Any]:
    channel = {"i": 1.0, "p": 230.0, "wh_in": seq / 100, "wh_out": 0.0}
    head = {"boot": boot, "seq": seq, "up": (seq + 1) * 1000, "t": None, "dt": 1000}
    return {**head, "v": 230.0, "f": 50.0, "ch": {"grid": channel}}


class Gateway:
    """Collects what a meter sends; acks only when told to."""

    def __init__(self, client: aiomqtt.Client, meter: str) -> None:
        self.client = client
        self.meter = meter
        self.readings: asyncio.Queue[Any] = asyncio.Queue()
        self.states: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen(self) -> None:
        queues = {"readings": self.readings, "state": self.states, "events": self.events}
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            queues[message.topic.value.split("/")[3]].put_nowait(json.loads(message.payload))

    async def ack(self, upto: int, *, boot: int = BOOT, retain: bool = True, **more: Any) -> None:  # noqa: ANN401
        regs = {"grid": {"wh_in": 12.5, "wh_out": None}}
        body = {"boot": boot, "upto": upto, "more": [], "now": None, "regs": regs, **more}
        await self.publish(json.dumps(body), retain=retain)

    async def publish(self, payload: str, *, retain: bool = True) -> None:
        await self.client.publish(f"ww/v1/{self.meter}/ack", payload, qos=1, retain=retain)

    async def next_seqs(self, count: int) -> list[int]:
        """Return the first seq of each of the next messages."""
        out = []
        for _ in range(count):
            async with asyncio.timeout(5):
                body = await self.readings.get()
            out.append(body["seq"] if isinstance(body, dict) else body[0]["seq"])
        return out

    async def nothing_more(self, for_s: float = 0.3) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.readings.get(), for_s)


@asynccontextmanager
async def gateway_at(port: int, meter: str) -> AsyncIterator[Gateway]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe([(f"ww/v1/{meter}/{k}", 1) for k in ("readings", "state", "events")])
        gateway = Gateway(client, meter)
        task = asyncio.create_task(gateway.listen())
        try:
            yield gateway
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task


@asynccontextmanager
async def running(meter: VirtualMeter) -> AsyncIterator[VirtualMeter]:
    task = asyncio.create_task(meter.run())
    try:
        yield meter
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def make(broker: Mosquitto, name: str, **options: Any) -> VirtualMeter:  # noqa: ANN401
    return VirtualMeter(MqttSettings(port=broker.port), name, boot=BOOT, **options)


async def test_one_message_goes_alone_until_an_ack_comes(broker: Mosquitto) -> None:
    meter = make(broker, "vm-first", window=3)
    async with gateway_at(broker.port, "vm-first") as gateway, running(meter):
        for seq in range(8):
            await meter.offer([reading(seq)])
        assert await gateway.next_seqs(1) == [0]
        await gateway.nothing_more()
        await gateway.ack(0)
        assert await gateway.next_seqs(3) == [1, 2, 3]
        await gateway.nothing_more()
        await gateway.ack(2)
        assert await gateway.next_seqs(2) == [4, 5]
        assert meter.backlog == 5
        await gateway.ack(5)
        assert await gateway.next_seqs(2) == [6, 7]
        assert not await finished(meter)
        await gateway.ack(7)
        assert await finished(meter)
    assert meter.counters.covered == meter.counters.offered == meter.counters.messages == 8
    assert meter.counters.resent == 0
    assert meter.regs == {"grid": (12.5, None)}


async def test_an_ack_that_leaves_the_first_uncovered_has_it_sent_again_before_the_others(
    own_broker: Mosquitto,
) -> None:
    """A broker that was killed may know nobody who listens, and lose what it acknowledges."""
    meter = make(own_broker, "vm-order")
    async with running(meter):
        for seq in range(4):
            await meter.offer([reading(seq)])
        await asyncio.sleep(0.5)  # 0 goes where nobody listens
        async with gateway_at(own_broker.port, "vm-order") as gateway:
            await gateway.ack(-1)
            assert await gateway.next_seqs(4) == [0, 1, 2, 3]
            await gateway.ack(3)
            assert await finished(meter)
    assert meter.counters.resent == 1


async def finished(meter: VirtualMeter) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(meter.drained(), 0.3)
        return True
    return False


async def test_one_reading_is_an_object_and_several_an_array(broker: Mosquitto) -> None:
    meter = make(broker, "vm-shape")
    async with gateway_at(broker.port, "vm-shape") as gateway, running(meter):
        await meter.offer([reading(0)])
        assert await gateway.readings.get() == reading(0)
        await gateway.ack(0)
        await meter.offer([reading(1), reading(2)])
        assert await gateway.readings.get() == [reading(1), reading(2)]
        await gateway.ack(1)  # half an array is not covered
        assert not await finished(meter)
        assert meter.backlog == 2


async def test_what_stays_uncovered_is_sent_again(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_meter, "RESEND_S", 0.4)
    monkeypatch.setattr(virtual_meter, "TICK_S", 0.1)
    meter = make(broker, "vm-again")
    async with gateway_at(broker.port, "vm-again") as gateway, running(meter):
        await meter.offer([reading(0)])
        assert await gateway.next_seqs(3) == [0, 0, 0]
        await gateway.ack(0)
        assert await finished(meter)
    assert meter.counters.resent >= 2
    assert meter.counters.messages == 1


async def test_after_a_reconnect_the_oldest_comes_first(own_broker: Mosquitto) -> None:
    meter = make(own_broker, "vm-back")
    async with running(meter):
        async with gateway_at(own_broker.port, "vm-back") as gateway:
            for seq in range(5):
                await meter.offer([reading(seq)])
            assert await gateway.next_seqs(1) == [0]
            await gateway.ack(0)
            assert await gateway.next_seqs(4) == [1, 2, 3, 4]
            own_broker.kill()
        await meter.offer([reading(5)])
        own_broker.start()
        async with gateway_at(own_broker.port, "vm-back") as gateway:
            assert await gateway.next_seqs(1) == [1]
            await gateway.nothing_more()
            state = await gateway.states.get()
            assert state["have"] == [{"boot": BOOT, "bootn": 1, "from": 1}]
            assert state["backlog"] == 5
            await gateway.ack(3)
            # Those that the same ack covers are not sent again.
            assert await gateway.next_seqs(2) == [4, 5]
            await gateway.ack(5)
            assert await finished(meter)
    assert meter.counters.connects == 2


async def test_state_at_connect_and_goodbye(broker: Mosquitto) -> None:
    meter = make(broker, "vm-state", number=4, clock=lambda: (1234, None))
    async with gateway_at(broker.port, "vm-state") as gateway:
        async with running(meter):
            async with asyncio.timeout(5):
                state = await gateway.states.get()
            assert state["online"] is True
            assert (state["boot"], state["bootn"], state["up"], state["t"]) == (BOOT, 4, 1234, None)
            assert state["have"] == [{"boot": BOOT, "bootn": 4, "from": 0}]
            meter.reboot(78)
            async with asyncio.timeout(5):
                state = await gateway.states.get()
            assert state["have"] == [{"boot": 78, "bootn": 5, "from": 0}]
        async with asyncio.timeout(5):
            assert await gateway.states.get() == {"online": False}
        assert not meter.online


async def test_readings_of_an_earlier_boot_stay_held(broker: Mosquitto) -> None:
    meter = make(broker, "vm-boots")
    async with gateway_at(broker.port, "vm-boots") as gateway, running(meter):
        await meter.offer([reading(0)])
        await gateway.next_seqs(1)
        meter.reboot(78)
        await meter.offer([reading(0, 78)])
        await gateway.ack(-1)  # alive, nothing of ours yet: the first again, and then the others
        assert await gateway.next_seqs(2) == [0, 0]
        await gateway.ack(0, boot=78, more=[{"boot": BOOT, "upto": -1}])
        assert not await finished(meter)
        assert meter.backlog == 1
        await gateway.ack(0, boot=78, more=[{"boot": BOOT, "upto": 0}])
        assert await finished(meter)


async def test_dropped_windows_are_told_until_an_ack_passes_them(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_meter, "RESEND_S", 0.4)
    monkeypatch.setattr(virtual_meter, "TICK_S", 0.1)
    meter = make(broker, "vm-drop")
    async with gateway_at(broker.port, "vm-drop") as gateway, running(meter):
        await meter.drop(0, 4)
        await meter.offer([reading(5)])
        async with asyncio.timeout(5):
            event = await gateway.events.get()
            again = await gateway.events.get()
        assert (event["kind"], event["boot"], event["from"], event["to"]) == ("dropped", BOOT, 0, 4)
        assert again["from"] == 0
        assert await gateway.next_seqs(1) == [5]
        await gateway.ack(5)
        assert await finished(meter)


async def test_offer_waits_while_too_much_is_held(broker: Mosquitto) -> None:
    meter = make(broker, "vm-full", capacity=3)
    async with gateway_at(broker.port, "vm-full") as gateway, running(meter):
        for seq in range(3):
            await meter.offer([reading(seq)])
        fourth = asyncio.create_task(meter.offer([reading(3)]))
        await asyncio.sleep(0.3)
        assert not fourth.done()
        await gateway.ack(0)
        async with asyncio.timeout(5):
            await fourth
        assert meter.backlog == 3


async def test_acks_that_cannot_be_read_or_are_old_release_nothing(broker: Mosquitto) -> None:
    """A retained ack may be of a database that is gone."""
    meter = make(broker, "vm-odd")
    async with gateway_at(broker.port, "vm-odd") as gateway:
        await gateway.ack(1000)
        async with running(meter):
            await meter.offer([reading(0)])
            assert await gateway.next_seqs(1) == [0]
            assert meter.counters.acks == 1
            for payload in ("{", "[]", '{"boot":"x"}', "\xff"):
                await gateway.publish(payload, retain=False)
            assert not await finished(meter)
            await gateway.ack(0)
            assert await finished(meter)


async def test_wrong_offers_are_refused(broker: Mosquitto) -> None:
    meter = make(broker, "vm-wrong")
    with pytest.raises(ValueError, match="0 readings"):
        await meter.offer([])
    with pytest.raises(ValueError, match="different boots"):
        await meter.offer([reading(0), reading(1, 5)])
    with pytest.raises(msgspec.ValidationError):
        await meter.offer([{**reading(0), "v": -1.0}])
    assert meter.backlog == 0


async def test_patience_ends_without_a_broker() -> None:
    meter = VirtualMeter(MqttSettings(port=free_port()), "vm-alone", boot=BOOT)
    with pytest.raises(BrokerLostError, match=r"vm-alone: broker 127\.0\.0\.1"):
        await asyncio.wait_for(meter.run(patience_s=0.3), 10)


async def test_a_missing_password_file_is_a_configuration_error(tmp_path: Any) -> None:  # noqa: ANN401
    settings = MqttSettings(username="x", password_file=tmp_path / "none")
    with pytest.raises(ConfigError, match="password_file"):
        await VirtualMeter(settings, "vm-secret", boot=BOOT).run()
