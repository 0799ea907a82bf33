"""SHA-512 against the host's own, at every length around the block's edges."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sha512 import sha512

from tests.support.firmware import needs_vm, vm


class Pauses:
    """Counts how often the work let others run."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


@pytest.mark.parametrize("length", [0, 1, 3, 111, 112, 113, 127, 128, 129, 239, 240, 256, 1000])
async def test_equals_the_host_at_the_edges(length: int) -> None:
    message = bytes(i * 7 & 255 for i in range(length))
    assert await sha512(message, Pauses()) == hashlib.sha512(message).digest()


@given(message=st.binary(max_size=400))
async def test_equals_the_host(message: bytes) -> None:
    assert await sha512(message, Pauses()) == hashlib.sha512(message).digest()


async def test_every_block_is_cut_into_slices() -> None:
    pauses = Pauses()
    await sha512(bytes(200), pauses)
    assert pauses.count == 2 * (10 + 4)


@needs_vm
def test_equals_the_host_in_the_vm() -> None:
    script = """
import asyncio
from binascii import hexlify
from sha512 import sha512
async def pause():
    pass
for length in (0, 111, 112, 128, 300):
    digest = asyncio.run(sha512(bytes(i & 255 for i in range(length)), pause))
    print(hexlify(digest).decode())
"""
    expected = [
        hashlib.sha512(bytes(i & 255 for i in range(length))).hexdigest()
        for length in (0, 111, 112, 128, 300)
    ]
    assert vm(script).split() == expected
