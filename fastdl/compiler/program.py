"""Graph → Program: ops emit kernels on named buffers, `schedule` orders and places them, the executor runs them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.feeds import FEEDS, OUT_FEED, W_FEED, X_FEED, Y_FEED
from fastdl.compiler.graph import Graph, Parameter, Target, Tensor, tracing
from fastdl.compiler.memory import aligned
from fastdl.compiler.phases import Call, Ref, place, read, schedule, write
from fastdl.compiler.steps import Exchange, UpdateRule

PRODUCTS = "dense_forward", "dense_input_grad", "dense_weight_grad", "dense_weight_step"
MOST_NESTED = 16  # programs of which each runs in a Python function of the one around it: each takes 64 kB of C stack


class Terminal(Protocol):
    """A loss or a metric: emits the kernels that read the model's prediction and the target, and add to `totals`.

    gradient: where a loss leaves that of the batch's mean. weight, each: one number a sample, in and out.
    target_bytes: of a sample's target, 0 if it reads none.
    """

    def emit(
        self, build: Builder, x: Tensor, totals: Array, gradient: Ref | None, weight: Ref | None, each: Ref | None
    ) -> None: ...
    def width(self, features: int) -> int: ...
    def target_bytes(self, x: Tensor) -> int: ...


@dataclass(frozen=True)
class Reading:
    """A terminal, and what it reads: a tensor, and the targets and weights of the model's output of that number."""

    terminal: Terminal
    tensor: Tensor
    output: int = 0
    weighted: bool = False  # by the samples' weights
    share: float = 1.0  # of a loss in the sum of all


@dataclass(frozen=True)
class KernelTime:
    """What a kernel of a program took: ticks of `_ext.now` by threads, over all runs that were measured.

    flops: of the matrix product that it is, a step; 0 if it is none. nbytes: of the arrays that it is called with.
    """

    kernel: str
    ticks: tuple[int, ...]
    flops: int
    nbytes: int


class _Nested(threading.local):
    depth = 0  # programs that this thread is in the middle of, and that call Python


_nested = _Nested()


def emit(program: _ext.Program, calls: list[Call]) -> None:
    """Append calls, in order and with their buffers placed, to a program."""
    phase = 0
    for call in calls:
        barrier, phase = call.phase != phase, call.phase
        if call.function:
            arrays = [access.ref.array if access else None for access in call.accesses]
            program.emit_call(partial(call.function, *arrays), barrier)
        else:
            program.emit(call.kernel, call.placed(), call.axis, call.features, barrier, call.members, call.every)


def _nbytes(call: Call) -> int:
    refs = {access.ref for access in call.accesses if access}
    return sum(ref.array.nbytes for ref in refs if ref.array is not None)


class Program:
    """A compiled graph for one batch size.

    training: batch norm takes the batch's statistics, and losses train `trained`: all that is trainable, if None.
    noisy: dropout and other noise act; as training, if None. `totals` gathers the sums of losses, then metrics.
    recalibrates: batch norm keeps the batch's statistics in place of its moving averages. moves: see Builder.
    output: write the graph's outputs to the feeds OUT_FEED; each: the first reading's values. exchange: see Steps.
    """

    @tracing()
    def __init__(
        self,
        graph: Graph,
        batch: int,
        *,
        training: bool = False,
        noisy: bool | None = None,
        losses: Sequence[Reading] = (),
        metrics: Sequence[Reading] = (),
        optimizer: UpdateRule | None = None,
        trained: Collection[Parameter] | None = None,
        recalibrates: bool = False,
        moves: bool | None = None,
        output: bool = False,
        each: bool = False,
        exchange: Exchange | None = None,
    ) -> None:
        outputs = graph.outputs if output else ()
        learned = Graph(graph.inputs, list(dict.fromkeys([*outputs, *(loss.tensor for loss in losses)])))
        graph = Graph(graph.inputs, list(dict.fromkeys([*learned.outputs, *(metric.tensor for metric in metrics)])))
        how = noisy, trained, learned, recalibrates, bool(losses), moves, exchange
        build = Builder(graph, batch, training, optimizer, *how)
        self.batch, self.dtype, self._penalties = batch, build.dtype, build.steps.penalties
        for i, source in enumerate(graph.inputs):
            out = write(build.value(source))
            build.emit("gather", out=out, feed=X_FEED + FEEDS * i, features=source.features)
        for op in graph.ops:
            if not op.lazy:
                op.forward(build)
        readings = [*losses, *metrics]
        self._totals = [aligned((r.terminal.width(r.tensor.features),), np.dtype(np.float64)) for r in readings]
        values = build.panel_ref(1) if each else None
        learns = training and optimizer is not None
        for i, (reading, totals) in enumerate(zip(readings, self._totals, strict=True)):
            build.output = reading.output
            gradient = build.panel_ref(reading.tensor.features) if learns and i < len(losses) else None
            weight = build.weight() if reading.weighted else None
            reading.terminal.emit(build, reading.tensor, totals, gradient, weight, None if i else values)
            if gradient:
                build.gradients.give_share(reading.tensor, gradient, reading.share)
        if losses:
            build.steps.penalize()
        if learns:
            for op in reversed(learned.ops):
                if build.gradients.needed(op.output):
                    op.backward(build)
            build.steps.finish()
        for i, tensor in enumerate(outputs):
            self._scatter(build, build.value(tensor), OUT_FEED + FEEDS * i, tensor.features)
        if values:
            self._scatter(build, values, OUT_FEED, 1)
        calls = schedule(build.calls)
        self.arena = place(calls)
        self.phases = calls[-1].phase + 1
        self._program = _ext.Program(batch, self.dtype.itemsize, build.parts)
        emit(self._program, calls)
        self._schedules, self._calls = build.schedules, calls
        self._calls_python, self._runs = any(call.function for call in calls), False
        self._declare_feeds(graph, outputs, readings, bool(values))
        self.flops = graph.flops * batch * (3 if training else 1)

    def _declare_feeds(self, graph: Graph, outputs: Sequence[Tensor], readings: Sequence[Reading], each: bool) -> None:
        """The arrays of rows that a run must be given, and what a row of each holds."""
        item = self.dtype.itemsize
        for i, source in enumerate(graph.inputs):
            self._program.declare_feed(X_FEED + FEEDS * i, source.features * item, False)
        for target in (tensor for op in graph.ops for tensor in op.inputs if isinstance(tensor, Target)):
            if target.output is not None:
                self._program.declare_feed(Y_FEED + FEEDS * target.output, target.features * item, False)
        for reading in readings:
            at = FEEDS * reading.output
            if size := reading.terminal.target_bytes(reading.tensor):
                self._program.declare_feed(Y_FEED + at, size, False)
            if reading.weighted:
                self._program.declare_feed(W_FEED + at, item, False)
        for i, tensor in enumerate(outputs):
            self._program.declare_feed(OUT_FEED + FEEDS * i, tensor.features * item, True)
        if each:
            self._program.declare_feed(OUT_FEED, item, True)

    @staticmethod
    def _scatter(build: Builder, ref: Ref, feed: int, features: int) -> None:
        build.emit("scatter", x=read(ref), feed=feed, features=features)

    def run(
        self,
        feeds: dict[int, Array],
        *,
        start: int = 0,
        steps: int = 1,
        index: Array | None = None,
        rates: Array | None = None,
        step: int = 0,
        seed: int = 0,
        threads: int = 1,
        schedule_step: int | None = None,
    ) -> None:
        """Run `steps` batches from row `start` of the feeds (or of `index` into them), in one call without the GIL.

        What follows a schedule is as at step, step + 1, …; at schedule_step all along, if that is given.
        RecursionError if a function of one's own, which it calls, runs it or many others in turn.
        """
        values = self._values(step, steps, schedule_step) if self._schedules else None
        if not self._calls_python:
            self._program.run(feeds, start, steps, index, rates, step, seed, threads, values)
            return
        if self._runs or _nested.depth >= MOST_NESTED:
            raise RecursionError(
                "a layer, loss or metric of your own calls a model that calls it again: it must not run the model that "
                "it belongs to"
            )
        self._runs, _nested.depth = True, _nested.depth + 1
        try:
            self._program.run(feeds, start, steps, index, rates, step, seed, threads, values)
        finally:
            self._runs, _nested.depth = False, _nested.depth - 1

    def _values(self, step: int, count: int, always: int | None) -> Array:
        """What follows schedules, (count, values): as at step, step + 1, …, or at the same one all along."""
        steps = np.arange(step, step + count) if always is None else np.full(count, always)
        return np.ascontiguousarray(np.stack([schedule(steps) for schedule in self._schedules], axis=1), np.float64)

    @property
    def scheduled(self) -> bool:
        """Whether something in it follows a schedule."""
        return bool(self._schedules)

    def measure(self, enabled: bool) -> None:
        """Whether runs measure, from now on, what each kernel takes."""
        self._program.measure(enabled)

    def times(self, threads: int) -> list[KernelTime]:
        """What each kernel took since `measure(True)`, and last, named "", how long threads waited for each other."""
        *ticks, waiting = zip(*self._program.ticks(threads), strict=True)
        calls = zip(self._calls, ticks, strict=True)
        found = [KernelTime(call.kernel, each, self._flops(call), _nbytes(call)) for call, each in calls]
        return [*found, KernelTime("", waiting, 0, 0)]

    def _flops(self, call: Call) -> int:
        sizes: Any = call.arguments
        return 2 * sizes["inputs"] * sizes["outputs"] * self.batch * call.members if call.kernel in PRODUCTS else 0

    @property
    def steps_done(self) -> int:
        """Of the last run: all, unless a function of one's own raised an error."""
        return self._program.steps_done

    @property
    def totals(self) -> list[Array]:
        """The sums since `reset`, of each terminal: loss first, then the metrics."""
        return [totals.copy() for totals in self._totals]

    @property
    def penalties(self) -> float:
        """The sum since `reset` of all penalties on weights and activities, times the batch: part of the loss."""
        return float(self._penalties[0])

    def reset(self) -> None:
        """Begin a pass over the data: forget the sums."""
        for totals in (*self._totals, self._penalties):
            totals[:] = 0
