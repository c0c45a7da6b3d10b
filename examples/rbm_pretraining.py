"""Restricted Boltzmann machines, one on another, as the first layers of a classifier with few labels."""

from __future__ import annotations

import numpy as np
from data import digits

import fastdl as keras
from fastdl.pretraining import stack_rbms


def main(epochs: int = 60, rows: int | None = None, labels: int = 50) -> tuple[float, float]:
    """Test accuracies: sigmoid layers without pretraining, with it. Means of five seeds."""
    x, y, x_test, y_test = digits(rows)

    def accuracy(pretrained: bool, seed: int) -> float:
        keras.utils.set_random_seed(seed)
        sizes = [100, 100]
        if pretrained:
            stack = stack_rbms(x, sizes, epochs=epochs, batch_size=16, learning_rate=0.1, momentum=0.5)
            hidden = [rbm.dense() for rbm in stack]
        else:
            hidden = [keras.layers.Dense(size, activation="sigmoid") for size in sizes]
        model = keras.Sequential([keras.Input((x.shape[1],)), *hidden, keras.layers.Dense(10, activation="softmax")])
        model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x[:labels], y[:labels], epochs=3 * epochs, verbose=0)
        result: float = model.evaluate(x_test, y_test)[1]
        return result

    plain, pretrained = (float(np.mean([accuracy(way, seed) for seed in range(5)])) for way in (False, True))
    return plain, pretrained


if __name__ == "__main__":
    plain, pretrained = main()
    print(f"50 labels: {plain:.1%} right, {pretrained:.1%} after pretraining by Boltzmann machines")
