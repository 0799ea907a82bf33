"""A whole site in one file, and back onto another card."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from gateway.adapters.safekeeping import sealing
from tests.gateway.cli.rig import Said, Site, run
from tests.support.daemon import command, to_toml
from tests.support.terminal import Answer, type_at

WORDS = "correct horse battery"
SECRETS = {
    "etc/wattwarden/mqtt.password": (0o600, "the gateway's word\n"),
    "etc/wattwarden/authority/ca.key": (0o600, "key of the house\n"),
    "etc/wattwarden/authority/ca.crt": (0o644, "certificate of the house\n"),
    "etc/credstore/wattwarden.web.key": (0o600, "web key\n"),
    "etc/mosquitto/wattwarden.passwd": (0o640, "kitchen:$7$101$x$y\n"),
    "etc/mosquitto/wattwarden.acl": (0o640, "pattern write ww/v1/%u/readings\n"),
    "etc/mosquitto/certs/wattwarden-broker.key": (0o640, "broker key\n"),
    "var/lib/wattwarden/site_key.pem": (0o600, "site key\n"),
}
ELSEWHERE = {
    "etc/mosquitto/mosquitto.conf": "Debian's own\n",
    "etc/credstore/other.secret": "somebody else's\n",
    "var/lib/wattwarden/wattwarden.db.lock": "",
}


class Card:
    """A staging root as `install` leaves it, with a database and keys."""

    def __init__(self, root: Path, site: str = "home") -> None:
        self.root = root
        self.state = root / "var/lib/wattwarden"
        self.config = root / "etc/wattwarden/config.toml"
        for folder in (self.state, self.config.parent):
            folder.mkdir(parents=True)
        settings = {
            "site": {"id": site, "timezone": "Europe/Lisbon"},
            "storage": {"path": "/var/lib/wattwarden/wattwarden.db"},
        }
        self.config.write_text(to_toml(settings))

    def write(self, files: dict[str, tuple[int, str]]) -> None:
        for name, (mode, text) in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)

    def run(self, *arguments: str) -> Said:
        return run(*arguments, "--root", str(self.root))

    def ok(self, *arguments: str) -> Said:
        said = self.run(*arguments)
        assert said.status == 0, said
        return said

    def content(self) -> dict[str, tuple[int, str]]:
        found = {}
        for name in SECRETS:
            path = self.root / name
            if path.exists():
                found[name] = (path.stat().st_mode & 0o777, path.read_text())
        return found


@pytest.fixture(autouse=True)
def quick_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SCRYPT_N", 2)


@pytest.fixture
def old(tmp_path: Path) -> Card:
    card = Card(tmp_path / "old", "lighthouse")
    card.write(SECRETS)
    card.write({name: (0o644, text) for name, text in ELSEWHERE.items()})
    fill_card(card)
    return card


def fill_card(card: Card) -> None:
    """Give the card's database a meter."""
    config = card.root.parent / "fill.toml"
    config.write_text(to_toml({"storage": {"path": str(card.state / "wattwarden.db")}}))
    site = Site(config, card.state / "wattwarden.db")
    site.ok("meters", "add", "kitchen")


def passphrase(tmp_path: Path, text: str = WORDS) -> list[str]:
    file = tmp_path / "words"
    file.write_text(text + "\n")
    file.chmod(0o600)
    return ["--passphrase-file", str(file)]


@pytest.mark.parametrize("kind", ["encrypted", "open"])
def test_a_new_card_becomes_the_old_one(old: Card, tmp_path: Path, kind: str) -> None:
    encrypted = kind == "encrypted"
    options = passphrase(tmp_path) if encrypted else []
    file = tmp_path / "home.wattwarden"
    said = old.ok("backup", "--everything", str(file), *options)
    assert ("not encrypted" in said.out) is not encrypted
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.glob(".home*")] == []

    new = Card(tmp_path / "new")
    new.write({"etc/wattwarden/mqtt.password": (0o600, "of the fresh card\n")})
    said = new.ok("restore", str(file), "--yes", *options)
    assert "site lighthouse" in said.err
    assert "1 meters" in said.err
    assert new.content() == SECRETS
    assert 'id = "lighthouse"' in new.config.read_text()
    for name in ELSEWHERE:
        assert not (new.root / name).exists() or name.endswith(".lock")
    assert not list(new.state.glob(".restoring*"))

    # What the fresh card had is kept, and can be put back.
    kept = new.state / "wattwarden.db.before-restore.wattwarden"
    assert kept.stat().st_mode & 0o777 == 0o600
    new.ok("restore", str(kept), "--yes")
    assert new.content()["etc/wattwarden/mqtt.password"] == (0o600, "of the fresh card\n")
    assert 'id = "home"' in new.config.read_text()


def test_a_database_alone_still_works_as_ever(old: Card, tmp_path: Path) -> None:
    config = tmp_path / "fill.toml"
    file = tmp_path / "b.db"
    assert run("backup", str(file), "--config", str(config)).status == 0
    assert file.read_bytes().startswith(b"SQLite format 3")
    assert run("restore", str(file), "--yes", "--config", str(config)).status == 0
    refused = run("backup", str(tmp_path / "c"), "--encrypt", "--config", str(config))
    assert (refused.status, "--everything" in refused.err) == (2, True)


def test_no_damage_goes_unnoticed_and_nothing_is_changed(old: Card, tmp_path: Path) -> None:
    file = tmp_path / "home.wattwarden"
    old.ok("backup", "--everything", str(file), *passphrase(tmp_path))
    whole = file.read_bytes()
    new = Card(tmp_path / "new")
    before = new.config.read_text()
    other = tmp_path / "other"
    other.write_text("another passphrase\n")
    other.chmod(0o600)
    cases = [
        (whole, [], "--passphrase-file"),
        (whole, ["--passphrase-file", str(other)], "passphrase is wrong"),
        (whole[:-1], passphrase(tmp_path), "damaged"),
        (whole[: len(whole) // 2], passphrase(tmp_path), "damaged or cut off|passphrase"),
        (whole[:60] + b"!" + whole[61:], passphrase(tmp_path), ""),
    ]
    for content, options, word in cases:
        file.write_bytes(content)
        said = new.run("restore", str(file), "--yes", *options)
        assert said.status == 2, said
        assert said.err.count("\n") == 1
        assert any(part in said.err for part in word.split("|")), said
    assert new.config.read_text() == before
    assert new.content() == {}
    assert not (new.state / "wattwarden.db").exists()


def test_an_unencrypted_file_that_was_cut_or_changed(old: Card, tmp_path: Path) -> None:
    file = tmp_path / "home.wattwarden"
    old.ok("backup", "--everything", str(file))
    whole = file.read_bytes()
    new = Card(tmp_path / "new")
    for at in range(80, len(whole), len(whole) // 15):
        file.write_bytes(whole[:at])
        said = new.run("restore", str(file), "--yes")
        assert (said.status, said.err.count("\n")) == (2, 1), (at, said)
        assert new.content() == {}
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        said = new.run("restore", str(file), "--yes")
        # A bit that changes nothing of what is unpacked does no harm (deflate has such bits).
        assert new.content() == ({} if said.status == 2 else SECRETS)
        for name in SECRETS:
            (new.root / name).unlink(missing_ok=True)


def forged(name: str, config: str = "/etc/wattwarden/config.toml") -> bytes:
    """Return an archive with a file of our own choice in it."""
    text = b'[site]\nid = "home"\n'
    entries = [
        {"path": path, "size": len(text), "sha256": hashlib.sha256(text).hexdigest(),
         "mode": 0o644, "user": "root", "group": "root"}
        for path in (config, name)
    ]  # fmt: skip
    manifest = {"site": "x", "version": "0", "made_ms": 0, "config": config,
                "entries": entries, "format": 1}  # fmt: skip
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        parts = [("manifest.json", json.dumps(manifest).encode()), ("0", text), ("1", text)]
        for part, content in parts:
            info = tarfile.TarInfo(part)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return b'WATTWARDEN-BACKUP-1 {"cipher": "none"}\n' + packed.getvalue()


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "/etc/cron.d/wattwarden", "/etc/wattwarden/../shadow", "etc/wattwarden/x",
     "/root/.ssh/authorized_keys", "/etc/mosquitto/mosquitto.conf"],
)  # fmt: skip
def test_a_backup_writes_nowhere_but_in_its_own_places(tmp_path: Path, name: str) -> None:
    file = tmp_path / "forged"
    file.write_bytes(forged(name))
    card = Card(tmp_path / "card")
    said = card.run("restore", str(file), "--yes")
    assert (said.status, "belongs to no site" in said.err) == (2, True), said
    assert not (card.root / "etc/passwd").exists()


def test_a_newer_format_and_foreign_settings(tmp_path: Path) -> None:
    file = tmp_path / "forged"
    card = Card(tmp_path / "card")
    file.write_bytes(forged("/etc/wattwarden/kept"))
    card.ok("restore", str(file), "--yes")
    text = forged("/etc/wattwarden/kept")
    header, _, packed = text.partition(b"\n")
    plain = gzip.decompress(packed).replace(b'"format": 1', b'"format": 2')
    file.write_bytes(header + b"\n" + gzip.compress(plain))
    said = card.run("restore", str(file), "--yes")
    assert (said.status, "newer version" in said.err) == (2, True)


def test_short_and_open_passphrases(old: Card, tmp_path: Path) -> None:
    short = old.run("backup", "--everything", str(tmp_path / "f"), *passphrase(tmp_path, "short"))
    assert (short.status, "at least 12" in short.err) == (2, True)
    words = passphrase(tmp_path)
    Path(words[1]).chmod(0o644)
    opened = old.run("backup", "--everything", str(tmp_path / "f"), *words)
    assert (opened.status, "chmod 600" in opened.err) == (2, True)
    nobody = old.run("restore", str(tmp_path / "f"))
    assert nobody.status == 2


def test_at_a_terminal_the_passphrase_is_asked_for(tmp_path: Path) -> None:
    old, new, file = Card(tmp_path / "old"), Card(tmp_path / "new"), tmp_path / "home.wattwarden"
    old.write(SECRETS)
    where = ("--root", str(old.root))
    asked: dict[str, Answer] = {"Passphrase": WORDS, "confirmation": WORDS}
    made = type_at([*command(), "backup", "--everything", str(file), "--encrypt", *where], asked)
    assert made.status == 0, made.text
    where = ("--root", str(new.root))
    asked = {"Passphrase": WORDS, "Replace this site": "y"}
    back = type_at([*command(), "restore", str(file), *where], asked)
    assert back.status == 0, back.text
    assert "is restored" in back.text
    assert WORDS not in made.text + back.text
    assert (new.root / "etc/wattwarden/mqtt.password").read_text() == "the gateway's word\n"
