"""y = x W + b"""

from __future__ import annotations

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.memory import padded
from fastdl.compiler.phases import (
    Arguments,
    read,
    read_all,
    read_inputs,
    read_rows,
    write,
    write_all,
    write_half,
    write_rows,
)
from fastdl.errors import ShapeError
from fastdl.ops.batch_norm import BatchNorm

# Dot products are summed in blocks this long. Training pays 2 % for rounding half of that of one long sum;
# inference pays 6 % for a quarter, so that predict is closer to float64 than the exported file's runtime.
TRAINING_BLOCK, INFERENCE_BLOCK = 128, 32
HALVED_INPUTS = 64  # fewer are not worth cutting a sum for


class Dense(Op):
    """x: (batch, ..., in); kernel: (in, out); bias: (out,) or None → (batch, ..., out): over the last axis."""

    def __init__(self, x: Tensor, kernel: Parameter, bias: Parameter | None = None, name: str = "") -> None:
        if len(x.shape) < 2 or x.shape[-1] != kernel.shape[0]:
            raise ShapeError(f"{name}: a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
        self.kernel, self.bias = kernel, bias
        parameters = [kernel] if bias is None else [kernel, bias]
        super().__init__([x], (*x.shape[:-1], kernel.shape[1]), parameters, name)

    @property
    def flops(self) -> int:
        rows, columns = self.kernel.shape
        return (2 * rows * columns + (columns if self.bias else 0)) * self.output.members

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        rows, columns = self.kernel.shape
        bias = read(build.parameter(self.bias)) if self.bias else None
        last: Op = self
        after: Arguments = {}
        norm = build.neighbours.only_consumer(self.output)
        if isinstance(norm, BatchNorm) and not build.training:
            build.neighbours.fused.add(norm)
            last, after = norm, norm.fold(build)
        rectified = build.neighbours.relu_after(last)
        kind = _ext.RELU if rectified is not None else _ext.LINEAR
        value, output = build.value(x), build.value(last.output if rectified is None else rectified)
        block = TRAINING_BLOCK if build.training else INFERENCE_BLOCK
        sizes: Arguments = {"inputs": rows, "outputs": columns, "act": kind, "block": block}
        halved = build.halves and rows >= HALVED_INPUTS
        if not halved:
            build.emit(
                "dense_forward",
                x=read_all(value),
                w=read(build.parameter(self.kernel)),
                b=bias,
                y=write(output),
                **after,
                **sizes,
                middle=rows,
                over=columns,
                members=x.members,
            )
            return
        # each of two threads reads the inputs and the rows of W that are its own, and only sums cross between them
        second = build.panel_ref(self.output.features)
        build.emit(
            "dense_forward",
            x=read_inputs(value, rows),
            w=read_all(build.parameter(self.kernel)),
            b=bias,
            y=write_half(output),
            second=write_half(second),
            **sizes,
            middle=padded(rows) // _ext.UNIT // 2 * _ext.UNIT,
            over=columns,
            axis=_ext.BY_HALF,
            members=x.members,
        )
        build.emit(
            "dense_finish",
            y=write(output),
            second=read(second),
            b=bias,
            outputs=columns,
            act=kind,
            over=columns,
            axis=_ext.AFTER_HALVES,
            members=x.members,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        rows, columns = self.kernel.shape
        gradient = build.gradients.of(self.output)
        if build.gradients.needed(x):
            relu = build.neighbours.relu_before(self)
            build.emit(
                "dense_input_grad",
                dy=read_all(gradient),
                w=read_rows(build.parameter(self.kernel)),
                dx=write(build.gradients.give(relu.inputs[0] if relu else x)),
                relu=read(build.value(x)) if relu else None,
                inputs=rows,
                outputs=columns,
                over=rows,
                members=x.members,
            )
        if not build.steps.trains(self.kernel):
            return
        if build.steps.at_once(self.parameters) and build.batch <= _ext.CHUNK and x.members == 1:
            self._step_at_once(build)
            return
        inputs, slopes = read_all(build.value(x)), read(gradient)
        gradients = build.gradients.of_dense(self.kernel, self.bias, inputs, slopes, x.members)
        for parameter, ref in zip(self.parameters, gradients, strict=True):
            build.steps.train(parameter, ref)

    def _step_at_once(self, build: Builder) -> None:
        """Gradient and optimizer in one kernel, by rows of W as the input's gradient: both run without a meeting."""
        rows, columns = self.kernel.shape
        build.emit(
            "dense_weight_step",
            x=read(build.value(self.inputs[0])),
            dy=read_all(build.gradients.of(self.output)),
            w=write_rows(build.parameter(self.kernel)),
            slots=[write_rows(slot) if slot else None for slot in build.steps.slots(self.kernel)],
            b=write_all(build.parameter(self.bias)) if self.bias else None,
            b_slots=[write_all(slot) if slot else None for slot in build.steps.slots(self.bias)] if self.bias else None,
            inputs=rows,
            outputs=columns,
            **build.steps.rule(self.kernel, self.bias or self.kernel),
            over=rows,
            axis=_ext.BY_FEATURE,
            defer=True,
        )
        for parameter in self.parameters:
            build.steps.end(parameter)

    def onnx(self, graph: NodeWriter) -> None:
        (x,) = self.inputs
        constants = [graph.constant(parameter) for parameter in self.parameters]
        if len(x.shape) == 2:
            graph.node("Gemm", [graph.name(x), *constants], self)
        elif self.bias:
            product = graph.inner("MatMul", [graph.name(x), constants[0]], self)
            graph.node("Add", [product, constants[1]], self)
        else:
            graph.node("MatMul", [graph.name(x), *constants], self)
