"""Fashion-MNIST: found on this machine, or downloaded once and kept.

Zalando's four idx files, gzipped or not. Whatever the source, the decompressed content must have the
SHA-256 written here, so a download over plain http (the official place) is as good as any.
"""

import contextlib
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastdl.datasets._loader import Split, loader
from fastdl.errors import DataError

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class _Idx(NamedTuple):
    """An idx file of uint8: its content is a header of 4 bytes and 4 more a dimension, then the array."""

    name: str
    shape: tuple[int, ...]
    sha256: str  # of the content, decompressed

    @property
    def header(self) -> int:
        return 4 + 4 * len(self.shape)

    @property
    def size(self) -> int:
        return self.header + int(np.prod(self.shape))


_TRAIN_X = _Idx(
    "train-images-idx3-ubyte",
    (60000, 28, 28),
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
)
_TRAIN_Y = _Idx(
    "train-labels-idx1-ubyte",
    (60000,),
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
)
_TEST_X = _Idx(
    "t10k-images-idx3-ubyte",
    (10000, 28, 28),
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
)
_TEST_Y = _Idx(
    "t10k-labels-idx1-ubyte",
    (10000,),
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
_FILES = (_TRAIN_X, _TRAIN_Y, _TEST_X, _TEST_Y)

_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_STALL_SECONDS = 20.0  # without a byte
_FILE_SECONDS = 600.0  # for one file, however steadily it drips
_WAYS_OUT = (
    "Other ways: `apt install dataset-fashion-mnist`; or put the four files into a folder and name it in "
    "$FASTDL_DATA; or use fastdl.datasets.digits(), which needs no download."
)


@loader
def fashion_mnist() -> Split:
    """Zalando's articles of clothing, 28 × 28 pixels: 60,000 to train with, 10,000 to test with.

    Returns `(x_train, y_train), (x_test, y_test)`, all uint8: pixels `(n, 28, 28)` from 0 to 255, labels
    `(n,)` from 0 to 9, named by `FASHION_MNIST_CLASSES`.

    Takes the files from where `find_fashion_mnist` finds them, else downloads them (30 MB) into the cache.
    Raises DataError where a file is damaged, or where there is neither a file nor a network.

    H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, 2017, https://arxiv.org/abs/1708.07747. MIT licence.
    """
    folder = find_fashion_mnist() or _download()
    train = _load(folder, _TRAIN_X), _load(folder, _TRAIN_Y)
    return train, (_load(folder, _TEST_X), _load(folder, _TEST_Y))


def find_fashion_mnist() -> Path | None:
    """The first folder here that holds all four files (gzipped or not), or None. Downloads nothing.

    Looks in `$FASTDL_DATA/fashion-mnist`, in `$FASTDL_DATA`, in the folder of Debian's package
    dataset-fashion-mnist, and in the cache, `$XDG_CACHE_HOME/fastdl/fashion-mnist` (`~/.cache/…` if unset).
    Does not check what is in the files; `fashion_mnist` does.
    """
    for folder in _folders():
        if all(_path(folder, idx) for idx in _FILES):
            return folder
    return None


def _folders() -> Iterator[Path]:
    if data := os.environ.get("FASTDL_DATA"):
        named = Path(os.path.expanduser(data))
        yield named / "fashion-mnist"  # first: plain MNIST's files bear the same names
        yield named
    yield _DEBIAN
    yield _cache()


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG rule: unset, empty and relative are all ignored
        base = os.path.expanduser("~/.cache")
    return Path(base, "fastdl", "fashion-mnist")


def _path(folder: Path, idx: _Idx) -> Path | None:
    for path in (folder / f"{idx.name}.gz", folder / idx.name):
        if os.path.isfile(path):
            return path
    return None


def _load(folder: Path, idx: _Idx) -> NDArray[np.uint8]:
    path = _path(folder, idx) or folder / f"{idx.name}.gz"
    try:
        content = _content(path, idx)
    except _Damaged as damage:
        raise DataError(
            f"{path} is not Fashion-MNIST's {idx.name}: {damage}. Delete it and fastdl downloads a good one, "
            f"or put {_URL}{idx.name}.gz in its place."
        ) from damage
    return np.frombuffer(content, np.uint8, offset=idx.header).reshape(idx.shape).copy()


class _Damaged(Exception):
    """Says what is wrong with a file; the caller says which file it is, and what to do."""


def _content(path: Path, idx: _Idx) -> bytes:
    """The decompressed content, proven to be Zalando's. Never reads more than that and one byte."""
    import gzip
    import hashlib

    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(idx.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _Damaged(f"it cannot be read ({error})") from error
    if len(content) != idx.size:
        held = "more" if len(content) > idx.size else f"only {len(content):,}"
        raise _Damaged(f"it should hold {idx.size:,} bytes and holds {held}")
    if hashlib.sha256(content).hexdigest() != idx.sha256:
        raise _Damaged("its SHA-256 is another one")
    return content


def _download() -> Path:
    """Fetch what the cache lacks, and return the cache's folder."""
    from http.client import HTTPException

    folder = _cache()
    print(f"fastdl: downloading Fashion-MNIST (30 MB) into {folder}", file=sys.stderr)
    for idx in _FILES:
        if _path(folder, idx):
            continue
        url = f"{_URL}{idx.name}.gz"
        try:
            _fetch(url, folder, idx)
        except (OSError, HTTPException, _Damaged) as error:
            looked = ", ".join(map(str, _folders()))
            raise DataError(
                f"Fashion-MNIST is not on this machine (looked in {looked}) and cannot be downloaded: "
                f"{url}: {error}. {_WAYS_OUT}"
            ) from error
    return folder


def _fetch(url: str, folder: Path, idx: _Idx) -> None:
    """Download into a temporary beside the target, verify, rename. Leaves the whole file or nothing."""
    import secrets
    import time
    from urllib.request import urlopen

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{idx.name}-{secrets.token_hex(8)}.gz"
    try:
        with open(temporary, "xb") as file, urlopen(url, timeout=_STALL_SECONDS) as response:
            end = time.monotonic() + _FILE_SECONDS
            while chunk := response.read1(1 << 16):  # what has come, not waiting for more
                file.write(chunk)
                if file.tell() > idx.size + 4096:  # no .gz outgrows its content by more
                    raise _Damaged(f"more came than the {idx.size:,} bytes that it holds")
                if time.monotonic() > end:
                    raise _Damaged(f"not done after {_FILE_SECONDS:.0f} s")
        _content(temporary, idx)
        os.replace(temporary, folder / f"{idx.name}.gz")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
