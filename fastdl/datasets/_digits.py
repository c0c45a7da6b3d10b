"""UCI's optical digits, shipped with the package."""

from pathlib import Path

import numpy as np

from fastdl.datasets._loader import Split, loader

_FILE = Path(__file__).with_name("digits.npz")


@loader
def digits() -> Split:
    """Handwritten digits of 8 × 8 pixels: 1,438 to train with, 359 to test with.

    Returns `(x_train, y_train), (x_test, y_test)`, all uint8: pixels `(n, 8, 8)` from 0 (paper) to
    16 (ink), labels `(n,)` from 0 to 9. Needs no network.

    These are the 1,797 images that `sklearn.datasets.load_digits` returns. The split is fixed and
    stratified: of each digit, in that order, every fifth image is for testing, beginning with the
    third; both parts keep the order.

    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49. Licence: CC BY 4.0.
    """
    with np.load(_FILE, allow_pickle=False) as file:
        return (file["x_train"], file["y_train"]), (file["x_test"], file["y_test"])
