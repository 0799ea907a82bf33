"""The site's key: made once, private, and never silently another one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.adapters.site_key import SiteKey
from gateway.domain.errors import ConfigError


def test_it_is_made_once_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "site_key.pem"
    key = SiteKey.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = SiteKey.load_or_create(path)
    assert again.public_hex == key.public_hex
    assert len(bytes.fromhex(key.public_hex)) == 32
    Ed25519PublicKey.from_public_bytes(key.public).verify(again.sign(b"text"), b"text")
    assert again.verifies(key.sign(b"text"), b"text")
    assert not again.verifies(key.sign(b"text"), b"other")
    assert [one.name for one in path.parent.iterdir()] == ["site_key.pem"]


def test_of_several_at_once_all_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "site_key.pem"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: SiteKey.load_or_create(path).public_hex, range(8)))
    assert set(keys) == {SiteKey.load_or_create(path).public_hex}


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [(b"nonsense", 0o600, "holds no private key"), (b"", 0o644, "read by others: chmod 600")],
)
def test_what_is_wrong_with_it_is_said(
    tmp_path: Path, content: bytes, mode: int, said: str
) -> None:
    path = tmp_path / "site_key.pem"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=said):
        SiteKey.load_or_create(path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"site\.key_file"):
        SiteKey.load_or_create(tmp_path / "file" / "site_key.pem")
