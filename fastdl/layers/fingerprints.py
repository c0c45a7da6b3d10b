"""Hashes of texts that are the same on every machine: those by which TensorFlow, and so Keras, puts tokens into bins.

Fingerprint64 is FarmHash's (Pike and Alakuijala 2014), its variant na; SipHash-2-4 is Aumasson and Bernstein's (2012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fastdl.base.arrays import Array

MASK = (1 << 64) - 1
K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
CAT = 0xC6A4A7935BD1E995
CROSSING_KEY = 0xDECAFCAFFE  # TensorFlow's, where a cross begins


def bins(values: Iterable[str], count: int, salt: Sequence[int] | None = None) -> Array:
    """Which of `count` bins each text is in, int64: by Fingerprint64, or with a salt of two numbers by SipHash-2-4."""
    return np.array([value % count for value in hashes(values, salt)], np.int64)


def hashes(values: Iterable[str], salt: Sequence[int] | None = None) -> list[int]:
    """The hashes themselves; of each text once."""
    function: Callable[[bytes], int] = fingerprint64
    if salt is not None:
        first, second = (number & MASK for number in salt)

        def function(data: bytes) -> int:
            return siphash64(data, first, second)

    known: dict[str, int] = {}
    results = []
    for value in values:
        number = known.get(value)
        if number is None:
            number = known[value] = function(value.encode("utf-8", "surrogatepass"))
        results.append(number)
    return results


def crossed(columns: Sequence[Array], count: int) -> Array:
    """Which of `count` bins the rows of several columns are in, int64: numbers as they are, texts by their hash."""
    total = np.full(columns[0].shape, CROSSING_KEY, np.uint64)
    for column in columns:
        if column.dtype.kind == "O":
            numbers = np.array(hashes(column.ravel().tolist()), np.uint64).reshape(column.shape)
        else:
            numbers = column.astype(np.int64).view(np.uint64)
        total = _cat(total, numbers)
    return (total % np.uint64(count)).astype(np.int64)


def _cat(first: Array, second: Array) -> Array:
    """Two fingerprints as one, array by array."""
    mul, shift = np.uint64(CAT), np.uint64(47)

    def mixed(value: Array) -> Array:
        return np.asarray(value ^ (value >> shift))

    result = (first ^ mul ^ (mixed(second * mul) * mul)) * mul
    return mixed(mixed(result) * mul)


# -- FarmHash ---------------------------------------------------------------------------------------------


def fingerprint64(data: bytes) -> int:
    """FarmHash's Fingerprint64."""
    length = len(data)
    if length <= 16:
        return _up_to_16(data, length)
    if length <= 32:
        mul = K2 + 2 * length & MASK
        a, b = _word(data, 0) * K1 & MASK, _word(data, 8)
        c, d = _word(data, length - 8) * mul & MASK, _word(data, length - 16) * K2 & MASK
        ends = _rotate(a + b, 43) + _rotate(c, 30) + d
        return _pair(ends, a + _rotate(b + K2, 18) + c, mul)
    return _up_to_64(data, length) if length <= 64 else _longer(data, length)


def _word(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _rotate(value: int, by: int) -> int:
    value &= MASK
    return (value >> by | value << 64 - by) & MASK


def _mix(value: int) -> int:
    value &= MASK
    return value ^ value >> 47


def _pair(first: int, second: int, mul: int) -> int:
    first, second = first & MASK, second & MASK
    a = _mix((first ^ second) * mul)
    return _mix((second ^ a) * mul) * mul & MASK


def _up_to_16(data: bytes, length: int) -> int:
    mul = K2 + 2 * length & MASK
    if length >= 8:
        a, b = _word(data, 0) + K2, _word(data, length - 8)
        return _pair(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if length >= 4:
        return _pair(length + (_word(data, 0, 4) << 3), _word(data, length - 4, 4), mul)
    if length:
        first, last = data[0] + (data[length >> 1] << 8), length + (data[-1] << 2)
        return _mix(first * K2 ^ last * K0) * K2 & MASK
    return K2


def _up_to_64(data: bytes, length: int) -> int:
    mul = K2 + 2 * length & MASK
    a, b = _word(data, 0) * K2, _word(data, 8)
    c, d = _word(data, length - 8) * mul, _word(data, length - 16) * K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d & MASK
    z = _pair(y, a + _rotate(b + K2, 18) + c, mul)
    e, f = _word(data, 16) * mul, _word(data, 24)
    g, h = (y + _word(data, length - 32)) * mul, (z + _word(data, length - 24)) * mul
    return _pair(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Two sums of 32 bytes and two seeds."""
    w, x, y, z = (_word(data, at + 8 * i) for i in range(4))
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    return a + z & MASK, b + _rotate(a, 44) + c & MASK


def _longer(data: bytes, length: int) -> int:
    x, y = 81 * K2 + _word(data, 0) & MASK, 81 * K1 + 113 & MASK
    z = _mix(y * K2 + 113) * K2 & MASK
    v, w = (0, 0), (0, 0)
    last = (length - 1) // 64 * 64
    for at in range(0, last, 64):
        x = _rotate(x + y + v[0] + _word(data, at + 8), 37) * K1 & MASK
        y = _rotate(y + v[1] + _word(data, at + 48), 42) * K1 & MASK
        x ^= w[1]
        y = y + v[0] + _word(data, at + 40) & MASK
        z = _rotate(z + w[0], 33) * K1 & MASK
        v = _weak(data, at, v[1] * K1, x + w[0])
        w = _weak(data, at + 32, z + w[1], y + _word(data, at + 16))
        x, z = z, x
    at, mul = length - 64, K1 + ((z & 0xFF) << 1) & MASK
    w = (w[0] + (length - 1 & 63) & MASK, w[1])
    v = (v[0] + w[0] & MASK, v[1])
    w = (w[0] + v[0] & MASK, w[1])
    x = _rotate(x + y + v[0] + _word(data, at + 8), 37) * mul & MASK
    y = _rotate(y + v[1] + _word(data, at + 48), 42) * mul & MASK
    x ^= w[1] * 9 & MASK
    y = y + v[0] * 9 + _word(data, at + 40) & MASK
    z = _rotate(z + w[0], 33) * mul & MASK
    v = _weak(data, at, v[1] * mul, x + w[0])
    w = _weak(data, at + 32, z + w[1], y + _word(data, at + 16))
    x, z = z, x
    return _pair(_pair(v[0], w[0], mul) + _mix(y) * K0 + z, _pair(v[1], w[1], mul) + x, mul)


# -- SipHash ----------------------------------------------------------------------------------------------


def siphash64(data: bytes, first: int, second: int) -> int:
    """SipHash-2-4 with the key of two numbers."""
    state = [
        first ^ 0x736F6D6570736575,
        second ^ 0x646F72616E646F6D,
        first ^ 0x6C7967656E657261,
        second ^ 0x7465646279746573,
    ]
    whole = len(data) // 8 * 8
    tail = _word(data, whole) | (len(data) & 0xFF) << 56
    for word in [*(_word(data, at) for at in range(0, whole, 8)), tail]:
        state[3] ^= word
        _rounds(state, 2)
        state[0] ^= word
    state[2] ^= 0xFF
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _left(value: int, by: int) -> int:
    return _rotate(value, 64 - by)


def _rounds(state: list[int], count: int) -> None:
    a, b, c, d = state
    for _ in range(count):
        a, c = a + b & MASK, c + d & MASK
        b, d = _left(b, 13) ^ a, _left(d, 16) ^ c
        a = _left(a, 32)
        c, a = c + b & MASK, a + d & MASK
        b, d = _left(b, 17) ^ c, _left(d, 21) ^ a
        c = _left(c, 32)
    state[:] = a, b, c, d
