"""Regression on scikit-learn's diabetes data, and on house prices made here in the manner of California's."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdl.sklearn import FastdlRegressor

Array = np.ndarray[Any, Any]


def houses(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """Income, age, rooms, people, latitude, longitude → price in 100,000, capped at 5 as the real ones are."""
    rng = np.random.default_rng(seed)
    income = rng.gamma(4.0, 1.0, rows)
    age, rooms = rng.uniform(1, 52, rows), rng.normal(5.4, 1.2, rows).clip(1)
    people, latitude, longitude = rng.gamma(6.0, 0.5, rows), rng.uniform(32.5, 42, rows), rng.uniform(-124, -114, rows)
    coast = np.exp(-np.abs(longitude + 124 - 0.9 * (42 - latitude)))
    price = 0.4 * income + 1.5 * coast + 0.01 * age + 0.1 * rooms - 0.15 * people + 0.05 * income * coast
    price = np.exp(0.3 * rng.standard_normal(rows)) * np.maximum(price, 0.15)
    return np.column_stack([income, age, rooms, people, latitude, longitude]), np.minimum(price, 5.0)


def main(epochs: int = 60, rows: int | None = 20_000) -> tuple[float, float]:
    """R² of diabetes in cross-validation, and of houses on rows held out."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import cross_val_score, train_test_split

    # features and targets may be of any scale: the estimator brings them to mean 0 and variance 1 itself
    diabetes = load_diabetes(return_X_y=True)
    small = cross_val_score(FastdlRegressor(epochs=epochs, random_state=0), *diabetes, cv=4).mean()
    x, x_test, y, y_test = train_test_split(*houses(rows or 20_000), test_size=0.25, random_state=0)
    net = FastdlRegressor((64, 64), dropout=0.0, batch_size=128, patience=10, epochs=epochs, random_state=0)
    return float(small), float(net.fit(x, y).score(x_test, y_test))


if __name__ == "__main__":
    diabetes, prices = main()
    print(f"R²: {diabetes:.3f} of diabetes in cross-validation, {prices:.3f} of house prices held out")
