"""Signature checks: RFC 8032's own vectors, random ones, and the forgeries of the field."""

import hashlib
from typing import Final

import ed25519
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.firmware import needs_vm, vm
from tests.support.signing import Signer

P: Final = 2**255 - 19
L: Final = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, 7.1: public key, message, the signature's halves R and S.
RFC_8032: Final = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589",
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
NEUTRAL: Final = (1).to_bytes(32, "little")  # encoding of the neutral point (0, 1)


async def no_pause() -> None:
    """Let nobody else run."""


async def accepted(key: bytes, signature: bytes, message: bytes) -> bool:
    return await ed25519.verify(key, signature, message, no_pause)


def accepted_by_openssl(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize(("key", "message", "r", "s"), RFC_8032)
async def test_vectors_of_the_rfc(key: str, message: str, r: str, s: str) -> None:
    public, text, sig = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(r + s)
    assert await accepted(public, sig, text)
    assert not await accepted(public, sig, text + b"\0")
    assert not await accepted(Signer(9).public, sig, text)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(1, 2**255), message=st.binary(max_size=300), data=st.data())
async def test_agrees_with_openssl(seed: int, message: bytes, data: st.DataObject) -> None:
    signer = Signer(seed)
    signature = signer.sign(message)
    assert await accepted(signer.public, signature, message)
    forged = flipped(signature, data.draw(st.integers(0, 511)))
    assert not await accepted(signer.public, forged, message)
    if message:
        changed = flipped(message, data.draw(st.integers(0, 8 * len(message) - 1)))
        assert not await accepted(signer.public, signature, changed)
    other = flipped(signer.public, data.draw(st.integers(0, 255)))
    assert not await accepted(other, signature, message)
    assert not accepted_by_openssl(other, signature, message)


async def test_s_beyond_the_order_is_refused() -> None:
    """Without that check anyone could turn one signature into a second valid one."""
    signer = Signer()
    signature = signer.sign(b"m")
    s = int.from_bytes(signature[32:], "little")
    for more in (L, 2 * L, 15 * L):
        if s + more < 1 << 256:
            again = signature[:32] + (s + more).to_bytes(32, "little")
            assert not await accepted(signer.public, again, b"m")
            assert not accepted_by_openssl(signer.public, again, b"m")
    exactly = signature[:32] + L.to_bytes(32, "little")
    assert not await accepted(signer.public, exactly, b"m")


@pytest.mark.parametrize("length", [0, 1, 31, 32, 63, 65, 96, 128])
async def test_wrong_lengths_are_refused(length: int) -> None:
    signer = Signer()
    signature = (signer.sign(b"m") * 2)[:length]
    assert not await accepted(signer.public, signature, b"m")
    if length != 32:
        key = (signer.public * 4)[:length]
        assert not await accepted(key, signer.sign(b"m"), b"m")


@pytest.mark.parametrize("y", [P, P + 1, P + 18, 2**255 - 1])
async def test_a_key_that_is_no_canonical_encoding_is_refused(y: int) -> None:
    """RFC 8032, 5.1.3, step 1."""
    signature = NEUTRAL + bytes(32)
    assert not await accepted(y.to_bytes(32, "little"), signature, b"m")


async def test_a_key_that_is_no_point_is_refused() -> None:
    for y in (2, 7, 8):  # (y² - 1) / (d y² + 1) is no square
        key = y.to_bytes(32, "little")
        assert not await accepted(key, NEUTRAL + bytes(32), b"m")
        assert not accepted_by_openssl(key, NEUTRAL + bytes(32), b"m")


async def test_minus_zero_is_no_point() -> None:
    """RFC 8032, 5.1.3, step 4: x = 0 with the sign bit set."""
    key = (1 | 1 << 255).to_bytes(32, "little")
    assert not await accepted(key, NEUTRAL + bytes(32), b"m")


async def test_the_neutral_point_is_handled_as_the_rfc_has_it() -> None:
    """A key of small order verifies R = [S]B: complete formulas, no special case needed.

    Such a key proves nothing; keys are pinned at provisioning, so none gets here.
    """
    assert await accepted(NEUTRAL, NEUTRAL + bytes(32), b"m")
    assert accepted_by_openssl(NEUTRAL, NEUTRAL + bytes(32), b"m")
    base = bytes([0x58]) + bytes([0x66]) * 31
    one = (1).to_bytes(32, "little")
    assert await accepted(NEUTRAL, base + one, b"m")
    assert not await accepted(NEUTRAL, base + bytes(32), b"m")


async def test_a_not_canonical_r_is_refused() -> None:
    """R = p + 1 also encodes the neutral point to a lenient decoder."""
    r = (P + 1).to_bytes(32, "little")
    assert not await accepted(NEUTRAL, r + bytes(32), b"m")
    assert not accepted_by_openssl(NEUTRAL, r + bytes(32), b"m")


@needs_vm
def test_vectors_in_the_vm_and_the_length_of_a_slice() -> None:
    script = """
import asyncio, gc, sys, time
from binascii import unhexlify
import ed25519
slices = []
last = 0
async def pause():
    global last
    slices.append(time.ticks_diff(time.ticks_us(), last))
    last = time.ticks_us()
for i in range(1, len(sys.argv), 3):
    key, message, signature = (unhexlify(part) for part in sys.argv[i : i + 3])
    results = []
    for text in (message, message + b"x"):
        gc.collect()
        last = time.ticks_us()
        results.append(asyncio.run(ed25519.verify(key, signature, text, pause)))
    print(*results)
print(len(slices) * 3 // (2 * len(sys.argv[1:])), sorted(slices)[len(slices) * 9 // 10])
"""
    lines = vm(
        script, *[part for key, text, r, s in RFC_8032 for part in (key, text, r + s)]
    ).splitlines()
    assert lines[:-1] == ["True False"] * len(RFC_8032)
    count, most_us = map(int, lines[-1].split())
    assert count > 150
    # 67 VM ms are one board ms (docs/firmware/bundles.md); this machine may be busy.
    assert most_us < 1000
