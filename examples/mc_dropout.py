"""Monte-Carlo dropout: is a net right in 80 of 100 cases when it says 80 %? Calibration with and without it."""

from __future__ import annotations

import numpy as np
from data import pictures

import fastdl as keras


def main(epochs: int = 30, rows: int | None = 10_000, samples: int = 50) -> tuple[float, float]:
    """The expected calibration error on the test pictures: of one prediction, of the mean of many."""
    keras.utils.set_random_seed(42)
    x, y, x_test, y_test = pictures(rows)
    model = keras.Sequential([keras.Input((x.shape[1],))])
    for units in (300, 100):
        model.add(keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal"))
        model.add(keras.layers.Dropout(0.4))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    once, many = model.predict(x_test), keras.mc_predict(model, x_test, samples=samples)
    return calibration_error(once, y_test), calibration_error(many.mean, y_test)


def calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 10) -> float:  # type: ignore[type-arg]
    """How far confidence and accuracy lie apart, in bins of equal confidence, weighted by their rows (Guo 2017)."""
    sure, right = p.max(1), p.argmax(1) == y
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [abs(sure[place == i].mean() - right[place == i].mean()) * (place == i).mean() for i in np.unique(place)]
    return float(sum(gaps))


if __name__ == "__main__":
    once, many = main()
    print(f"calibration error: {once:.1%} of one prediction, {many:.1%} of the mean of 50 with dropout on")
