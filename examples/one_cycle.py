"""1cycle (Smith 2018): the learning rate rises, then falls, and few epochs are enough."""

from __future__ import annotations

from data import pictures

import fastdl as keras


def main(epochs: int = 6, rows: int | None = None) -> tuple[float, float]:
    """Test accuracies: with a constant rate, with 1cycle."""
    x, y, x_test, y_test = pictures(rows)
    steps = epochs * -(-len(x) // 128)

    def accuracy(rate: float | keras.schedules.LearningRateSchedule) -> float:
        keras.utils.set_random_seed(42)
        model = keras.Sequential([keras.Input((x.shape[1],))])
        for units in (300, 100):
            model.add(keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal"))
        model.add(keras.layers.Dense(10, activation="softmax"))
        optimizer = keras.optimizers.SGD(rate, momentum=0.9)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, batch_size=128, epochs=epochs, validation_data=(x_test, y_test), verbose=2)
        result: float = model.evaluate(x_test, y_test)[1]
        return result

    return accuracy(0.02), accuracy(keras.schedules.OneCycle(0.2, steps))


if __name__ == "__main__":
    constant, cycle = main()
    print(f"after 6 epochs: {constant:.1%} right with a constant rate, {cycle:.1%} with 1cycle")
