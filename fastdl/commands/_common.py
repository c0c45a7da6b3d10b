"""What several commands share: their options, the files they read and write, and text that a terminal may show."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdl.base.files import check_target, write_together
from fastdl.base.text import shown_lines
from fastdl.errors import DataError

if TYPE_CHECKING:
    from onnx import ModelProto


class UsageError(Exception):
    """A command line that asks for what is never done."""


def source_argument(parser: argparse.ArgumentParser, name: str = "source", metavar: str = "in.onnx") -> None:
    """The ONNX file to read."""
    parser.add_argument(name, type=a_path, metavar=metavar, help="an ONNX file, from whichever tool; never changed")


def samples_argument(parser: argparse.ArgumentParser, why: str, required: bool = False) -> None:
    """--samples."""
    told = f"{why}: .npy with one row a sample, or .npz with one array for each input name"
    parser.add_argument("--samples", type=a_path, metavar="x.npy", required=required, help=told)


def tolerance_argument(parser: argparse.ArgumentParser, told: str) -> None:
    """--tolerance."""
    parser.add_argument("--tolerance", type=positive, metavar="T", help=told)


def budget_argument(parser: argparse.ArgumentParser) -> None:
    """--budget."""
    told = "seconds of processor time after which the proof takes no more rows than it needs (default: 10)"
    parser.add_argument("--budget", type=positive, metavar="S", help=told)


def limits_argument(parser: argparse.ArgumentParser) -> None:
    """--no-limits."""
    told = "for a file that you trust: take whatever memory and time its graph needs, and any number of nodes"
    parser.add_argument("--no-limits", dest="limited", action="store_false", help=told)


def a_path(text: str) -> Path:
    """A file's name, which an empty text is not."""
    if not text:
        raise argparse.ArgumentTypeError("the name of a file is empty")
    return Path(text)


def positive(text: str) -> float:
    """A finite number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a number above zero, not {text}")
    return value


def positive_integer(text: str) -> int:
    """A whole number above zero."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number above zero, not {text}")
    return int(text)


def check_files(
    models: Iterable[Path], arrays: Iterable[Path | None], written: Iterable[Path | None], limited: bool = True
) -> None:
    """Before any work: each file to write can be written, is none that is read, by whichever name, and is named once.

    models: ONNX files that are read, with the files that hold their data; arrays: what else is read.
    UsageError: one file would be written over another. OSError, ModelFileError.
    """
    from fastdl.fusion.files.model_file import files_of

    models = list(models)
    data = [path for model in models for path in files_of(model, limited)[1:]]
    taken = {_identity(path): path for path in (*data, *filter(None, arrays), *models)}
    for path in filter(None, written):
        check_target(path)
        identity = _identity(path)
        if identity in taken:
            raise UsageError(
                f"{path} would be written over {taken[identity]}: what is read, and each file that is written, "
                "must be different files"
            )
        taken[identity] = path


def _identity(path: Path) -> object:
    """The same for every name of one file: relative, by way of links, in other case where the disk knows no case."""
    try:
        status = path.stat()
        return status.st_dev, status.st_ino
    except (OSError, ValueError):  # not there (yet)
        return os.path.realpath(path.parent), path.name


def beside(target: Path) -> Path:
    """Where the report of out.onnx goes, unless --json says."""
    return Path(f"{target}.json")


def load_arrays(path: Path | None) -> Any:
    """The array of an .npy file, or the mapping by name of an .npz; None for None. DataError: neither of the two."""
    import numpy as np

    if path is None:
        return None
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path}: not a plain file")
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if hasattr(loaded, "files") else loaded
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read") from None
    except MemoryError:
        raise DataError(f"{path}: more than the memory holds") from None
    except Exception as error:  # zip, header or pickle: whatever numpy finds wrong with it
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not an .npy or .npz file of numbers ({said})") from None


def load_array(path: Path | None) -> Any:
    """The one array of an .npy file."""
    loaded = load_arrays(path)
    if isinstance(loaded, dict):
        raise DataError(f"{path}: holds {len(loaded)} arrays; an .npy file with one is needed")
    return loaded


def show(*texts: object) -> None:
    """Print, with nothing in it that could steer a terminal. A reader that has left, as `head` does, is no error."""
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(shown_lines(str(text)) for text in texts))


def write(texts: Mapping[Path | None, str], model: ModelProto | None = None, target: Path | None = None) -> None:
    """The model, if there is one, to the target, and each text to its path, unless that is None: all, or nothing."""
    from fastdl.fusion.files.model_file import files_for

    files = [] if model is None or target is None else files_for(model, target)
    write_together(*files, *((path, [text.encode("utf-8")]) for path, text in texts.items() if path is not None))
