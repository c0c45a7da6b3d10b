"""Fashion-MNIST by dense layers only: the recipe that reaches most, and what it reaches, for several seeds.

Half of the images are flipped as batches are drawn; batch norm, dropout, smoothed labels; AdamW in one cycle of rates;
the weights at the end are a moving average. The test images are looked at once, after training.

    python examples/fashion_mnist_recipe.py [--seeds 1 2 3] [--epochs 30]
"""

import argparse
import time

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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--width", type=int, default=768)
    options = parser.parse_args()
    (x, y), (x_test, y_test) = keras.datasets.fashion_mnist()
    x, x_test = (np.asarray(images / 255, np.float32) for images in (x, x_test))
    y, y_test = keras.utils.to_categorical(y), keras.utils.to_categorical(y_test)
    found = []
    for seed in options.seeds:
        keras.utils.set_random_seed(seed)
        model, began = recipe(options.width, options.epochs * -(-len(x) // BATCH)), time.perf_counter()
        model.fit(x, y, batch_size=BATCH, epochs=options.epochs, verbose=0)
        seconds = time.perf_counter() - began
        _, accuracy = model.evaluate(x_test, y_test)
        found.append(accuracy)
        print(f"seed {seed}: test accuracy {accuracy:.4f} after {options.epochs} epochs in {seconds:.0f} s", flush=True)
    print(f"lowest of {len(found)} seeds {min(found):.4f}, mean {np.mean(found):.4f}")


if __name__ == "__main__":
    main()
