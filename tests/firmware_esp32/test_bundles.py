"""The road of a bundle: from announced to confirmed, and every refusal on the way."""

import hashlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundle_rig import (
    EIGHT,
    KINDS,
    METER,
    RELEASE,
    SEVEN,
    SITE,
    SPARE,
    Gateway,
    Meter,
    firmware,
    install,
)
from tests.support.signing import Signer


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def meter(tmp_path: Path, gateway: Gateway) -> Meter:
    return Meter(tmp_path, gateway)


def leave(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_good_one_runs_is_confirmed_and_survives_a_boot(
    meter: Meter, gateway: Gateway, kind: str
) -> None:
    await meter.desire(gateway.put(kind, 7, SEVEN))
    assert meter.running[kind] == SEVEN
    await meter.windows(9)
    assert meter.why() == []
    await meter.windows(1)
    assert meter.why() == [(kind, 7, "")]
    whole = [(offset, 512) for offset in range(0, 5120, 512)]
    assert [(offset, length) for _, _, offset, length in gateway.asked] == [*whole, (5120, 380)]
    meter.boot()
    assert meter.running[kind] == SEVEN
    assert meter.bundles.versions()[kind] == 7
    assert meter.why() == []
    assert meter.parts() == []


async def test_firmware_reboots_into_the_other_slot_and_is_confirmed(
    meter: Meter, gateway: Gateway
) -> None:
    await install(meter, "firmware", 1, firmware(1))
    assert (meter.restarts, meter.firmware_slot) == (1, 0)
    await meter.desire(gateway.put("firmware", 2, firmware(2)))
    assert (meter.restarts, meter.firmware_slot) == (2, 1)
    assert (meter.root / "app_b" / "app.py").read_bytes() == b"# version 2\n"
    assert meter.bundles.versions()["firmware"] == 2
    await meter.windows()
    assert meter.why() == [("firmware", 2, "")]
    meter.boot()
    assert meter.firmware_slot == 1


async def test_the_spare_release_key_and_a_signature_for_this_meter_alone_are_taken(
    meter: Meter, gateway: Gateway
) -> None:
    gateway.put("model", 7, SEVEN)
    await meter.desire(SPARE.announce("model", 7, SEVEN, meter=METER))
    assert meter.running["model"] == SEVEN


@pytest.mark.parametrize(
    ("kind", "by", "meter_id"),
    [
        ("model", SITE, "*"),  # a stolen gateway has the site's key
        ("firmware", SITE, "*"),
        ("calibration", RELEASE, "*"),
        ("model", Signer(77), "*"),
        ("model", RELEASE, "cellar"),  # made for another meter
    ],
)
async def test_a_signature_of_another_key_or_for_another_meter_is_refused_unfetched(
    meter: Meter, gateway: Gateway, kind: str, by: Signer, meter_id: str
) -> None:
    content = firmware(7) if kind == "firmware" else SEVEN
    gateway.put(kind, 7, content)
    await meter.desire(by.announce(kind, 7, content, meter=meter_id))
    assert meter.why() == [(kind, 7, "signature")]
    assert gateway.asked == []
    assert meter.bundles.versions()[kind] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 8},
        {"size": len(SEVEN) - 1},
        {"sha256": hashlib.sha256(EIGHT).hexdigest()},
        {"kind": "calibration"},
        {"sig": ""},
        {"sig": "!!!!"},
        {"sig": "A" * 88},
    ],
)
async def test_a_changed_announcement_is_refused(
    meter: Meter, gateway: Gateway, changes: dict[str, Any]
) -> None:
    gateway.put("model", 7, SEVEN)
    entry = {**RELEASE.announce("model", 7, SEVEN), **changes}
    await meter.desire(entry)
    assert meter.why() == [(entry["kind"], entry["version"], "signature")]
    assert meter.running["model"] is None


async def test_no_pinned_key_means_no_bundle(tmp_path: Path, gateway: Gateway) -> None:
    meter = Meter(tmp_path, gateway, keys={"release": [], "site": []})
    await meter.desire(gateway.put("model", 7, SEVEN))
    assert meter.why() == [("model", 7, "signature")]


async def test_another_content_than_announced_is_refused(meter: Meter, gateway: Gateway) -> None:
    await install(meter, "model", 6, EIGHT)
    entry = gateway.put("model", 7, SEVEN)
    gateway.shelf["model", 7] = SEVEN[:-1] + b" "
    await meter.desire(entry)
    assert meter.why() == [("model", 7, "hash")]
    assert meter.running["model"] == EIGHT
    assert meter.parts() == []


async def test_a_truncated_one_is_refused(meter: Meter, gateway: Gateway) -> None:
    entry = gateway.put("model", 7, SEVEN)
    gateway.shelf["model", 7] = SEVEN[:-500]
    await meter.desire(entry)
    assert meter.why() == [("model", 7, "size")]
    assert meter.parts() == []


@pytest.mark.parametrize(
    ("kind", "most"), [("model", 8192), ("calibration", 8192), ("firmware", 307_200)]
)
async def test_too_large_is_refused_unfetched(
    meter: Meter, gateway: Gateway, kind: str, most: int
) -> None:
    await meter.desire(gateway.put(kind, 7, bytes(most + 1)))
    assert meter.why() == [(kind, 7, "size")]
    assert gateway.asked == []


async def test_the_largest_allowed_is_taken(meter: Meter, gateway: Gateway) -> None:
    await install(meter, "model", 7, bytes(8192))


async def test_a_version_must_rise(meter: Meter, gateway: Gateway) -> None:
    await install(meter, "model", 7, SEVEN)
    for version in (6, 1):
        await meter.desire(gateway.put("model", version, EIGHT))
        assert meter.why() == [("model", version, "version")]
    await meter.desire(gateway.put("model", 7, EIGHT))  # another content under the same number
    assert meter.why() == [("model", 7, "version")]
    assert meter.running["model"] == SEVEN


@pytest.mark.parametrize("content", [b"bad vectors", b"crash in the self-test"])
async def test_a_failing_self_test_is_refused(
    meter: Meter, gateway: Gateway, content: bytes
) -> None:
    await install(meter, "model", 6, EIGHT)
    await meter.desire(gateway.put("model", 7, content))
    assert meter.why() == [("model", 7, "selftest")]
    assert meter.running["model"] == EIGHT
    meter.boot()
    assert meter.running["model"] == EIGHT


async def test_a_firmware_that_does_not_fit_together_is_refused(
    meter: Meter, gateway: Gateway
) -> None:
    await install(meter, "firmware", 1, firmware(1))
    await meter.desire(gateway.put("firmware", 3, firmware(2)))  # says it is 2
    assert meter.why() == [("firmware", 3, "selftest")]
    await meter.desire(gateway.put("firmware", 4, b"no container at all"))
    assert meter.why() == [("firmware", 4, "selftest")]
    meter.boot()
    assert meter.firmware_slot == 0
    assert meter.bundles.versions()["firmware"] == 1


async def test_a_refused_one_is_not_fetched_again_until_desired_changes(
    meter: Meter, gateway: Gateway
) -> None:
    entry = gateway.put("model", 7, b"bad")
    await meter.desire(entry)
    asked = len(gateway.asked)
    for _ in range(3):
        await meter.desire(entry)
        meter.boot()
        await meter.desire(entry)
    assert len(gateway.asked) == asked
    assert meter.why() == [("model", 7, "selftest")]
    await meter.desire(gateway.put("model", 8, b"bad, too"))
    await meter.desire(entry)
    assert meter.why() == [("model", 8, "selftest"), ("model", 7, "selftest")]


async def test_download_goes_on_after_the_link_was_down(meter: Meter, gateway: Gateway) -> None:
    entry = gateway.put("model", 7, SEVEN)
    gateway.only = 10
    await meter.desire(entry)
    assert meter.running["model"] is None
    assert meter.why() == []
    gateway.only = 1 << 30
    gateway.asked.clear()
    await meter.until_rest()
    assert [offset for _, _, offset, _ in gateway.asked] == [5120]
    assert meter.running["model"] == SEVEN


async def test_download_goes_on_after_a_reboot(meter: Meter, gateway: Gateway) -> None:
    entry = gateway.put("model", 7, SEVEN)
    gateway.only = 10
    await meter.desire(entry)
    gateway.only = 1 << 30
    gateway.asked.clear()
    meter.boot()
    await meter.desire(entry)
    assert [offset for _, _, offset, _ in gateway.asked] == [5120]
    assert meter.running["model"] == SEVEN


@pytest.mark.parametrize("torn", [b"", b"\0" * 700, bytes(9000), SEVEN[:3000], SEVEN])
async def test_whatever_a_power_cut_left_of_the_download(
    meter: Meter, gateway: Gateway, torn: bytes
) -> None:
    entry = gateway.put("model", 7, SEVEN)
    leave(meter.root / f"model_{entry['sha256'][:16]}.part", torn)
    await meter.desire(entry)
    assert meter.running["model"] == SEVEN
    assert meter.why() == []


async def test_lost_and_stray_answers(meter: Meter, gateway: Gateway) -> None:
    entry = gateway.put("model", 7, SEVEN)
    gateway.lost = 2
    stray: list[dict[str, Any]] = [
        {},
        {"kind": "model", "version": 6, "offset": 0, "data": "AAAA"},
        {"kind": "model", "version": 7, "offset": 9, "data": "AAAA"},
        {"kind": "model", "version": 7, "offset": 0},
        {"kind": "model", "version": 7, "offset": 0, "data": 5},
        {"kind": "model", "version": 7, "offset": 0, "data": ""},
        {"kind": "model", "version": 7, "offset": 0, "data": "A" * 4000},
    ]

    async def answer_strangely() -> None:
        for message in stray:
            await meter.bundles.chunk(message)

    meter.on_sleep = answer_strangely
    await meter.desire(entry)
    assert meter.running["model"] == SEVEN


async def test_a_silent_gateway_is_asked_later_and_blocks_no_other_kind(
    meter: Meter, gateway: Gateway
) -> None:
    gateway.lost = 3
    await meter.desire(gateway.put("calibration", 1, EIGHT), gateway.put("model", 2, SEVEN))
    assert [asked[0] for asked in gateway.asked[:4]] == ["calibration"] * 3 + ["model"]
    assert meter.running["model"] == SEVEN
    await meter.windows()
    assert meter.running["calibration"] == EIGHT


async def test_what_the_gateway_does_not_have_is_asked_again_with_the_next_desired(
    meter: Meter, gateway: Gateway
) -> None:
    entry = RELEASE.announce("model", 7, SEVEN)
    await meter.desire(entry)
    await meter.until_rest()
    assert meter.why() == [("model", 7, "unknown")]
    assert len(gateway.asked) == 1
    await meter.desire(gateway.put("model", 7, SEVEN))
    assert meter.running["model"] == SEVEN


async def test_desired_changes_while_fetching(meter: Meter, gateway: Gateway) -> None:
    old, new = gateway.put("model", 7, SEVEN), gateway.put("model", 8, EIGHT)
    await meter.bundles.desired({"bundles": [old]})

    async def change() -> None:
        if gateway.asked:
            meter.on_request = None
            await meter.bundles.desired({"bundles": [new]})

    meter.on_request = change
    await meter.until_rest()
    await meter.until_rest()
    assert [asked[1] for asked in gateway.asked[:3]] == [7, 7, 8]
    assert meter.running["model"] == EIGHT
    assert meter.parts() == []


async def test_a_full_flash_is_refused_and_breaks_nothing(
    meter: Meter, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await install(meter, "model", 6, EIGHT)
    numbers = namedtuple("numbers", "a b c d e")  # noqa: PYI024 - as os.statvfs, by index
    full = numbers(4096, 4096, 500, 7, 7)
    entry = gateway.put("model", 7, SEVEN)
    with monkeypatch.context() as patch:
        patch.setattr("os.statvfs", lambda _: full)
        await meter.desire(entry)
    assert meter.why() == [("model", 7, "space")]
    assert meter.running["model"] == EIGHT
    await meter.desire(entry)  # room again, announced again with the next connection
    assert meter.running["model"] == SEVEN


async def test_malformed_announcements_are_told_once_and_ignored(
    meter: Meter, gateway: Gateway
) -> None:
    good = gateway.put("model", 7, SEVEN)
    wrong: list[Any] = [
        5,
        None,
        {},
        {**good, "kind": "recipe"},
        {**good, "version": "7"},
        {**good, "version": True},
        {**good, "version": 0},
        {**good, "size": -1},
        {**good, "size": 10**12},
        {**good, "sha256": "A" * 64},
        {**good, "sha256": "0" * 63},
        {**good, "sig": None},
        {**good, "sig": "A" * 200},
    ]
    for entry in wrong:
        await meter.desire(entry)
    nothing: list[dict[str, Any]] = [{}, {"bundles": None}, {"bundles": {}}]
    for message in nothing:
        await meter.bundles.desired(message)
    assert meter.why() == [("model", 0, "form")]
    assert gateway.asked == []
