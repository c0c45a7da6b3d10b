"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

AT_ONCE = 2**24  # bytes; between two writes Python hears Ctrl-C
PREFIX = 40  # letters of the target's name in the temporary's, which must not become too long for the folder

ONNX = b"\x08"  # field 1, the version of its format
KINDS = (  # how foreign files begin
    (b"PK\x03\x04", "a zip archive, as Keras's .keras, PyTorch's .pt and numpy's .npz are"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras's .h5 is"),
    (b"\x93NUMPY", "an .npy file"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x1f\x8b", "a gzip file"),
    (ONNX, "an ONNX file, it seems: see from_onnx and Runner"),
)


def kind_of(start: bytes) -> str:
    """What a file is, by its first 16 bytes; an empty text for what is not known."""
    if start[8:9] == b"{":
        return "a safetensors file, as fastdl saves models: see load_model"
    return next((kind for magic, kind in KINDS if start.startswith(magic)), "")


def check_target(path: str | os.PathLike[str]) -> None:
    """OSError, before any work is done, if no file can be written to `path`: a folder, a device, or in no folder."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(target.parent))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder, where a file is to be written", str(target))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a plain file, and must not be written over", str(target))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no file can be made in this folder", str(target.parent))


def write_atomically(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Write beside `path`, sync, rename over it, sync the folder. OSError: the old file stays, nothing is left."""
    try:
        _write(Path(path), parts)
    except OSError as error:  # it names the temporary, of which nobody has heard
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _write(target: Path, parts: Iterable[bytes | memoryview]) -> None:
    # its name is known before it is made, so that it is always removed
    temporary = target.parent / f".{target.name[:PREFIX]}.{secrets.token_hex(8)}"
    try:
        with open(temporary, "xb") as file:
            for part in parts:
                for start in range(0, len(part), AT_ONCE):
                    file.write(memoryview(part)[start : start + AT_ONCE])
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # mostly it has become the target
            os.unlink(temporary)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
