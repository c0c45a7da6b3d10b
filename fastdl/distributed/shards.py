"""Which rows belong to which rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastdl.distributed.ranks import rank, size
from fastdl.errors import DataError


def shard(*data: Any) -> Any:
    """This rank's rows: number rank, rank + size, rank + 2 size, … of each; of several a tuple.

    An array, a memory map (nothing is read), a frame, a list of files, or a tuple or mapping of them, as fit takes x.
    All rows belong to one rank, so ranks have as many, or one less. DataError for fewer rows than ranks, or for data
    of other lengths; TypeError for what has no rows by number. ImportError without mpi4py.
    """
    lengths = {len(each) for each in _leaves(data)}
    if len(lengths) > 1:
        raise DataError(f"what is sharded together must have as many rows: there are {sorted(lengths)}")
    if lengths and min(lengths) < size():
        raise DataError(f"{min(lengths)} rows are too few for {size()} ranks: each needs one at least")
    parts = tuple(_part(each) for each in data)
    return parts if len(parts) > 1 else parts[0]


def _leaves(data: Any) -> list[Any]:
    if isinstance(data, Mapping):
        return [leaf for each in data.values() for leaf in _leaves(each)]
    if isinstance(data, tuple):
        return [leaf for each in data for leaf in _leaves(each)]
    if isinstance(data, str | bytes) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise TypeError(f"{type(data).__name__} has no rows by number: of batches, shard the files that they come from")
    if isinstance(data, list) and data and isinstance(data[0], np.ndarray):
        raise TypeError("a list of arrays may be rows or inputs: give inputs as a tuple, rows as one array")
    return [data]


def _part(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _part(each) for name, each in data.items()}
    if isinstance(data, tuple):
        return tuple(_part(each) for each in data)
    return getattr(data, "iloc", data)[rank() :: size()]
