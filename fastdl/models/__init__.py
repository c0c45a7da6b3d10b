"""Models, their training loop, and their files."""

from fastdl.models.history import History
from fastdl.models.loading import clone_model, load_model, model_from_json, save_model
from fastdl.models.model import Model
from fastdl.models.sequential import Sequential

__all__ = ["History", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]
