"""ONNX → smaller ONNX that computes the same: folds, the proof of them, and the report. Knows no training."""

from .inspection import Inspection, inspect
from .model_file import read_model, write_model
from .page import page
from .pipeline import fuse
from .proof import verify
from .quantization import QuantizationReport, quantize
from .report import Fold, FusionReport, Proof, Refusal

__all__ = [
    "Fold",
    "FusionReport",
    "Inspection",
    "Proof",
    "QuantizationReport",
    "Refusal",
    "fuse",
    "inspect",
    "page",
    "quantize",
    "read_model",
    "verify",
    "write_model",
]
