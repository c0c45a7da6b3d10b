"""Gradients in a program that is being built: what the readers of a tensor give, and how weights' are summed."""

from __future__ import annotations

from typing import Any, cast

from fastdl import _ext
from fastdl.compiler.buffers import Buffers
from fastdl.compiler.graph import Graph, Parameter, Tensor
from fastdl.compiler.memory import aligned
from fastdl.compiler.phases import Access, Ref, read, read_all, write
from fastdl.compiler.steps import Steps


class Gradients:
    """Of the loss by tensors, and room for those by parameters."""

    def __init__(self, build: Buffers, graph: Graph, steps: Steps) -> None:
        self._build = build
        self._given: dict[Tensor, list[Ref | Tensor]] = {}
        self._needed: set[Tensor] = set()
        for op in graph.ops:
            if any(map(steps.trains, op.parameters)) or any(tensor in self._needed for tensor in op.inputs):
                self._needed.add(op.output)

    def of(self, tensor: Tensor) -> Ref:
        """The gradient of the loss by the tensor: the sum of what all its readers gave."""
        parts = self._given.setdefault(self._build.source(tensor), [])
        if not parts:  # nothing that reads it has a slope
            build = self._build
            parts.append(build.array(aligned((build.panels, tensor.features, _ext.PANEL), build.dtype)))
        if any(isinstance(part, Tensor) for part in parts):
            parts[:] = [self._build.value(self.symbol(tensor))]
        refs = [part for part in parts if isinstance(part, Ref)]
        while len(refs) > 1:
            refs[:2] = [self._add(tensor.features, refs[0], refs[1])]
        parts[:] = refs
        return refs[0]

    def given(self, tensor: Tensor) -> bool:
        """Whether one of its readers has given a gradient."""
        return bool(self._given.get(self._build.source(tensor)))

    def symbol(self, tensor: Tensor) -> Tensor:
        """The same as a tensor, for an op whose gradient is made of ops: nothing is emitted before it is read."""
        parts = self._given[self._build.source(tensor)]
        total: Any = None
        for part in parts:
            each: Any = part
            if isinstance(part, Ref):
                each = Tensor(tensor.shape, tensor.dtype, name="gradient")
                self._build.bind(each, part)
            each = Tensor.apply("view", each, tensor.shape)
            total = each if total is None else total + each
        parts[:] = [total]
        return cast(Tensor, total)

    def give_symbol(self, tensor: Tensor, gradient: Tensor) -> None:
        """One reader's gradient by the tensor, as a tensor of as many features."""
        self._given.setdefault(self._build.source(tensor), []).append(gradient)

    def give(self, tensor: Tensor, ref: Ref | None = None) -> Ref:
        """One reader's gradient by the tensor: a buffer to write it to, or one that holds it and nobody changes."""
        ref = ref or self._build.panel_ref(tensor.features)
        self._given.setdefault(self._build.source(tensor), []).append(ref)
        return ref

    def give_share(self, tensor: Tensor, gradient: Ref, share: float) -> None:
        """A loss's gradient by the tensor, times its share in the sum of all losses."""
        self.give(tensor, gradient if share == 1 else self._add(tensor.features, gradient, None, share))

    def _add(self, features: int, first: Ref, second: Ref | None, alpha: float = 1.0) -> Ref:
        """alpha first + second."""
        total = self._build.panel_ref(features)
        self._build.emit(
            "add",
            first=read(first),
            second=read(second) if second else None,
            y=write(total),
            features=features,
            alpha=alpha,
            beta=1.0,
        )
        return total

    def needed(self, tensor: Tensor) -> bool:
        """Whether something that is trained lies upstream of the tensor."""
        return tensor in self._needed

    def room_for(self, parameter: Parameter) -> Ref:
        """A buffer laid out as the parameter."""
        return Ref(parameter.storage.nbytes, panels=False)

    def of_matrix(self, kernel: Parameter, x: Access, dy: Access) -> Ref:
        """The gradient of a matrix (in, out) from x (batch, in) and dy (batch, out)."""
        return self.of_dense(kernel, None, x, dy)[0]

    def of_dense(
        self,
        kernel: Parameter,
        bias: Parameter | None,
        x: Access,
        dy: Access,
        members: int = 1,
        products: int = _ext.FLOATS,
    ) -> list[Ref]:
        """The gradients of a matrix, and of the bias if there is one.

        members: of a sample, which all add to them. products: what they are of, in which form x is then given.
        """
        rows, columns = kernel.shape
        parameters = [kernel] if bias is None else [kernel, bias]
        shared = self._build.axis == _ext.BY_PANEL
        gradients = [self.room_for(parameter) for parameter in parameters]
        written = [self.room_for_parts(parameter) for parameter in parameters] if shared else gradients
        self._build.emit(
            "dense_weight_grad",
            x=x,
            dy=dy,
            dw=write(written[0]),
            db=write(written[1]) if bias else None,
            inputs=rows,
            outputs=columns,
            products=products,
            dw_stride=kernel.storage.size,
            db_stride=bias.storage.size if bias else 0,
            over=columns,
            defer=True,
            members=members,
        )
        if shared:
            for parameter, partials, gradient in zip(parameters, written, gradients, strict=True):
                self.sum_partials(parameter, partials, gradient)
        return gradients

    def room_for_parts(self, parameter: Parameter) -> Ref:
        """A buffer laid out as the parameter for each part of the panels."""
        return Ref(self._build.parts * parameter.storage.nbytes)

    def sum_partials(self, parameter: Parameter, partials: Ref, gradient: Ref) -> None:
        """Append the sum of the parts' gradients."""
        size = parameter.storage.size
        self._build.emit(
            "sum_partials",
            partials=read_all(partials),
            out=write(gradient),
            size=size,
            parts=self._build.parts,
            over=size,
            axis=_ext.BY_FEATURE,
            defer=True,
        )
