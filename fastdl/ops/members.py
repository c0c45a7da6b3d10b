"""Samples of several members, (batch, members, features): one sample for all, their mean, weights of each one's own."""

from __future__ import annotations

from fastdl import _ext
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.phases import Access, Arguments, Ref, read, read_all, write, write_rows
from fastdl.errors import ShapeError
from fastdl.ops.dense import INFERENCE_BLOCK, TRAINING_BLOCK


def _repeat(build: Builder, x: Access, y: Ref, features: int, count: int, scale: float) -> None:
    build.emit("repeat_members", x=x, y=write(y), features=features, count=count, scale=scale)


def _sum(build: Builder, x: Access, y: Ref, features: int, count: int, scale: float) -> None:
    build.emit("sum_members", x=x, y=write(y), features=features, count=count, scale=scale)


def _members_of(name: str, x: Tensor) -> tuple[int, int]:
    """How many, and each one's features. ShapeError unless x is (batch, members, features)."""
    if len(x.shape) != 3:
        raise ShapeError(f"{name} takes (batch, members, features), not {x.shape}: put a RepeatVector(n) before it")
    return x.members, x.channels


class RepeatMembers(Op):
    """x: (batch, features) → (batch, count, features), each member the whole sample."""

    def __init__(self, x: Tensor, count: int, name: str = "") -> None:
        self.count = count
        if len(x.shape) != 2:
            raise ShapeError(f"{name} takes (batch, features), not {x.shape}: put a Flatten() before it")
        super().__init__([x], (None, count, x.shape[1]), name=name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        _repeat(build, read(build.value(x)), build.value(self.output), x.features, self.count, 1.0)

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        gradient = read(build.gradients.of(self.output))
        _sum(build, gradient, build.gradients.give(x), x.features, self.count, 1.0)

    def onnx(self, graph: NodeWriter) -> None:
        (x,) = self.inputs
        one = graph.inner("Unsqueeze", [graph.name(x), graph.shape_constant([1])], self)
        graph.node("Expand", [one, graph.shape_constant([1, self.count, 1])], self)


class MeanMembers(Op):
    """x: (batch, members, features) → (batch, features), the mean over the members."""

    def __init__(self, x: Tensor, name: str = "") -> None:
        self.count, features = _members_of(name, x)
        super().__init__([x], (None, features), name=name)

    def forward(self, build: Builder) -> None:
        (x,) = self.inputs
        _sum(build, read(build.value(x)), build.value(self.output), self.output.features, self.count, 1 / self.count)

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        gradient = read(build.gradients.of(self.output))
        _repeat(build, gradient, build.gradients.give(x), self.output.features, self.count, 1 / self.count)

    def onnx(self, graph: NodeWriter) -> None:
        graph.node("ReduceMean", [graph.name(self.inputs[0])], self, axes=[1], keepdims=0)


class MemberScale(Op):
    """x times a number for each member and feature. x: (batch, members, features); scale: (members * features,)."""

    def __init__(self, x: Tensor, scale: Parameter, name: str = "") -> None:
        _members_of(name, x)
        if scale.shape != (x.features,):
            raise ShapeError(f"{name}: a scale of shape {scale.shape} does not fit an input of shape {x.shape}")
        self.scale = scale
        super().__init__([x], x.shape, [scale], name)

    def _times_scale(self, build: Builder, x: Access, y: Ref) -> None:
        features = self.output.features
        build.emit(
            "affine",
            x=x,
            y=write(y),
            spread=read(build.parameter(self.scale)),
            features=features,
            inner=1,
            count=features,
            spread_is=_ext.SCALE,
            least=0.0,
        )

    def forward(self, build: Builder) -> None:
        self._times_scale(build, read(build.value(self.inputs[0])), build.value(self.output))

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        gradient = build.gradients.of(self.output)
        if build.gradients.needed(x):
            self._times_scale(build, read(gradient), build.gradients.give(x))
        if build.steps.trains(self.scale):
            slope = build.vector_ref(x.features)
            build.emit(
                "sum_products",
                x=read(build.value(x)),
                dy=read(gradient),
                out=write(slope),
                features=x.features,
                axis=_ext.BY_FEATURE,
            )
            build.steps.train(self.scale, slope)

    def onnx(self, graph: NodeWriter) -> None:
        (x,) = self.inputs
        scale = graph.constant(self.scale.numpy().reshape(1, x.members, x.channels), self.scale.path)
        graph.node("Mul", [graph.name(x), scale], self)


class MemberDense(Op):
    """x W + b, with each member's W and b: (batch, members, in) → (batch, members, units).

    kernel: (members * in, units), the members' one under the other; bias: (members * units,) or None.
    """

    def __init__(self, x: Tensor, kernel: Parameter, bias: Parameter | None = None, name: str = "") -> None:
        count, inputs = _members_of(name, x)
        if kernel.shape[0] != count * inputs:
            raise ShapeError(f"{name}: a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
        self.kernel, self.bias = kernel, bias
        self._sizes: Arguments = {"count": count, "inputs": inputs, "outputs": kernel.shape[1]}
        super().__init__([x], (None, count, kernel.shape[1]), [kernel] if bias is None else [kernel, bias], name)

    @property
    def flops(self) -> int:
        return 2 * self.kernel.size + (self.bias.size if self.bias else 0)

    def forward(self, build: Builder) -> None:
        build.emit(
            "member_dense_forward",
            x=read_all(build.value(self.inputs[0])),
            w=read_all(build.parameter(self.kernel)),
            b=read_all(build.parameter(self.bias)) if self.bias else None,
            y=write(build.value(self.output)),
            **self._sizes,
            block=TRAINING_BLOCK if build.training else INFERENCE_BLOCK,
            over=self.output.features,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        gradient = build.gradients.of(self.output)
        if build.gradients.needed(x):
            build.emit(
                "member_dense_input_grad",
                dy=read_all(gradient),
                w=read_all(build.parameter(self.kernel)),
                dx=write(build.gradients.give(x)),
                **self._sizes,
                over=x.features,
            )
        if self.bias and build.steps.trains(self.bias):
            slope = build.vector_ref(self.bias.size)
            build.emit("bias_grad", dy=read(gradient), db=write(slope), features=self.bias.size, axis=_ext.BY_FEATURE)
            build.steps.train(self.bias, slope)
        if build.steps.trains(self.kernel):
            slopes = build.gradients.room_for(self.kernel)
            build.emit(
                "member_dense_weight_grad",
                x=read_all(build.value(x)),
                dy=read_all(gradient),
                dw=write_rows(slopes),
                **self._sizes,
                over=x.features,
                axis=_ext.BY_FEATURE,
            )
            build.steps.train(self.kernel, slopes)

    def onnx(self, graph: NodeWriter) -> None:
        """One product for each member, of a matrix of samples: (members, batch, in) (members, in, units)."""
        count, inputs, outputs = self._sizes.values()
        kernel = graph.constant(self.kernel.numpy().reshape(count, inputs, outputs), self.kernel.path)
        apart = graph.inner("Transpose", [graph.name(self.inputs[0])], self, perm=[1, 0, 2])
        product = graph.inner("MatMul", [apart, kernel], self)
        if not self.bias:
            graph.node("Transpose", [product], self, perm=[1, 0, 2])
            return
        together = graph.inner("Transpose", [product], self, perm=[1, 0, 2])
        graph.node("Add", [together, graph.constant(self.bias.numpy().reshape(count, outputs), self.bias.path)], self)
