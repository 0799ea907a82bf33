"""A sealed file comes back whole or not at all."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.safekeeping import sealing
from gateway.adapters.safekeeping.sealing import SealedReader, SealedWriter
from gateway.domain.errors import BadInputError

WORDS = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pieces and a quick key: the shape is what is tested."""
    monkeypatch.setattr(sealing, "PIECE", 64)
    monkeypatch.setattr(sealing, "SCRYPT_N", 2)


def sealed(content: bytes, passphrase: str | None) -> bytes:
    out = io.BytesIO()
    writer = SealedWriter(out, passphrase)
    for at in range(0, len(content), 50):
        writer.write(content[at : at + 50])
    writer.finish()
    return out.getvalue()


def opened(text: bytes, passphrase: str | None, size: int = 37) -> bytes:
    reader = SealedReader(io.BytesIO(text), passphrase)
    return b"".join(iter(lambda: reader.read(size), b""))


@given(content=st.binary(max_size=400), size=st.integers(1, 300))
@settings(deadline=None, max_examples=50)
def test_there_and_back(content: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "PIECE", 64)
        patch.setattr(sealing, "SCRYPT_N", 2)
        assert opened(sealed(content, None), None, size) == content
        assert opened(sealed(content, WORDS), WORDS, size) == content


def test_encrypted_content_does_not_show() -> None:
    text = sealed(b"the secret of the house" * 20, WORDS)
    assert b"secret" not in text
    assert b"aes-256-gcm" in text.split(b"\n", 1)[0]


@pytest.mark.parametrize("length", [0, 10, 64, 128, 129, 200])
def test_any_changed_byte_and_any_cut_is_noticed(length: int) -> None:
    content = bytes(range(256))[:length] or b""
    text = sealed(content, WORDS)
    start = text.index(b"\n") + 1
    for at in range(start, len(text), 7):
        changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        with pytest.raises(BadInputError, match=r"damaged|passphrase"):
            opened(changed, WORDS)
    for end in range(start, len(text), 5):
        with pytest.raises(BadInputError, match=r"cut off|passphrase"):
            opened(text[:end], WORDS)


def test_pieces_cannot_be_exchanged_or_left_out() -> None:
    text = sealed(bytes(64 * 3), WORDS)
    start, piece = text.index(b"\n") + 1, 64 + sealing.TAG
    first, second, rest = (
        text[start : start + piece], text[start + piece : start + 2 * piece],
        text[start + 2 * piece :],
    )  # fmt: skip
    for mixed in (second + first + rest, first + rest, first + first + rest, second + rest):
        with pytest.raises(BadInputError):
            opened(text[:start] + mixed, WORDS)


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (b"", "another passphrase", "passphrase is wrong"),
        (b"", None, "--passphrase-file"),
        (b"X", WORDS, "no backup of a site"),
    ],
)
def test_what_cannot_be_opened_says_why(change: bytes, words: str | None, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        opened(change + sealed(b"content", WORDS), words)


def test_a_header_that_asks_for_the_impossible() -> None:
    text = sealed(b"content", WORDS).replace(b'"n": 2', b'"n": 1073741824')
    with pytest.raises(BadInputError, match="impossible"):
        opened(text, WORDS)


def test_short_passphrases_are_refused() -> None:
    assert sealing.check_passphrase(WORDS) == WORDS
    with pytest.raises(BadInputError, match="at least 12"):
        sealing.check_passphrase("short")
