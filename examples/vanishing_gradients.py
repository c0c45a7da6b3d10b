"""The same 20 layers with sigmoid and Glorot: LayerStatistics sees the gradients vanish, says so, and draws them."""

from __future__ import annotations

from pathlib import Path

from data import pictures

import fastdl as keras


def main(epochs: int = 2, rows: int | None = None, picture: str | Path = "vanishing_gradients.png") -> float:
    """The first layer's gradient, as a share of the last one's."""
    keras.utils.set_random_seed(42)
    x, y, x_test, y_test = pictures(rows)
    model = keras.Sequential([keras.Input((x.shape[1],))])
    for _ in range(20):
        model.add(keras.layers.Dense(100, activation="sigmoid", kernel_initializer="glorot_uniform"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile("nadam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    seen = keras.callbacks.LayerStatistics()  # looks at the validation data
    model.fit(x, y, epochs=epochs, validation_data=(x_test, y_test), callbacks=[seen], verbose=2)
    seen.plot(picture)
    norms = [layer.gradient_norm or 0.0 for layer in seen.snapshots[0].layers]
    return norms[0] / norms[-1]


if __name__ == "__main__":
    print(
        f"20 sigmoid layers: the gradient of the first is {main():.0e} of the last one's; see vanishing_gradients.png"
    )
