"""What ops see while a program is built: buffers by tensor, and `emit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastdl import _ext
from fastdl.compiler.feeds import FEEDS, W_FEED, Y_FEED
from fastdl.compiler.gradients import Gradients
from fastdl.compiler.graph import Array, Graph, Op, Parameter, Tensor, aligned, padded
from fastdl.compiler.neighbours import Neighbours
from fastdl.compiler.phases import Access, Argument, Call, Ref, accesses_in, write
from fastdl.compiler.steps import Steps, UpdateRule

if TYPE_CHECKING:
    from fastdl.ops.mix import Mixing

SHARED_PANELS = 32  # from a batch this large on, training may share panels …
SHARED_WEIGHTS = 65536  # … if a copy of all gradients for each part is this small
TRAINING_PARTS = 16
HALVES_FROM_FLOPS = 1_000_000  # of a forward pass; below, one thread does it all and would only sum in two parts
NEAR_WEIGHTS = 32768  # weights that stay in the first caches while each panel reads them


def _division(graph: Graph, panels: int, training: bool) -> tuple[int, int]:
    """Whether threads share the features or the panels, and into how many parts the panels are cut.

    By panels a thread takes its parts through layer after layer, in its cache, and meets nobody; but each part
    reads all weights, and training sums each weight's gradient over the parts. By features each thread owns some
    columns of each layer's weights, their slots and batch norms.
    """
    weights = sum(math.prod(p.shape) for op in graph.ops for p in op.parameters)
    if training:
        if panels >= SHARED_PANELS and weights <= SHARED_WEIGHTS:
            return _ext.BY_PANEL, TRAINING_PARTS
        return _ext.BY_FEATURE, panels
    if panels == 1:
        return _ext.BY_FEATURE, 1
    return _ext.BY_PANEL, panels if weights <= NEAR_WEIGHTS else -(-panels // 4)


class Builder:
    """Buffers by tensor, and the kernels that work on them; gradients, steps and neighbours each know their own part.

    noisy: whether what is random in training is; as training, if None. trained: the parameters that are stepped.
    learned: the part of the graph that losses look at. recalibrates: batch norm's moving averages become the batch's
    statistics. counts_penalties: whether there is a loss for them to be part of.
    """

    def __init__(
        self,
        graph: Graph,
        batch: int,
        training: bool,
        optimizer: UpdateRule | None,
        noisy: bool | None = None,
        trained: Collection[Parameter] | None = None,
        learned: Graph | None = None,
        recalibrates: bool = False,
        counts_penalties: bool = False,
    ) -> None:
        self.graph, self.batch, self.training, self.optimizer = graph, batch, training, optimizer
        self.noisy = training if noisy is None else noisy
        self.recalibrates, self.counts_penalties = recalibrates, counts_penalties
        self.output = 0  # whose targets and weights the terminals ask for
        self.dtype = graph.inputs[0].dtype
        self.panels = -(-batch // _ext.PANEL)
        self.axis, self.parts = _division(graph, self.panels, training)
        # whether threads that own features share long sums by halves of the inputs
        self.halves = training and self.axis == _ext.BY_FEATURE and graph.flops * batch >= HALVES_FROM_FLOPS
        self.calls: list[Call] = []
        self.saved: dict[Op, tuple[Ref, ...]] = {}  # what an op's forward keeps for its backward
        self.mixing: Mixing | None = None  # of the batch's samples, and then of its targets
        self.neighbours = Neighbours(graph)
        self.steps = Steps(self, graph, learned or graph, optimizer, trained)
        self.gradients = Gradients(self, graph, self.steps)
        self._sources: dict[Tensor, Tensor] = {}
        self._values: dict[Tensor, Ref] = {}
        self._fixed: dict[int, Ref] = {}
        self._targets: dict[int, Ref] = {}
        self._weights: dict[int, Ref] = {}

    def panel_ref(self, features: int) -> Ref:
        """A buffer for `features` numbers a sample."""
        return Ref(self.panels * features * _ext.PANEL * self.dtype.itemsize)

    def vector_ref(self, features: int) -> Ref:
        """A buffer for one number a feature."""
        return Ref(padded(features) * self.dtype.itemsize, panels=False)

    def part_ref(self) -> Ref:
        """A buffer for one double a panel."""
        return Ref(self.panels * 8)

    def value(self, tensor: Tensor) -> Ref:
        tensor = self.source(tensor)
        if tensor not in self._values:
            self._values[tensor] = self.panel_ref(tensor.features)
        return self._values[tensor]

    def source(self, tensor: Tensor) -> Tensor:
        """The tensor whose buffers it shares: itself, unless it is another by name only."""
        return self._sources.get(tensor, tensor)

    def same(self, output: Tensor, source: Tensor) -> None:
        """The output is the source under another name: no kernel, one buffer for values, one for gradients."""
        self._sources[output] = self.source(source)

    def array(self, array: Array) -> Ref:
        """A buffer that lives outside the arena."""
        return self._fixed.setdefault(array.__array_interface__["data"][0], Ref(array=array, panels=False))

    def parameter(self, parameter: Parameter) -> Ref:
        return self.array(parameter.storage)

    def feed(self, first: int) -> int:
        """The number of the output's feed, whose first one is given."""
        return first + FEEDS * self.output

    def _gathered(self, feed: int, features: int) -> Ref:
        ref = self.panel_ref(features)
        self.emit("gather", out=write(ref), feed=feed, features=features, axis=_ext.BY_PANEL)
        return ref

    def target(self, features: int) -> Ref:
        """The batch's rows of the output's targets, gathered once."""
        if self.output not in self._targets:
            plain = self._targets[self.output] = self._gathered(self.feed(Y_FEED), features)
            if self.mixing:
                self._targets[self.output] = self.panel_ref(features)
                self.mixing.mix(self, plain, self._targets[self.output], features)
        return self._targets[self.output]

    def weight(self) -> Ref:
        """The batch's weights of the output's samples, gathered once."""
        if self.output not in self._weights:
            self._weights[self.output] = self._gathered(self.feed(W_FEED), 1)
        return self._weights[self.output]

    def acts(self, op: Op) -> bool:
        """Whether a random op draws."""
        return self.noisy if op.active is None else op.active

    def stream(self, op: Op) -> int:
        """The number of a random op's stream: its seed, or its place among those of its kind; kinds are far apart."""
        assert op.randomness is not None
        if op.seed is not None:
            return _ext.SEEDED + (op.randomness << 32) + op.seed
        alike = [other for other in self.graph.ops if other.randomness == op.randomness]
        return (op.randomness << 32) + alike.index(op)

    def constant(self, values: Sequence[float]) -> Array:
        """The values as doubles that a kernel can read."""
        array = aligned((len(values),), np.dtype(np.float64))
        array[:] = values
        return array

    def call(self, function: Callable[..., None], *accesses: Access | None, defer: bool = False) -> None:
        """Append a Python function of the accesses' arrays, None where there is none. defer: as for kernels."""
        self.calls.append(Call("", accesses, _ext.ONCE, 1, defer, function=function))

    def emit(
        self,
        kernel: str,
        *,
        over: int | None = None,
        axis: int | None = None,
        defer: bool = False,
        ahead: bool = False,
        **arguments: Argument,
    ) -> None:
        """Append a kernel with its arguments by the names of the kernel table (ext/table.h). TypeError for wrong ones.

        over: how many features the work is shared over; if not given, the kernel's argument `features`. defer: it may
        wait until threads meet anyway: nobody is waiting for its result. ahead: it goes before all others, where it
        adds no meeting between kernels that one thread runs through.
        """
        _ext.check_arguments(kernel, arguments)
        for name, value in arguments.items():
            written = _ext.KERNELS[kernel].arguments[name].kind == "written"
            if any(access.writes != written for access in accesses_in([value])):
                raise TypeError(f"{kernel} {'writes' if written else 'reads'} {name}")
        accesses, axis = tuple(accesses_in(arguments.values())), self.axis if axis is None else axis
        shared = arguments["features"] if over is None else over
        assert isinstance(shared, int)
        call = Call(kernel, accesses, axis, shared, defer, arguments)
        self.calls.insert(0 if ahead else len(self.calls), call)
