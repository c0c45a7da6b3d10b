"""Keras's `saving`: models as files."""

from fastdl.models import load_model, save_model

__all__ = ["load_model", "save_model"]
