"""Train, fold, prove and serve one net; writes demo/."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastdl.commands import _common as common


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where results go, and for how long to train."""
    folder = "where results go (default: demo)"
    parser.add_argument("--folder", type=common.a_path, default=Path("demo"), metavar="F", help=folder)
    epochs = "at most so many; default: 10 for Fashion-MNIST, 20 for the digits"
    parser.add_argument("--epochs", type=common.positive_integer, metavar="N", help=epochs)


def run(options: argparse.Namespace) -> None:
    """The whole journey, from data to picture."""
    from fastdl.commands._demonstration import demo

    demo(options.folder, options.epochs)
