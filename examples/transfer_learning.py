"""The first layer of a net that knows five classes, in a net for five others, of which there are fewer pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from data import pictures

import fastdl as keras


def net(size: int) -> keras.Sequential:
    """Hidden layers and five classes."""
    model = keras.Sequential([keras.Input((size,))])
    for units, rate in ((300, 0.3), (100, 0.0)):
        model.add(keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal"))
        model.add(keras.layers.Dropout(rate))
    model.add(keras.layers.Dense(5, activation="softmax"))
    return model


def trained(model: keras.Sequential, data: Any, epochs: int) -> None:
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data, epochs=epochs, verbose=0)


def main(epochs: int = 5, rows: int | None = None, labels: int = 1000) -> tuple[float, float]:
    """Test accuracies on classes 5 to 9: from scratch, with a first layer from classes 0 to 4. Means of five draws."""
    x, y, x_test, y_test = pictures(rows)
    test = x_test[y_test >= 5], y_test[y_test >= 5] - 5
    keras.utils.set_random_seed(42)
    old = net(x.shape[1])
    trained(old, (x[y < 5], y[y < 5]), epochs)
    results = []
    for draw in range(5):
        chosen = np.random.default_rng(draw).permutation(np.flatnonzero(y >= 5))[:labels]
        alone, new = net(x.shape[1]), net(x.shape[1])
        new.layers[0].set_weights(old.layers[0].get_weights())
        for model in (alone, new):
            trained(model, (x[chosen], y[chosen] - 5), epochs=3)
        results.append([model.evaluate(*test)[1] for model in (alone, new)])
    scratch, transferred = np.mean(results, axis=0)
    return float(scratch), float(transferred)


if __name__ == "__main__":
    scratch, transferred = main()
    print(f"1000 pictures of new classes: {scratch:.1%} right from scratch, {transferred:.1%} with a layer moved")
