"""Version, instruction set, threads and cores."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> None:
    """Print one line for each thing to know of this installation and this machine."""
    import platform

    import numpy as np

    from fastdl import _ext, config
    from fastdl.base.version import VERSION

    name, width = _ext.isa()
    rows = {
        "fastdl": VERSION,
        "ISA": f"{name} ({8 * width}-bit vectors); this CPU runs {', '.join(_ext.supported_isas())}",
        "threads": config.get_num_threads(),
        "cores": config.available_cores(),
        "machine": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "numpy": np.__version__,
    }
    for key, value in rows.items():
        print(f"{key:8} {value}")
