"""Models and their training loop."""

from fastdl.callbacks.history import History
from fastdl.models.model import Model
from fastdl.models.sequential import Sequential

__all__ = ["History", "Model", "Sequential"]
