"""ONNX → smaller ONNX that computes the same: folds, the proof of them, and the report. Knows no training."""

from fastdl.fusion.files.model_file import read_model, write_model
from fastdl.fusion.folds.rule import Fold, Refusal
from fastdl.fusion.inspection import Inspection, inspect
from fastdl.fusion.pipeline import fuse
from fastdl.fusion.proof.prover import verify
from fastdl.fusion.proof.result import Proof
from fastdl.fusion.quantization import QuantizationReport, quantize
from fastdl.fusion.report.page import page
from fastdl.fusion.report.report import FusionReport

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
