"""The meter's link against a real broker: through faults of the network, in the VM and CPython."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from backoff import FIRST_MS, LEAST_MS, MOST_MS, SLOW_LEAST_MS, Backoff
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import Authority
from tests.support.chaos_proxy import ChaosProxy, Mode
from tests.support.firmware import needs_vm
from tests.support.firmware_process import FirmwareProcess, Host
from tests.support.gateway_stub import GatewayStub, until
from tests.support.mosquitto import Mosquitto

PROGRAM: Final = Path(__file__).with_name("link_program.py")
HOSTS: Final = [pytest.param("vm", marks=needs_vm), "cpython"]
# What takes long runs in the VM each time, under CPython (the same code) in the soak.
SLOW_HOSTS: Final = [HOSTS[0], pytest.param("cpython", marks=pytest.mark.soak)]
CHANNELS: Final = ["grid"]


@dataclass
class Rig:
    """A broker, a gateway at it, and a way for the meter that can be disturbed."""

    broker: Mosquitto
    gateway: GatewayStub
    proxy: ChaosProxy
    ca_file: str | None

    @contextmanager
    def meter(self, host: Host, **job: Any) -> Iterator[FirmwareProcess]:  # noqa: ANN401 - JSON
        """Run the meter's link."""
        mqtt = {"host": "localhost", "port": self.proxy.port, "ca": self.ca_file}
        config = {"meter": "meter-1", "channels": CHANNELS, "mqtt": mqtt}
        config.update(job.pop("config", {}))
        with FirmwareProcess(host, PROGRAM, {"config": config, **job}) as process:
            try:
                yield process
                assert process.running, process.log
            except (AssertionError, TimeoutError):
                print("\n".join(process.log), process.lines[-3:])  # noqa: T201 - why it failed
                raise


@contextmanager
def rig(directory: Path, *, tls: bool = False) -> Iterator[Rig]:
    with ExitStack() as stack:
        options: dict[str, str | int] = {"set_tcp_nodelay": "true"}
        trust: dict[str, str] | None = None
        if tls:
            authority = Authority(directory / "ca")
            server = authority.server()
            options |= {"certfile": str(server.certificate), "keyfile": str(server.key)}
            trust = {"ca_certs": str(authority.ca_file)}
        broker = stack.enter_context(Mosquitto(directory / "broker", options=options))
        gateway = stack.enter_context(GatewayStub(broker.port, tls=trust))
        proxy = stack.enter_context(ChaosProxy(broker.port))
        yield Rig(broker, gateway, proxy, trust["ca_certs"] if trust else None)


def states(gateway: GatewayStub) -> list[dict[str, Any]]:
    return [state for state in gateway.messages.get("state", []) if state["online"]]


@given(st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.booleans()), max_size=20))
def test_pauses_are_jittered_bounded_and_grow(draws: list[tuple[int, bool]]) -> None:
    numbers = iter([number for number, _ in draws])
    backoff = Backoff(lambda: next(numbers))
    ceiling_ms = FIRST_MS
    for _, slow in draws:
        pause_ms = backoff.pause_ms(slow)
        assert LEAST_MS <= pause_ms <= MOST_MS
        if slow:
            assert pause_ms >= SLOW_LEAST_MS
        else:
            assert pause_ms < ceiling_ms
            ceiling_ms = min(MOST_MS, 2 * ceiling_ms)


@pytest.mark.parametrize("host", HOSTS)
def test_a_meters_life_by_tls(host: Host, tmp_path: Path) -> None:
    with rig(tmp_path, tls=True) as home:
        gateway = home.gateway
        gateway.acking = False
        gateway.now_offset_ms = -86_400_000  # a retained ack's clock is as old as the ack
        gateway.ack(regs={"grid": {"wh_in": 1.5}})
        with home.meter(host, backlog=300) as meter:
            until(lambda: meter.said("first_ack"))
            first = meter.said("first_ack")[0]
            assert first["regs"] == {"grid": {"wh_in": "1.5"}}
            assert first["t"] is None
            until(lambda: gateway.upto >= 300)
            assert gateway.readings[0]["t"] is None
            gateway.acking, gateway.now_offset_ms = True, 0
            until(lambda: gateway.readings[-1]["t"] is not None)
            assert abs(gateway.readings[-1]["t"] - time.time() * 1000) < 2_000
            expected = {"online", "fw", "model", "cal", "rssi", "heap", "backlog", "boot", "bootn"}
            assert set(states(gateway)[0]) - {"_retain"} == expected | {"up", "t", "have"}
            gateway.publish("cmd", {"id": "1", "kind": "defect"})
            gateway.publish("cmd", b"\xff{not json")
            gateway.publish("cmd", b"[" * 3_000)
            gateway.publish("cmd", b"x" * 20_000)
            gateway.publish("cmd", {"id": "2", "kind": "report"})
            until(lambda: gateway.messages.get("result"))
            assert gateway.messages["result"][0]["id"] == "2"
            until(lambda: gateway.messages.get("events"))
            assert gateway.messages["events"][0]["part"] == "cmd"
            assert len(states(gateway)) == 1
        until(lambda: not gateway.messages["state"][-1]["online"])  # its last will


@pytest.mark.parametrize("host", SLOW_HOSTS)
def test_live_readings_flow_beside_backlog_and_a_download(host: Host, tmp_path: Path) -> None:
    with rig(tmp_path) as home:
        gateway = home.gateway
        home.proxy.mode = Mode.SLOW  # 64 kbit/s
        with home.meter(host, backlog=120) as meter:
            until(lambda: gateway.seqs)
            gateway.publish("desired", {"size": 20_000, "bundles": []})
            until(lambda: gateway.messages.get("bundle/get"))
            for n in range(1, 4):
                until(lambda n=n: len(gateway.messages["bundle/get"]) >= n)  # type: ignore[misc]
                offset = gateway.messages["bundle/get"][-1]["offset"]
                data = {"offset": offset, "data": "A" * 1_368, "last": n == 3}
                gateway.publish("bundle/chunk", data)
            until(lambda: meter.said("downloaded"), within_s=20)
            until(lambda: gateway.upto >= 120, within_s=60)
        live = [at for at, kind in gateway.kinds if kind == "live"]
        assert "backlog" in {kind for _, kind in gateway.kinds}
        longest = max(later - at for at, later in pairwise(live))
        assert longest < 2.0, f"no live reading for {longest:.1f} s"
        first_live = next(k for k, (_, kind) in enumerate(gateway.kinds) if kind == "live")
        assert first_live < 40


@pytest.mark.parametrize("host", SLOW_HOSTS)
def test_faults_of_the_network_lose_nothing(host: Host, tmp_path: Path) -> None:
    with rig(tmp_path, tls=True) as home, home.meter(host, keepalive_s=2) as meter:
        gateway, proxy = home.gateway, home.proxy
        for mode, lasts_s in ((Mode.RESET, 0.5), (Mode.BLACKHOLE, 3.6), (Mode.CUT, 0.5)):
            reached = len(gateway.seqs)
            until(lambda: len(gateway.seqs) > reached + 3, within_s=30)  # noqa: B023 - at once
            proxy.cut_after, proxy.mode = 1_500, mode
            time.sleep(lasts_s)
            proxy.mode = Mode.PASS
        made = meter.said("alive")[-1]["made"]
        until(lambda: gateway.upto >= made, within_s=30)
        assert any("nothing heard" in line for line in meter.log), meter.log
        tries = proxy.accepted
        assert all(tries[k + 2] - tries[k] >= 0.95 for k in range(len(tries) - 2))


@pytest.mark.parametrize("host", SLOW_HOSTS)
def test_a_killed_broker_is_found_again(host: Host, tmp_path: Path) -> None:
    with rig(tmp_path) as home, home.meter(host) as meter:
        gateway = home.gateway
        for _ in range(2):
            reached = gateway.upto
            until(lambda: gateway.upto > reached + 5, within_s=30)  # noqa: B023 - at once
            home.broker.kill_and_restart(down_s=0.5)
        made = meter.said("alive")[-1]["made"]
        until(lambda: gateway.upto >= made, within_s=30)
        until(lambda: len(states(gateway)) >= 3, within_s=20)


@pytest.mark.parametrize("fault", ["ca", "no broker"])
def test_what_needs_a_person_is_tried_rarely_the_rest_soon(fault: str, tmp_path: Path) -> None:
    with rig(tmp_path, tls=True) as home:
        if fault == "ca":
            home.ca_file = str(Authority(tmp_path / "stranger").ca_file)
        else:
            home.broker.kill()
        with home.meter("cpython") as meter:
            time.sleep(2.5)
            tries = len(home.proxy.accepted)
            if fault == "ca":
                assert tries == 1
                assert "TLS refused" in "\n".join(meter.logged("link:"))
            else:
                assert 1 <= tries <= 5


@pytest.mark.parametrize("host", HOSTS)
def test_the_wifi_is_joined_and_may_be_tried_out(host: Host, tmp_path: Path) -> None:
    wifi = [{"ssid": "cafe", "password": "x"}, {"ssid": "home", "password": "right"}]
    with rig(tmp_path) as home, home.meter(host, config={"wifi": wifi}) as meter:
        until(lambda: home.gateway.seqs)
        assert [line["ssid"] for line in meter.said("wifi")] == ["cafe", "home"]
        command = {"kind": "wifi", "ssid": "home2", "password": "right"}
        home.gateway.publish("cmd", {"id": "w", **command})
        until(lambda: len(states(home.gateway)) == 2)
        assert [line["ssid"] for line in meter.said("wifi")] == ["cafe", "home", "home2"]
        until(lambda: home.gateway.messages.get("result"))
        until(lambda: meter.said("alive")[-1]["acked"])


def test_events_are_bounded_and_the_newest_survive(tmp_path: Path) -> None:
    with rig(tmp_path) as home, home.meter("cpython"):
        until(lambda: home.gateway.seqs)
        home.gateway.publish("cmd", {"id": "e", "kind": "events"})
        until(lambda: home.gateway.messages.get("events"))
        until(lambda: home.gateway.messages["events"][-1]["n"] == 99)
        events = home.gateway.messages["events"]
        assert [event["n"] for event in events] == list(range(68, 100))
        assert {"boot", "seq", "up", "t", "kind"} <= set(events[0])


def test_a_slow_handler_holds_up_nothing_else(tmp_path: Path) -> None:
    with rig(tmp_path) as home, home.meter("cpython") as meter:
        until(lambda: home.gateway.seqs)
        home.gateway.publish("cmd", {"id": "s", "kind": "slow"})
        home.gateway.publish("desired", {"size": 1})
        until(lambda: meter.said("desired"), within_s=1)
        reached = home.gateway.upto
        until(lambda: home.gateway.upto > reached + 5, within_s=1.5)
        assert not home.gateway.messages.get("result")
