"""y = x Wᵀ + b, with the W of a dense layer: the way back in an autoencoder whose weights are tied."""

from __future__ import annotations

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import read, read_all, read_rows, write
from fastdl.errors import ShapeError
from fastdl.ops.dense import TRAINING_BLOCK


class TiedDense(Op):
    """x: (batch, out); kernel: (in, out), as Dense has it; bias: (in,) or None → (batch, in)."""

    def __init__(self, x: Tensor, kernel: Parameter, bias: Parameter | None = None, name: str = "") -> None:
        if len(x.shape) != 2 or x.shape[1] != kernel.shape[1]:
            raise ShapeError(f"{name}: a tied kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
        self.kernel, self.bias = kernel, bias
        super().__init__([x], (None, kernel.shape[0]), [kernel] if bias is None else [kernel, bias], name)

    @property
    def flops(self) -> int:
        rows, columns = self.kernel.shape
        return 2 * rows * columns + (rows if self.bias else 0)

    def forward(self, build: Builder) -> None:
        rows, columns = self.kernel.shape
        product = build.panel_ref(rows) if self.bias else build.value(self.output)
        # what the input's gradient is to Dense, the output is here
        build.emit(
            "dense_input_grad",
            dy=read_all(build.value(self.inputs[0])),
            w=read_rows(build.parameter(self.kernel)),
            dx=write(product),
            inputs=rows,
            outputs=columns,
            over=rows,
        )
        if self.bias:
            bias, y = read(build.parameter(self.bias)), write(build.value(self.output))
            build.emit("add_bias", x=read(product), b=bias, y=y, features=rows)

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        rows, columns = self.kernel.shape
        gradient = build.gradients.of(self.output)
        if build.gradients.needed(x):
            build.emit(
                "dense_forward",
                x=read_all(gradient),
                w=read(build.parameter(self.kernel)),
                y=write(build.gradients.give(x)),
                inputs=rows,
                outputs=columns,
                act=_ext.LINEAR,
                block=TRAINING_BLOCK,
                middle=rows,
                over=columns,
            )
        if self.bias and build.steps.trains(self.bias):
            slope = build.vector_ref(rows)
            build.emit("bias_grad", dy=read(gradient), db=write(slope), features=rows, axis=_ext.BY_FEATURE)
            build.steps.train(self.bias, slope)
        if build.steps.trains(self.kernel):
            build.steps.train(
                self.kernel, build.gradients.of_matrix(self.kernel, read_all(gradient), read(build.value(x)))
            )

    def onnx(self, graph: NodeWriter) -> None:
        transposed = graph.constant(self.kernel.numpy().T, f"{self.name}/kernel")
        bias = [graph.constant(self.bias)] if self.bias else []
        graph.node("Gemm", [graph.name(self.inputs[0]), transposed, *bias], self)
