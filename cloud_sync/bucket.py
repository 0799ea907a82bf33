"""The archive in Cloud Storage. Knows google-cloud-storage, lazily."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cloud_sync.firestore import translated

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

TIMEOUT_S = 60.0
PARQUET = "application/vnd.apache.parquet"


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise requests' errors as ours too."""
    import requests

    from cloud_sync.errors import CloudDownError  # noqa: PLC0415 - beside what it replaces

    try:
        with translated():
            yield
    except requests.RequestException as error:
        msg = f"Cloud Storage does not answer: {error}"
        raise CloudDownError(msg, maybe_written=True) from error


class BucketTarget:
    """Satisfies `ArchiveTarget`: one upload replaces an object whole, or does nothing."""

    def __init__(self, bucket: str, credentials: "Credentials", project: str) -> None:
        self._name = bucket
        self._credentials = credentials
        self._project = project
        self._bucket: Any = None

    def put(self, name: str, body: bytes) -> None:
        """Store a file; raises the errors of `cloud_sync.errors`."""
        with storage_errors():
            if self._bucket is None:
                from google.cloud.storage import Client

                client = Client(project=self._project, credentials=self._credentials)
                self._bucket = client.bucket(self._name)
            blob = self._bucket.blob(name)
            blob.upload_from_string(body, content_type=PARQUET, timeout=TIMEOUT_S, retry=None)
