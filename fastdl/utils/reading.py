"""Batches that are read while the program works on those before them: Parquet and CSV files, databases, the network."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from fastdl.base import arrays
from fastdl.base.arguments import whole

END = object()
PATIENCE = 0.05  # seconds after which the thread looks whether anybody is still there to take what it has read


def read_ahead(batches: Iterable[Any], count: int = 2) -> Iterable[Any]:
    """The batches of an iterable, drawn by a thread of their own, up to `count` ahead of who takes them.

    For fit, evaluate and predict: `model.fit(read_ahead(batches))`. What comes can be iterated over again if `batches`
    can, and has their length; an error in `batches` is raised where the batch would have come. Batches and their order
    are as without it. ValueError for a count below 1, TypeError for what holds no batches.
    """
    if not hasattr(batches, "__iter__") and not arrays.is_sequence(batches):
        raise TypeError(f"read_ahead takes an iterable of batches, not {type(batches).__name__}")
    return (_Sized if hasattr(batches, "__len__") else _Ahead)(batches, whole("count", count))


class _Ahead:
    def __init__(self, batches: Any, count: int) -> None:
        self.batches, self.count = batches, count

    def __iter__(self) -> Iterator[Any]:
        room: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(self.count)
        left = threading.Event()  # nobody takes any more
        reader = threading.Thread(target=self._read, args=(room, left), name="fastdl-ahead", daemon=True)
        reader.start()
        try:
            while True:
                batch, error = room.get()
                if error is not None:
                    raise error
                if batch is END:
                    return
                yield batch
        finally:
            left.set()
            reader.join()

    def _read(self, room: queue.Queue[tuple[Any, BaseException | None]], left: threading.Event) -> None:
        """Draw all batches, and last END, into the room as there is some."""

        def put(batch: Any, error: BaseException | None = None) -> None:
            while not left.is_set():
                try:
                    room.put((batch, error), timeout=PATIENCE)
                    return
                except queue.Full:
                    continue

        try:
            for batch in arrays.each_batch(self.batches):
                put(batch)
                if left.is_set():
                    return
        except BaseException as error:
            put(END, error)
        else:
            put(END)


class _Sized(_Ahead):
    def __len__(self) -> int:
        return len(self.batches)
