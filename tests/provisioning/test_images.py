"""MicroPython images: pinned, fetched from a real server, refused when they are not right."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.domain.errors import TransientError
from provisioning import images
from provisioning.errors import ImageError
from provisioning.images import PINNED, Pinned, fetched, from_file
from tests.provisioning.conftest import needs_root
from tests.support.disks import TinyDisk
from tests.support.meter_image import image, write_image


class Shelf(http.server.ThreadingHTTPServer):
    """Serves one content under every name; `cut` closes the connection in the middle."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = image()
        self.cut = False
        self.status = 200
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        half = len(self.server.content) // 2 if self.server.cut else None
        self.wfile.write(self.server.content[:half])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Pinned:
    """Pin the test's image in place of the released one, which is not ours to ship."""
    right = Pinned("ESP32_TEST.bin", 0x1000, hashlib.sha256(image()).hexdigest())
    monkeypatch.setattr(images, "PINNED", {**PINNED, "esp32": right})
    return right


def ignore(_: float) -> None:
    pass


def test_the_pinned_ones_are_of_one_version_and_say_what_they_are() -> None:
    assert set(PINNED) == {"esp32", "esp32s3", "esp32c3"}
    for chip, one in PINNED.items():
        assert images.VERSION in one.name
        assert len(bytes.fromhex(one.sha256)) == 32
        assert one.start == (0x1000 if chip == "esp32" else 0)
    assert len({one.sha256 for one in PINNED.values()}) == 3


def test_it_is_fetched_once_with_progress(shelf: Shelf, pinned: Pinned, tmp_path: Path) -> None:
    heard: list[float] = []
    got = fetched("esp32", heard.append, source=shelf.url, folder=tmp_path)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert got.sha256 == pinned.sha256
    assert got.vfs_start == 0x200000
    assert [start for start, _ in got.parts] == [0x1000, 0x10000]
    assert fetched("esp32", ignore, source=shelf.url, folder=tmp_path) == got
    assert shelf.asked == 1
    (tmp_path / pinned.name).write_bytes(b"damaged since")
    assert fetched("esp32", ignore, source=shelf.url, folder=tmp_path) == got
    assert shelf.asked == 2


def test_what_is_not_the_released_image_is_not_kept(
    shelf: Shelf, pinned: Pinned, tmp_path: Path
) -> None:
    shelf.content = image(seed=9)
    with pytest.raises(ImageError, match=r"not that of the released image; .* with --image"):
        fetched("esp32", ignore, source=shelf.url, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["cut", "missing", "down"])
def test_a_network_that_fails_is_told(
    shelf: Shelf, pinned: Pinned, tmp_path: Path, how: str
) -> None:
    shelf.cut = how == "cut"
    shelf.status = 404 if how == "missing" else 200
    source = "http://127.0.0.1:9/" if how == "down" else shelf.url
    with pytest.raises(TransientError) as caught:
        fetched("esp32", ignore, source=source, folder=tmp_path)
    assert "cannot be fetched" in str(caught.value)
    assert f"download it elsewhere from {source}{pinned.name}" in str(caught.value)
    shelf.cut, shelf.status = False, 200
    assert fetched("esp32", ignore, source=shelf.url, folder=tmp_path).sha256 == pinned.sha256


@needs_root
def test_a_full_disk_is_told(shelf: Shelf, pinned: Pinned, tmp_path: Path) -> None:
    with TinyDisk(tmp_path / "disk", 64 * 1024) as disk:
        with pytest.raises(ImageError, match="No space left on device; make room there"):
            fetched("esp32", ignore, source=shelf.url, folder=disk.root)
        assert list(disk.root.iterdir()) == []


def test_a_file_must_be_the_pinned_image_or_named_by_its_hash(
    pinned: Pinned, tmp_path: Path
) -> None:
    path, sha256 = write_image(tmp_path / "a.bin")
    assert from_file(path, "esp32").sha256 == pinned.sha256
    other, own = write_image(tmp_path / "b.bin", seed=5)
    with pytest.raises(ImageError) as caught:
        from_file(other, "esp32")
    assert f"its SHA-256 is {own}, which is not that of ESP32_TEST.bin" in str(caught.value)
    assert "--sha256" in str(caught.value)
    assert from_file(other, "esp32", sha256=own.upper()).sha256 == own
    with pytest.raises(ImageError, match="its SHA-256 is"):
        from_file(path, "esp32", sha256=own)
    assert sha256 == pinned.sha256


def test_an_image_for_another_chip_and_what_is_no_image(pinned: Pinned, tmp_path: Path) -> None:
    path, sha256 = write_image(tmp_path / "c3.bin", "esp32c3")
    with pytest.raises(ImageError) as caught:
        from_file(path, "esp32", sha256=sha256)
    assert "an image for esp32c3, the board has an esp32; get ESP32_TEST.bin" in str(caught.value)
    for content in (b"", b"<html>404</html>" * 5000, b"\xe9"):
        path.write_bytes(content)
        with pytest.raises(ImageError, match="this is no ESP32 image"):
            from_file(path, "esp32")
    with pytest.raises(ImageError, match=r"cannot be read \(No such file"):
        from_file(tmp_path / "none.bin", "esp32")
    short = image()[: 0x10000 - 0x1000]
    path.write_bytes(short)
    with pytest.raises(ImageError, match="cut short"):
        from_file(path, "esp32", sha256=hashlib.sha256(short).hexdigest())
