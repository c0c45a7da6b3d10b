"""Tracing: the inputs that a model takes, and the graphs to which its layers are traced from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastdl import config, tree
from fastdl.base.arrays import Dtype
from fastdl.base.columns import is_column
from fastdl.base.scopes import having
from fastdl.compiler.graph import Graph, Parameter, Tensor, tracing
from fastdl.errors import NotBuiltError, ShapeError
from fastdl.layers.context import Call, Phase, calls_noted, losses_added, phase, training_around
from fastdl.layers.core import Input
from fastdl.layers.data_tensor import float_dtype, floats_of, graph_of
from fastdl.layers.layer import Layer, unused
from fastdl.models import structures


class Tracing(Layer):
    """Base of Network: inputs and outputs in structures of any kind, and a graph for each way in which they are used.

    input_structure: that of the inputs, with None for each; output_structure: of the outputs, with their numbers; both
    None before they are known. fastdl's own.
    """

    nameable = False
    says_training = False  # whether calls between its tensors were told to train; fastdl's own
    output_names: list[str]

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.dtype = np.dtype(dtype or config.floatx())
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, not {self.dtype}")
        self._layers: list[Layer] = []
        self._samples: list[tuple[int, ...]] | None = None  # the shapes of the inputs' samples, once they are known
        self._column_dtypes: list[Dtype | None] = []  # of the inputs that are columns; none, or one for each input
        self._graph: Graph | None = None
        self._whole: list[Dtype | None] = []  # the dtypes of outputs that are whole numbers, else None
        self._others: dict[tuple[bool, frozenset[int]], Graph] = {}  # in training, and without optional inputs
        self._is_told = False  # whether a `call` of one's own asks if it is training
        self.input_structure: Any = None
        self.output_structure: Any = None
        self.optional: frozenset[int] = frozenset()  # inputs that may be missing; fastdl's own

    @property
    def graph(self) -> Graph | None:
        """The graph, once its shape is known. fastdl's own."""
        return self._graph

    @property
    def input_samples(self) -> list[tuple[int, ...]] | None:
        """The shapes of the inputs' samples, once they are known. fastdl's own."""
        return self._samples

    @property
    def input_dtypes(self) -> list[Dtype]:
        """The dtypes of the inputs, once their shapes are known: the model's own, or a column's. fastdl's own."""
        samples = self._samples or []
        return [dtype or self.dtype for dtype in (self._column_dtypes if samples else []) or [None] * len(samples)]

    @property
    def column_dtype(self) -> Dtype | None:
        """The dtype of the one input, if a layer said before its shape was known that it is a column. fastdl's own."""
        return self._column_dtypes[0] if self._column_dtypes else None

    def new_inputs(self) -> list[Input]:
        """Inputs of the model's shapes and dtypes. fastdl's own."""
        return [Input(shape, dtype=dtype) for shape, dtype in zip(self._samples or [], self.input_dtypes, strict=True)]

    # -- graphs -------------------------------------------------------------------------------------------

    def trace(self, *shapes: tuple[int, ...], dtypes: Sequence[Dtype | None] = (), structure: Any = None) -> Graph:
        """The graph in inference; shapes: of the first data's samples, for a model that was given none; dtypes: of
        those that are columns; structure: in which they come, a list of several if None."""
        if self._graph is not None:
            return self._graph
        if self._samples is None:
            if not shapes:
                raise NotBuiltError(f"{self.name} has no input shape yet: begin it with Input(shape), or call fit")
            self._samples = [Input(shape).sample for shape in shapes]
            self._column_dtypes = list(dtypes) or self._column_dtypes
            self.input_structure = structure
        if self.input_structure is None and len(self._samples) > 1:
            self.input_structure = [None] * len(self._samples)
        before = frozenset(self.weights) if self.built and self._told_what_to_train else frozenset[Parameter]()
        try:
            result, graph, called, told = self._traced(False)
        except ShapeError:
            if not any(layer.built for layer in self._layers):
                self._samples = self.input_structure = None
            raise
        self._note_layers(called)
        self._graph, self._others, self._is_told = graph, {}, told
        outputs = tree.flatten(result)
        self.output_structure = tree.pack_sequence_as(result, range(len(outputs)))
        self._whole = [tensor.dtype if is_column(tensor.dtype) else None for tensor in outputs]
        self.output_names = structures.output_names(result)
        self._called = self._called or Call(self, graph.columns, tuple(outputs), None)
        self.built = True
        if self._told_what_to_train:
            self._was_traced(before)
        return graph

    def graph_for(self, training: bool, absent: frozenset[int] = frozenset()) -> Graph:
        """The graph in training or inference, without those of its inputs that are absent. fastdl's own."""
        main = self.trace()
        key = training and self._is_told, absent
        if not any(key):
            return main
        if key not in self._others:
            before = frozenset(self.weights)
            with unused(self._layers):
                _, graph, _, _ = self._traced(*key)
            shapes = [[tensor.shape for tensor in each.outputs] for each in (main, graph)]
            if shapes[0] != shapes[1]:
                raise ShapeError(
                    f"{self.name} gives outputs {shapes[0]} in inference, and {shapes[1]} in training or without "
                    "optional inputs: they must be alike"
                )
            self._others[key] = graph
            self._was_traced(before)
        return self._others[key]

    def _traced(self, training: bool, absent: frozenset[int] = frozenset()) -> tuple[Any, Graph, list[Layer], bool]:
        """What `call` gives of new inputs, the graph between them, the layers that it called; and whether a `call` of
        one's own was told of training."""
        sources = self._sources()
        given: list[Tensor | None] = [None if i in absent else source for i, source in enumerate(sources)]
        called, added, told = list[Layer](), list[Tensor](), Phase(training)
        with (
            floats_of(self.dtype),
            tracing(),
            calls_noted(called),
            having(losses_added, added),
            having(phase, told),
            having(training_around, None),
        ):
            result = self.call(tree.pack_sequence_as(self.input_structure, given), **self.told(None))
            outputs = tree.flatten(result)
            if wrong := [each for each in outputs if not isinstance(each, Tensor)]:
                raise TypeError(f"{self.name}: call must give tensors (batch, …), not {wrong[0]!r}")
            graph = graph_of(sources, outputs)
        graph.added = tuple(added)
        return result, graph, called, told.told

    def _sources(self) -> list[Tensor]:
        """Tensors to trace from."""
        return [
            Tensor((None, *sample), dtype, name=name)
            for sample, dtype, name in zip(self._samples or [], self.input_dtypes, self.input_names, strict=True)
        ]

    @property
    def _told_what_to_train(self) -> bool:
        """Whether `compile` has said it: a model may be traced many times before."""
        return False

    def _was_traced(self, before: frozenset[Parameter]) -> None:
        """A graph has been made, perhaps with new weights beside those that were there before."""

    def _note_layers(self, called: Sequence[Layer]) -> None:
        """A subclass's layers: its attributes, in their order, as in Keras, and others that its `call` called."""
        inner = [layer for layer in self._inner_layers() if isinstance(layer, Layer)]
        self._layers = list(dict.fromkeys([*inner, *called]))

    # -- inputs and outputs -------------------------------------------------------------------------------

    @property
    def input_names(self) -> list[str]:
        """The inputs' names, as a mapping of arrays may give them."""
        return structures.default_names(self.input_structure)

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic inputs (Keras)."""
        return list(self.trace().columns)

    @property
    def outputs(self) -> list[Tensor]:
        """The symbolic outputs (Keras)."""
        return list(self.trace().outputs)

    @property
    def input(self) -> Any:
        """The symbolic input, or a structure of them (Keras)."""
        inputs = self.inputs  # which may find the structure out
        return tree.pack_sequence_as(self.input_structure, inputs)

    @property
    def output(self) -> Any:
        """The symbolic output, or a structure of them (Keras)."""
        return self.answer(self.outputs)

    @property
    def input_shape(self) -> Any:
        """(None, *sample), or a structure of such. ValueError before it is known."""
        shapes = [tensor.shape for tensor in self.trace().columns]
        return shapes[0] if len(shapes) == 1 else tree.pack_sequence_as(self.input_structure, shapes)

    @property
    def output_shape(self) -> Any:
        """(None, *outputs of a sample), or a structure of such. ValueError before it is known."""
        return self.answer([tensor.shape for tensor in self.trace().outputs])

    @property
    def is_plain(self) -> bool:
        """Whether the one output is given to people as programs compute it. fastdl's own."""
        return not (any(self._whole) or tree.is_nested(self.output_structure))

    def answer(self, outputs: Sequence[Any]) -> Any:
        """The outputs as the person is given them: one, or in a structure; arrays of whole numbers, which programs only
        hand on, as such. fastdl's own."""
        if any(self._whole):
            outputs = [
                each.astype(dtype) if dtype and isinstance(each, np.ndarray) else each
                for each, dtype in zip(outputs, self._whole, strict=True)
            ]
        return tree.pack_sequence_as(self.output_structure, outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, *outputs of a sample) of inputs of such a shape, or a structure of such (Keras). The model is built
        by it.

        ShapeError if the model takes inputs of another shape.
        """
        _, shapes = structures.shapes_in(input_shape)
        self.build(input_shape)
        if [shape[1:] for shape in shapes] != self._samples:
            raise ShapeError(f"{self.name} takes inputs of shape {self.input_shape}, not {input_shape!r}")
        return self.answer([(shapes[0][0], *tensor.shape[1:]) for tensor in self.trace().outputs])

    def build(self, input_shape: Any, dtype: Any = None) -> None:
        """Make the parameters for inputs of (None, *sample), or a structure of such. Keras: Model.build."""
        structure, shapes = structures.shapes_in(input_shape)
        if not all(len(shape) > 1 for shape in shapes):
            structures.refuse(input_shape)
        self.trace(*(tuple(size or 0 for size in shape[1:]) for shape in shapes), structure=structure)

    def build_for(self, shape: Any = None, dtype: Any = None, **named: Any) -> None:
        """As Layer.build_for; a model whose `build` is one's own is traced for the shape as well."""
        super().build_for(shape, dtype, **named)
        if self._graph is None and shape is not None:
            Tracing.build.__wrapped__(self, shape)  # type: ignore[attr-defined]

    def _takes(self, x: Any) -> None:
        """For the first tensors that it is called on, as a layer."""
        tensors = tree.flatten(x)
        floats = [tensor.dtype for tensor in tensors if not is_column(tensor.dtype)]
        self.dtype = floats[0] if floats else float_dtype()
        self._column_dtypes = [tensor.dtype if is_column(tensor.dtype) else None for tensor in tensors]
        structure = tree.map_structure(lambda _: None, x)
        self.trace(*(tuple(size or 0 for size in tensor.shape[1:]) for tensor in tensors), structure=structure)

    def _check_form(self, form: Any, inputs: Sequence[Tensor]) -> None:
        """A model takes its inputs in any structure."""

    def _prepare(self, inputs: Sequence[Tensor], given: Any) -> None:
        """It is built by the first tensors already."""

    def _readable(self, tensor: Tensor) -> Tensor:
        """Its layers say what they can read."""
        return tensor
