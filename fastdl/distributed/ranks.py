"""The processes that were started together, by number, and what they tell each other: in time, or with an error."""

from __future__ import annotations

import pickle
import sys
import time
import traceback
from typing import Any, NoReturn

import numpy as np

from fastdl.base.arrays import Array

SPINS = 0.002  # seconds of waiting after which a rank leaves its core to others now and then
REST = 50e-6


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            f"fastdl.distributed needs MPI and mpi4py ({error}): apt-get install openmpi-bin, or what "
            "your system has in its place, and pip install 'fastdl[mpi]'"
        ) from None
    return MPI


def rank() -> int:
    """This process's number among those that mpirun started, from 0. ImportError without mpi4py."""
    return int(_mpi().COMM_WORLD.Get_rank())


def size() -> int:
    """How many processes mpirun started; one without it. ImportError without mpi4py."""
    return int(_mpi().COMM_WORLD.Get_size())


class Ranks:
    """All of them. timeout: seconds that one waits for the others, then TimeoutError."""

    def __init__(self, timeout: float) -> None:
        self._mpi = _mpi()
        self._world = self._mpi.COMM_WORLD
        self.rank, self.size, self.timeout = rank(), size(), timeout

    def sum(self, array: Array) -> None:
        """The array becomes the sum of all ranks'; the same bits on each, whatever the order MPI adds in."""
        self._wait(self._world.Iallreduce(self._mpi.IN_PLACE, array))

    def from_first(self, value: Any) -> Any:
        """Rank 0's value."""
        return self._from(0, value)

    def objects_of_all(self, value: Any) -> list[Any]:
        """What each has, by rank: anything that pickles."""
        return [self._from(rank, value) for rank in range(self.size)]

    def _from(self, rank: int, value: Any) -> Any:
        packed = np.frombuffer(pickle.dumps(value), np.uint8).copy() if self.rank == rank else np.empty(0, np.uint8)
        length = np.array([len(packed)])
        self._wait(self._world.Ibcast(length, rank))
        if self.rank != rank:
            packed = np.empty(int(length[0]), np.uint8)
        self._wait(self._world.Ibcast(packed, rank))
        return pickle.loads(packed.tobytes())

    def of_all(self, array: Array) -> Array:
        """What each has, (ranks, *shape): arrays of one shape and dtype."""
        gathered = np.empty((self.size, *array.shape), array.dtype)
        self._wait(self._world.Iallgather(array, gathered))
        return gathered

    def _wait(self, request: Any) -> None:
        began = time.monotonic()
        while not request.Test():
            waited = time.monotonic() - began
            if waited > self.timeout:
                raise TimeoutError(
                    f"the other ranks did not answer for {self.timeout:g} s: one of them hangs, has ended, or does "
                    "what the others do not; fit(timeout=) is how long one may wait"
                )
            if waited > SPINS:
                time.sleep(REST)

    def abort(self, error: BaseException) -> NoReturn:
        """End all ranks, with the error that this one has met."""
        sys.stdout.flush()
        traceback.print_exception(error)
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        sys.stderr.write(f"fastdl.distributed: rank {self.rank} of {self.size} ends all ranks: {said}\n")
        sys.stderr.flush()
        self._world.Abort(1)
        raise SystemExit(1)
