"""Models, their training loop, and their files."""

from fastdl.callbacks.history import History
from fastdl.models.model import Model
from fastdl.models.saving import clone_model, load_model, model_from_json, save_model
from fastdl.models.sequential import Sequential

__all__ = ["History", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]
