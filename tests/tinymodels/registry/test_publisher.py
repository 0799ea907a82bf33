"""What publishers do: versions rise, the gate is asked, keys stay private, crashes are outlived."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from securesystemslib.signer import CryptoSigner

from cloud_sync.objects import BucketStore
from gateway.cli import cli
from gateway.domain.errors import BadInputError, ConfigError, ConflictError, TransientError
from tests.support.bad_models import good_package
from tests.support.registry_rig import RegistryRig, model_item
from tests.support.signing import Signer
from tests.support.storage_rig import StorageRig
from tinymodels.detect.package import pack
from tinymodels.registry.items import gated, item_of, verdict_of
from tinymodels.registry.keys import Keyring, key_of, new_key
from tinymodels.registry.publisher import KEPT_VERSIONS, listing
from tinymodels.registry.repository import Repository


@pytest.fixture
def rig(tmp_path: Path) -> RegistryRig:
    return RegistryRig(tmp_path / "repository")


def paths(rig: RegistryRig) -> list[str]:
    return [one.path for one in listing(Repository.load(rig.store))]


def test_versions_rise_and_what_is_published_never_changes(rig: RegistryRig) -> None:
    rig.publish(model_item(2))
    before = rig.saved()
    rig.publish(model_item(2))  # the same again
    assert rig.saved() == before
    with pytest.raises(ConflictError, match="another content; raise the version"):
        rig.publish(model_item(2, b"other"))
    with pytest.raises(BadInputError, match="above 2"):
        rig.publish(model_item(1))
    assert rig.saved() == before


def test_the_newest_few_of_a_family_are_offered(rig: RegistryRig) -> None:
    for version in range(1, 6):
        rig.publish(model_item(version), model_item(version, kind="gaussian")._replace(
            name=f"gaussian-pooled-grid-{version}.wwm"
        ))  # fmt: skip
    assert len(paths(rig)) == 2 * KEPT_VERSIONS
    assert "stable/charts-pooled-grid-2.wwm" not in paths(rig)
    assert "stable/gaussian-pooled-grid-5.wwm" in paths(rig)


def test_promotion_takes_the_same_bytes_to_all(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item(1, gate={"passed": True}), channel="canary")
    assert rig.publisher.promote("charts-pooled-grid-1.wwm") == "stable/charts-pooled-grid-1.wwm"
    (offer,) = rig.client(tmp_path / "t").offers(rig.now_ms)
    assert offer.sha256 == hashlib.sha256(model_item(1).body).hexdigest()
    assert offer.custom["gate"] == {"passed": True}
    rig.publisher.withdraw("stable", "charts-pooled-grid-1.wwm")
    assert paths(rig) == ["canary/charts-pooled-grid-1.wwm"]


def test_a_publisher_who_crashed_is_outlived(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item(1))
    before = rig.saved()
    rig.publish(model_item(2))
    after = rig.saved()
    for name in sorted(set(after) - set(before)):  # each file that had been put out by then
        rig.restore(before | {name: after[name]})
        assert len(rig.client(tmp_path / "t" / name).offers(rig.now_ms)) == 1
        rig.publish(model_item(3))
        found = rig.client(tmp_path / "t" / name).offers(rig.now_ms)
        assert [one.custom["version"] for one in found] == [1, 3]


def test_two_publishers_at_once_do_not_lose_each_others_work(rig: RegistryRig) -> None:
    first = Repository.load(rig.store)
    rig.publish(model_item(1))
    with pytest.raises(TransientError, match="changed by somebody else"):
        first.release({"stable"}, rig.publisher.keys, rig.now, rig.publisher.lives)
    assert paths(rig) == ["stable/charts-pooled-grid-1.wwm"]


def test_nothing_that_somebody_else_put_there_is_signed(rig: RegistryRig) -> None:
    rig.publish(model_item(1))
    path = rig.root / "metadata/2.stable.json"
    told = json.loads(path.read_text())
    told["signed"]["targets"]["stable/charts-pooled-grid-1.wwm"]["length"] = 1
    path.write_text(json.dumps(told))
    with pytest.raises(BadInputError, match="stable: not signed by the keys"):
        rig.publish(model_item(2))


def test_the_gate_is_asked(tmp_path: Path) -> None:
    package = good_package(1)
    file = tmp_path / package.name
    file.write_bytes(pack(package))
    item = item_of(file)
    assert item.custom["kind"] == "charts"
    with pytest.raises(BadInputError, match="no verdict of the gate"):
        gated(item, verdict_of(file), force=False, reason="", by="ada")
    beside = tmp_path / f"{package.name}.verdict.json"
    digest = hashlib.sha256(item.body).hexdigest()
    beside.write_text(json.dumps({"passed": False, "lines": ["recall fell"], "sha256": digest}))
    with pytest.raises(BadInputError, match="the gate refused it"):
        gated(item, verdict_of(file), force=False, reason="", by="ada")
    with pytest.raises(BadInputError, match="--reason"):
        gated(item, verdict_of(file), force=True, reason=" ", by="ada")
    forced = gated(item, verdict_of(file), force=True, reason="for the bench", by="ada").custom
    assert forced["forced"] == {"reason": "for the bench", "by": "ada"}
    assert forced["gate"] == {"passed": False, "lines": ["recall fell"]}
    beside.write_text(json.dumps({"passed": True, "lines": [], "sha256": "0" * 64}))
    with pytest.raises(BadInputError, match="on another content"):
        gated(item, verdict_of(file), force=False, reason="", by="ada")
    beside.write_text(json.dumps({"passed": True, "lines": ["ok"], "sha256": digest}))
    assert "forced" not in gated(item, verdict_of(file), force=False, reason="", by="a").custom


def test_meters_bundles_need_their_signature(tmp_path: Path) -> None:
    file = tmp_path / "fw.bin"
    file.write_bytes(b"firmware")
    with pytest.raises(BadInputError, match="--entry"):
        item_of(file)
    entry = Signer().announce("firmware", 3, b"firmware")
    (tmp_path / "fw.bin.json").write_text(json.dumps(entry))
    item = item_of(file)
    assert (item.name, item.custom["what"]) == ("firmware/pooled-3.bin", "firmware")
    assert gated(item, None, force=False, reason="", by="ada").custom["sig"] == entry["sig"]
    (tmp_path / "fw.bin.json").write_text(json.dumps(Signer().announce("firmware", 3, b"other")))
    with pytest.raises(BadInputError, match="another content"):
        item_of(file)


def test_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys/stable.pem"
    new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="cannot be written"):
        new_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        Keyring.load([path.parent], {})
    pem = path.read_text()
    ring = Keyring.load([], {"WATTWARDEN_REGISTRY_KEY_STABLE": pem, "OTHER": "x"})
    path.chmod(0o600)
    assert ring.signers([key_of(path).public_key.keyid])
    with pytest.raises(ConfigError, match=r"\$WATTWARDEN_REGISTRY_KEY_X"):
        Keyring.load([], {"WATTWARDEN_REGISTRY_KEY_X": "nonsense"})


def test_two_of_three_must_sign_where_it_is_so_wanted(rig: RegistryRig, tmp_path: Path) -> None:
    others = [CryptoSigner.generate_ed25519() for _ in range(2)]
    rig.publisher.add_key("root", others[0].public_key)
    rig.publisher.keys.add(others[0])
    rig.publisher.add_key("root", others[1].public_key, threshold=2)
    with pytest.raises(ConfigError, match="root needs 2 of the keys"):
        rig.with_keys(rig.signers["root"]).renew(["root"])
    two = rig.with_keys(*others, *[rig.signers[r] for r in ("snapshot", "timestamp")])
    two.renew(["root"])
    rig.publish(model_item(1))
    assert rig.client(tmp_path / "t").offers(rig.now_ms)


def test_the_commands_do_it_all(tmp_path: Path) -> None:
    package = good_package(4)
    file = tmp_path / package.name
    file.write_bytes(pack(package))
    place = ["--repository", str(tmp_path / "repo")]
    keys = [*place, "--keys", str(tmp_path / "keys")]
    root = tmp_path / "root.json"

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["registry", *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    stick = ["--keys", str(tmp_path / "stick")]
    run("init", *keys, "--offline-keys", str(tmp_path / "stick"), "--root-out", str(root))
    assert root.is_file()
    assert sorted(os.listdir(tmp_path / "stick")) == ["root.pem", "targets.pem"]  # noqa: PTH208
    with pytest.raises(BadInputError, match="--force --reason"):
        run("publish", str(file), *keys)
    said = run("publish", str(file), *keys, "--force", "--reason", "a test")
    assert "canary/charts-kitchen-grid-4.wwm is published" in said
    assert "stable/charts" in run("promote", package.name, *keys)
    shown = json.loads(run("show", *place, "--json"))
    assert [one["custom"]["forced"]["reason"] for one in shown["items"]] == ["a test"] * 2
    assert set(shown["roles"]) == {"root", "targets", "stable", "canary", "snapshot", "timestamp"}
    assert "forced: a test" in run("show", *place)
    new = str(tmp_path / "keys/stable-2.pem")
    assert "stable: revoked" in run("rotate", "stable", "--new", new, *keys, *stick)
    assert "renewed: snapshot, timestamp" in run("renew", *keys)
    with pytest.raises(ConfigError, match="root needs 1 of the keys"):
        run("rotate", "timestamp", "--new", str(tmp_path / "keys/t2.pem"), *keys)
    assert "offered no more" in run("withdraw", package.name, "--channel", "stable", *keys)


def test_a_bucket_is_a_place_for_a_repository_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.cloud.storage import Client  # noqa: PLC0415

    with StorageRig() as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        Client(project="p", credentials=AnonymousCredentials()).create_bucket("models")
        bucket = BucketStore("models", AnonymousCredentials(), "p", "home")
        rig = RegistryRig(tmp_path / "unused", bucket)
        big = bytes(range(256)) * 3000
        rig.publish(model_item(1, big))
        client = rig.client(tmp_path / "t", bucket)
        (offer,) = client.offers(rig.now_ms)
        assert client.fetch(offer) == big
        assert isinstance(rig.store, BucketStore)
        with pytest.raises(ConflictError):
            bucket.put_new("metadata/1.root.json", b"mine")
    with pytest.raises(TransientError):
        client.offers(rig.now_ms)
