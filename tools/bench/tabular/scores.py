"""How well test rows were told: accuracy, log-loss and AUC of classes; error in units of the spread of numbers."""

from __future__ import annotations

import numpy as np

LEAST = 1e-7  # a probability in the log-loss is at least this: one sure and wrong row must not decide a table
HIGHER_IS_BETTER = {"accuracy": True, "auc": True, "log_loss": False, "nrmse": False, "mae": False}
MAIN = {"classification": "accuracy", "regression": "nrmse"}


def classification(codes: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Of class numbers (n,) and a probability for each class (n, classes).

    AUC: of the second of two classes; of more the mean over classes, each against the rest.
    """
    p = np.asarray(probabilities, np.float64)
    bounded = np.clip(p, LEAST, 1)
    bounded /= bounded.sum(1, keepdims=True)
    present = [k for k in range(p.shape[1]) if 0 < (codes == k).sum() < len(codes)]
    present = present[1:] if p.shape[1] == 2 else present  # of two classes either says it all
    return {
        "accuracy": float(np.mean(np.argmax(p, 1) == codes)),
        "log_loss": float(-np.log(bounded[np.arange(len(codes)), codes]).mean()),
        "auc": float(np.mean([auc(codes == k, p[:, k]) for k in present])),
    }


def auc(positive: np.ndarray, values: np.ndarray) -> float:
    """The share of pairs (a positive row, a negative one) whose positive has the greater value; ties count half."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(values) - n)))


def regression(target: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """RMSE over the standard deviation of the test target, and the mean absolute error in the target's own units."""
    off = np.asarray(predictions, np.float64) - target
    return {"nrmse": float(np.sqrt(np.mean(off**2)) / np.std(target)), "mae": float(np.mean(np.abs(off)))}
