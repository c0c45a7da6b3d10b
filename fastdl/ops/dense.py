"""y = x W + b"""

from __future__ import annotations

from typing import Any

from fastdl import _ext, config
from fastdl.compiler.builder import Builder
from fastdl.compiler.graph import NodeWriter, Op, Parameter, Tensor
from fastdl.compiler.memory import padded
from fastdl.compiler.phases import (
    Arguments,
    Ref,
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
    """x: (batch, ..., in); kernel: (in, out); bias: (out,) or None → (batch, ..., out): over the last axis.

    bfloat16: products are of x, kernel and dy rounded to bfloat16; sums and all else stay in float32.
    """

    def __init__(
        self, x: Tensor, kernel: Parameter, bias: Parameter | None = None, name: str = "", bfloat16: bool = False
    ) -> None:
        if len(x.shape) < 2 or x.shape[-1] != kernel.shape[0]:
            raise ShapeError(f"{name}: a kernel of shape {kernel.shape} does not fit an input of shape {x.shape}")
        if bfloat16 and x.dtype != "float32":
            raise ValueError(f"{name}: mixed_bfloat16 is for float32 models, the input is {x.dtype}")
        self.kernel, self.bias, self.bfloat16 = kernel, bias, bfloat16
        parameters = [kernel] if bias is None else [kernel, bias]
        super().__init__([x], (*x.shape[:-1], kernel.shape[1]), parameters, name)

    @property
    def _products(self) -> int:
        """What the kernels multiply: see ext/variants.h."""
        return config.bfloat16_products() if self.bfloat16 and config.mixes_products() else _ext.FLOATS

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
        halved = build.halves and rows >= HALVED_INPUTS
        reads = read_inputs(value, rows) if halved else read_all(value)
        sizes: Arguments = {"inputs": rows, "outputs": columns, "act": kind, "block": block}
        if self._products != _ext.FLOATS:
            trains = build.training and build.steps.trains(self.kernel)
            pairs, build.saved[self] = self._rounded(build, x, value, keeps_rows=trains)
            sizes["pairs"] = read_inputs(pairs, rows) if halved else read_all(pairs)
            sizes["products"] = self._products
        if halved:
            self._in_halves(build, output, kind, x=reads, b=bias, **sizes)
            return
        build.emit(
            "dense_forward",
            x=reads,
            w=read(build.parameter(self.kernel)),
            b=bias,
            y=write(output),
            **after,
            **sizes,
            middle=rows,
            over=columns,
            members=x.members,
        )

    def _in_halves(self, build: Builder, output: Ref, kind: int, **arguments: Any) -> None:
        """Each of two threads reads the inputs and the rows of W that are its own, and only sums cross between them."""
        rows, columns = self.kernel.shape
        second, members = build.panel_ref(self.output.features), self.output.members
        build.emit(
            "dense_forward",
            w=read_all(build.parameter(self.kernel)),
            y=write_half(output),
            second=write_half(second),
            **arguments,
            middle=padded(rows) // _ext.UNIT // 2 * _ext.UNIT,
            over=columns,
            axis=_ext.BY_HALF,
            members=members,
        )
        build.emit(
            "dense_finish",
            y=write(output),
            second=read(second),
            b=arguments["b"],
            outputs=columns,
            act=kind,
            over=columns,
            axis=_ext.AFTER_HALVES,
            members=members,
        )

    def backward(self, build: Builder) -> None:
        (x,) = self.inputs
        rows, columns = self.kernel.shape
        gradient = build.gradients.of(self.output)
        products = self._products
        if build.gradients.needed(x):
            pairs = self._rounded(build, self.output, gradient)[0] if products != _ext.FLOATS else None
            relu = build.neighbours.relu_before(self)
            build.emit(
                "dense_input_grad",
                dy=read_all(gradient),
                pairs=read_all(pairs) if pairs else None,
                w=read_rows(build.parameter(self.kernel)),
                dx=write(build.gradients.give(relu.inputs[0] if relu else x)),
                relu=read(build.value(x)) if relu else None,
                inputs=rows,
                outputs=columns,
                products=products,
                over=rows,
                members=x.members,
            )
        if not build.steps.trains(self.kernel):
            return
        if build.steps.at_once(self.parameters) and build.batch <= _ext.CHUNK and x.members == 1:
            self._step_at_once(build)
            return
        inputs, slopes = read_all(self._inputs(build)), read(gradient)
        gradients = build.gradients.of_dense(self.kernel, self.bias, inputs, slopes, x.members, products)
        for parameter, ref in zip(self.parameters, gradients, strict=True):
            build.steps.train(parameter, ref)

    def _step_at_once(self, build: Builder) -> None:
        """Gradient and optimizer in one kernel, by rows of W as the input's gradient: both run without a meeting."""
        rows, columns = self.kernel.shape
        build.emit(
            "dense_weight_step",
            x=read(self._inputs(build)),
            dy=read_all(build.gradients.of(self.output)),
            products=self._products,
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

    def _inputs(self, build: Builder) -> Ref:
        """What the products of the weights' gradient read of x: its values, or these rounded."""
        return build.value(self.inputs[0]) if self._products == _ext.FLOATS else build.saved[self][0]

    def _rounded(self, build: Builder, x: Tensor, value: Ref, keeps_rows: bool = False) -> tuple[Ref, tuple[Ref, ...]]:
        """Values (batch, ..., features) as words of two features, and, if they are kept, as words of two samples."""
        features, members = x.shape[-1], x.members
        assert features is not None
        pairs = build.panel_ref(members * (-(-features // 2)))
        rows = (build.panel_ref(-(-members * features // 2)),) if keeps_rows else ()
        build.emit(
            "round_panels",
            x=read(value),
            pairs=write(pairs),
            rows=write(rows[0]) if rows else None,
            features=features,
            products=self._products,
            members=members,
        )
        return pairs, rows

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
