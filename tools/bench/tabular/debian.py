"""Data sets out of Debian's packages of R data, without R: .rda files, and the databases of lazy loading."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import tempfile
import warnings
import zlib
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = {  # R's name, and Debian's
    "mlbench": "r-cran-mlbench",
    "kernlab": "r-cran-kernlab",
    "modeldata": "r-cran-modeldata",
    "ggplot2": "r-cran-ggplot2",
    "AER": "r-cran-aer",
}
LZMA2 = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 26}]


def cache_folder() -> Path:
    """Where packages are kept: $XDG_CACHE_HOME/fastdl/tables, `~/.cache/…` if it is unset."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    return Path(base, "fastdl", "tables")


def data_folder(package: str, folder: Path) -> Path:
    """The folder of a package's data; fetched by apt-get and unpacked if `folder` has neither it nor its .deb."""
    debian = PACKAGES[package]
    unpacked = folder / debian
    data = unpacked / "usr/lib/R/site-library" / package / "data"
    if not data.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        file = next(iter(sorted(folder.glob(f"{debian}_*.deb"))), None) or _download(debian, folder)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            subprocess.run(["dpkg-deb", "-x", str(file), part], check=True)
            shutil.rmtree(unpacked, ignore_errors=True)
            shutil.copytree(part, unpacked)
    return data


def _download(debian: str, folder: Path) -> Path:
    done = subprocess.run(["apt-get", "download", debian], cwd=folder, capture_output=True, text=True)
    file = next(iter(sorted(folder.glob(f"{debian}_*.deb"))), None)
    if file is None:
        raise FileNotFoundError(f"{debian}: put its .deb into {folder}; apt-get said: {done.stderr.strip()}")
    return file


def read(package: str, name: str, folder: Path) -> Any:
    """One data set as `rdata` converts it, a pandas frame for a data.frame."""
    import rdata

    data = data_folder(package, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes that have no meaning outside R
        if (data / f"{name}.rda").is_file():
            return rdata.read_rda(data / f"{name}.rda")[name]
        start, size = _index(data / "Rdata.rdx")[name]
        with open(data / "Rdata.rdb", "rb") as file:
            file.seek(start)
            blob = file.read(size)
        return rdata.conversion.convert(rdata.parser.parse_data(decompressed(blob)))


@cache
def _index(path: Path) -> dict[str, tuple[int, int]]:
    """Where each object of a lazy-load database stands: offset and size."""
    import rdata

    variables = rdata.conversion.convert(rdata.parser.parse_data(gzip.decompress(path.read_bytes())))["variables"]
    return {str(name): (int(start), int(size)) for name, (start, size) in variables.items()}


def decompressed(blob: bytes) -> bytes:
    """An object of a lazy-load database; ValueError if it is not as long as it says.

    Four bytes of size, big-endian, then zlib, or "2" and bzip2, "Z" and raw LZMA2, "0" and the object as it is.
    """
    size, kind = int.from_bytes(blob[:4], "big"), blob[4:5]
    if kind == b"2":
        plain = bz2.decompress(blob[5:])
    elif kind == b"Z":
        plain = lzma.decompress(blob[5:], format=lzma.FORMAT_RAW, filters=LZMA2)
    elif kind == b"0":
        plain = blob[5:]
    else:
        plain = zlib.decompress(blob[4:])
    if len(plain) != size:
        raise ValueError(f"an object of {size} bytes has {len(plain)}")
    return plain
