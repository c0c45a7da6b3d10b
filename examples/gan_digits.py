"""A small GAN (Goodfellow et al. 2014): a generator of digits, trained through a frozen discriminator."""

from __future__ import annotations

import numpy as np
from data import digits

import fastdl as keras

CODE = 20


def main(epochs: int = 150, rows: int | None = None) -> tuple[float, float]:
    """How far drawn digits lie from the nearest real one, and how far real ones of the test set do."""
    keras.utils.set_random_seed(42)
    x, _, x_test, _ = digits(rows)
    rng = np.random.default_rng(0)
    L = keras.layers
    generator = keras.Sequential(
        [
            keras.Input((CODE,)),
            *(L.Dense(128, activation="selu", kernel_initializer="lecun_normal"), L.Dense(128, activation="selu")),
            L.Dense(x.shape[1], activation="sigmoid"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((x.shape[1],)),
            *(L.Dense(128), L.LeakyReLU(0.2), L.Dropout(0.3), L.Dense(64), L.LeakyReLU(0.2)),
            L.Dense(1, activation="sigmoid"),
        ]
    )
    discriminator.compile(keras.optimizers.Adam(5e-4, beta_1=0.5), "binary_crossentropy")
    discriminator.trainable = False  # in what is compiled from here on
    gan = keras.Sequential([keras.Input((CODE,)), generator, discriminator])
    gan.compile(keras.optimizers.Adam(5e-4, beta_1=0.5), "binary_crossentropy")
    size = 64
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for begin in range(0, len(x) - size + 1, size):
            real = x[order[begin : begin + size]]
            drawn = generator.predict(rng.standard_normal((size, CODE)))
            truth = np.repeat([0.9, 0.0], size)[:, None]  # one-sided label smoothing
            discriminator.train_on_batch(np.concatenate([real, drawn]), truth)
            gan.train_on_batch(rng.standard_normal((2 * size, CODE)), np.ones((2 * size, 1)))
    return nearest(generator.predict(rng.standard_normal((300, CODE))), x), nearest(x_test[:300], x)


def nearest(some: np.ndarray, others: np.ndarray) -> float:  # type: ignore[type-arg]
    """The mean distance of each to the nearest of the others."""
    squares = (some**2).sum(1)[:, None] + (others**2).sum(1) - 2 * some @ others.T
    return float(np.sqrt(np.maximum(squares, 0).min(1)).mean())


if __name__ == "__main__":
    drawn, real = main()
    print(f"digits of the generator lie {drawn:.2f} from the nearest real one, unseen real ones {real:.2f}")
