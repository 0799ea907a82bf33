"""The contract of places for files, held by a directory and by Cloud Storage."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from cloud_sync.errors import CloudBusyError, CloudDownError
from cloud_sync.objects import BucketStore, DirectoryStore, ObjectStore, TakenError
from gateway.domain.errors import BadInputError, NotFoundError
from tests.support.storage_rig import StorageRig

PROJECT = "demo-wattwarden"


@pytest.fixture(scope="module")
def storage() -> Iterator[StorageRig]:
    with StorageRig() as rig, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", rig.url)
        client = Client(project=PROJECT, credentials=AnonymousCredentials())
        client.create_bucket("models")
        yield rig


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "repository")
    request.getfixturevalue("storage")
    return BucketStore("models", AnonymousCredentials(), PROJECT, f"{request.node.name}/")


def test_a_file_is_published_once(store: ObjectStore) -> None:
    store.put_new("targets/1.model", b"one")
    store.put_new("targets/1.model", b"one")  # the same again
    with pytest.raises(TakenError, match=r"targets/1\.model is published already"):
        store.put_new("targets/1.model", b"two")
    assert store.get("targets/1.model").body == b"one"


def test_what_changes_is_replaced_only_by_who_saw_it(store: ObjectStore) -> None:
    store.replace("timestamp.json", b"1", None)
    with pytest.raises(CloudBusyError):
        store.replace("timestamp.json", b"x", None)
    seen = store.get("timestamp.json")
    store.replace("timestamp.json", b"2", seen.version)
    with pytest.raises(CloudBusyError):
        store.replace("timestamp.json", b"3", seen.version)
    assert store.get("timestamp.json").body == b"2"


def test_names_are_listed_in_order(store: ObjectStore) -> None:
    assert store.names() == []
    for name in ("b/2", "a", "b/1"):
        store.put_new(name, b"")
    assert store.names() == ["a", "b/1", "b/2"]
    assert store.names("b/") == ["b/1", "b/2"]


def test_what_is_not_there_is_told(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError, match="no file nothing"):
        store.get("nothing")


def test_large_files_come_back_whole(store: ObjectStore) -> None:
    body = bytes(range(256)) * 20_000
    store.put_new("large", body)
    assert store.get("large").body == body


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a//b", "a/./b", "a\nb", "x" * 501])
def test_no_name_leaves_the_root(store: ObjectStore, name: str) -> None:
    with pytest.raises(BadInputError):
        store.put_new(name, b"")
    with pytest.raises(BadInputError):
        store.get(name)


def test_a_storage_that_is_down_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    store = BucketStore("models", AnonymousCredentials(), PROJECT)
    with pytest.raises(CloudDownError):
        store.get("x")
