"""What people must know of the site's own certificate authority to recognise it."""

from typing import NamedTuple


class Certificate(NamedTuple):
    """The site's CA as people must be able to recognise it; times in Unix ms."""

    pem: bytes
    name: str
    fingerprint_sha256: str
    not_before_ms: int
    not_after_ms: int
