"""Numbers as waves, with a small dense layer of each number's own behind them (Gorishniy et al. 2022)."""

from __future__ import annotations

import math

import numpy as np

from fastdl import _ext
from fastdl.base.arrays import Array
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor, features_of
from fastdl.compiler.phases import Arguments, Ref, read_all, write
from fastdl.errors import ShapeError

# Numbers up to which onnxruntime is faster with three products of mostly zeros than with ten operators: for one row of
# 14 numbers 25 against 38 µs, of 30 about even, of 60 51 against 33 µs.
SIDE_BY_SIDE = 24


class Periodic(Op):
    """Of each number z: W waves + b, after z itself where keeps says so. x: (batch, N) → (batch, N * width).

    waves: cos(2 pi frequencies z + phases), and sin of the same after them with `sines`. frequencies, phases (or None):
    (N, k); kernel: (N * outputs, waves), bias: (N, outputs), or one for all numbers, (outputs, waves) and (1, outputs);
    all lie by rows. width: outputs, one more with `keeps`. ShapeError if they do not fit; ValueError for more waves or
    outputs than kernels take, and for parameters in strips.
    """

    def __init__(
        self,
        x: Tensor,
        frequencies: Parameter,
        phases: Parameter | None,
        kernel: Parameter,
        bias: Parameter,
        sines: bool = False,
        keeps: bool = False,
        name: str = "",
    ) -> None:
        numbers, (rows, count) = features_of(name, x.shape), frequencies.shape
        tables, self.outputs = bias.shape
        self.waves = 2 * count if sines else count
        fits = rows == numbers and (phases is None or phases.shape == frequencies.shape) and tables in (1, numbers)
        if not fits or kernel.shape != (tables * self.outputs, self.waves):
            raise ShapeError(
                f"{name}: frequencies of shape {frequencies.shape}, a kernel of {kernel.shape} and a bias of "
                f"{bias.shape} do not fit {numbers} numbers"
            )
        if self.waves > _ext.MAX_WAVES or self.outputs > _ext.MAX_WAVE_OUTPUTS:
            raise ValueError(
                f"{name}: a number has at most {_ext.MAX_WAVES} waves, and {_ext.MAX_WAVE_OUTPUTS} numbers made of "
                f"them, not {self.waves} and {self.outputs}"
            )
        if not all(p.by_rows for p in (frequencies, phases or frequencies, kernel, bias)):
            raise ValueError(f"{name}: its parameters must lie by rows")
        self.frequencies, self.phases, self.kernel, self.bias = frequencies, phases, kernel, bias
        self.sines, self.keeps, self.shared = sines, keeps, tables < numbers
        parameters = [frequencies, *([phases] if phases else []), kernel, bias]
        super().__init__([x], (None, numbers * (self.outputs + keeps)), parameters, name)

    @property
    def flops(self) -> int:
        return self.inputs[0].features * self.waves * (2 * self.outputs + 20)

    def _common(self, build: Builder) -> Arguments:
        (x,) = self.inputs
        return {
            "x": read_all(build.value(x)),
            "frequencies": read_all(build.parameter(self.frequencies)),
            "phases": read_all(build.parameter(self.phases)) if self.phases else None,
            "w": read_all(build.parameter(self.kernel)),
            "b": read_all(build.parameter(self.bias)),
            "inputs": x.features,
            "count": self.frequencies.shape[1],
            "outputs": self.outputs,
            "sines": int(self.sines),
            "keeps": int(self.keeps),
            "shared": int(self.shared),
            "over": x.features * _ext.UNIT,  # threads share the numbers
        }

    def forward(self, build: Builder) -> None:
        build.emit("periodic_forward", **self._common(build), y=write(build.value(self.output)))

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        slopes = {parameter: build.gradients.room_for(parameter) for parameter in self.parameters}
        written = {p: self._room_for_each(p) if self.shared else slopes[p] for p in (self.kernel, self.bias)}
        build.emit(
            "periodic_backward",
            **self._common(build),
            dy=read_all(build.gradients.of(self.output)),
            dx=write(build.gradients.give(x)) if build.gradients.needed(x) else None,
            dfrequencies=write(slopes[self.frequencies]),
            dphases=write(slopes[self.phases]) if self.phases else None,
            dw=write(written[self.kernel]),
            db=write(written[self.bias]),
            dw_step=self.kernel.storage.size if self.shared else self.outputs * self.waves,
            db_step=self.bias.storage.size if self.shared else self.outputs,
            axis=_ext.BY_FEATURE,
        )
        for parameter in (self.kernel, self.bias) if self.shared else ():
            size = parameter.storage.size
            build.emit(
                "sum_partials",
                partials=read_all(written[parameter]),
                out=write(slopes[parameter]),
                size=size,
                parts=x.features,
                over=size,
                axis=_ext.BY_FEATURE,
            )
        for parameter in filter(build.steps.trains, self.parameters):
            build.steps.train(parameter, slopes[parameter])

    def _room_for_each(self, parameter: Parameter) -> Ref:
        """A buffer laid out as the parameter for each number."""
        return Ref(self.inputs[0].features * parameter.storage.nbytes, panels=False)

    # -- as ONNX ------------------------------------------------------------------------------------------

    def onnx(self, graph: NodeWriter) -> None:
        if self.inputs[0].features <= SIDE_BY_SIDE:
            self._in_products(graph)
        else:
            self._by_number(graph)

    def _values(self) -> tuple[Array, Array, Array, Array]:
        """Radians for one of each number and what is added, (N, k); kernel (N, waves, outputs); bias (N, outputs)."""
        numbers, count = self.frequencies.shape
        turns = self.frequencies.numpy().astype(np.float64) * (2 * math.pi)
        phases = self.phases.numpy() if self.phases else np.zeros((numbers, count))
        kernel = self.kernel.numpy().reshape(-1, self.outputs, self.waves).transpose(0, 2, 1)
        return (
            turns.astype(self.output.dtype),
            phases.astype(self.output.dtype),
            np.broadcast_to(kernel, (numbers, *kernel.shape[1:])),
            np.broadcast_to(self.bias.numpy(), (numbers, self.outputs)),
        )

    def _constant(self, graph: NodeWriter, name: str, values: Array) -> str:
        return graph.constant(np.asarray(values, self.output.dtype), f"{self.name}.{name}")

    def _in_products(self, graph: NodeWriter) -> None:
        """All numbers in the same three products, of matrices that are mostly zeros: the fewest operators."""
        x, (turns, phases, kernel, bias) = graph.name(self.inputs[0]), self._values()
        numbers, count = turns.shape
        each, width = np.arange(numbers), self.outputs + self.keeps
        spread = np.zeros((numbers, numbers, count))
        spread[each, each] = turns
        made = np.zeros((self.waves // count, numbers, count, numbers, width))  # cosines of all numbers, then sines
        for part in range(len(made)):
            made[part, each, :, each, self.keeps :] = kernel[:, part * count : (part + 1) * count]
        shift = np.zeros((numbers, width))
        shift[:, self.keeps :] = bias
        turn, phase = self._constant(graph, "turns", spread.reshape(numbers, -1)), phases.ravel()
        radians = graph.inner("Gemm", [x, turn, self._constant(graph, "phases", phase)], self)
        waves = self._waves(graph, radians, axis=1)
        added = self._constant(graph, "bias", shift.ravel())
        if self.keeps:
            itself = np.zeros((numbers, numbers, width))
            itself[each, each, 0] = 1
            added = graph.inner("Gemm", [x, self._constant(graph, "itself", itself.reshape(numbers, -1)), added], self)
        product = self._constant(graph, "kernel", made.reshape(numbers * self.waves, -1))
        graph.node("Gemm", [waves, product, added], self)

    def _by_number(self, graph: NodeWriter) -> None:
        """(N, batch, waves), and a small product for each number: of many numbers the least arithmetic."""
        turns, phases, kernel, bias = self._values()
        by_number = graph.inner("Transpose", [graph.name(self.inputs[0])], self, perm=[1, 0])
        itself = graph.inner("Unsqueeze", [by_number, graph.shape_constant([2])], self)
        radians = graph.inner("Mul", [itself, self._constant(graph, "turns", turns[:, None])], self)
        if self.phases:
            radians = graph.inner("Add", [radians, self._constant(graph, "phases", phases[:, None])], self)
        waves = self._waves(graph, radians, axis=2)
        made = graph.inner("MatMul", [waves, self._constant(graph, "kernel", kernel)], self)
        made = graph.inner("Add", [made, self._constant(graph, "bias", bias[:, None])], self)
        made = graph.inner("Concat", [itself, made], self, axis=2) if self.keeps else made
        graph.node("Flatten", [graph.inner("Transpose", [made], self, perm=[1, 0, 2])], self, axis=1)

    def _waves(self, graph: NodeWriter, radians: str, axis: int) -> str:
        cosines = graph.inner("Cos", [radians], self)
        if not self.sines:
            return cosines
        return graph.inner("Concat", [cosines, graph.inner("Sin", [radians], self)], self, axis=axis)
