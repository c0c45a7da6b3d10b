"""ONNX → smaller ONNX that computes the same: folds, the proof of them, and the report. Knows no training."""

from .model_file import read_model
from .pipeline import fuse
from .report import Fold, FusionReport, Refusal

__all__ = ["Fold", "FusionReport", "Refusal", "fuse", "read_model"]
