"""Fashion-MNIST by dense layers only: the recipe that reaches most, and what it reaches, for several seeds.

Half of the images are flipped as batches are drawn; batch norm, dropout, smoothed labels; AdamW in one cycle of rates;
the weights at the end are a moving average. Several such nets train side by side, one on each core, and the mean of
what they say of an image and of its mirror image answers. The test images are looked at once, after training.

    python examples/fashion_mnist_recipe.py [--seeds 1 2 3] [--epochs 30] [--nets 4]
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastdl as keras
from fastdl import layers

BATCH = 128


def recipe(width: int, steps: int) -> keras.Sequential:
    hidden = [
        layer
        for _ in range(2)
        for layer in (
            layers.Dense(width, kernel_initializer="he_normal", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3),
        )
    ]
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.RandomFlip("horizontal"),
            layers.Flatten(),
            layers.BatchNormalization(),
            *hidden,
            layers.Dense(10, activation="softmax"),
        ]
    )
    rate = keras.schedules.OneCycle(2e-3, steps)
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=0.02, use_ema=True, ema_momentum=0.999),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    return model


def train(seed: int, width: int, epochs: int, x: np.ndarray, y: np.ndarray) -> keras.Sequential:
    """One net, on one core."""
    with keras.utils.local_random_seed(seed), keras.config.thread_limit(1):
        model = recipe(width, epochs * -(-len(x) // BATCH))
        model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    return model


def answers(models: list[keras.Sequential], x: np.ndarray) -> np.ndarray:
    """The mean of the nets' probabilities for the images and for their mirror images."""
    return np.mean([model.predict(each) for model in models for each in (x, x[:, :, ::-1])], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--nets", type=int, default=4)
    options = parser.parse_args()
    (x, y), (x_test, y_test) = keras.datasets.fashion_mnist()
    x, x_test = (np.asarray(images / 255, np.float32) for images in (x, x_test))
    y = keras.utils.to_categorical(y)
    found = []
    for seed in options.seeds:
        began = time.perf_counter()
        with ThreadPoolExecutor(keras.get_num_threads()) as pool:
            jobs = [
                pool.submit(train, 1000 * seed + i, options.width, options.epochs, x, y) for i in range(options.nets)
            ]
            models = [job.result() for job in jobs]
        seconds = time.perf_counter() - began
        each = [np.mean(answers([model], x_test).argmax(axis=1) == y_test) for model in models]
        found.append(np.mean(answers(models, x_test).argmax(axis=1) == y_test))
        told = f"{options.nets} nets of {options.epochs} epochs in {seconds:.0f} s; one alone {np.mean(each):.4f}"
        print(f"seed {seed}: test accuracy {found[-1]:.4f}, {told}", flush=True)
    print(f"lowest of {len(found)} seeds {min(found):.4f}, mean {np.mean(found):.4f}")


if __name__ == "__main__":
    main()
