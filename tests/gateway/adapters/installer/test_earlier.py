"""Files as they were before an upgrade, kept on disk: what comes back, and what is left alone."""

from pathlib import Path

import pytest

from gateway.adapters.installer.earlier import Noted, look_at, noted


def test_what_was_changed_made_and_removed_is_as_it_was(tmp_path: Path) -> None:
    marker = tmp_path / "upgrading.json"
    unit, hand_made, fresh, same = (tmp_path / name for name in ("a", "b", "new/c", "d"))
    for path, content in ((unit, b"old\n"), (hand_made, b"caf\xe9\n"), (same, b"same\n")):
        path.write_bytes(content)
        path.chmod(0o640)
    Noted("1-1", "2-1", "", look_at([unit, hand_made, fresh, same])).write(marker)
    unit.write_bytes(b"of 2\n")
    unit.chmod(0o644)
    hand_made.unlink()
    fresh.parent.mkdir()
    fresh.write_bytes(b"of 2\n")
    untouched = same.stat()
    found = noted(marker)  # as another process reads it
    assert found is not None
    assert (found.old, found.new) == ("1-1", "2-1")
    assert found.put_back() == [unit, hand_made, fresh]
    assert (unit.read_bytes(), unit.stat().st_mode & 0o777) == (b"old\n", 0o640)
    assert (hand_made.read_bytes(), hand_made.stat().st_mode & 0o777) == (b"caf\xe9\n", 0o640)
    assert not fresh.exists()
    assert same.stat() == untouched
    assert found.put_back() == []


def test_a_marker_of_an_earlier_version_has_no_files(tmp_path: Path) -> None:
    marker = tmp_path / "upgrading.json"
    marker.write_text('{"from": "1-1", "to": "2-1", "copy": "/var/lib/w.db.copy"}')
    found = noted(marker)
    assert found is not None
    assert (found.copy, found.files) == ("/var/lib/w.db.copy", [])


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"from": 1}', b"\xff"])
def test_a_marker_that_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    marker = tmp_path / "upgrading.json"
    if content is not None:
        marker.write_bytes(content)
    assert noted(marker) is None
