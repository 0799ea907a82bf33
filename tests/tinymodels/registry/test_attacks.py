"""What who holds the repository's server can try, against the real client of python-tuf."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from gateway.domain.errors import ConfigError, StorageError, TransientError
from gateway.services.models.ports import RegistryRefusedError, Why
from tests.support.disks import TinyDisk
from tests.support.registry_rig import LyingServer, RegistryRig, model_item
from tinymodels.registry.sources import HttpSource

DAY_MS = 86_400_000


@pytest.fixture
def rig(tmp_path: Path) -> RegistryRig:
    return RegistryRig(tmp_path / "repository")


@pytest.fixture
def server(rig: RegistryRig) -> Iterator[LyingServer]:
    with LyingServer(rig.root) as running:
        yield running


def offered(rig: RegistryRig, folder: Path, at_ms: int | None = None) -> list[str]:
    """Return what a gateway with this folder of trusted metadata sees."""
    client = rig.client(folder)
    return [one.path for one in client.offers(rig.now_ms if at_ms is None else at_ms)]


def refused(rig: RegistryRig, folder: Path, at_ms: int | None = None) -> Why:
    """Return why a gateway believes nothing."""
    with pytest.raises(RegistryRefusedError) as caught:
        offered(rig, folder, at_ms)
    return Why(caught.value.why)


def test_a_published_model_arrives_whole_over_http(
    rig: RegistryRig, server: LyingServer, tmp_path: Path
) -> None:
    item = model_item(7, gate={"passed": True, "lines": ["recall"]})
    rig.publish(item)
    client = rig.client(tmp_path / "trusted", HttpSource(server.url))
    (offer,) = client.offers(rig.now_ms)
    assert offer.path == "stable/charts-pooled-grid-7.wwm"
    assert offer.custom["gate"] == {"passed": True, "lines": ["recall"]}
    assert offer.custom["version"] == 7
    assert abs(offer.expires_ms - rig.now_ms - 30 * DAY_MS) < 1000
    assert client.fetch(offer) == item.body
    assert not (tmp_path / "trusted/download").exists()


def test_a_tampered_target_is_not_believed(
    rig: RegistryRig, server: LyingServer, tmp_path: Path
) -> None:
    rig.publish(model_item())
    server.serve = lambda name, body: body[:-1] + b"X" if "targets/" in name else body
    client = rig.client(tmp_path / "trusted", HttpSource(server.url))
    (offer,) = client.offers(rig.now_ms)
    with pytest.raises(RegistryRefusedError) as caught:
        client.fetch(offer)
    assert caught.value.why is Why.CONTENT


def test_a_truncated_download_is_not_believed(
    rig: RegistryRig, server: LyingServer, tmp_path: Path
) -> None:
    rig.publish(model_item())
    client = rig.client(tmp_path / "trusted", HttpSource(server.url))
    (offer,) = client.offers(rig.now_ms)
    server.cut = "targets/"
    with pytest.raises(TransientError):  # broken off: the way's fault, and tried again
        client.fetch(offer)
    server.cut = "nothing"
    server.serve = lambda name, body: body[:50] if "targets/" in name else body
    with pytest.raises(RegistryRefusedError) as caught:  # too short, and said to be whole
        client.fetch(offer)
    assert caught.value.why is Why.CONTENT
    server.cut = "timestamp"
    again = rig.client(tmp_path / "trusted", HttpSource(server.url))
    with pytest.raises(TransientError):
        again.offers(rig.now_ms)


def test_endless_data_ends(rig: RegistryRig, server: LyingServer, tmp_path: Path) -> None:
    rig.publish(model_item())
    client = rig.client(tmp_path / "trusted", HttpSource(server.url))
    (offer,) = client.offers(rig.now_ms)
    for name in ("targets/", "timestamp"):
        server.endless = name
        with pytest.raises(RegistryRefusedError) as caught:
            client.fetch(offer) if name == "targets/" else client.offers(rig.now_ms)
        assert caught.value.why is Why.ENDLESS
    huge = offer._replace(length=1 << 40)
    with pytest.raises(RegistryRefusedError, match="more than"):
        client.fetch(huge)


def test_a_server_that_drips_is_left(rig: RegistryRig, server: LyingServer, tmp_path: Path) -> None:
    rig.publish(model_item())
    server.dripping = "timestamp"
    client = rig.client(tmp_path / "trusted", HttpSource(server.url), file_s=0.5)
    with pytest.raises(TransientError, match="within its time"):
        client.offers(rig.now_ms)


def test_a_wrong_key_signs_in_vain(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item())
    assert offered(rig, tmp_path / "trusted")
    thief = CryptoSigner.generate_ed25519()
    path = rig.root / "metadata/timestamp.json"
    told = json.loads(path.read_text())
    told["signed"]["version"] += 1
    key_id = told["signatures"][0]["keyid"]
    signature = thief.sign(json.dumps(told["signed"]).encode())
    told["signatures"] = [{"keyid": key_id, "sig": signature.signature}]
    path.write_text(json.dumps(told))
    assert refused(rig, tmp_path / "trusted") is Why.SIGNATURE
    other = RegistryRig(tmp_path / "other")  # a whole repository of somebody else
    other.publish(model_item())
    rig.restore(other.saved())
    assert refused(rig, tmp_path / "trusted") is Why.SIGNATURE
    assert refused(rig, tmp_path / "fresh") is Why.SIGNATURE


def test_a_channels_key_signs_for_its_channel_alone(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item())
    stolen = [rig.signers[role] for role in ("canary", "snapshot", "timestamp")]
    with pytest.raises(ConfigError, match="stable needs 1 of the keys"):
        rig.with_keys(*stolen).publish("stable", [model_item(2)])
    rig.with_keys(*stolen).publish("canary", [model_item(2)])
    assert offered(rig, tmp_path / "trusted") == ["stable/charts-pooled-grid-1.wwm"]


def test_expired_metadata_and_a_freeze(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item())
    frozen = rig.saved()
    assert offered(rig, tmp_path / "trusted")
    rig.pass_days(20)
    rig.publisher.renew()
    rig.publish(model_item(2))
    rig.restore(frozen)  # a mirror that never shows anything newer
    assert offered(rig, tmp_path / "trusted") == ["stable/charts-pooled-grid-1.wwm"]
    rig.pass_days(11)
    assert refused(rig, tmp_path / "trusted") is Why.EXPIRED
    assert refused(rig, tmp_path / "fresh") is Why.EXPIRED


def test_an_older_state_is_not_believed_again(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item())
    old = rig.saved()
    rig.publish(model_item(2))
    assert len(offered(rig, tmp_path / "trusted")) == 2
    rig.restore(old)
    assert refused(rig, tmp_path / "trusted") is Why.ROLLBACK


def test_a_mixture_of_two_states_is_not_believed(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item())
    old = rig.saved()
    rig.publish(model_item(2))
    new = rig.saved()
    channel = json.loads(new["metadata/timestamp.json"])["signed"]["meta"]["snapshot.json"]
    assert channel["version"] == 3
    mixed = {**new, "metadata/3.stable.json": old["metadata/2.stable.json"]}
    rig.restore(mixed)
    assert refused(rig, tmp_path / "trusted") in (Why.CONTENT, Why.ROLLBACK)
    rig.restore({**new, "metadata/3.snapshot.json": old["metadata/2.snapshot.json"]})
    assert refused(rig, tmp_path / "trusted2") in (Why.CONTENT, Why.ROLLBACK)


def test_a_revoked_key_signs_in_vain(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item())
    assert offered(rig, tmp_path / "trusted")
    stolen = rig.signers["stable"]
    fresh = CryptoSigner.generate_ed25519()
    rig.publisher.keys.add(fresh)
    gone = rig.publisher.rotate("stable", fresh.public_key)
    assert gone == [stolen.public_key.keyid]
    assert offered(rig, tmp_path / "trusted") == ["stable/charts-pooled-grid-1.wwm"]
    thief = rig.with_keys(stolen, rig.signers["snapshot"], rig.signers["timestamp"])
    with pytest.raises(ConfigError, match="stable needs 1"):
        thief.publish("stable", [model_item(2)])
    rig.publish(model_item(3))
    assert offered(rig, tmp_path / "trusted")[-1] == "stable/charts-pooled-grid-3.wwm"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_every_key_can_be_rotated_and_gateways_follow(
    rig: RegistryRig, tmp_path: Path, role: str
) -> None:
    rig.publish(model_item())
    assert offered(rig, tmp_path / "trusted")
    before = rig.saved()
    fresh = CryptoSigner.generate_ed25519()
    rig.publisher.keys.add(fresh)
    rig.publisher.rotate(role, fresh.public_key)
    assert offered(rig, tmp_path / "trusted") == ["stable/charts-pooled-grid-1.wwm"]
    assert offered(rig, tmp_path / "fresh") == ["stable/charts-pooled-grid-1.wwm"]
    rig.restore(before)  # hides the new root: who has seen it is not fooled
    assert refused(rig, tmp_path / "trusted") in (Why.SIGNATURE, Why.ROLLBACK)


def test_a_disk_that_is_full_keeps_what_was_trusted(rig: RegistryRig, tmp_path: Path) -> None:
    rig.publish(model_item(1, bytes(200_000)))
    with TinyDisk(tmp_path / "small", 262_144) as disk:
        folder = disk.root / "trusted"
        client = rig.client(folder)
        assert len(client.offers(rig.now_ms)) == 1
        known = (folder / "timestamp.json").read_bytes()
        rig.publish(model_item(2, bytes(200_001)))
        ballast = disk.fill()
        with pytest.raises(StorageError, match="No space left"):
            client.offers(rig.now_ms)
        assert (folder / "timestamp.json").read_bytes() == known
        ballast.unlink()
        assert len(client.offers(rig.now_ms)) == 2


def test_power_cuts_leave_something_that_can_be_read(rig: RegistryRig, tmp_path: Path) -> None:
    folder = tmp_path / "trusted"
    rig.publish(model_item())
    assert offered(rig, folder)
    for broken in (b"", b"{", bytes(100)):
        for name in ("timestamp.json", "snapshot.json", "stable.json", "root_history/1.root.json"):
            (folder / name).write_bytes(broken)
            assert offered(rig, folder) == ["stable/charts-pooled-grid-1.wwm"]
    (folder / "root.json").unlink()
    (folder / "tmpabc").write_bytes(b"left of a write")
    assert offered(rig, folder)
    assert not (folder / "tmpabc").exists()


def test_offline_is_normal(rig: RegistryRig, server: LyingServer, tmp_path: Path) -> None:
    client = rig.client(tmp_path / "trusted", HttpSource("http://127.0.0.1:9"))
    with pytest.raises(TransientError, match="does not answer"):
        client.offers(rig.now_ms)
    server.status = 503
    client = rig.client(tmp_path / "trusted", HttpSource(server.url))
    with pytest.raises(TransientError, match="503"):
        client.offers(rig.now_ms)


def test_what_a_wrong_clock_cannot_judge_is_judged_by_what_is_known(
    rig: RegistryRig, tmp_path: Path
) -> None:
    rig.publish(model_item())
    assert offered(rig, tmp_path / "a", at_ms=0)  # 1970: nothing has expired
    assert refused(rig, tmp_path / "b", at_ms=rig.now_ms + 3650 * DAY_MS) is Why.EXPIRED
    rig.pass_days(1)
    rig.publish(model_item(2))  # and a folder that saw the future is not poisoned by it
    assert len(offered(rig, tmp_path / "b")) == 2
