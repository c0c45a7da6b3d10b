"""y = x W + b"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdl import _ext
from fastdl.errors import ShapeError
from fastdl.graph import Op, Parameter, Tensor
from fastdl.schedule import read, read_all, write

if TYPE_CHECKING:
    from fastdl.onnx.export import OnnxGraph
    from fastdl.program import Builder


# Dot products are summed in blocks this long. Training pays 2 % for rounding half of that of one long sum;
# inference pays 6 % for a quarter, so that predict is closer to float64 than the exported file's runtime.
TRAINING_BLOCK, INFERENCE_BLOCK = 128, 32


class Dense(Op):
    """x: (batch, in); kernel: (in, out); bias: (out,) or None → (batch, out)."""

    def __init__(self, x: Tensor, kernel: Parameter, bias: Parameter | None = None, name: str = "") -> None:
        if len(x.shape) != 2 or x.shape[1] != kernel.shape[0]:
            raise ShapeError(f"{name}: a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
        self.kernel, self.bias = kernel, bias
        parameters = [kernel] if bias is None else [kernel, bias]
        super().__init__([x], (None, kernel.shape[1]), parameters, name)

    @property
    def flops(self) -> int:
        rows, columns = self.kernel.shape
        return 2 * rows * columns + (columns if self.bias else 0)

    def forward(self, build: Builder) -> None:
        rows, columns = self.kernel.shape
        rectified = build.fuse_relu(self)
        build.emit(
            "dense_forward",
            read_all(build.value(self.inputs[0])),
            read(build.parameter(self.kernel)),
            read(build.parameter(self.bias)) if self.bias else None,
            write(build.value(rectified or self.output)),
            sizes=(
                rows,
                columns,
                _ext.RELU if rectified else _ext.LINEAR,
                TRAINING_BLOCK if build.training else INFERENCE_BLOCK,
            ),
            features=columns,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        rows, columns = self.kernel.shape
        gradient = build.gradient(self.output)
        if build.needs_gradient(x):
            relu = build.fuse_relu_gradient(self)
            build.emit(
                "dense_input_grad",
                read_all(gradient),
                read_all(build.parameter(self.kernel)),
                write(build.gradient(relu.inputs[0] if relu else x)),
                read(build.value(x)) if relu else None,
                sizes=(rows, columns),
                features=rows,
            )
        if not self.kernel.trainable:
            return
        if build.optimizer and build.batch <= _ext.CHUNK:
            self._step_at_once(build)
            return
        shared = build.axis == _ext.BY_PANEL
        gradients = [build.parameter_gradient(parameter) for parameter in self.parameters]
        written = [build.partial_gradients(p) for p in self.parameters] if shared else gradients
        build.emit(
            "dense_weight_grad",
            *(read_all(build.value(x)), read(gradient), *map(write, written), *([] if self.bias else [None])),
            sizes=(rows, columns, self.kernel.storage.size, self.bias.storage.size if self.bias else 0),
            features=columns,
            axis=build.axis,
            defer=True,
        )
        for parameter, ref, partials in zip(self.parameters, gradients, written, strict=True):
            if shared:
                build.sum_partials(parameter, partials, ref)
            build.train(parameter, ref)

    def _step_at_once(self, build: Builder) -> None:
        """Gradient and optimizer in one kernel."""
        assert build.optimizer is not None
        rows, columns = self.kernel.shape
        steps = [(write(build.parameter(p)), *build.slots(p)) if p else (None,) * 3 for p in (self.kernel, self.bias)]
        build.emit(
            "dense_weight_step",
            *(read_all(build.value(self.inputs[0])), read(build.gradient(self.output)), *steps[0], *steps[1]),
            sizes=(rows, columns, build.optimizer.rule),
            scalars=build.optimizer.scalars(),
            features=columns,
            axis=_ext.BY_FEATURE,
            defer=True,
        )

    def onnx(self, graph: OnnxGraph) -> None:
        constants = [graph.constant(parameter) for parameter in self.parameters]
        graph.node("Gemm", [graph.name(self.inputs[0]), *constants], self)
