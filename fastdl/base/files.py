"""Writing files so that a crash leaves the old one or the new one, never half of either; of a log its whole lines."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

Name = str | os.PathLike[str]
File = tuple[Name, Iterable[bytes | memoryview]]  # its name, and what it holds, part by part

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

_waiting: list[int] | None = None  # while files are renamed: the signals that came


def kind_of(start: bytes) -> str:
    """What a file is, by its first 16 bytes; an empty text for what is not known."""
    if start[8:9] == b"{":
        return "a safetensors file, as fastdl saves models: see load_model"
    return next((kind for magic, kind in KINDS if start.startswith(magic)), "")


def check_target(path: Name) -> None:
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


def write_atomically(path: Name, *parts: bytes | memoryview) -> None:
    """Write beside `path`, sync, rename over it, sync the folder. OSError: the old file stays, nothing is left."""
    write_together((path, parts))


def write_together(*files: File) -> None:
    """Several files at once: each is renamed to its name when all are written, and signals wait until they are.

    OSError: all old files stay, unless it is the renaming that failed; nothing is left.
    """
    # their names are known before they are made, so that they are always removed
    temporaries = [_beside(Path(path)) for path, _ in files]
    try:
        for temporary, (path, parts) in zip(temporaries, files, strict=True):
            with _telling(path):
                _write(temporary, parts)
        with _signals_waiting():
            for temporary, (path, _) in zip(temporaries, files, strict=True):
                with _telling(path):
                    os.replace(temporary, path)
    finally:
        for temporary in temporaries:  # mostly they have become the targets
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    for path in {Path(path).parent: path for path, _ in files}.values():
        with _telling(path):
            _sync(Path(path).parent)


def check_new_folder(path: Name) -> None:
    """OSError, before any work is done, if no folder can be made at `path`: there is something, but an empty folder."""
    target, there = Path(path), _existing(Path(path))
    if there == target and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(errno.EEXIST, "there already; name a folder that is not, or that is empty", str(target))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file, in which no folder can be made", str(there))
    for folder in {there, target.parent if there == target else there}:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "nothing can be made in this folder", str(folder))


def write_folder(path: Name, *files: File) -> None:
    """A folder with these files, named within it: whole, or not at all; the folders that it lies in are made.

    OSError: nothing is left of it.
    """
    target = Path(path)
    check_new_folder(target)
    temporary = _beside(_existing(target.parent) / target.name)
    try:
        with _telling(target):
            for name, parts in files:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                _write(temporary / name, parts)
            for folder in {temporary, *(place for place in temporary.rglob("*") if place.is_dir())}:
                _sync(folder)
            with _signals_waiting():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(temporary, target)
            _sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # mostly it has become the target


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def append_whole(path: Name, data: bytes) -> None:
    """Write to the end of a file, made if it is not there. OSError: what was written of it is cut off again."""
    with _telling(path), open(path, "ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except BaseException:
            file.truncate(size)
            raise


def must_wait(number: int) -> bool:
    """For handlers of signals that raise: whether the signal must wait, and comes again when files are renamed."""
    if _waiting is None:
        return False
    _waiting.append(number)
    return True


@contextlib.contextmanager
def _signals_waiting() -> Iterator[None]:
    global _waiting
    waiting = list[int]()
    try:
        _waiting = waiting
        yield
    finally:
        _waiting = None
        for number in waiting:
            signal.raise_signal(number)


@contextlib.contextmanager
def _telling(path: Name) -> Iterator[None]:
    """An OSError names the temporary, of which nobody has heard: let it name the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _beside(target: Path) -> Path:
    return target.parent / f".{target.name[:PREFIX]}.{secrets.token_hex(8)}"


def _write(temporary: Path, parts: Iterable[bytes | memoryview]) -> None:
    with open(temporary, "xb") as file:
        for part in parts:
            for start in range(0, len(part), AT_ONCE):
                file.write(memoryview(part)[start : start + AT_ONCE])
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
