"""The two slots of a kind: what may come in, what a boot makes of the record."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from bootslot import NONE, Record
from checked import Checked
from choice import choose
from errors import FlashError
from hypothesis import given, settings
from hypothesis import strategies as st
from slots import MOST_TRIES, Slots, mark


def entry(version: int, content: bytes = b"x", sig: str = "s") -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"version": version, "size": len(content), "sha256": sha256, "sig": sig}


def run(slots: Slots, version: int, content: bytes, *, confirm: bool = True) -> dict[str, Any]:
    """Bring a version into the inactive slot and make it the active one."""
    what = entry(version, content)
    slot = slots.inactive()
    Path(slots.path(slot)).write_bytes(content)
    slots.stage(slot, what)
    assert slots.begin(what)
    slots.activate(slot)
    if confirm:
        slots.confirm()
    return what


def test_the_active_slot_is_never_the_one_written(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path), "model")
    for version in range(1, 6):
        before = slots.read(slots.state["active"])
        slot = slots.inactive()
        assert slot != slots.state["active"]
        run(slots, version, b"%d" % version)
        assert slots.version == version
        assert slots.read(1 - slot) == before or before is None


def test_versions_rise_over_the_highest_confirmed(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path), "model")
    five = run(slots, 5, b"five")
    assert [slots.admits(entry(v)) for v in (4, 5, 6)] == [False, False, True]
    run(slots, 6, b"six", confirm=False)
    assert slots.admits(entry(6))  # not confirmed yet: another 6 may come
    slots.confirm()
    assert not slots.admits(entry(6))
    assert slots.admits(five)  # the confirmed one, still in the inactive slot
    run(slots, 7, b"seven")
    assert not slots.admits(five)
    assert slots.admits(entry(7, b"seven"))  # itself, should its slot be damaged


def test_one_not_confirmed_is_no_way_back(tmp_path: Path) -> None:
    slots = Slots(str(tmp_path), "model")
    run(slots, 9, b"nine")
    bad = run(slots, 10, b"ten", confirm=False)
    slots.fall_back("unhealthy")
    assert slots.version == 9
    assert slots.admits(bad)  # it rises; whether it was refused is another question
    slots.refuse(mark(bad), "unhealthy")
    assert slots.was_refused(bad)


def test_tries_are_counted_over_boots(tmp_path: Path) -> None:
    what = entry(3)
    for _ in range(MOST_TRIES):
        assert Slots(str(tmp_path), "model").begin(what)
    assert not Slots(str(tmp_path), "model").begin(what)
    assert Slots(str(tmp_path), "model").begin(entry(3, sig="another"))


def test_marks_differ_in_every_field() -> None:
    base = entry(1, b"x", "s")
    changed: list[dict[str, Any]] = [
        {"version": 2},
        {"size": 2},
        {"sig": "t"},
        {"sha256": "0" * 64},
    ]
    assert len({mark(base), *(mark({**base, **change}) for change in changed)}) == 5


@pytest.mark.parametrize("step", ["activate", "confirm"])
def test_a_full_flash_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    slots = Slots(str(tmp_path), "model")
    run(slots, 1, b"one")
    if step == "confirm":
        run(slots, 2, b"two", confirm=False)
    before = dict(slots.state)

    def full(self: Checked, data: bytes) -> None:
        msg = "flash is full"
        raise FlashError(msg)

    monkeypatch.setattr(Checked, "save", full)
    with pytest.raises(FlashError):
        slots.activate(1) if step == "activate" else slots.confirm()
    kept = ("active", "pending", "floor", "versions")
    assert {key: slots.state[key] for key in kept} == {key: before[key] for key in kept}


def test_settling_after_a_full_flash_goes_on_in_ram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = Slots(str(tmp_path), "model")
    run(slots, 1, b"one")
    run(slots, 2, b"two", confirm=False)

    def full(self: Checked, data: bytes) -> None:
        msg = "flash is full"
        raise FlashError(msg)

    monkeypatch.setattr(Checked, "save", full)
    again = Slots(str(tmp_path), "model")
    again.settle()
    assert (again.version, again.read(again.state["active"])) == (1, b"one")


saved = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
KEYS = ["active", "back", "pending", "tried", "versions", "hashes", "confirmed", "fell", "new"]


@settings(max_examples=30, deadline=None)
@given(state=st.dictionaries(st.sampled_from(KEYS), saved))
def test_no_record_whatever_stops_a_boot(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    root = tmp_path_factory.mktemp("root")
    for raw in (json.dumps(state), json.dumps([state]), "{", ""):
        Checked(str(root), "slots_firmware").save(raw.encode())
        assert choose(str(root)) == NONE
        record = Record(str(root), "firmware")
        assert record.state["active"] in (NONE, 0, 1)
