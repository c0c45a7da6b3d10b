"""The kernels one by one, on numpy arrays: how they are tested and timed alone.

Arrays are (batch, features) or (features,), float32 or float64; all arrays of one call have one dtype. Each
function runs the very kernel that training runs, between the copies into and out of its layout.
"""

from __future__ import annotations

from fastdl import _ext
from fastdl.kernels.of_encodings import *
from fastdl.kernels.of_layers import *
from fastdl.kernels.of_training import *
from fastdl.kernels.products import matmul as matmul


def describe(kernel: str) -> str:
    """What a kernel computes and what it is called with, as the kernel table says it. KeyError for another name."""
    table = _ext.KERNELS[kernel]
    lines = [f"{kernel}: {table.what}"]
    for name, argument in table.arguments.items():
        several = f"{argument.length} × " if argument.length > 1 else ""
        lines.append(f"  {name:16} {argument.kind:8}{several}{argument.what}{', or None' * argument.optional}")
    return "\n".join(lines)
