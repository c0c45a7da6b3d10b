"""One model run again and again: in this process where it is told to cost little, else in a child with limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onnx import ModelProto

from fastdl.fusion.runtime.bounds import fits, limits
from fastdl.fusion.runtime.confined import Child
from fastdl.fusion.runtime.estimate import Estimator
from fastdl.fusion.runtime.session import Feed, Port, Session

KNOWN = 4096  # shapes of which it is remembered that they cost little
STACK = 2**23  # bytes of address space that a thread takes besides
USUAL = 1024  # rows up to which that is asked once for all


class Engine:
    """A session for each of the two ways, the second only where it is needed. Safe for many threads.

    Raises what onnxruntime raises, MemoryError, and Exceeded for what takes too much.
    """

    def __init__(self, model: ModelProto, threads: int, limited: bool) -> None:
        self.content = content = model.SerializeToString()
        self._file, self._threads = len(content), threads
        self._known: set[tuple[tuple[int, ...], ...]] = set()
        self._usual: tuple[tuple[int, ...], ...] | None = None
        self._estimator = Estimator(model) if limited else None
        self._child = Child(Session, content, threads) if limited else None
        self.session: Session | None = None
        self.inputs: list[Port]
        self.outputs: list[Port]
        if self._estimator is None or fits(self._estimator.at_batch(1), self._file):
            self.session = Session(content, threads=threads)
            self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
            self._learn()
        else:
            self.inputs, self.outputs = self._there("get_inputs"), self._there("get_outputs")

    def _learn(self) -> None:
        """Whether every batch of up to 1024 rows costs little: more rows cost more, unless numbers decide shapes."""
        told = self._estimator
        if told is not None and fits(told.at_batch(USUAL), self._file) and not told.followed:
            shapes = told.inputs.values()
            if all(None not in shape[1:] for shape in shapes):
                self._usual = tuple(tuple(size or USUAL for size in shape) for shape in shapes)

    def run(self, feed: Feed) -> list[Any]:
        """All outputs."""
        if self.session is not None and self._costs_little(feed):
            return self.session.run(None, feed)
        results: list[Any] = self._there("run", None, feed, given=_bytes(feed), rows=_rows(feed))
        return results

    def _there(self, method: str, *args: Any, given: int = 0, rows: int = 1) -> Any:
        assert self._child is not None
        least = limits(self._file, given, rows)
        return self._child.call(method, *args, limits=replace(least, memory=least.memory + STACK * (self._threads - 1)))

    def _costs_little(self, feed: Feed) -> bool:
        shapes = tuple(array.shape for array in feed.values())
        if self._estimator is None or shapes in self._known:
            return True
        if self._usual is not None and all(map(_within, shapes, self._usual)):
            return True
        bound = self._estimator.at({name: array.shape for name, array in feed.items()})
        if not fits(bound, self._file, _bytes(feed), _rows(feed)):
            return False
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known.add(shapes)
        return True


def _within(shape: tuple[int, ...], usual: tuple[int, ...]) -> bool:
    return len(shape) == len(usual) and all(size <= most for size, most in zip(shape, usual, strict=True))


def _bytes(feed: Feed) -> int:
    return sum(array.nbytes for array in feed.values())


def _rows(feed: Feed) -> int:
    return max((len(array) if array.ndim else 1 for array in feed.values()), default=1)
