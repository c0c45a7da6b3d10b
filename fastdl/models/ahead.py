"""Rows of memory maps, read ahead of the program that takes them: a file may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from fastdl.base.arrays import Array, check_finite, is_mapped
from fastdl.compiler.feeds import FEEDS, X_FEED
from fastdl.models.feeding import Feeds

PIECE_BYTES = 8 << 20  # of rows that are read at once, while the program works on as many
PIECE_BATCHES = 64


def mapped(feeds: Feeds) -> bool:
    """Whether some of them lie in files."""
    return any(map(is_mapped, feeds.values()))


def pieces(
    feeds: Feeds, index: Array | None, rows: int, batch: int, most: int | None, check: bool, what: str = ""
) -> Iterator[Feeds]:
    """The first `rows` rows in the order of the index, or as they lie, in memory: some whole batches, or the last one.

    While one piece is used, the next is read, in a thread. check: DataError for inputs that are not finite.
    """
    row_bytes = sum(array.strides[0] for array in feeds.values())
    count = max(1, min(PIECE_BATCHES, most or PIECE_BATCHES, PIECE_BYTES // max(1, row_bytes * batch)))
    whole = rows // batch * batch
    starts = [*range(0, whole, count * batch), whole, *([rows] if rows > whole else [])]
    parts = [slice(start, end) for start, end in pairwise(starts) if start < end]

    def read(part: slice) -> Feeds:
        order = part if index is None else index[part]
        taken = {feed: _taken(array, order) for feed, array in feeds.items()}
        for feed, array in taken.items():
            if check and feed % FEEDS == X_FEED and is_mapped(feeds[feed]):
                check_finite(f"{what}x, in the rows of one piece that was read,", array)
        return taken

    with ThreadPoolExecutor(1, thread_name_prefix="fastdl-ahead") as reader:
        waiting = reader.submit(read, parts[0])
        for after in [*parts[1:], None]:
            piece = waiting.result()
            if after is not None:
                waiting = reader.submit(read, after)
            yield piece


def _taken(array: Array, order: slice | Array) -> Array:
    """These rows in memory; read in the order in which they lie, so that a disk reads forwards."""
    if isinstance(order, slice):
        return np.array(array[order])
    forwards = np.argsort(order)
    taken = np.empty((len(order), array.shape[1]), array.dtype)
    taken[forwards] = array.take(order[forwards], axis=0)
    return taken
