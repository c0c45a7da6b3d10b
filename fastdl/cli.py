"""The `fastdl` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastdl.errors import FastdlError


def info() -> None:
    """Version, instruction set, threads and cores."""
    import platform

    import numpy as np

    import fastdl
    from fastdl import _ext, config

    name, width = _ext.isa()
    rows = {
        "fastdl": fastdl.__version__,
        "ISA": f"{name} ({8 * width}-bit vectors); this CPU runs {', '.join(_ext.supported_isas())}",
        "threads": config.get_num_threads(),
        "cores": config.available_cores(),
        "machine": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "numpy": np.__version__,
    }
    for key, value in rows.items():
        print(f"{key:8} {value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastdl", description="Train dense networks on a CPU, fold, prove, serve.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="version, instruction set, threads, cores")
    demo = commands.add_parser("demo", help="train, fold, prove and serve one net; writes demo/")
    demo.add_argument("--folder", type=Path, default=Path("demo"), help="where results go (default: demo)")
    demo.add_argument("--epochs", type=int, help="default: 10 for Fashion-MNIST, 20 for the digits")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 1 after one line that says what was wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "info":
            info()
        else:
            from fastdl.demo import demo

            demo(options.folder, options.epochs)
    except (FastdlError, ValueError, OSError, MemoryError) as error:
        print(f"fastdl {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"fastdl {options.command}: stopped", file=sys.stderr)
        return 130
    return 0
