"""Arrays by group, as HDF5 files hold them: Keras's .weights.h5, and the weights in its .keras archives."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastdl.base.arrays import Array
from fastdl.errors import KerasFileError

Groups = dict[str, dict[str, Array]]  # by the path of a group, the arrays under its `vars`
MISSING = (
    "files of Keras's hold HDF5, which needs h5py: pip install 'fastdl[keras]'. Files that end in .fastdl need nothing"
)
VARIABLES = "vars"


def library() -> Any:
    """h5py. ImportError, with what to install, without it."""
    try:
        import h5py
    except ImportError:
        raise ImportError(MISSING) from None
    return h5py


def written(groups: Groups, names: Mapping[str, str]) -> bytes:
    """The file. names: of the objects whose groups they are, which Keras notes."""
    file_in_memory = io.BytesIO()
    with library().File(file_in_memory, "w") as file:
        for path, arrays in groups.items():
            group = file.require_group(f"{path}/{VARIABLES}" if path else VARIABLES)
            if path in names:
                group.attrs["name"] = names[path]
            for key, array in arrays.items():
                group.create_dataset(key, data=np.asarray(array))
    return file_in_memory.getvalue()


def read(content: bytes, name: str) -> Groups:
    """The arrays of a file that nobody vouches for, which take no more room than the file. KerasFileError."""
    h5py = library()
    groups: Groups = {}
    room = len(content)

    def visit(path: str, item: Any) -> None:  # each object once, and none behind a link to another place
        nonlocal room
        if not isinstance(item, h5py.Dataset):
            return
        parent, _, key = path.rpartition("/")
        if parent.rpartition("/")[2] != VARIABLES:
            return
        room -= _bytes_of(path, item, name)
        if room < 0:
            raise KerasFileError(f"{name}: its arrays would take more room than the file")
        groups.setdefault(parent.removesuffix(VARIABLES).rstrip("/"), {})[key] = _array(path, item, name)

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            file.visititems(visit)
    except (KerasFileError, MemoryError):
        raise
    except Exception as error:  # whatever the library makes of a damaged file
        raise KerasFileError(f"{name}: cannot be read as HDF5 ({error})") from None
    return groups


def _bytes_of(path: str, item: Any, name: str) -> int:
    """What the array takes. KerasFileError unless all of it lies in the file."""
    size: int = math.prod(item.shape or ()) * item.dtype.itemsize
    if item.shape is None or item.external or item.is_virtual:
        raise KerasFileError(f"{name}: {path} lies in another file, or nowhere")
    if item.dtype.kind not in "biuf":
        raise KerasFileError(f"{name}: {path} holds {item.dtype}, not numbers")
    if size > item.id.get_storage_size():
        raise KerasFileError(f"{name}: {path} claims {size:,} bytes, {item.id.get_storage_size():,} are stored")
    return size


def _array(path: str, item: Any, name: str) -> Array:
    array = np.asarray(item[()])
    told = item.attrs.get("dtype")
    if told == "bfloat16" and array.dtype == np.uint16:  # which HDF5 has not: Keras stores its bits
        return (array.astype(np.uint32) << 16).view(np.float32)
    if told is not None and str(told) != array.dtype.name:
        raise KerasFileError(f"{name}: {path} holds {told}, which fastdl does not compute in")
    return array
