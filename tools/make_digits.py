"""Write fastdl/datasets/digits.npz from scikit-learn's copy of UCI's optical digits.

    python tools/make_digits.py            # write it
    python tools/make_digits.py --check    # fail unless the file in the package is exactly that

The same bytes each time: an .npz of numpy carries no dates. (Another zlib may compress the same arrays to
other bytes; --check then says whether the arrays still agree.)
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

FILE = Path(__file__).resolve().parents[1] / "fastdl" / "datasets" / "digits.npz"


def arrays() -> dict[str, NDArray[np.uint8]]:
    """The four arrays: of each digit every fifth image, beginning with the third, is for testing."""
    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    test = np.zeros(len(y), bool)
    for digit in range(10):
        test[np.flatnonzero(y == digit)[2::5]] = True
    return {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write fastdl/datasets/digits.npz.")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    check = parser.parse_args().check
    wanted, buffer = arrays(), io.BytesIO()
    np.savez_compressed(buffer, **wanted)
    if not check:
        FILE.write_bytes(buffer.getvalue())
        print(f"{FILE.name}: {len(buffer.getvalue()):,} bytes")
        return 0
    with np.load(FILE, allow_pickle=False) as stored:
        if set(stored.files) != set(wanted) or any(
            stored[name].dtype != array.dtype or not np.array_equal(stored[name], array)
            for name, array in wanted.items()
        ):
            print(f"{FILE.name}: its arrays differ from scikit-learn's; run this script without --check")
            return 1
    same = FILE.read_bytes() == buffer.getvalue()
    print(f"{FILE.name}: same arrays, {'same' if same else 'other'} bytes")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
