"""The supply of codes: who is served, what is refused, where a meter's time stands."""

import json
import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from simulation.chain import Chain
from simulation.noise import Ints
from simulation.sources import FaultySource, Load, SteadySource, Wire
from simulation.supply import BURST, IDENTIFY, RELAY, Supply


@pytest.fixture
def supply() -> Iterator[Supply]:
    with Supply() as running:
        yield running


class Client:
    """A meter's side of the protocol, written from its description."""

    def __init__(self, supply: Supply, speed: object = 0.0, **changes: object) -> None:
        self._socket = socket.create_connection((supply.host, supply.port), timeout=5)
        hello = {"meter": "m", "clamps": 1, "frame_us": 250, "read_us": 35, "speed": speed}
        self._socket.sendall(json.dumps({**hello, **changes}).encode() + b"\n")
        self._file = self._socket.makefile("rb")
        self.answer = self._file.readline().decode().strip()
        self.linear = self._numbers("<u2", 4096) if self.answer == "ok" else None

    def _numbers(self, kind: str, count: int) -> Ints:
        data = self._file.read(count * int(kind[2]))
        return np.frombuffer(data, kind).astype(np.int64)

    def tell(self, what: int, argument: int, at_us: int = 0) -> None:
        self._socket.sendall(struct.pack("<BHQ", what, argument, at_us))

    def burst(self, at_us: int, frames: int = 400) -> tuple[Ints, Ints]:
        self.tell(BURST, frames, at_us)
        ticks, codes = [], []
        for first in range(0, frames, 50):
            count = min(50, frames - first)
            ticks.append(self._numbers("<u4", count))
            codes.append(self._numbers("<u2", 2 * count).reshape(2, -1))
        return np.concatenate(ticks), np.concatenate(codes, axis=1)

    def ended(self) -> bool:
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def source(watts: float = 1000.0) -> SteadySource:
    return SteadySource(Wire(), [Load(watts)])


def test_codes_are_those_of_the_chain(supply: Supply) -> None:
    supply.add("m", source(), Chain(5))
    client, twin = Client(supply), Chain(5)
    assert client.linear is not None
    assert (client.linear == twin.linear).all()
    for at_us in (0, 100_000, 5_000_000):
        ticks, codes = client.burst(at_us)
        expected_ticks, expected = twin.codes(source(), at_us * 1e-6, 400)
        assert (ticks == expected_ticks).all()
        assert (codes == expected.T).all()
    client.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"meter": "other"}, "no simulated meter 'other' here"),
        ({"clamps": 3}, "clamps, frame_us, read_us are (1, 250, 35) here, not (3, 250, 35)"),
        ({"speed": "fast"}, "bad greeting"),
        ({"meter": None}, "no simulated meter"),
        ({"meter": []}, "bad greeting"),
    ],
)
def test_a_stranger_is_told_why_it_is_refused(
    supply: Supply, changes: dict[str, object], reason: str
) -> None:
    supply.add("m", source(), Chain(5))
    assert reason in Client(supply, **changes).answer
    assert Client(supply).answer == "ok", "the next one is served"


def test_source_faults_and_relay_while_running(supply: Supply) -> None:
    wires = FaultySource(source())
    meter = supply.add("m", wires, Chain(5))
    client = Client(supply)
    assert client.burst(0)[1][1].std() > 500
    with meter.lock:
        meter.source = source(0.001)
    assert client.burst(100_000)[1][1].std() < 200
    meter.chain.frozen = True
    stuck = client.burst(200_000)[1]
    assert (stuck == stuck[:, :1]).all()
    assert (meter.relay, meter.identify) == (None, None)
    client.tell(RELAY, 1)
    client.tell(IDENTIFY, 0)
    client.burst(300_000)  # answered after what was told before
    assert (meter.relay, meter.identify) == (True, False)


def test_an_accelerated_meter_goes_on_where_it_was(supply: Supply) -> None:
    meter = supply.add("m", source(), Chain(5))
    first = Client(supply)
    first.burst(7_000_000)
    first.close()
    assert meter.served_us == 7_100_000
    ticks, _ = Client(supply).burst(0)
    assert ticks[0] == 8_100_000, "a boot takes a second"
    assert meter.boots == 2


def test_a_meter_in_real_time_boots_at_the_present(supply: Supply) -> None:
    supply.add("m", source(), Chain(5))
    before = supply.now_us()
    ticks, _ = Client(supply, 1.0).burst(1000)
    assert before + 1000 <= ticks[0] <= supply.now_us() + 1000


def test_closing_ends_every_meter() -> None:
    with Supply() as supply:
        supply.add("m", source(), Chain(5))
        client = Client(supply)
        client.burst(0)
    assert client.ended()
