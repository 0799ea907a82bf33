"""Trials of bundles: confirmed, or back to what ran before; roll back by hand."""

from pathlib import Path

import pytest
from bundles import TOUCH_MS, TRIAL_MS
from ticks import ticks_ms

from tests.support.bundle_rig import EIGHT, KINDS, SEVEN, Gateway, Meter, firmware, install


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def meter(tmp_path: Path, gateway: Gateway) -> Meter:
    return Meter(tmp_path, gateway)


async def test_unhealthy_rolls_back_and_is_not_tried_again(meter: Meter, gateway: Gateway) -> None:
    await install(meter, "model", 6, EIGHT)
    entry = gateway.put("model", 7, SEVEN)
    await meter.desire(entry)
    await meter.windows(9)
    meter.bundles.bad()
    assert meter.running["model"] == EIGHT
    await meter.desire(entry)
    assert meter.why() == [("model", 7, "unhealthy")]
    meter.boot()
    await meter.desire(entry)
    assert meter.running["model"] == EIGHT
    assert meter.why() == []


async def test_unhealthy_first_bundle_goes_back_to_the_built_in(
    meter: Meter, gateway: Gateway
) -> None:
    await meter.desire(gateway.put("calibration", 1, SEVEN))
    meter.bundles.bad()
    assert meter.running["calibration"] is None
    assert meter.bundles.versions()["calibration"] == 0


async def test_unhealthy_firmware_reboots_into_the_old(meter: Meter, gateway: Gateway) -> None:
    await install(meter, "firmware", 1, firmware(1))
    entry = gateway.put("firmware", 2, firmware(2))
    await meter.desire(entry)
    assert meter.firmware_slot == 1
    meter.bundles.bad()
    await meter.until_rest()
    assert meter.firmware_slot == 0
    assert meter.why() == [("firmware", 2, "unhealthy")]
    await meter.desire(entry)
    assert meter.firmware_slot == 0


async def test_the_old_firmware_cannot_confirm_the_new_one(meter: Meter, gateway: Gateway) -> None:
    """Between the decision and the reboot windows still come in."""
    await install(meter, "firmware", 1, firmware(1))

    meter.reboots = False
    await meter.desire(gateway.put("firmware", 2, firmware(2)))
    assert meter.restarts == 2
    await meter.windows(20)
    meter.bundles.bad()  # nor may it take it back
    assert meter.why() == []
    meter.reboots = True
    await meter.until_rest()
    assert meter.firmware_slot == 1
    await meter.windows()
    assert meter.why() == [("firmware", 2, "")]


async def test_a_firmware_that_never_hears_of_its_gateway_is_taken_back(
    meter: Meter, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Confirmed without a link that works, it could never be replaced again."""
    await install(meter, "firmware", 1, firmware(1))
    entry = gateway.put("firmware", 2, firmware(2))
    meter.reboots = False
    await meter.desire(entry)
    meter.boot()
    assert meter.firmware_slot == 1
    await meter.windows(50)
    assert meter.why() == []
    later = (ticks_ms() + TOUCH_MS + 5000) % (1 << 30)
    with monkeypatch.context() as patch:
        patch.setattr("bundles.ticks_ms", lambda: later)
        await meter.until_rest()
    assert meter.restarts == 3
    meter.boot()
    assert meter.firmware_slot == 0
    meter.reboots = True
    await meter.desire(entry)  # the gateway was away: it may try again
    await meter.windows()
    assert meter.why() == [("firmware", 2, "no_gateway"), ("firmware", 2, "")]
    assert meter.firmware_slot == 1


async def test_a_trial_without_windows_ends_by_itself(
    meter: Meter, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await meter.desire(gateway.put("model", 7, SEVEN))
    later = (ticks_ms() + TRIAL_MS + 5000) % (1 << 30)
    monkeypatch.setattr("bundles.ticks_ms", lambda: later)
    await meter.until_rest()
    assert meter.running["model"] is None
    await meter.until_rest()
    assert meter.why() == [("model", 7, "unhealthy")]


@pytest.mark.parametrize("kind", [*KINDS, "firmware"])
async def test_roll_back_by_hand_to_the_one_before(
    meter: Meter, gateway: Gateway, kind: str
) -> None:
    old, new = (firmware(6), firmware(7)) if kind == "firmware" else (EIGHT, SEVEN)
    six = await install(meter, kind, 6, old)
    seven = await install(meter, kind, 7, new)
    gateway.asked.clear()
    await meter.desire(six)
    await meter.windows()
    assert meter.why() == [(kind, 6, "")]
    assert meter.bundles.versions()[kind] == 6
    assert gateway.asked == []  # it was still in the inactive slot
    await meter.desire(seven)
    await meter.windows()
    assert (meter.why(), gateway.asked) == ([(kind, 7, "")], [])
    await install(meter, kind, 8, firmware(8) if kind == "firmware" else b"{}")
    await meter.desire(six)
    assert meter.why() == [(kind, 6, "version")]  # overwritten by now


async def test_a_roll_back_needs_a_signature_too(meter: Meter, gateway: Gateway) -> None:
    six = await install(meter, "model", 6, EIGHT)
    await install(meter, "model", 7, SEVEN)
    await meter.desire({**six, "sig": "A" * 88})
    assert meter.why() == [("model", 6, "signature")]
    assert meter.running["model"] == SEVEN


async def test_one_at_a_time_calibration_first(meter: Meter, gateway: Gateway) -> None:
    await meter.desire(
        gateway.put("firmware", 3, firmware(3)),
        gateway.put("model", 2, SEVEN),
        gateway.put("calibration", 1, EIGHT),
    )
    assert meter.running == {"calibration": EIGHT, "model": None}
    await meter.windows()
    assert meter.running == {"calibration": EIGHT, "model": SEVEN}
    await meter.windows()
    assert meter.restarts == 1
    await meter.windows()
    assert meter.why() == [("calibration", 1, ""), ("model", 2, ""), ("firmware", 3, "")]


async def test_a_damaged_active_slot_falls_to_the_other_and_is_fetched_again(
    meter: Meter, gateway: Gateway
) -> None:
    await install(meter, "model", 6, EIGHT)
    seven = await install(meter, "model", 7, SEVEN)
    (meter.root / "model_b.bin").write_bytes(b"\xff" * 100)
    meter.boot()
    assert meter.running["model"] == EIGHT
    await meter.desire(seven)
    await meter.windows()
    assert meter.why() == [("model", 7, "damaged"), ("model", 7, "")]
    assert meter.running["model"] == SEVEN


async def test_one_that_a_new_firmware_cannot_use_any_more_gives_way(
    meter: Meter, gateway: Gateway
) -> None:
    await install(meter, "model", 6, EIGHT)
    seven = await install(meter, "model", 7, SEVEN)
    assert meter.bundles.unusable("model") == EIGHT
    assert meter.bundles.versions()["model"] == 6
    assert meter.bundles.unusable("model") is None
    assert meter.bundles.versions()["model"] == 0
    await meter.desire(seven)  # fetched again, and tested again
    assert meter.why() == [("model", 6, "selftest")]
    assert meter.running["model"] == SEVEN


async def test_both_slots_damaged_means_the_built_in(meter: Meter, gateway: Gateway) -> None:
    seven = await install(meter, "model", 7, SEVEN)
    (meter.root / "model_a.bin").unlink()
    meter.boot()
    assert meter.running["model"] is None
    await meter.desire(seven)
    assert meter.running["model"] == SEVEN


async def test_a_power_cut_on_trial_rolls_back_and_tries_again_thrice(
    meter: Meter, gateway: Gateway
) -> None:
    """A bundle that hangs the meter looks like a power cut; it must not do so for ever."""
    await install(meter, "model", 6, EIGHT)
    entry = gateway.put("model", 7, SEVEN)
    for _ in range(3):
        await meter.desire(entry)
        assert meter.running["model"] == SEVEN
        meter.boot()
        assert meter.running["model"] == EIGHT
        await meter.until_rest()
        assert meter.why() == [("model", 7, "power_cut")]
    gateway.asked.clear()
    await meter.desire(entry)
    assert meter.why() == [("model", 7, "power_cut")]
    await meter.desire(entry)
    assert (meter.why(), gateway.asked) == ([], [])
    assert meter.running["model"] == EIGHT


async def test_without_a_loader_a_firmware_is_given_up(meter: Meter, gateway: Gateway) -> None:
    meter.loader = False
    entry = gateway.put("firmware", 2, firmware(2))
    await meter.desire(entry)
    await meter.desire(entry)
    assert meter.why() == [("firmware", 2, "loader")]
    assert (meter.restarts, meter.bundles.versions()["firmware"]) == (1, 0)


async def test_first_firmware_came_with_the_meter(tmp_path: Path, gateway: Gateway) -> None:
    (tmp_path / "app_a").mkdir()
    packed = firmware(5)
    length = int.from_bytes(packed[5:9], "little")
    (tmp_path / "app_a" / "manifest.json").write_bytes(packed[9 : 9 + length])
    (tmp_path / "app_a" / "app.py").write_bytes(b"# version 5\n")
    (tmp_path / "app_a" / "other.py").write_bytes(b"x = 1\n" * 700)
    meter = Meter(tmp_path, gateway)
    assert meter.firmware_slot == 0
    assert meter.bundles.versions()["firmware"] == 5
    await meter.desire(gateway.put("firmware", 4, firmware(4)))
    await meter.desire(gateway.put("firmware", 5, packed))  # what runs already
    assert meter.why() == [("firmware", 4, "version")]
    await install(meter, "firmware", 6, firmware(6))
    assert meter.firmware_slot == 1
