"""The data sets: what is in them, where they are looked for, and what happens when a file is bad or away."""

import gzip
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from fastdl import datasets
from fastdl.datasets import _fashion_mnist as fashion
from fastdl.errors import DataError

TOOLS = Path(__file__).resolve().parents[1] / "tools"


# ---------------------------------------------------------------------------------------------- digits


def test_digits_shapes_and_values() -> None:
    (x_train, y_train), (x_test, y_test) = datasets.digits()
    assert x_train.shape == (1438, 8, 8)
    assert y_train.shape == (1438,)
    assert x_test.shape == (359, 8, 8)
    assert y_test.shape == (359,)
    for array in (x_train, y_train, x_test, y_test):
        assert array.dtype == np.uint8
        assert array.flags.writeable
    for x in (x_train, x_test):
        assert x.min() == 0
        assert x.max() == 16


def test_digits_split_is_stratified_fixed_and_disjoint() -> None:
    (x_train, y_train), (x_test, y_test) = datasets.digits()
    assert np.bincount(y_test).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert np.bincount(y_train).tolist() == [142, 146, 142, 146, 145, 146, 145, 143, 139, 144]
    digest = hashlib.sha256(b"".join(a.tobytes() for a in (x_train, y_train, x_test, y_test)))
    assert digest.hexdigest() == "49f411d0fa2ef5be0900bea1bc08065915bade5fe64ae85946ecb4124750e7be"
    assert not {image.tobytes() for image in x_train} & {image.tobytes() for image in x_test}


def test_digits_are_those_of_scikit_learn() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    x, y = sklearn_datasets.load_digits(return_X_y=True)
    ours = [(image.tobytes(), label) for x, y in datasets.digits() for image, label in zip(x, y, strict=True)]
    theirs = [(i.astype(np.uint8).tobytes(), label) for i, label in zip(x, y, strict=True)]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.slow
def test_digits_file_is_small_and_is_what_the_script_makes() -> None:
    file = Path(datasets.__file__).with_name("digits.npz")
    assert file.stat().st_size < 80_000
    pytest.importorskip("sklearn")
    made = subprocess.run(
        [sys.executable, TOOLS / "make_digits.py", "--check"], capture_output=True, text=True, timeout=60
    )
    assert "same arrays" in made.stdout  # the bytes are the same too wherever zlib is


def test_keras_spelling() -> None:
    for ours, again in zip(datasets.digits(), datasets.digits.load_data(), strict=True):
        assert np.array_equal(ours[0], again[0])
        assert np.array_equal(ours[1], again[1])
    assert "Alpaydin" in (datasets.digits.__doc__ or "")


def test_import_is_light() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import fastdl.datasets;"
        "print(*sorted({'urllib.request', 'gzip', 'http.client', 'tempfile', 'sklearn'}"
        " & (set(sys.modules) - before)))"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == ""


# --------------------------------------------------------------------------------------- Fashion-MNIST


def test_fashion_mnist_of_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real files: their digests are checked by the loader itself."""
    if not all(fashion._path(fashion._DEBIAN, idx) for idx in fashion._FILES):
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    monkeypatch.delenv("FASTDL_DATA", raising=False)
    assert datasets.find_fashion_mnist() == fashion._DEBIAN
    (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist()
    for x, y, n in ((x_train, y_train, 60_000), (x_test, y_test, 10_000)):
        assert x.shape == (n, 28, 28)
        assert y.shape == (n,)
        assert x.dtype == y.dtype == np.uint8
        assert x.flags.writeable
        assert x.max() == 255
        assert np.bincount(y).tolist() == [n // 10] * 10
    assert datasets.FASHION_MNIST_CLASSES[y_train[0]] == "Ankle boot"
    assert len(set(datasets.FASHION_MNIST_CLASSES)) == 10


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A Fashion-MNIST of 8 and 3 images (content by name), on a machine that has none and no network."""
    rng = np.random.default_rng(0)
    contents = {}
    files = []
    for idx in fashion._FILES:
        shape = (8 if idx.shape[0] == 60_000 else 3, *idx.shape[1:])
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        content = header + rng.integers(0, 4, shape, np.uint8).tobytes()
        contents[idx.name] = content
        files.append(fashion._Idx(idx.name, shape, hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(fashion, "_FILES", tuple(files))
    for name, file in zip(("_TRAIN_X", "_TRAIN_Y", "_TEST_X", "_TEST_Y"), files, strict=True):
        monkeypatch.setattr(fashion, name, file)
    monkeypatch.setattr(fashion, "_DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("FASTDL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    serve(monkeypatch, lambda url: URLError("no network"))
    return contents


def serve(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], bytes | Exception]) -> list[str]:
    """Let `urlopen` answer so; returns the list of addresses asked for, which grows."""
    asked = []

    def urlopen(url: str, timeout: float | None = None) -> io.BytesIO:
        assert timeout is not None
        asked.append(url)
        answered = answer(url)
        if isinstance(answered, Exception):
            raise answered
        return io.BytesIO(answered)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return asked


def put(folder: Path, contents: dict[str, bytes], *, zipped: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def check(contents: dict[str, bytes]) -> None:
    (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist()
    assert [a.tobytes() for a in (x_train, y_train, x_test, y_test)] == [
        content[idx.header :] for idx, content in zip(fashion._FILES, contents.values(), strict=True)
    ]


@pytest.mark.parametrize("zipped", [True, False])
def test_places_in_order(small: dict[str, bytes], tmp_path: Path, zipped: bool) -> None:
    assert datasets.find_fashion_mnist() is None
    for folder in ("cache/fastdl/fashion-mnist", "debian", "data", "data/fashion-mnist"):  # the last one wins
        put(tmp_path / folder, small, zipped=zipped)
        assert datasets.find_fashion_mnist() == tmp_path / folder
        check(small)


def test_incomplete_folder_is_passed_over(small: dict[str, bytes], tmp_path: Path) -> None:
    put(tmp_path / "data", dict(list(small.items())[:3]))
    put(tmp_path / "debian", small)
    assert datasets.find_fashion_mnist() == tmp_path / "debian"


def test_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "somewhere"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert fashion._cache() == tmp_path / ".cache" / "fastdl" / "fashion-mnist"


def damaged(content: bytes) -> dict[str, tuple[str, bytes]]:
    """Every way a file can be bad: suffix and bytes."""
    zipped = gzip.compress(content)
    flipped = bytearray(content)
    flipped[20] ^= 1
    return {
        "bit flipped": ("", bytes(flipped)),
        "bit flipped, zipped": (".gz", gzip.compress(bytes(flipped))),
        "truncated": ("", content[:-1]),
        "truncated, zipped": (".gz", gzip.compress(content[:-1])),
        "gz cut off": (".gz", zipped[: len(zipped) // 2]),
        "gz without its last byte": (".gz", zipped[:-1]),
        "gz corrupt inside": (".gz", zipped[:40] + bytes(40) + zipped[80:]),
        "longer": ("", content + b"x"),
        "longer, zipped": (".gz", gzip.compress(content + b"x")),
        "bomb": (".gz", gzip.compress(bytes(50_000_000))),
        "not a gz": (".gz", b"<html>404</html>"),
        "empty": ("", b""),
        "empty gz": (".gz", b""),
    }


@pytest.mark.parametrize("case", damaged(bytes(100)))
def test_damaged_file_is_refused_by_name(small: dict[str, bytes], tmp_path: Path, case: str) -> None:
    folder = put(tmp_path / "data", small)
    name = "train-images-idx3-ubyte"
    suffix, data = damaged(small[name])[case]
    (folder / f"{name}.gz").unlink()
    (folder / f"{name}{suffix}").write_bytes(data)
    with pytest.raises(DataError) as refusal:
        datasets.fashion_mnist()
    assert str(folder / f"{name}{suffix}") in str(refusal.value)
    assert "Delete it" in str(refusal.value)
    assert f"{fashion._URL}{name}.gz" in str(refusal.value)


def test_offline_says_the_ways_out(small: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DataError) as refusal:
        datasets.fashion_mnist()
    message = str(refusal.value)
    for word in (
        "apt install dataset-fashion-mnist",
        "$FASTDL_DATA",
        "digits()",
        "no network",
        str(tmp_path / "data"),
    ):
        assert word in message
    assert "\n" not in message
    assert not list((tmp_path / "cache").rglob("*.gz"))


def test_download_into_the_cache_once(
    small: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = put(tmp_path / "cache/fastdl/fashion-mnist", dict(list(small.items())[:1]))  # one is there already
    asked = serve(monkeypatch, lambda url: gzip.compress(small[url.rsplit("/", 1)[1].removesuffix(".gz")]))
    check(small)
    assert asked == [f"{fashion._URL}{name}.gz" for name in list(small)[1:]]
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in small)
    assert str(cache) in capsys.readouterr().err
    assert datasets.find_fashion_mnist() == cache
    check(small)
    assert len(asked) == 3


@pytest.mark.parametrize("case", ["wrong", "cut", "huge", "dropped", "interrupted", "slow"])
def test_bad_download_leaves_nothing(
    small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    good = gzip.compress(small["train-images-idx3-ubyte"])
    bodies = {"wrong": gzip.compress(bytes(6288)), "cut": good[:-9], "huge": bytes(10_000_000)}
    breaks = {"dropped": IncompleteRead(b""), "interrupted": KeyboardInterrupt()}

    class Response(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            if case in breaks and self.tell():
                raise breaks[case]
            return super().read1(size)

    if case == "slow":
        monkeypatch.setattr(fashion, "_FILE_SECONDS", -1.0)
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Response(bodies.get(case, good)))
    with pytest.raises(KeyboardInterrupt if case == "interrupted" else DataError) as refusal:
        datasets.fashion_mnist()
    if case != "interrupted":
        assert "train-images-idx3-ubyte.gz" in str(refusal.value)
        assert "apt install" in str(refusal.value)
    assert list((tmp_path / "cache/fastdl/fashion-mnist").iterdir()) == []


def test_cache_that_cannot_be_written(small: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="apt install"):
        datasets.fashion_mnist()
