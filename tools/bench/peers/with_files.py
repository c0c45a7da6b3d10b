"""fastdl on rows in memory and in files, which are larger than what the process may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import with_fastdl
from bench.workloads import Skip, Unit, Workload
from fastdl.utils import read_ahead

GROUP = 4_096  # rows of a piece of a Parquet file, a multiple of the batch
LEAST = 512 << 20  # bytes of its own that any process gets: Python, NumPy and stacks of pyarrow's threads need some
variant, files = "", list[Path]()


def setup(threads: int, which: str) -> None:
    """Called once, before anything else."""
    global variant
    variant = which
    with_fastdl.setup(threads, "")


def versions() -> dict[str, Any]:
    """As fastdl's own."""
    return with_fastdl.versions()


def write(folder: Path, work: Workload, parquet: bool) -> None:
    """rows.npy and labels.npy, and the same rows as rows.parquet: float32 rows as lists, plain and uncompressed."""
    rng = np.random.default_rng(0)
    inputs = work.widths[0]
    x = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (work.rows, inputs))
    for start in range(0, work.rows, GROUP):
        x[start : start + GROUP] = rng.random((min(GROUP, work.rows - start), inputs), np.float32)
    x.flush()
    labels = rng.integers(0, work.widths[-1], work.rows)
    np.save(folder / "labels.npy", labels)
    if parquet:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("x", pa.list_(pa.float32(), inputs)), ("y", pa.int64())])
        path = folder / "rows.parquet"
        with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
            for start in range(0, work.rows, GROUP):
                part = slice(start, start + GROUP)
                rows = pa.FixedSizeListArray.from_arrays(pa.array(x[part].ravel()), inputs)
                file.write_table(pa.table([rows, pa.array(labels[part])], schema=schema))
    for path in folder.iterdir():  # pages that are not on the disk yet cannot be dropped
        with path.open("rb") as file:
            os.fsync(file.fileno())


def drop() -> None:
    """Take what is read from memory out of the system's cache, so that the next epoch reads it from the disk."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def limit(size: int) -> None:
    """From now on the process may have a quarter of `size` bytes of its own."""
    import resource

    most = max(LEAST, size // 4)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def open_files(work: Workload, name: str) -> Unit:
    """An epoch on rows in memory, on a memory map of them, or on batches, in memory or of a Parquet file."""
    if not hasattr(os, "posix_fadvise"):
        raise Skip("the system drops no files from its cache")
    folder, net = Path(name), with_fastdl.model(work)
    y = np.load(folder / "labels.npy")
    options: dict[str, Any] = {"epochs": 1, "verbose": 0}
    if variant.startswith(("memory", "batches")):
        x = np.load(folder / "rows.npy")
    else:
        files.append(folder / ("rows.parquet" if variant.startswith("parquet") else "rows.npy"))
        limit(work.rows * work.widths[0] * 4)
    rows: dict[str, Any] = {"batch_size": work.batch, "shuffle": not variant.endswith("in-order"), **options}
    runs: dict[str, Callable[[], object]] = {
        "memory": lambda: net.fit(x, y, **rows),
        "mapped": lambda: net.fit(_mapped(folder), y, **rows),
        "batches": lambda: net.fit(_Slices(x, y, work.batch), **options),
        "parquet": lambda: net.fit(_Parquet(files[0], work), **options),
        "parquet-ahead": lambda: net.fit(read_ahead(_Parquet(files[0], work)), **options),
    }
    return Unit(runs[variant.removesuffix("-in-order")], work.steps)


def _mapped(folder: Path) -> Any:
    """A new map each time: pages of one that is there cannot be dropped."""
    return np.load(folder / "rows.npy", mmap_mode="r")


class _Slices:
    """Batches of rows in memory."""

    def __init__(self, x: Any, y: Any, batch: int) -> None:
        self.x, self.y, self.batch = x, y, batch

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(self.x), self.batch):
            part = slice(start, start + self.batch)
            yield self.x[part], self.y[part]


class _Parquet:
    """Batches of a Parquet file, in the order in which they lie."""

    def __init__(self, path: Path, work: Workload) -> None:
        self.path, self.work = path, work

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        import pyarrow.parquet as pq

        with contextlib.closing(pq.ParquetFile(self.path, pre_buffer=False)) as file:
            for group in file.iter_batches(GROUP, use_threads=False):
                x = group["x"].flatten().to_numpy().reshape(-1, self.work.widths[0])
                yield from _Slices(x, group["y"].to_numpy(), self.work.batch)
