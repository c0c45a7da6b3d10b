"""`precision`: what products of bfloat16 cost in accuracy, seed by seed beside float32, on data that chose nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import mean, stdev
from typing import Any

import numpy as np

from bench import tables
from bench.accuracy import WORK, data
from bench.machine import Limits
from bench.pool import Pool, note
from bench.workloads import Array, Skip

PEERS = ("fastdl",)  # whose process tells the machine; the fits run here, for their times do not count
POLICIES = ("float32", "mixed_bfloat16")
EPOCHS = 5  # of Fashion-MNIST
TEST = 0.25  # of the rows of a table


def _fashion(seed: int) -> float:
    from bench.peers import with_fastdl

    (x, y), (test_x, test_y) = data()
    learner = with_fastdl.Learner(WORK, seed)
    for _ in range(EPOCHS):
        learner.learn(x, y)
    return learner.accuracy(test_x, test_y)


def _table(load: str, seed: int) -> float:
    """Accuracy, or R² of numbers, on a quarter of the rows that no fit sees."""
    from sklearn import datasets
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.model_selection import train_test_split

    from fastdl.tabular import TabularClassifier, TabularRegressor

    x, y = getattr(datasets, load)(return_X_y=True)
    numbers = load == "load_diabetes"
    parts: list[Array] = train_test_split(x, y, test_size=TEST, random_state=seed, stratify=None if numbers else y)
    model = (TabularRegressor if numbers else TabularClassifier)(random_state=seed, folds=1)
    score: Callable[[Array, Array], float] = r2_score if numbers else accuracy_score
    return float(score(parts[3], model.fit(parts[0], parts[2]).predict(parts[1])))


SETS: dict[str, Callable[[int], float]] = {
    "Fashion-MNIST, 5 epochs": _fashion,
    "digits": lambda seed: _table("load_digits", seed),
    "breast cancer": lambda seed: _table("load_breast_cancer", seed),
    "wine": lambda seed: _table("load_wine", seed),
    "diabetes (R²)": lambda seed: _table("load_diabetes", seed),
}


def run(options: argparse.Namespace, pool: Pool, limits: Limits) -> list[dict[str, Any]]:
    """One result a set: scores by policy, seed by seed."""
    from fastdl import config

    results = []
    for name, score in SETS.items():
        line: dict[str, Any] = {"set": name, "scores": {policy: [] for policy in POLICIES}}
        try:
            for seed in range(options.seeds):
                for policy in POLICIES:
                    note(f"{name}: seed {seed}, {policy}")
                    config.set_dtype_policy(policy)
                    line["scores"][policy].append(score(seed))
        except Skip as skip:
            line["skipped"] = str(skip)
        finally:
            config.set_dtype_policy("float32")
        results.append(line)
        note("")
        print(" ".join(_row(line)), flush=True)
    return results


def _row(line: dict[str, Any]) -> list[str]:
    return [line["set"], line["skipped"]] if "skipped" in line else [line["set"], *_figures(line["scores"])]


def _figures(scores: dict[str, list[float]]) -> Iterator[str]:
    for policy in POLICIES:
        yield f"{mean(scores[policy]):.4f} ± {stdev(scores[policy]):.4f}"
    apart = np.subtract(scores["mixed_bfloat16"], scores["float32"])
    yield f"{apart.mean():+.4f} ± {apart.std(ddof=1) / np.sqrt(len(apart)):.4f}"


def report(results: list[dict[str, Any]], options: argparse.Namespace, limits: Limits, isa: str) -> str:
    """A line a set."""
    head = ["set", *POLICIES, "bfloat16 less float32"]
    rows = [[*_row(line), "", ""][:4] for line in results]
    told = (
        f"{options.seeds} seeds: mean ± deviation of the score on rows held out; of the differences, ± standard error."
    )
    return f"{tables.table(head, rows)}\n\n{told}"


def plot(results: list[dict[str, Any]], folder: Any, limits: Limits, isa: str) -> list[Any]:
    """Nothing is drawn."""
    return []
