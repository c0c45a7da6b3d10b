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
PAGE = 4096  # bytes, of one of which all are read


def mapped(feeds: Feeds) -> bool:
    """Whether some of them lie in files."""
    return any(map(is_mapped, feeds.values()))


def pieces(
    feeds: Feeds, index: Array | None, rows: int, batch: int, most: int | None, check: bool, what: str = ""
) -> Iterator[tuple[Feeds, Array | None]]:
    """The first `rows` rows in the order of the index, or as they lie: some whole batches, or the last one, with the
    order in which they are to be taken, None for as they lie. A piece may be written over once the next is asked for.

    While one piece is used, the next is read, in a thread: rows as they lie stay in their file's pages, others are
    copied in the order in which they lie, so that a disk reads forwards. check: DataError for inputs that are not
    finite.
    """
    row_bytes = sum(array.strides[0] for array in feeds.values())
    count = max(1, min(PIECE_BATCHES, most or PIECE_BATCHES, PIECE_BYTES // max(1, row_bytes * batch)))
    whole = rows // batch * batch
    starts = [*range(0, whole, count * batch), whole, *([rows] if rows > whole else [])]
    parts = [slice(start, end) for start, end in pairwise(starts) if start < end]
    longest = max(part.stop - part.start for part in parts)
    rooms = list[Feeds]()  # for the piece that is used, and the one that is read
    if index is not None:
        rooms = [{f: np.empty((longest, *a.shape[1:]), a.dtype) for f, a in feeds.items()} for _ in parts[:2]]

    def read(number: int) -> tuple[Feeds, Array | None]:
        part = parts[number]
        if index is None:
            taken, order = {feed: array[part] for feed, array in feeds.items()}, None
        else:
            forwards = np.argsort(index[part])
            order = np.empty_like(forwards)
            order[forwards] = np.arange(len(forwards))
            lying, room = index[part][forwards], rooms[number % 2]
            taken = {f: array.take(lying, 0, room[f][: len(lying)], "clip") for f, array in feeds.items()}
        for feed, array in taken.items():
            if is_mapped(feeds[feed]):
                if check and feed % FEEDS == X_FEED:
                    check_finite(f"{what}x, in the rows of one piece that was read,", array)
                elif index is None:
                    array[:, :: PAGE // array.itemsize].max()  # here, not in the program, the disk is waited for
        return taken, order

    with ThreadPoolExecutor(1, thread_name_prefix="fastdl-ahead") as reader:
        waiting = reader.submit(read, 0)
        for number in range(1, len(parts) + 1):
            piece = waiting.result()
            if number < len(parts):
                waiting = reader.submit(read, number)
            yield piece
