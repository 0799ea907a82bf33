"""The gateway's name in the network: heard by another responder, and what meters look for."""

import asyncio
import ipaddress

import mdns
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from gateway.adapters.mdns import HTTPS, METERS, Announcer

LOOPBACK = ["127.0.0.1"]


async def test_meters_and_browsers_find_the_gateway() -> None:
    announcer = Announcer(
        "wattwarden-test", mqtt_port=8883, web_port=8443, tls=True, interfaces=LOOPBACK
    )
    running = asyncio.create_task(announcer.run())
    asker = AsyncZeroconf(interfaces=LOOPBACK, ip_version=IPVersion.V4Only)
    try:
        for kind, port in ((METERS, 8883), (HTTPS, 8443)):
            info = AsyncServiceInfo(kind, f"Wattwarden wattwarden-test.{kind}")
            for _ in range(20):
                if await info.async_request(asker.zeroconf, 1000):
                    break
                assert not running.done(), running.result()
            assert (info.port, info.server) == (port, "wattwarden-test.local.")
            addresses = [ipaddress.IPv4Address(packed) for packed in info.addresses]
            assert addresses == [ipaddress.IPv4Address("127.0.0.1")]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asker.async_close()


def test_it_is_the_service_that_the_firmware_looks_for() -> None:
    assert f"{mdns.SERVICES[0]}." == METERS
