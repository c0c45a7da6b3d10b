"""Files of named arrays in the safetensors format, sealed by a checksum, and read without trust.

Eight bytes with the header's length, the header as JSON, the arrays one after another. The header's `__metadata__`
begins with the SHA-256 of the whole file, taken with zeros in its own place, and holds fastdl's notes as JSON. Notes
that are too long for a header, as large vocabularies are, are the bytes of the last array instead.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np

from fastdl.base.arguments import path as checked_path
from fastdl.base.arrays import Array, Dtype
from fastdl.base.files import AT_ONCE, kind_of, write_atomically
from fastdl.errors import ModelFileError

DTYPES: dict[str, Dtype] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
BEGIN = b'{"__metadata__":{"checksum":"sha256:'
BLANK = b"0" * 64
VERSION = "1"
NOTES = "__notes__"  # the array of long notes: their JSON, filled up with spaces to whole numbers of four bytes
LONGEST = 64 << 20  # bytes of notes: reading JSON takes a dozen times its room


@dataclass
class Content:
    """What a file holds: `tensors` by name, in the file's order, and `notes`. `name` is the file's, for messages."""

    name: str
    tensors: dict[str, Array]
    notes: dict[str, Any]

    def take(self, key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
        """A tensor, which is then gone. ModelFileError if there is none of that name, shape and dtype."""
        array = self.tensors.pop(key, None) if isinstance(key, str) else None
        if array is None:
            raise ModelFileError(f"{self.name}: there is no array {key!r}, or it is named twice")
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ModelFileError(
                f"{self.name}: {key!r} has shape {array.shape} and dtype {array.dtype}, the model needs {shape} and "
                f"{np.dtype(dtype)}"
            )
        return array


def write(path: str | os.PathLike[str], tensors: Mapping[str, Array], notes: Mapping[str, Any]) -> None:
    """Write the file whole or not at all. OSError: the old one stays. ValueError for notes that are too long."""
    write_atomically(path, *parts_of(path, tensors, notes))


def parts_of(
    path: str | os.PathLike[str], tensors: Mapping[str, Array], notes: Mapping[str, Any]
) -> list[bytes | memoryview]:
    """The file's bytes, one part after another. path: for messages."""
    text = _json(notes)
    if len(text) > LONGEST:
        raise ValueError(f"{path}: {len(text):,} bytes of settings are more than a file may hold, {LONGEST:,}")
    tensors = dict(tensors)
    if len(text) > _most(sum(tensor.nbytes for tensor in tensors.values())) // 4:
        tensors[NOTES] = np.frombuffer(text + b" " * (-len(text) % 4), DTYPES["F32"])
        text = b""
    about = {"checksum": f"sha256:{BLANK.decode()}", "format": "fastdl", "version": VERSION, "notes": text.decode()}
    table: dict[str, Any] = {"__metadata__": about}
    arrays: list[Array] = []
    end = 0
    for name, tensor in tensors.items():
        kind = next(kind for kind, dtype in DTYPES.items() if dtype == tensor.dtype)
        arrays.append(np.ascontiguousarray(tensor, DTYPES[kind]))
        begin, end = end, end + tensor.nbytes
        table[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    header = _json(table)
    header += b" " * (-len(header) % 8)  # so that the arrays are aligned, as other writers do it
    if len(header) > _most(len(header) + end):
        raise ValueError(f"{path}: {len(header):,} bytes of names for {end:,} of weights are more than a file may hold")
    parts: list[bytes | memoryview] = [
        len(header).to_bytes(8, "little") + header,
        *(array.data.cast("B") for array in arrays),
    ]
    at = 8 + len(BEGIN)
    start = bytes(parts[0][:at]) + _checksum(parts) + bytes(parts[0][at + len(BLANK) :])
    return [start, *parts[1:]]


def read(path: str | os.PathLike[str]) -> Content:
    """The file, with nothing allocated that is longer than it. ModelFileError unless each of its bits is as written."""
    name = str(Path(checked_path("filepath", path)))
    with opened(path, name) as (file, size):
        try:
            return _content(file, size, name)
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{name}: cannot be read ({error})") from None


@contextmanager
def opened(path: Any, name: str, failure: type[ModelFileError] = ModelFileError) -> Iterator[tuple[BinaryIO, int]]:
    """The file, and its size. ModelFileError, of the kind that is asked for."""
    try:
        # a pipe must not keep us waiting
        file = open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))  # noqa: SIM115
    except FileNotFoundError:
        raise failure(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise failure(f"{name}: cannot be read ({error})") from None
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise failure(f"{name}: not a plain file")
        yield file, status.st_size


def of_bytes(data: bytes, name: str) -> Content:
    """As `read`, of what is in memory."""
    return _content(io.BytesIO(data), len(data), name)


def _content(file: BinaryIO, size: int, name: str) -> Content:
    start = file.read(8)
    length, room = int.from_bytes(start, "little"), size - 8
    if length > min(room, _most(room)):
        beginning = start + file.read(8)
        kind = "" if beginning[8:9] == b"{" else kind_of(beginning)
        told = f"not a model file of fastdl's, but {kind}" if kind else "truncated, or not a model file of fastdl's"
        raise ModelFileError(f"{name}: {told}{'' if kind else f' (a header of {length:,} bytes)'}")
    header = file.read(length)
    if not header.startswith(BEGIN):
        raise ModelFileError(f"{name}: not a model file of fastdl's")
    about, places = _layout(parse(header.rstrip(b" "), name), room - length, name)
    data = np.empty(room - length, np.uint8)
    if file.readinto(data) != len(data):  # type: ignore[attr-defined]
        raise ModelFileError(f"{name}: it shrank while it was read")
    at = len(BEGIN)
    blank = start + header[:at] + BLANK + header[at + len(BLANK) :]
    if header[at : at + len(BLANK)] != _checksum([blank, data.data]):
        raise ModelFileError(f"{name}: damaged: its checksum is not that of its content")
    tensors = {key: data[begin:end].view(dtype).reshape(shape) for key, (dtype, shape, begin, end) in places.items()}
    notes = about["notes"].encode()
    if not notes and NOTES in tensors:
        notes = tensors.pop(NOTES).tobytes().rstrip(b" ")
        if len(notes) > LONGEST:
            raise ModelFileError(f"{name}: {len(notes):,} bytes of settings, more than the {LONGEST:,} of any file")
    return Content(name, tensors, _object(parse(notes, name), "the notes", name))


def _most(size: int) -> int:
    """The bytes that a header may have: half a megabyte, in large files a quarter. More would take long to refuse."""
    return min(max(1 << 19, size // 4), 64 << 20)


def _checksum(parts: Sequence[bytes | memoryview]) -> bytes:
    total = hashlib.sha256()
    for part in parts:
        for start in range(0, len(part), AT_ONCE):
            total.update(memoryview(part)[start : start + AT_ONCE])
    return total.hexdigest().encode()


Places = dict[str, tuple[Dtype, tuple[int, ...], int, int]]  # dtype, shape, begin, end


def _layout(value: Any, room: int, name: str) -> tuple[dict[str, str], Places]:
    """The header's `__metadata__` and arrays: one after another, from the first byte to the last of `room`."""
    table = _object(value, "the header", name)
    about = _object(table.pop("__metadata__", None), "__metadata__", name)
    if not all(isinstance(text, str) for text in about.values()) or not isinstance(about.get("notes"), str):
        raise ModelFileError(f"{name}: __metadata__ holds something else than texts, or no notes")
    if about.get("format") != "fastdl" or about.get("version") != VERSION:
        raise ModelFileError(f"{name}: of version {about.get('version')!r}, this fastdl reads {VERSION}")
    places: Places = {}
    at = 0
    for key, entry in table.items():
        entry = _object(entry, repr(key), name)
        shape, offsets = entry.get("shape"), entry.get("data_offsets")
        dtype = DTYPES.get(str(entry.get("dtype")))
        if len(entry) != 3 or dtype is None or not _sizes(shape, 1) or not _sizes(offsets, 0) or len(offsets) != 2:
            raise ModelFileError(f"{name}: {key!r} is not an array as fastdl writes them")
        begin, end = offsets
        if begin != at or end != at + math.prod(shape) * dtype.itemsize or end > room:
            raise ModelFileError(f"{name}: {key!r} does not lie where it must, or not in the file")
        at = end
        places[key] = dtype, tuple(shape), begin, end
    if at != room:
        raise ModelFileError(f"{name}: {room:,} bytes follow the header, its arrays take {at:,}: truncated?")
    return about, places


def _sizes(value: Any, least: int) -> TypeGuard[list[int]]:
    """Whether it is a list of at most eight whole numbers, none below `least`."""
    return isinstance(value, list) and len(value) <= 8 and all(type(n) is int and n >= least for n in value)


def _object(value: Any, what: str, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelFileError(f"{name}: {what} must be an object, not a {type(value).__name__}")
    return value


def parse(text: bytes, name: str) -> Any:
    """JSON as `_json` writes it, so that nothing is said twice or in another way. ModelFileError for any other."""
    try:
        value = json.loads(text)
        if _json(value) == text:
            return value
    except RecursionError:
        raise ModelFileError(f"{name}: its JSON is nested too deeply") from None
    except ValueError as error:
        raise ModelFileError(f"{name}: damaged: {error}") from None
    raise ModelFileError(f"{name}: its JSON is not as fastdl writes it: a key stands twice, or a number is odd")


def _json(value: Any) -> bytes:
    return json.dumps(value, default=plain, separators=(",", ":")).encode()


def plain(value: Any) -> Any:
    """numpy's numbers and arrays as Python's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a model file cannot hold {value!r}")
