"""What several commands share: their options, sample files, and text that a terminal may show."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from fastdl.errors import DataError
from fastdl.text import shown_lines


def source_argument(parser: argparse.ArgumentParser, name: str = "source", metavar: str = "in.onnx") -> None:
    """The ONNX file to read."""
    parser.add_argument(name, type=Path, metavar=metavar, help="an ONNX file, from whichever tool; never changed")


def samples_argument(parser: argparse.ArgumentParser, why: str, required: bool = False) -> None:
    """--samples."""
    told = f"{why}: .npy with one row a sample, or .npz with one array for each input name"
    parser.add_argument("--samples", type=Path, metavar="x.npy", required=required, help=told)


def tolerance_argument(parser: argparse.ArgumentParser, told: str) -> None:
    """--tolerance."""
    parser.add_argument("--tolerance", type=positive, metavar="T", help=told)


def budget_argument(parser: argparse.ArgumentParser) -> None:
    """--budget."""
    told = "seconds of processor time after which the proof takes no more rows than it needs (default: 10)"
    parser.add_argument("--budget", type=positive, metavar="S", help=told)


def positive(text: str) -> float:
    """A finite number above zero."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a number above zero, not {text}")
    return value


def report_path(options: argparse.Namespace) -> Path:
    """Where the report goes: --json, or beside out.onnx. Wrong usage: one file would be written over another."""
    beside: Path = options.json or Path(f"{options.target}.json")
    html = getattr(options, "html", None)
    paths = [path.absolute() for path in (options.target, beside, html) if path is not None]
    if len(set(paths)) < len(paths) or options.source.absolute() in paths[options.target is not None :]:
        options.usage("in.onnx, out.onnx and the reports must be different files")
    return beside


def load_arrays(path: Path | None) -> Any:
    """The array of an .npy file, or the mapping by name of an .npz; None for None. DataError: neither of the two."""
    import numpy as np

    if path is None:
        return None
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if hasattr(loaded, "files") else loaded
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # zip, header or pickle: whatever numpy finds wrong with it
        raise DataError(f"{path}: not an .npy or .npz file of numbers ({str(error).splitlines()[0]})") from None


def load_array(path: Path | None) -> Any:
    """The one array of an .npy file."""
    loaded = load_arrays(path)
    if isinstance(loaded, dict):
        raise DataError(f"{path}: holds {len(loaded)} arrays; an .npy file with one is needed")
    return loaded


def show(*texts: object) -> None:
    """Print, with nothing in it that could steer a terminal."""
    print("\n".join(shown_lines(str(text)) for text in texts))


def write_text(path: Path, text: str) -> None:
    """The whole text or nothing."""
    from fastdl.files import write_atomically

    write_atomically(path, text.encode("utf-8"))
