"""Buffers by tensor, and the kernels that work on them, while a program is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.graph import Graph, Op, Parameter, Tensor
from fastdl.compiler.memory import aligned, padded
from fastdl.compiler.phases import Access, Argument, Call, Ref, accesses_of

SHARED_PANELS = 32  # from a batch this large on, training may share panels …
SHARED_WEIGHTS = 65536  # … if a copy of all gradients for each part is this small
TRAINING_PARTS = 16
HALVES_FROM_FLOPS = 1_000_000  # of a forward pass; below, one thread does it all and would only sum in two parts
NEAR_WEIGHTS = 32768  # weights that stay in the first caches while each panel reads them

Schedule = Callable[[Array], Array]  # steps (n,) → a number for each, in float64


def _division(graph: Graph, panels: int, training: bool) -> tuple[int, int]:
    """Whether threads share the features or the panels, and into how many parts the panels are cut.

    By panels a thread takes its parts through layer after layer, in its cache, and meets nobody; but each part
    reads all weights, and training sums each weight's gradient over the parts. By features each thread owns some
    columns of each layer's weights, their slots and batch norms.
    """
    weights = sum(parameter.size for op in graph.ops for parameter in op.parameters)
    if training:
        if panels >= SHARED_PANELS and weights <= SHARED_WEIGHTS:
            return _ext.BY_PANEL, TRAINING_PARTS
        return _ext.BY_FEATURE, panels
    if panels == 1:
        return _ext.BY_FEATURE, 1
    return _ext.BY_PANEL, panels if weights <= NEAR_WEIGHTS else -(-panels // 4)


class Buffers:
    """What gradients and steps, which the Builder adds to it, need as well: where numbers lie, and `emit`."""

    def __init__(self, graph: Graph, batch: int, training: bool) -> None:
        self.graph, self.batch, self.training = graph, batch, training
        self.dtype = graph.inputs[0].dtype
        self.panels = -(-batch // _ext.PANEL)
        self.axis, self.parts = _division(graph, self.panels, training)
        # whether threads that own features share long sums by halves of the inputs
        self.halves = training and self.axis == _ext.BY_FEATURE and graph.flops * batch >= HALVES_FROM_FLOPS
        self.calls: list[Call] = []
        self.every = 1  # what is emitted runs in steps whose number, from 1 on, is a multiple of this
        self.schedules: list[Schedule] = []
        self._sources: dict[Tensor, Tensor] = {}
        self._begun = {op for op in graph.ops if not op.lazy}  # ops whose turn comes, or whose kernels are there
        self._values: dict[Tensor, Ref] = {}
        self._fixed: dict[int, Ref] = {}

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
        """Where its values lie. Of a lazy op, or one that only gradients need, the kernels are emitted now."""
        self._begin(tensor)
        while tensor in self._sources:
            tensor = self._sources[tensor]
            self._begin(tensor)
        if tensor not in self._values:
            self._values[tensor] = self.panel_ref(tensor.features)
        return self._values[tensor]

    def _begin(self, tensor: Tensor) -> None:
        if tensor.op is not None and self.waits(tensor.op):
            self._begun.add(tensor.op)
            tensor.op.forward(self)

    def waits(self, op: Op) -> bool:
        """Whether the op's kernels are emitted only where somebody reads its output, and nobody has yet."""
        return op not in self._begun

    def bind(self, tensor: Tensor, ref: Ref) -> None:
        """The tensor's values lie in this buffer, and no op computes them."""
        self._values[tensor] = ref

    def source(self, tensor: Tensor) -> Tensor:
        """The tensor whose buffers it shares: itself, unless it is another by name only."""
        while tensor in self._sources:
            tensor = self._sources[tensor]
        return tensor

    def same(self, output: Tensor, source: Tensor) -> None:
        """The output is the source under another name: no kernel, one buffer for values, one for gradients."""
        self._sources[output] = self.source(source)

    def array(self, array: Array) -> Ref:
        """A buffer that lives outside the arena."""
        return self._fixed.setdefault(array.__array_interface__["data"][0], Ref(array=array, panels=False))

    def parameter(self, parameter: Parameter) -> Ref:
        return self.array(parameter.storage)

    def constant(self, values: Sequence[float]) -> Array:
        """The values as doubles that a kernel can read."""
        array = aligned((len(values),), np.dtype(np.float64))
        array[:] = values
        return array

    def scheduled(self, schedule: Schedule) -> _ext.Scheduled:
        """What stands for a number of a kernel's that is another one in each step."""
        self.schedules.append(schedule)
        return _ext.Scheduled(len(self.schedules) - 1)

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
        members: int = 1,
        **arguments: Argument,
    ) -> None:
        """Append a kernel with its arguments by the names of the kernel table (ext/table.h). TypeError for wrong ones.

        over: how many features the work is shared over; if not given, the kernel's argument `features`. defer: it may
        wait until threads meet anyway: nobody is waiting for its result. ahead: it goes before all others, where it
        adds no meeting between kernels that one thread runs through. members: of a sample, for a kernel that goes panel
        by panel, and so member by member: see ext/kernels.h.
        """
        _ext.check_arguments(kernel, arguments)
        wants, accesses = _ext.KERNELS[kernel].arguments, []
        for name, value in arguments.items():
            for access in accesses_of(value):
                if access.writes != (wants[name].kind == "written"):
                    raise TypeError(f"{kernel} {'reads' if access.writes else 'writes'} {name}")
                accesses.append(access)
        axis = self.axis if axis is None else axis
        shared = arguments["features"] if over is None else over
        assert isinstance(shared, int)
        call = Call(kernel, tuple(accesses), axis, shared, defer, arguments, members=members, every=self.every)
        self.calls.insert(0 if ahead else len(self.calls), call)
