"""Reading an ONNX model that nobody vouches for: one typed error with one clear line, or a sound model. Writing it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, TensorProto

from fastdl.base.files import ONNX, File, kind_of, write_together
from fastdl.errors import ModelFileError
from fastdl.fusion.files.external import SELF_CONTAINED, load_external, store_external, tensors
from fastdl.fusion.files.limits import LIMIT, check_size
from fastdl.fusion.graph.memory import NO_MEMORY, copied, memory_errors
from fastdl.fusion.graph.node import subgraphs
from fastdl.fusion.graph.weights import Lean

STRING, MESSAGE = 9, 11  # protobuf's numbers of field types

ModelSource = str | os.PathLike[str] | bytes | ModelProto


@memory_errors()
def read_model(source: ModelSource, *, limited: bool = True) -> ModelProto:
    """A checked copy of the model in a file, in bytes or in memory, external data drawn in.

    External data is read for files only, and only from plain files in the file's own folder. limited: False for a file
    that you trust, however many nodes it has.
    Raises ModelFileError: missing, truncated, not ONNX, or a graph that is no graph.
    """
    if isinstance(source, ModelProto):
        model = copied(source)
        name, folder = "the model", None
    elif isinstance(source, bytes):
        name, folder = "the model", None
        model = _parse(source, name)
    elif not isinstance(source, str | os.PathLike):
        near = ": export it first" if hasattr(source, "export") else ""
        raise TypeError(f"an ONNX model is a path, bytes or a ModelProto, not a {type(source).__name__}{near}")
    else:
        path = Path(source)
        name, folder = str(path), path.parent
        model = _parse(_read(path), name)
    _check_text(model, name)
    if not model.HasField("graph") or not model.ir_version:
        raise ModelFileError(f"{name}: not an ONNX model (it holds no graph)")
    if not model.opset_import:
        raise ModelFileError(f"{name}: no opset is stated; the file may be truncated")
    check_size(model, name, limited)
    for info in (*model.graph.input, *model.graph.output):
        _check_type(info.type.tensor_type.elem_type, f"{name}: {info.name!r}")
    load_external(model, folder, name)
    for tensor in tensors(model):
        _check_tensor(tensor, name)
    _check_graph(model.graph, frozenset(), name)
    return model


def files_of(path: str | os.PathLike[str], limited: bool = True) -> list[Path]:
    """An ONNX file, and the files in which its tensors say that their data lie. ModelFileError: it cannot be read."""
    source = Path(path)
    model = _parse(_read(source), str(source))
    check_size(model, str(source), limited)
    outside = [tensor for tensor in tensors(model) if tensor.data_location == TensorProto.EXTERNAL]
    named = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    return [source, *(source.parent / name for name in sorted(named))]


def write_model(model: ModelProto, path: str | os.PathLike[str]) -> None:
    """Write to `path`, whole or not at all. OSError: what was there stays.

    One file up to 1.5 GB. A larger model's weights go beside it, to a file named after their content, so that
    no older model that stands there is torn from its own.
    """
    write_together(*files_for(model, path))


@memory_errors()
def files_for(model: ModelProto, path: str | os.PathLike[str]) -> list[File]:
    """What `write_model` writes: the model's file last."""
    parts = Lean.apart(model).parts()
    if sum(map(len, parts)) <= SELF_CONTAINED:
        return [(path, parts)]
    digest = hashlib.sha256()
    for tensor in model.graph.initializer:
        digest.update(tensor.raw_data)
    target = Path(path)
    location = f"{target.name}.{digest.hexdigest()[:16]}.data"
    referring, data = store_external(model, location)
    return [(target.with_name(location), data), (target, [referring.SerializeToString()])]


def set_metadata(model: ModelProto, key: str, value: str) -> None:
    """Add a metadata entry, or give the one of that key another value."""
    entry = next((p for p in model.metadata_props if p.key == key), None)
    if entry is None:
        entry = model.metadata_props.add()
        entry.key = key
    entry.value = value


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{path}: not a plain file")
        if status.st_size > LIMIT:
            raise ModelFileError(f"{path}: {status.st_size} bytes, more than an ONNX file can hold ({LIMIT})")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cannot be read ({error})") from None
    return content


@memory_errors()
def _parse(content: bytes, name: str) -> ModelProto:
    if not content:
        raise ModelFileError(f"{name}: empty")
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except MemoryError:
        raise
    except Exception as error:  # DecodeError, as it is called now
        if any(words in str(error) for words in NO_MEMORY):
            raise
        kind = "" if content.startswith(ONNX) else kind_of(content)
        told = f"not an ONNX file, but {kind}" if kind else "truncated, or not an ONNX file"
        raise ModelFileError(f"{name}: {told}") from None
    return model


def _check_text(model: ModelProto, name: str) -> None:
    """Names, operators, domains and all other text must be UTF-8: protobuf gives bytes in place of text that is not."""
    waiting: list[Any] = [model]
    while waiting:
        message = waiting.pop()
        if isinstance(message, TensorProto):  # not all of its fields: listing them would copy its data
            fields = [("name", [message.name]), ("doc_string", [message.doc_string]), ("data", message.external_data)]
        else:
            fields = [
                (field.name, _each(value)) for field, value in message.ListFields() if field.type in (STRING, MESSAGE)
            ]
        for field, values in fields:
            for value in values:
                if isinstance(value, bytes):
                    what = f"{type(message).__name__.removesuffix('Proto').lower()}'s {field}"
                    raise ModelFileError(f"{name}: a {what} is not UTF-8: {value[:40]!r}")
                if not isinstance(value, str):
                    waiting.append(value)


def _each(value: Any) -> Iterable[Any]:
    return [value] if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value


def _check_type(number: int, what: str) -> None:
    if number not in TensorProto.DataType.values():
        raise ModelFileError(f"{what} has unknown data type {number}")


def _check_tensor(tensor: TensorProto, name: str) -> None:
    """Dims must be sound and the data as long as they say, before anything is allocated by them."""
    dims = list(tensor.dims)
    if any(d < 0 for d in dims) or prod(filter(None, dims)) > LIMIT:  # numpy refuses 0 × 2^60 too
        raise ModelFileError(f"{name}: tensor {tensor.name!r} has impossible dims {dims}")
    _check_type(tensor.data_type or -1, f"{name}: tensor {tensor.name!r}")
    try:
        size = onnx.numpy_helper.to_array(tensor).size
    except MemoryError:
        raise
    except UnicodeDecodeError:
        raise ModelFileError(f"{name}: tensor {tensor.name!r} holds text that is not UTF-8") from None
    except Exception:  # whatever numpy or onnx says of data that does not fit its dims
        size = -1
    if size != prod(dims):
        raise ModelFileError(f"{name}: tensor {tensor.name!r} does not hold the data that dims {dims} need")


def _check_graph(graph: GraphProto, outer: frozenset[str], name: str) -> None:
    """Each value is made once, before it is read; each output is made. Holds for subgraphs too."""
    known = set(outer)
    inputs = [i.name for i in graph.input]
    initializers = [t.name for t in graph.initializer] + [s.values.name for s in graph.sparse_initializer]
    _require_unique(inputs, f"{name}: graph input", "is listed twice")
    _require_unique(initializers, f"{name}: initializer", "is stored twice")
    known.update(inputs, initializers)
    later = [output for node in graph.node for output in node.output if output]
    makers = set(later)
    _require_unique([*later, *(makers & known)], f"{name}: value", "is made twice")
    for node in graph.node:
        label = node.name or node.op_type
        for value in filter(None, node.input):
            if value in known:
                continue
            if value in makers:
                wrong = "before it is made (a cycle, or nodes out of order)"
                raise ModelFileError(f"{name}: node {label!r} reads {value!r} {wrong}")
            raise ModelFileError(f"{name}: node {label!r} reads {value!r}, which nothing makes")
        for subgraph in subgraphs(node):
            _check_graph(subgraph, frozenset(known), name)
        known.update(filter(None, node.output))
    for output in graph.output:
        if output.name not in known:
            raise ModelFileError(f"{name}: graph output {output.name!r} is made by no node")


def _require_unique(values: Iterable[str], what: str, wrong: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ModelFileError(f"{what} {value!r} {wrong}")
        seen.add(value)
