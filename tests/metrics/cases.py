"""Weights of samples, of every shape that Keras takes: what parity compares, and tests without Keras go through."""

from __future__ import annotations

from typing import Any

import numpy as np

N, OUTPUTS, STEPS = 6, 4, 3
RNG = np.random.default_rng(7)

# name: (class, arguments, targets)
METRICS: dict[str, tuple[str, dict[str, Any], str]] = {
    "mse": ("MeanSquaredError", {}, "numbers"),
    "rmse": ("RootMeanSquaredError", {}, "numbers"),
    "mae": ("MeanAbsoluteError", {}, "numbers"),
    "hinge": ("Hinge", {}, "bits"),
    "cosine": ("CosineSimilarity", {}, "numbers"),
    "cross-entropy": ("CategoricalCrossentropy", {}, "one-hot"),
    "sparse cross-entropy": ("SparseCategoricalCrossentropy", {}, "labels"),
    "binary": ("BinaryAccuracy", {}, "bits"),
    "equal": ("Accuracy", {}, "bits"),
    "categorical": ("CategoricalAccuracy", {}, "one-hot"),
    "sparse": ("SparseCategoricalAccuracy", {}, "labels"),
    "r2": ("R2Score", {"class_aggregation": None}, "numbers"),
    "r2 adjusted": ("R2Score", {"num_regressors": 2}, "numbers"),
    "true positives": ("TruePositives", {"thresholds": [0.2, 0.5]}, "bits"),
    "false negatives": ("FalseNegatives", {}, "bits"),
    "precision": ("Precision", {}, "bits"),
    "precision of a class": ("Precision", {"class_id": 1}, "bits"),
    "recall of the top": ("Recall", {"top_k": 2}, "bits"),
    "precision of the top": ("Precision", {"top_k": 2, "thresholds": 0.4}, "bits"),
    "auc": ("AUC", {"num_thresholds": 30}, "bits"),
    "auc of each": ("AUC", {"num_thresholds": 30, "multi_label": True}, "bits"),
    "auc of each, weighed": (
        "AUC",
        {"num_thresholds": 30, "multi_label": True, "num_labels": OUTPUTS, "label_weights": [1.0, 2.0, 0.0, 0.5]},
        "bits",
    ),
    "auc of all, weighed": ("AUC", {"num_thresholds": 30, "label_weights": [1.0, 2.0, 0.0, 0.5]}, "bits"),
    "f1": ("F1Score", {"threshold": 0.5}, "bits"),
}

LOSSES: dict[str, tuple[str, dict[str, Any], str]] = {
    "mse": ("MeanSquaredError", {}, "numbers"),
    "huber": ("Huber", {}, "numbers"),
    "cosine": ("CosineSimilarity", {}, "numbers"),
    "binary": ("BinaryCrossentropy", {}, "bits"),
    "categorical": ("CategoricalCrossentropy", {}, "one-hot"),
    "sparse": ("SparseCategoricalCrossentropy", {}, "labels"),
}

WEIGHTS: dict[str, tuple[int, ...]] = {
    "scalar": (),
    "one": (1,),
    "samples": (N,),
    "column": (N, 1),
    "row": (1, OUTPUTS),
    "matrix": (N, OUTPUTS),
    "one and one": (1, 1),
}


def targets(kind: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(3)
    if kind == "labels":
        return rng.integers(0, shape[-1], shape[:-1])
    if kind == "one-hot":
        return np.eye(shape[-1], dtype=np.float32)[rng.integers(0, shape[-1], shape[:-1])]
    numbers = rng.uniform(0, 1, shape).astype(np.float32)
    return np.round(numbers) if kind == "bits" else numbers


def predicted(shape: tuple[int, ...], kind: str) -> np.ndarray[Any, Any]:
    y = np.random.default_rng(4).uniform(0.05, 1, shape).astype(np.float32)
    return y / y.sum(-1, keepdims=True) if kind in ("one-hot", "labels") else y


def weight(name: str) -> Any:
    shape = WEIGHTS[name]
    value = np.random.default_rng(5).uniform(0.5, 2, shape).astype(np.float32)
    return value if shape else float(value)
