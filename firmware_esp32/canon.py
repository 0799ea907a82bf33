"""The text a bundle's signature covers: canonical JSON, made by hand for speed and certainty."""

_NAMES = "abcdefghijklmnopqrstuvwxyz0123456789-*"  # all that may stand inside the strings


def announced(kind: str, meter: str, sha256: str, size: int, version: int) -> bytes:
    """Return the canonical JSON (keys sorted, no spaces) of one announcement.

    `meter` is a meter's id, or "*" for every meter; `size` counts bytes. MicroPython's json
    keeps no key order and escapes in its own way, so the text is put together here. Raises
    ValueError for a character that would need escaping.
    """
    for text in (kind, meter, sha256):
        for character in text:
            if character not in _NAMES:
                message = f"{text!r} cannot stand in a signed announcement"
                raise ValueError(message)
    text = f'{{"kind":"{kind}","meter":"{meter}","sha256":"{sha256}"'
    return f'{text},"size":{int(size)},"version":{int(version)}}}'.encode()
