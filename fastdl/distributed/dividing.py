"""Tasks that do not depend on each other, divided over ranks: the nets of a bag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import numpy as np

from fastdl.base.arguments import real
from fastdl.base.arrays import Array
from fastdl.base.scopes import having
from fastdl.distributed.exchange import digest
from fastdl.distributed.ranks import Ranks

Task = TypeVar("Task")
Result = TypeVar("Result")
_ranks: ContextVar[Ranks | None] = ContextVar("ranks", default=None)


@contextmanager
def divided(timeout: float = 3600.0) -> Iterator[None]:
    """Within, each rank trains its share of the nets of a bag that TabularClassifier or TabularRegressor fits, and gets
    the others': all ranks, which fit on the same rows, hold the estimator that one process would make, to the bit.

    Rank 0's seed and folds count. What a rank raises within ends all, with that error on stderr; so does one that the
    others have waited for longer than `timeout` seconds. ImportError without mpi4py.
    """
    ranks = Ranks(real("timeout", timeout))
    try:
        with having(_ranks, ranks):
            yield
    except BaseException as error:
        if ranks.size == 1:
            raise
        ranks.abort(error)


def is_divided() -> bool:
    """Whether the calling thread is within `divided`."""
    return _ranks.get() is not None


def share_out(
    tasks: Sequence[Task], do: Callable[[Sequence[Task]], list[Result]], same: Sequence[Array]
) -> list[Result]:
    """The tasks' results, by order: of all, or within `divided` of this rank's and from the others.

    RuntimeError, on all ranks, if the arrays are not the same on all.
    """
    ranks = _ranks.get()
    if ranks is None:
        return do(tasks)
    every = ranks.of_all(digest(np.concatenate([digest(array) for array in same])))
    if (every != every[0]).any():
        raise RuntimeError("all ranks must fit on the same rows: what is divided are the nets, not the data")
    tasks = ranks.from_first(list(tasks))
    shares = ranks.objects_of_all(do(tasks[ranks.rank :: ranks.size]))
    return [shares[i % ranks.size][i // ranks.size] for i in range(len(tasks))]
