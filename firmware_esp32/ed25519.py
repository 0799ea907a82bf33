"""Ed25519 signature check (RFC 8032) on big ints, cut into slices so that sampling goes on."""

from sha512 import sha512

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Pause = Callable[[], Awaitable[None]]
    Point = tuple[int, int, int, int]

_P = (1 << 255) - 19  # the field's prime (RFC 8032, 5.1)
_L = (1 << 252) + 27742317777372353535851937790883648493  # the base point's order
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_SQRT_M1 = 19681161376707505956807079304988542015446066515923890162744021073123829784752
_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 46316835694926478169428394003475163141307993866256225615783033603165251855960
_BASE = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)  # extended coordinates X, Y, Z, T
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_BITS_A_SLICE = 2
_SQUARES_A_SLICE = 50


async def verify(key: bytes, signature: bytes, message: bytes, pause: "Pause") -> bool:
    """Tell whether the 64-byte signature of a message was made with this 32-byte public key.

    RFC 8032, 5.1.7, without the cofactor: S below the group's order, the key a canonical point
    encoding, and R equal to the encoding of [S]B - [k]A byte by byte. Never raises on wrong
    lengths or points; they are False. `pause` is awaited between slices, each estimated at
    under 20 ms on an ESP32 (how: docs/firmware/bundles.md).
    """
    if len(key) != _KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
        return False
    r = bytes(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if s >= _L:
        return False
    point = await _decode(key, pause)
    if point is None:
        return False
    digest = await sha512(r + bytes(key) + message, pause)
    k = int.from_bytes(digest, "little") % _L
    x, y, z, t = point
    result = await _combine(s, _BASE, k, (_P - x, y, z, _P - t), pause)
    return await _encode(result, pause) == r


async def _decode(data: bytes, pause: "Pause") -> "Point | None":
    """Return the point of an encoding (RFC 8032, 5.1.3), None when it is not one."""
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P:
        return None
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    v3 = v * v * v % _P
    uv7 = u * v3 * v3 * v % _P
    # Exponent (p - 5) / 8 = 4 (2^250 - 1) + 1.
    root = await _power(uv7, pause)
    x = u * v3 * pow(root, 4, _P) * uv7 % _P
    check = v * x * x % _P
    if check == (_P - u) % _P:
        x = x * _SQRT_M1 % _P
    elif check != u:
        return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


async def _encode(point: "Point", pause: "Pause") -> bytes:
    """Return the 32 bytes of a point (RFC 8032, 5.1.2)."""
    x, y, z, _ = point
    # Inverse by Fermat: exponent p - 2 = 32 (2^250 - 1) + 11.
    inverse = pow(await _power(z, pause), 32, _P) * pow(z, 11, _P) % _P
    x = x * inverse % _P
    y = y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


async def _power(base: int, pause: "Pause") -> int:
    """Return base to the power 2^250 - 1: the common part of root and inverse."""
    # From n ones in the exponent to n + m ones: square m times, multiply by m ones.
    ones = {1: base}
    n = 1
    result = base
    for m in (1, 1, 2, 5, 10, 5, 25, 50, 50, 100):
        for i in range(m):
            result = result * result % _P
            if i % _SQUARES_A_SLICE == 0:
                await pause()
        result = result * ones[m] % _P
        n += m
        ones[n] = result
    return result


def _add(p: "Point", q: "Point") -> "Point":
    """Add two points (RFC 8032, 5.1.4; complete, so also for equal points and the neutral one)."""
    x1, y1, z1, t1 = p
    x2, y2, z2, t2 = q
    a = (y1 - x1) * (y2 - x2) % _P
    b = (y1 + x1) * (y2 + x2) % _P
    c = 2 * _D * t1 % _P * t2 % _P
    d = 2 * z1 * z2 % _P
    e = b - a
    f = d - c
    g = d + c
    h = b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(p: "Point") -> "Point":
    """Double a point (RFC 8032, 5.1.4)."""
    x, y, z, _ = p
    a = x * x % _P
    b = y * y % _P
    h = a + b
    e = h - (x + y) * (x + y) % _P
    g = a - b
    f = 2 * z * z % _P + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


async def _combine(s: int, p: "Point", k: int, q: "Point", pause: "Pause") -> "Point":
    """Return [s]p + [k]q, both scalars read together (Straus' and Shamir's trick)."""
    summands = (None, p, q, _add(p, q))
    result = (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        result = _double(result)
        summand = summands[(s >> bit & 1) | (k >> bit & 1) << 1]
        if summand:
            result = _add(result, summand)
        if bit % _BITS_A_SLICE == 0:
            await pause()
    return result
