"""Where branches meet: sums, products, and features side by side."""

from __future__ import annotations

from collections.abc import Sequence

from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Tensor
from fastdl.compiler.phases import Access, Ref, read, write
from fastdl.errors import ShapeError


class Add(Op):
    """The sum of each tensor times its weight, all of one shape. ShapeError if they are not."""

    def __init__(self, inputs: Sequence[Tensor], weights: Sequence[float], name: str = "") -> None:
        _alike(inputs, name)
        self.weights = tuple(map(float, weights))
        super().__init__(inputs, inputs[0].shape, name=name)

    @property
    def flops(self) -> int:
        return (2 * len(self.inputs) - 1) * self.output.features

    def _sum(self, build: Builder, first: Access, second: Access | None, to: Ref, weights: tuple[float, float]) -> None:
        alpha, beta = weights
        build.emit(
            "add", first=first, second=second, y=write(to), features=self.output.features, alpha=alpha, beta=beta
        )

    def forward(self, build: Builder) -> None:
        total, alpha = read(build.value(self.inputs[0])), self.weights[0]
        for i, (x, weight) in enumerate(zip(self.inputs[1:], self.weights[1:], strict=True), 2):
            to = build.value(self.output) if i == len(self.inputs) else build.panel_ref(self.output.features)
            self._sum(build, total, read(build.value(x)), to, (alpha, weight))
            total, alpha = read(to), 1.0
        if len(self.inputs) == 1:
            self._sum(build, total, None, build.value(self.output), (alpha, 0.0))

    def backward(self, build: Builder) -> None:
        gradient = build.gradients.of(self.output)
        for x, weight in zip(self.inputs, self.weights, strict=True):
            if build.gradients.needed(x):
                build.gradients.give_share(x, gradient, weight)

    def onnx(self, graph: NodeWriter) -> None:
        """A mean is a sum, scaled once: what comes after it may take the scale over."""
        names = [graph.name(x) for x in self.inputs]
        whole = self.weights[0] if len(set(self.weights)) == 1 and self.weights[0] != 1 else None
        terms = [
            name if whole or weight == 1 else graph.inner("Mul", [name, graph.number(weight, self)], self)
            for name, weight in zip(names, self.weights, strict=True)
        ]
        total = terms[0]
        for i, term in enumerate(terms[1:], 2):
            if i == len(terms) and not whole:
                graph.node("Add", [total, term], self)
                return
            total = graph.inner("Add", [total, term], self)
        graph.node("Mul", [total, graph.number(whole or 1.0, self)], self)


class Multiply(Op):
    """a times b, element by element, of one shape. ShapeError if they are not."""

    def __init__(self, a: Tensor, b: Tensor, name: str = "") -> None:
        _alike((a, b), name)
        super().__init__((a, b), a.shape, name=name)

    def forward(self, build: Builder) -> None:
        a, b = (read(build.value(x)) for x in self.inputs)
        self._product(build, a, b, build.value(self.output))

    def _product(self, build: Builder, a: Access, b: Access, to: Ref) -> None:
        build.emit("multiply", first=a, second=b, y=write(to), features=self.output.features)

    def backward(self, build: Builder) -> None:
        gradient = read(build.gradients.of(self.output))
        for x, other in zip(self.inputs, reversed(self.inputs), strict=True):
            if build.gradients.needed(x):
                self._product(build, gradient, read(build.value(other)), build.gradients.give(x))

    def onnx(self, graph: NodeWriter) -> None:
        graph.node("Mul", [graph.name(x) for x in self.inputs], self)


class Concatenate(Op):
    """The features of several tensors side by side, each (batch, features). ShapeError for other ranks."""

    def __init__(self, inputs: Sequence[Tensor], name: str = "") -> None:
        if any(len(x.shape) != 2 for x in inputs):
            shapes = ", ".join(str(x.shape) for x in inputs)
            raise ShapeError(f"{name} takes tensors of (batch, features), not {shapes}: put a Flatten() before it")
        super().__init__(inputs, (None, sum(x.features for x in inputs)), name=name)

    @property
    def flops(self) -> int:
        return 0

    def forward(self, build: Builder) -> None:
        to, first = build.value(self.output), 0
        for x in self.inputs:
            build.emit(
                "copy_features",
                x=read(build.value(x)),
                y=write(to),
                x_features=x.features,
                x_first=0,
                y_features=self.output.features,
                y_first=first,
                over=x.features,
            )
            first += x.features

    def backward(self, build: Builder) -> None:
        gradient, first = build.gradients.of(self.output), 0
        for x in self.inputs:
            if build.gradients.needed(x):
                build.emit(
                    "copy_features",
                    x=read(gradient),
                    y=write(build.gradients.give(x)),
                    x_features=self.output.features,
                    x_first=first,
                    y_features=x.features,
                    y_first=0,
                    over=x.features,
                )
            first += x.features

    def onnx(self, graph: NodeWriter) -> None:
        graph.node("Concat", [graph.name(x) for x in self.inputs], self, axis=1)


def _alike(inputs: Sequence[Tensor], name: str) -> None:
    if len({x.shape for x in inputs}) > 1:
        raise ShapeError(f"{name} takes tensors of one shape, not {', '.join(str(x.shape) for x in inputs)}")
