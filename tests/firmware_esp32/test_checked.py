"""A checked record is the last one saved or the one before it, whatever happens to the files."""

from pathlib import Path

import pytest
from checked import MAX_BYTES, Checked
from errors import FlashError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keeping import Cuts, PowerCutError, power


def test_it_comes_back_and_alternates(tmp_path: Path) -> None:
    for count in range(5):
        assert Checked(str(tmp_path), "r").load() == (b"%d" % (count - 1) if count else None)
        Checked(str(tmp_path), "r").save(b"%d" % count)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.a", "r.b"]


def test_a_cut_at_any_step_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        for part in (0.0, 0.3, 0.9, 1.0):
            store = Checked(str(tmp_path), f"r{step}{part}")
            store.save(b"first")
            store.save(b"old")
            cuts = Cuts()
            cuts.at, cuts.part = step, part
            with power(cuts), pytest.raises(PowerCutError):
                store.save(b"new")
            assert Checked(str(tmp_path), f"r{step}{part}").load() in {b"old", b"new"}


@given(st.integers(0, 200), st.integers(1, 255), st.booleans())
def test_damage_of_the_newest_falls_back(at: int, flip: int, cut: bool) -> None:  # noqa: FBT001
    import tempfile  # noqa: PLC0415 - hypothesis and tmp_path do not go together

    with tempfile.TemporaryDirectory() as root:
        store = Checked(root, "r")
        store.save(b"old")
        store.save(bytes(range(100)))
        path = Path(root, "r.b")
        raw = bytearray(path.read_bytes())
        at %= len(raw)
        if cut:
            raw = raw[:at]
        else:
            raw[at] ^= flip
        path.write_bytes(raw)
        again = Checked(root, "r")
        assert again.load() == b"old"
        again.save(b"newer")
        assert Checked(root, "r").load() == b"newer"


def test_nothing_and_rubbish_are_no_record(tmp_path: Path) -> None:
    assert Checked(str(tmp_path), "r").load() is None
    (tmp_path / "r.a").write_bytes(b"\xff" * 500)
    (tmp_path / "r.b").write_bytes(b"")
    assert Checked(str(tmp_path), "r").load() is None


def test_a_disk_that_refuses_is_named_and_the_record_stays(tmp_path: Path) -> None:
    store = Checked(str(tmp_path), "r")
    store.save(b"old")
    cuts = Cuts()
    cuts.fail = lambda _step: True
    with power(cuts), pytest.raises(FlashError, match=r"r\.b"):
        store.save(b"new")
    assert Checked(str(tmp_path), "r").load() == b"old"
    with pytest.raises(FlashError, match="at most"):
        store.save(bytes(MAX_BYTES + 1))


def test_removed_is_gone(tmp_path: Path) -> None:
    store = Checked(str(tmp_path), "r")
    store.save(b"old")
    store.remove()
    assert Checked(str(tmp_path), "r").load() is None
