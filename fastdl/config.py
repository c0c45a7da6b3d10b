"""Process-wide settings: the default dtype and the number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fastdl import _ext
from fastdl.base.cores import MOST, granted_threads
from fastdl.base.cores import available_cores as available_cores
from fastdl.base.messages import disable_interactive_logging as disable_interactive_logging
from fastdl.base.messages import enable_interactive_logging as enable_interactive_logging
from fastdl.base.messages import is_interactive_logging_enabled as is_interactive_logging_enabled
from fastdl.base.messages import set_logging_verbosity as set_logging_verbosity
from fastdl.base.scopes import having

_floatx = "float32"
_mixed = False  # whether layers multiply bfloat16
_rounds = False
_threads: int | None = None
_reading: ContextVar[bool] = ContextVar("reading", default=False)  # layers from a file
_exact: ContextVar[bool] = ContextVar("exact", default=False)
_limit: ContextVar[int | None] = ContextVar("limit", default=None)


def floatx() -> str:
    """The dtype of models that do not name one: "float32" or "float64"."""
    return _floatx


def set_floatx(value: str) -> None:
    """Set the default dtype. ValueError unless "float32" or "float64". Keras: config.set_floatx."""
    if value not in ("float32", "float64"):
        raise ValueError(f"floatx must be 'float32' or 'float64', not {value!r}")
    if value == "float64" and _mixed:
        raise ValueError("mixed_bfloat16 is for float32: set_dtype_policy('float64') in place of set_floatx")
    global _floatx
    _floatx = value


def epsilon() -> float:
    """What keeps quotients and logarithms finite: 1e-7, which cannot be changed. Keras: config.epsilon."""
    return 1e-7


def dtype_policy() -> str:
    """The dtype policy of layers that do not name one: "float32", "float64" or "mixed_bfloat16"."""
    return "mixed_bfloat16" if _mixed and not _reading.get() else _floatx


def set_dtype_policy(policy: str) -> None:
    """Set the policy of layers made from now on. Keras: config.set_dtype_policy.

    "mixed_bfloat16": weights, statistics, sums and the optimizer in float32, products of dense layers in bfloat16;
    "float32" and "float64" as set_floatx. ValueError for others, and where the CPU has no products of bfloat16.
    """
    global _mixed
    if policy not in ("float32", "float64", "mixed_bfloat16"):
        raise ValueError(f"the dtype policy must be 'float32', 'float64' or 'mixed_bfloat16', not {policy!r}")
    if policy == "mixed_bfloat16":
        bfloat16_products()
    _mixed = False
    set_floatx("float64" if policy == "float64" else "float32")
    _mixed = policy == "mixed_bfloat16"


def has_bfloat16() -> bool:
    """Whether this CPU, and the build in use, have instructions for products of bfloat16."""
    return _ext.multiplies_bfloat16()


def bfloat16_products() -> int:
    """How kernels multiply bfloat16 here: _ext.NATIVE or _ext.ROUNDED. ValueError where neither may be."""
    if _rounds:
        return _ext.ROUNDED
    if not has_bfloat16():
        raise ValueError(
            "mixed_bfloat16 needs a CPU with AVX512_BF16, and this one has none, or FASTDL_ISA hides it: use float32, "
            "or config.round_to_bfloat16(True), which gives the same numbers, but slower than float32"
        )
    return _ext.NATIVE


@contextmanager
def policy_of_files() -> Iterator[None]:
    """Within a `with`, layers that name no policy are not mixed: files name what is."""
    with having(_reading, True):
        yield


def mixes_products() -> bool:
    """Whether programs follow the layers' policy mixed_bfloat16: not within `float32_products`."""
    return not _exact.get()


@contextmanager
def float32_products() -> Iterator[None]:
    """Within a `with`, programs are compiled with products of float32, as files have them, whatever the policy."""
    with having(_exact, True):
        yield


def round_to_bfloat16(enabled: bool) -> None:
    """Whether products of bfloat16 are computed by rounding, on any CPU: the same bits, for tests and comparisons."""
    global _rounds
    _rounds = bool(enabled)


def get_num_threads() -> int:
    """Threads that fastdl uses at most: as many as were set, else as many as the variable FASTDL_NUM_THREADS says, else
    OMP_NUM_THREADS, else as there are cores by affinity and the control group's quota; fewer within `thread_limit`.
    ValueError for a variable that holds no number of threads.
    """
    threads, limit = _threads if _threads is not None else granted_threads(), _limit.get()
    return threads if limit is None else min(threads, limit)


def set_num_threads(number: int | None) -> None:
    """Use at most `number` threads (1 to 256), whatever the environment says; None for as many as it says, see
    `get_num_threads`. Results do not depend on it. ValueError for another number.
    """
    if number is not None and (not isinstance(number, int) or not 1 <= number <= MOST):
        raise ValueError(f"the number of threads must be an integer from 1 to {MOST}, not {number!r}")
    global _threads
    _threads = number


@contextmanager
def thread_limit(number: int) -> Iterator[None]:
    """Use at most `number` threads within a `with`, in the calling thread alone: models that train side by side, each
    in a Python thread of its own, take one core each. ValueError unless it is positive.
    """
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"the number of threads must be a positive integer, not {number!r}")
    with having(_limit, number):
        yield


def _choose_isa() -> None:
    available = _ext.supported_isas()
    _ext.select_isa(os.environ.get("FASTDL_ISA") or available[0])


_choose_isa()
