"""Hashes: those of FarmHash's own library, of SipHash's paper, and of TensorFlow as Keras documents them."""

from __future__ import annotations

import numpy as np
import pytest

from fastdl.layers.fingerprints import bins, crossed, fingerprint64, siphash64

TEXT = ("fastdl hashes texts " * 12).encode()
# by length, as FarmHash's own C++ gives them for the text's beginning: each way it has of reading one, and its ends
FARMHASH = {
    0: 0x9AE16A3B2F90404F,
    1: 0xEADFBECFD0F218B8,
    3: 0x0D0E560F96A98108,
    4: 0x830853DC65F405CC,
    7: 0x8E6F91B0093E335C,
    8: 0xE81B034B9842C1E5,
    16: 0xBDC14FEB52C1C2E9,
    17: 0x7806D7030140C78A,
    32: 0x41BA175F920BF8BF,
    33: 0x3DF0B2BBD7E17366,
    64: 0x0A7630393A7119F1,
    65: 0x077C37F3A8294DBF,
    128: 0x513A34E57E77AB05,
    129: 0xAC4457571B7C8A84,
    191: 0x56E4F3088A06BF9B,
    200: 0x15CB29EF5BCF92D3,
}


@pytest.mark.parametrize("length", FARMHASH)
def test_fingerprint_of_farmhash(length: int) -> None:
    assert fingerprint64(TEXT[:length]) == FARMHASH[length]


def test_siphash_of_its_paper() -> None:
    """Appendix A: the key of bytes 0 to 15, the text of bytes 0 to 14."""
    key = bytes(range(16))
    halves = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    assert siphash64(bytes(range(15)), *halves) == 0xA129CA6149BE45E5


NAMES = ["omar", "stringer", "marlo", "wire", "skywalker"]


@pytest.mark.parametrize(
    ("values", "count", "salt", "expected"),
    [
        ("ABCDE", 3, None, [1, 0, 1, 1, 2]),
        ("ABCDE", 3, [133, 137], [1, 2, 1, 0, 2]),
        ("ABCDE", 3, [133, 133], [0, 0, 2, 1, 0]),
        (NAMES, 2, None, [0, 0, 1, 0, 0]),
        (NAMES, 2, [133, 137], [0, 1, 0, 1, 0]),
        (NAMES, 2, [211, 137], [1, 0, 1, 0, 1]),
        ("01234", 3, None, [1, 0, 1, 0, 2]),
        ("01234", 3, [133, 137], [1, 1, 2, 0, 1]),
    ],
)
def test_bins_of_tensorflow(values: list[str], count: int, salt: list[int] | None, expected: list[int]) -> None:
    assert bins(values, count, salt).tolist() == expected


def test_crosses_of_tensorflow() -> None:
    texts, numbers = np.array(["A", "B", "A", "B", "A"], object), np.array([101, 101, 101, 102, 102])
    assert crossed([texts, numbers], 5).tolist() == [1, 4, 1, 1, 3]


def test_texts_beyond_ascii_and_lone_surrogates_have_hashes() -> None:
    assert bins(["é", "日本", "\ud800"], 1000).max() < 1000
