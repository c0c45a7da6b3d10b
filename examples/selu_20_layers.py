"""A net of 20 hidden layers that trains without batch norm: SELU, LeCun initialisation, AlphaDropout."""

from __future__ import annotations

from data import pictures

import fastdl as keras


def main(epochs: int = 5, rows: int | None = None) -> float:
    """Test accuracy."""
    keras.utils.set_random_seed(42)
    x, y, x_test, y_test = pictures(rows)
    normalize = keras.layers.Normalization()
    normalize.adapt(x)  # SELU normalises itself if its input is normal
    model = keras.Sequential([keras.Input((x.shape[1],)), normalize])
    for _ in range(20):
        model.add(keras.layers.Dense(100, activation="selu", kernel_initializer="lecun_normal"))
    model.add(keras.layers.AlphaDropout(0.1))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(keras.optimizers.Nadam(5e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, validation_data=(x_test, y_test), verbose=2)
    print(keras.layer_statistics(model, x[:1000], y[:1000]))
    accuracy: float = model.evaluate(x_test, y_test)[1]
    return accuracy


if __name__ == "__main__":
    print(f"20 SELU layers: {main():.1%} of the test pictures are right")
