"""SHA-512 (FIPS 180-4) for short messages: ESP32 builds of MicroPython carry only SHA-256."""

from binascii import unhexlify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Pause = Callable[[], Awaitable[None]]

_BLOCK = 128  # bytes
_ROUNDS = 80
_MASK = (1 << 64) - 1
_SLICE = 8  # rounds between two pauses
# FIPS 180-4, 5.3.5: fractions of the square roots of the first 8 primes.
_START = unhexlify(
    "6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1510e527fade682d1"
    "9b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179"
)
# FIPS 180-4, 4.2.3: fractions of the cube roots of the first 80 primes.
_CONSTANTS = unhexlify(
    "428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc3956c25bf348b538"
    "59f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118d807aa98a303024212835b0145706fbe"
    "243185be4ee4b28c550c7dc3d5ffb4e272be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235"
    "c19bf174cf692694e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c65"
    "2de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5983e5152ee66dfab"
    "a831c66d2db43210b00327c898fb213fbf597fc7beef0ee4c6e00bf33da88fc2d5a79147930aa725"
    "06ca6351e003826f142929670a0e6e7027b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed"
    "53380d139d95b3df650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353b"
    "a2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30d192e819d6ef5218"
    "d69906245565a910f40e35855771202a106aa07032bbd1b819a4c116b8d2d0c81e376c085141ab53"
    "2748774cdf8eeb9934b0bcb5e19b48a8391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373"
    "682e6ff3d6b2b8a3748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec"
    "90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532bca273eceea26619c"
    "d186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed17806f067aa72176fba0a637dc5a2c898a6"
    "113f9804bef90dae1b710b35131c471b28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc"
    "431d67c49c100d4c4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817"
)


def _word(data: bytes, index: int) -> int:
    """Return the index-th 64-bit word. Whole tables of words would live on the heap as ints."""
    return int.from_bytes(data[8 * index : 8 * index + 8], "big")


def _padded(message: bytes) -> bytes:
    """FIPS 180-4, 5.1.2: a one bit, zeros, the length in bits as a 128-bit number."""
    zeros = -(len(message) + 17) % _BLOCK
    return message + b"\x80" + bytes(zeros + 8) + (8 * len(message)).to_bytes(8, "big")


async def sha512(message: bytes, pause: "Pause") -> bytes:
    """Return the 64-byte digest of a message; `pause` is awaited between slices of the work.

    A slice is 8 rounds, under 20 ms on an ESP32. 64-bit words are big ints there, so this is
    for messages of a few blocks: a signed announcement, never a whole bundle.
    """
    state = [_word(_START, i) for i in range(8)]
    padded = _padded(message)
    for at in range(0, len(padded), _BLOCK):
        schedule = [_word(padded[at : at + _BLOCK], i) for i in range(16)]
        working = state
        for first in range(0, _ROUNDS, _SLICE):
            if first and first % 16 == 0:
                _extend(schedule)
                await pause()
            working = _rounds(working, schedule, first)
            await pause()
        state = [(state[i] + working[i]) & _MASK for i in range(8)]
    return b"".join([value.to_bytes(8, "big") for value in state])


def _extend(schedule: list[int]) -> None:
    """Replace the message schedule's 16 words by the next 16 (FIPS 180-4, 6.4.2, step 1)."""
    for i in range(16):
        x = schedule[(i + 1) & 15]
        y = schedule[(i + 14) & 15]
        # Two copies of a word side by side turn each rotation into one shift.
        xx = x | x << 64
        yy = y | y << 64
        s0 = (xx >> 1 ^ xx >> 8 ^ x >> 7) & _MASK
        s1 = (yy >> 19 ^ yy >> 61 ^ y >> 6) & _MASK
        schedule[i] = (schedule[i] + s0 + schedule[(i + 9) & 15] + s1) & _MASK


def _rounds(state: list[int], schedule: list[int], first: int) -> list[int]:
    """Run a slice of rounds from the given one on (FIPS 180-4, 6.4.2, step 3)."""
    a, b, c, d, e, f, g, h = state
    for i in range(first, first + _SLICE):
        ee = e | e << 64
        aa = a | a << 64
        s1 = (ee >> 14 ^ ee >> 18 ^ ee >> 41) & _MASK
        s0 = (aa >> 28 ^ aa >> 34 ^ aa >> 39) & _MASK
        t1 = h + s1 + (g ^ e & (f ^ g)) + _word(_CONSTANTS, i) + schedule[i & 15]
        t2 = s0 + (a & b | c & (a | b))
        h, g, f, e = g, f, e, (d + t1) & _MASK
        d, c, b, a = c, b, a, (t1 + t2) & _MASK
    return [a, b, c, d, e, f, g, h]
