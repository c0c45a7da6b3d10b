"""A model's large weights as arrays beside it, so that whatever copies, infers or serialises the graph leaves them be.

Protobuf copies a tensor's bytes whenever they are read, measured or written, which for a large model is most of the
time and memory that a fusion takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import zlib
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fastdl.base.arrays import Array
from fastdl.errors import ModelFileError
from fastdl.fusion.graph.memory import copied, fill

APART = 2**22  # numbers of a model from which its weights are taken apart
LARGE = 2**14  # numbers of a weight that is
WIDTHS: dict[int, int] = {TensorProto.FLOAT: 4, TensorProto.DOUBLE: 8}  # bytes of a number, by the types that are
GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9  # protobuf's numbers of fields
LENGTH = 2  # protobuf's type of a field that states its length

Part = bytes | memoryview


Weights = dict[str, Array]


class Lean:
    """A model, in which a tensor that says its data is external has it in `weights`, by its name."""

    def __init__(
        self, proto: ModelProto, weights: Weights | None = None, again: Callable[[], Weights] | None = None
    ) -> None:
        """again: reads the weights anew, so that they need not stay in memory."""
        self.proto = proto
        self._weights: Weights | None = weights or {}
        self._again = again
        self._sums = _sums(self._weights) if again is not None and weights else {}

    @property
    def weights(self) -> Weights:
        """Those beside the model, by name. ModelFileError: they had to be read anew, and are others now."""
        if self._weights is None:
            assert self._again is not None  # told by `release`
            weights = self._again()
            if _sums(weights) != self._sums:
                raise ModelFileError("the model's file was changed while it was fused")
            self._weights = weights
        return self._weights

    def release(self) -> None:
        """Give up the weights' room until they are asked for, if they can be read anew."""
        if self._sums:
            self._weights = None
            with contextlib.suppress(AttributeError, OSError):  # glibc's; it keeps what is freed otherwise
                ctypes.CDLL(None).malloc_trim(0)

    def __getstate__(self) -> tuple[ModelProto, Weights]:
        return self.proto, self.weights

    def __setstate__(self, state: tuple[ModelProto, Weights]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    @classmethod
    def of(cls, model: AnyModel) -> Lean:
        """The model with whatever weights lie beside it now."""
        return model if isinstance(model, Lean) else cls(model)

    @classmethod
    def apart(cls, model: ModelProto, again: Callable[[], Weights] | None = None) -> Lean:
        """A copy of a large model without its large weights, and these; a small model as it is. again: see Lean.

        So is one with fields that this onnx does not know: copying by field would lose them.
        """
        stored = model.graph.initializer
        if sys.byteorder != "little" or sum(prod(tensor.dims) for tensor in stored) < APART:
            return cls(model)
        if any(len(UnknownFieldSet(message)) for message in (model, model.graph, *stored)):
            return cls(model)
        lean, weights = without(model, "graph"), {}
        lean.graph.MergeFrom(without(model.graph, "initializer"))
        for tensor in stored:
            if not _is_plain(tensor):
                lean.graph.initializer.append(tensor)
                continue
            weights[tensor.name] = np.asarray(numpy_helper.to_array(tensor))
            lean.graph.initializer.append(outside(tensor.name, tensor.data_type, tensor.dims, tensor.doc_string))
            if not tensor.HasField("doc_string"):
                lean.graph.initializer[-1].ClearField("doc_string")
        return cls(lean, weights, again)

    def values(self, tensor: TensorProto) -> Array:
        """What a tensor of this model holds; raises what onnx raises, KeyError for data that lies elsewhere."""
        if tensor.data_location == TensorProto.EXTERNAL:
            return self.weights[tensor.name]
        return np.asarray(numpy_helper.to_array(tensor))

    def joined(self) -> ModelProto:
        """The model with its weights in it. Takes them out of here one by one, for they are most of the memory."""
        if not self.weights:
            return self.proto
        model = copied(self.proto)
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                fill(tensor, _bytes(self.weights.pop(tensor.name)))
                tensor.ClearField("data_location")
                del tensor.external_data[:]
        return model

    def with_inputs(self) -> ModelProto:
        """The model with inputs in place of the weights beside it."""
        if not self.weights:
            return self.proto
        model: ModelProto = without(self.proto, "graph")
        model.graph.MergeFrom(without(self.proto.graph, "initializer"))
        listed = {info.name for info in model.graph.input}
        for tensor in self.proto.graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL:
                model.graph.initializer.append(tensor)
            elif tensor.name not in listed:
                model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        return model

    def parts(self) -> list[Part]:
        """To the byte what the joined model serialises to, in parts of which the large ones are the weights."""
        return self._parts(lambda tensor: _bytes(self.weights[tensor.name]))

    def byte_size(self) -> int:
        """How many bytes the joined model serialises to."""
        parts = self._parts(lambda tensor: range(prod(tensor.dims) * WIDTHS[tensor.data_type]))
        return sum(len(part) for part in parts)

    def _parts(self, data: Callable[[TensorProto], Any]) -> list[Any]:
        """data: what stands for the bytes of a weight."""
        if self._weights == {}:
            return [self.proto.SerializeToString()]
        model = copied(self.proto)
        tensors = [part for tensor in model.graph.initializer for part in _tensor(tensor, data)]
        model.graph.ClearField("initializer")
        before, after = _around(model.graph, INITIALIZER)
        graph = [before, *tensors, after]
        model.ClearField("graph")
        before, after = _around(model, GRAPH)
        return [before, *_field(GRAPH, graph), after]


AnyModel = ModelProto | Lean


def _sums(weights: Weights) -> dict[str, int]:
    """A check sum of each."""
    return {name: zlib.adler32(_bytes(array)) for name, array in weights.items()}


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def outside(name: str, data_type: int, dims: Any, doc_string: str = "") -> TensorProto:
    """A tensor whose data lies beside the model."""
    tensor = TensorProto(name=name, data_type=data_type, dims=dims, doc_string=doc_string)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="beside")
    return tensor


def _is_plain(tensor: TensorProto) -> bool:
    """Whether nothing but its name, type, dims and doc string goes with the bytes of a large tensor."""
    more = tensor.HasField("data_location") or tensor.HasField("segment") or len(tensor.metadata_props)
    stated = tensor.HasField("raw_data") and not len(tensor.external_data) and tensor.name
    return bool(stated and not more and tensor.data_type in WIDTHS and prod(tensor.dims) >= LARGE)


def without(message: Any, *omitted: str) -> Any:
    """A copy of a protobuf message that lacks some fields, which are not copied first and dropped then."""
    copy = type(message)()
    try:
        for field_, value in message.ListFields():
            if field_.name in omitted:
                continue
            if isinstance(value, bool | int | float | str | bytes):
                setattr(copy, field_.name, value)
            else:
                getattr(copy, field_.name).MergeFrom(value)
    except UnicodeDecodeError:  # text that is none cannot be read, but be copied
        copy.MergeFrom(message)
        for name in omitted:
            copy.ClearField(name)
    return copy


def _tensor(tensor: TensorProto, data: Callable[[TensorProto], Any]) -> list[Any]:
    """An initializer in parts, with its data where they lie outside."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return _field(INITIALIZER, [tensor.SerializeToString()])
    tensor.ClearField("data_location")
    del tensor.external_data[:]
    before, after = _around(tensor, RAW_DATA)
    return _field(INITIALIZER, [before, *_field(RAW_DATA, [data(tensor)]), after])


def _around(message: Any, number: int) -> tuple[bytes, bytes]:
    """A message as bytes, cut where its field of that number would stand."""
    whole, first = message.SerializeToString(), copied(message)
    first.DiscardUnknownFields()  # which stand at the end
    for field_, _ in message.ListFields():
        if field_.number > number:
            first.ClearField(field_.name)
    before = first.SerializeToString()
    return before, whole[len(before) :]


def _field(number: int, parts: list[Any]) -> list[Any]:
    """A field of that number that holds the parts."""
    return [_varint(number << 3 | LENGTH) + _varint(sum(map(len, parts))), *parts]


def _varint(number: int) -> bytes:
    """An integer as protobuf writes it, seven bits a byte."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
