"""Keras's `backend`, as far as fastdl has it."""

from fastdl.config import epsilon, floatx, set_floatx
from fastdl.utils import clear_session

__all__ = ["backend", "clear_session", "epsilon", "floatx", "set_floatx"]


def backend() -> str:
    """What computes: "fastdl". Keras: backend.backend."""
    return "fastdl"
