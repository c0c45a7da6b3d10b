"""External tensor data: drawn in from plain files inside the model's own folder, and from nowhere else.

Written only for a model that is too large for one file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from fastdl.errors import ModelFileError
from fastdl.fusion.files.limits import LIMIT
from fastdl.fusion.graph.memory import copied, fill

SELF_CONTAINED = 1_500_000_000  # bytes up to which a model is written as one file
SMALL = 1024  # bytes of a tensor that stays in the file itself


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model: of the graph, of attributes, of subgraphs and of functions."""
    yield from _graph_tensors(model.graph)
    for info in model.training_info:
        yield from _graph_tensors(info.initialization)
        yield from _graph_tensors(info.algorithm)
    for function in model.functions:
        for attribute in function.attribute_proto:
            yield from _attribute_tensors(attribute)
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield from _attribute_tensors(attribute)


def _attribute_tensors(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                   *attribute.sparse_tensors):  # fmt: skip
        yield from (sparse.values, sparse.indices)
    for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
        yield from _graph_tensors(graph)


def load_external(model: ModelProto, folder: Path | None, name: str) -> None:
    """Replace references to external data by the data. Raises ModelFileError for any that leaves `folder`."""
    outside = [tensor for tensor in tensors(model) if tensor.data_location == TensorProto.EXTERNAL]
    total = model.ByteSize() if outside else 0  # not told without writing all of it
    for tensor in outside:
        if folder is None:
            raise ModelFileError(f"{name}: tensor {tensor.name!r} is stored outside it; give the file's path")
        entries = {entry.key: entry.value for entry in tensor.external_data}
        try:
            offset = int(entries.get("offset", "0"))
            length = int(entries["length"]) if "length" in entries else None
        except ValueError:
            raise ModelFileError(f"{name}: tensor {tensor.name!r} has a broken offset or length") from None
        try:
            data = _read_inside(folder, entries.get("location", ""), offset, length, LIMIT - total)
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{name}: external data of tensor {tensor.name!r}: {error}") from None
        total += len(data)
        fill(tensor, data)
        tensor.ClearField("data_location")
        del tensor.external_data[:]


def _read_inside(folder: Path, location: str, offset: int, length: int | None, limit: int) -> bytes:
    """`length` bytes (None: to the end) of a plain file in `folder`, reached without any link."""
    parts = PurePosixPath(location).parts
    if not parts or "\0" in location or ".." in parts or PurePosixPath(location).is_absolute():
        raise ValueError(f"location {location!r} is not inside the model's folder")
    if "\\" in location or PureWindowsPath(location).drive:
        raise ValueError(f"location {location!r} is not a plain relative path")
    # O_NONBLOCK: a FIFO put there must not hang us. O_NOFOLLOW, from folder to folder: no link is gone through,
    # not even one that is put there while we look.
    steps = [(str(folder), os.O_DIRECTORY), *((part, os.O_DIRECTORY | os.O_NOFOLLOW) for part in parts[:-1])]
    at: int | None = None
    try:
        for part, flags in steps:
            inner = os.open(part, os.O_RDONLY | flags, dir_fd=at)
            if at is not None:
                os.close(at)
            at = inner
        handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise ValueError(f"location {location!r} goes through a link, or through what is no folder") from None
        raise
    finally:
        if at is not None:
            os.close(at)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise ValueError(f"location {location!r} is not a plain file with one name")
        length = status.st_size - offset if length is None else length
        if offset < 0 or length < 0 or offset + length > status.st_size:
            raise ValueError(f"{length} bytes at {offset} are not in {location!r} ({status.st_size} bytes)")
        if length > limit:
            raise ValueError(f"the model holds more than {LIMIT} bytes")
        file.seek(offset)
        return file.read(length)


def store_external(model: ModelProto, location: str) -> tuple[ModelProto, list[bytes]]:
    """A copy whose large initializers refer to the file `location`, and what that file must hold, in order."""
    lean = copied(model)
    parts: list[bytes] = []
    offset = 0
    for tensor in lean.graph.initializer:
        if not tensor.HasField("raw_data") or len(tensor.raw_data) <= SMALL:
            continue
        parts.append(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", len(parts[-1]))):
            tensor.external_data.add(key=key, value=str(value))
        offset += len(parts[-1])
    return lean, parts
