"""Batches that are asked for by number, some threads ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

from fastdl.base.arguments import whole


class PyDataset:
    """Base of data of your own for fit, evaluate and predict: `ds[i]` is batch i, (x, y), (x, y, sample_weight) or x.

    num_batches, or len(ds), says how many there are; None if it goes on for ever. workers: threads that ask for
    batches, up to max_queue_size of them ahead; with 0 or 1 the thread that trains does. ValueError for
    use_multiprocessing=True: fastdl leaves the GIL while it computes, and threads are enough where numpy does too.
    Keras: utils.PyDataset.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        if use_multiprocessing:
            raise ValueError("use_multiprocessing must be False: workers are threads, which need not copy the data")
        self.workers, self.use_multiprocessing = whole("workers", workers, 0), False
        self.max_queue_size = whole("max_queue_size", max_queue_size, 0)

    def __getitem__(self, index: int) -> Any:
        """Batch `index`, counted from 0."""
        raise NotImplementedError

    @property
    def num_batches(self) -> int | None:
        """How many batches there are; None if they never end. NotImplementedError where neither it nor len is there."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(f"{type(self).__name__} must say its num_batches, or have a __len__")

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""

    def __iter__(self) -> Iterator[Any]:
        """All batches, in order."""
        batches = batches_of(self)
        return self.batches(count() if batches is None else range(batches))

    def batches(self, order: Iterable[int]) -> Iterator[Any]:
        """The batches of these numbers, some of them asked for ahead. fastdl's own."""
        if self.workers < 2:
            return (self[index] for index in order)
        return _ahead(self.__getitem__, order, self.workers, max(self.max_queue_size, self.workers))


def _ahead(get: Callable[[int], Any], order: Iterable[int], workers: int, most: int) -> Iterator[Any]:
    """What `get` gives for each number, in order, by threads, of which at most so many wait to be used."""
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        for index in order:
            waiting.append(pool.submit(get, index))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def batches_of(value: Any) -> int | None:
    """How many batches an iterable says that it has; None if it does not say, or never ends."""
    if isinstance(value, PyDataset):
        try:
            return value.num_batches
        except NotImplementedError:
            return None
    return len(value) if hasattr(value, "__len__") else None
