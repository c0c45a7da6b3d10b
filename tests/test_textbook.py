"""A textbook's listings, with nothing changed but `import fastdl as keras`, on Fashion-MNIST or a part of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl as keras
from fastdl.datasets import find_fashion_mnist

pytestmark = pytest.mark.skipif(find_fashion_mnist() is None, reason="Fashion-MNIST is not on this machine")


@pytest.fixture(scope="module")
def data() -> Any:
    (X_train_full, y_train_full), (X_test, y_test) = keras.datasets.fashion_mnist.load_data()
    X_valid, X_train = X_train_full[:5000] / 255.0, X_train_full[5000:] / 255.0
    y_valid, y_train = y_train_full[:5000], y_train_full[5000:]
    return (X_train, y_train), (X_valid, y_valid), (X_test / 255.0, y_test)


def after_the_activation() -> keras.Sequential:
    return keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(300, activation="relu", kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(100, activation="relu", kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def before_the_activation() -> keras.Sequential:
    model = keras.models.Sequential()
    model.add(keras.layers.Flatten(input_shape=[28, 28]))
    model.add(keras.layers.Dense(300, kernel_initializer="he_normal", use_bias=False))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.Dense(100, kernel_initializer="he_normal", use_bias=False))
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    return model


def before_and_first() -> keras.Sequential:
    model = before_the_activation()
    return keras.models.Sequential(
        [keras.layers.Flatten(input_shape=[28, 28]), keras.layers.BatchNormalization(), *model.layers[1:]]
    )


@pytest.mark.parametrize(
    ("listing", "non_trainable"),
    [
        (before_the_activation, 800),
        pytest.param(after_the_activation, 2368, marks=pytest.mark.slow),
        pytest.param(before_and_first, None, marks=pytest.mark.slow),
    ],
)
def test_two_epochs_of_sgd_reach_086_and_export(
    listing: Any, non_trainable: int | None, data: Any, tmp_path: Any
) -> None:
    (X_train, y_train), validation, (X_test, _) = data
    if listing is before_and_first:
        with pytest.raises(ValueError, match="784"):  # layers that were built for 784 inputs stay so
            keras.Sequential([keras.Input((5,)), *before_the_activation().layers[1:]])
    keras.utils.set_random_seed(42)
    model = listing()
    if non_trainable is not None:
        assert sum(v.numpy().size for v in model.non_trainable_variables) == non_trainable
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.SGD(learning_rate=0.01),
        metrics=["accuracy"],
    )
    history = model.fit(X_train, y_train, epochs=2, validation_data=validation, verbose=2)
    print(f"{listing.__name__}: validation accuracy {history.history['val_accuracy'][-1]:.4f}")
    assert history.history["val_accuracy"][-1] >= 0.86

    report = model.export(tmp_path / "model.onnx", verify=X_test)
    assert report.operators_after == ["Flatten", "Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]
    served, predicted = keras.Runner(tmp_path / "model.onnx").predict(X_test), model.predict(X_test)
    difference = float(np.abs(served - predicted).max())
    print(f"{listing.__name__}: largest difference to predict {difference:.2e}")
    assert difference <= 4e-6  # onnxruntime's own distance from float64 on these nets is 0.9e-6 to 1.4e-6
    assert (served.argmax(1) == predicted.argmax(1)).all()


@pytest.fixture(scope="module")
def part() -> Any:
    """Scaled images of training, validation and test, a part of each."""
    (X_train_full, y_train_full), (X_test, y_test) = keras.datasets.fashion_mnist.load_data()
    X_train_full = X_train_full / 255.0
    X_test = X_test / 255.0
    X_valid, X_train = X_train_full[:2000], X_train_full[5000:15000]
    y_valid, y_train = y_train_full[:2000], y_train_full[5000:15000]
    return (X_train, y_train), (X_valid, y_valid), (X_test[:2000], y_test[:2000])


def fitted(model: Any, part: Any, epochs: int = 2, **options: Any) -> Any:
    """What the book does after each listing that ends with a model."""
    (X_train, y_train), (X_valid, y_valid), (X_test, y_test) = part
    history = model.fit(X_train, y_train, epochs=epochs, validation_data=(X_valid, y_valid), verbose=0, **options)
    loss, accuracy = model.evaluate(X_test, y_test)
    assert loss == pytest.approx(history.history["val_loss"][-1], rel=0.3)
    return accuracy


# -- vanishing and exploding gradients -------------------------------------------------------------------


def test_initializers(part: Any) -> None:
    keras.layers.Dense(10, activation="relu", kernel_initializer="he_normal")
    init = keras.initializers.VarianceScaling(scale=2.0, mode="fan_avg", distribution="uniform")
    layer = keras.layers.Dense(10, activation="relu", kernel_initializer=init)
    layer.build((None, 784), np.dtype(np.float32))
    limit = np.sqrt(3 * 2 / ((784 + 10) / 2))
    kernel = layer.get_weights()[0]
    assert np.abs(kernel).max() == pytest.approx(limit, rel=0.01)


def test_leaky_relu(part: Any) -> None:
    keras.utils.set_random_seed(42)
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.Dense(300, kernel_initializer="he_normal"),
            keras.layers.LeakyReLU(alpha=0.2),
            keras.layers.Dense(100, kernel_initializer="he_normal"),
            keras.layers.LeakyReLU(alpha=0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.SGD(lr=1e-2),
        metrics=["accuracy"],
    )
    assert fitted(model, part) > 0.7


def test_prelu(part: Any) -> None:
    keras.utils.set_random_seed(42)
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.Dense(300, kernel_initializer="he_normal"),
            keras.layers.PReLU(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    assert fitted(model, part) > 0.7


@pytest.mark.slow
def test_selu_a_hundred_layers_deep(part: Any) -> None:
    keras.utils.set_random_seed(42)
    (X_train, y_train), (X_valid, y_valid), _ = part
    model = keras.models.Sequential()
    model.add(keras.layers.Flatten(input_shape=[28, 28]))
    model.add(keras.layers.Dense(300, activation="selu", kernel_initializer="lecun_normal"))
    for _layer in range(99):
        model.add(keras.layers.Dense(100, activation="selu", kernel_initializer="lecun_normal"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.SGD(learning_rate=1e-3),
        metrics=["accuracy"],
    )
    pixel_means = X_train.mean(axis=0, keepdims=True)
    pixel_stds = X_train.std(axis=0, keepdims=True)
    X_train_scaled = (X_train - pixel_means) / pixel_stds
    X_valid_scaled = (X_valid - pixel_means) / pixel_stds
    history = model.fit(X_train_scaled, y_train, epochs=2, validation_data=(X_valid_scaled, y_valid), verbose=0)
    assert history.history["val_accuracy"][-1] > 0.3


def test_gradient_clipping(part: Any) -> None:
    for optimizer in (keras.optimizers.SGD(clipvalue=1.0), keras.optimizers.SGD(clipnorm=1.0)):
        keras.utils.set_random_seed(42)
        model = small_net()
        model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
        assert fitted(model, part) > 0.7


def small_net(**options: Any) -> Any:
    return keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.Dense(100, activation="relu", kernel_initializer="he_normal", **options),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


# -- reusing pretrained layers ---------------------------------------------------------------------------


def test_transfer_learning(part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (X_train, y_train), (X_valid, y_valid), (X_test, y_test) = part

    def split_dataset(X: Any, y: Any) -> Any:
        y_5_or_6 = (y == 5) | (y == 6)  # sandals or shirts
        y_A = y[~y_5_or_6].astype(np.int32)
        y_A[y_A > 6] -= 2  # class indices 7, 8, 9 should be moved to 5, 6, 7
        y_B = (y[y_5_or_6] == 6).astype(np.float32)  # binary classification task: is it a shirt (class 6)?
        return ((X[~y_5_or_6], y_A), (X[y_5_or_6], y_B))

    (X_train_A, y_train_A), (X_train_B, y_train_B) = split_dataset(X_train, y_train)
    (X_valid_A, y_valid_A), (X_valid_B, y_valid_B) = split_dataset(X_valid, y_valid)
    (_, _), (X_test_B, y_test_B) = split_dataset(X_test, y_test)
    X_train_B = X_train_B[:200]
    y_train_B = y_train_B[:200]

    keras.utils.set_random_seed(42)
    model_A = keras.models.Sequential()
    model_A.add(keras.layers.Flatten(input_shape=[28, 28]))
    for n_hidden in (300, 100, 50, 50, 50):
        model_A.add(keras.layers.Dense(n_hidden, activation="selu"))
    model_A.add(keras.layers.Dense(8, activation="softmax"))
    model_A.compile(
        loss="sparse_categorical_crossentropy",
        optimizer=keras.optimizers.SGD(learning_rate=1e-3),
        metrics=["accuracy"],
    )
    model_A.fit(X_train_A, y_train_A, epochs=3, validation_data=(X_valid_A, y_valid_A), verbose=0)
    model_A.save("my_model_A.fastdl")

    model_A = keras.models.load_model("my_model_A.fastdl")
    model_B_on_A = keras.models.Sequential(model_A.layers[:-1])
    model_B_on_A.add(keras.layers.Dense(1, activation="sigmoid"))

    model_A_clone = keras.models.clone_model(model_A)
    model_A_clone.set_weights(model_A.get_weights())
    model_B_on_A = keras.models.Sequential(model_A_clone.layers[:-1])
    model_B_on_A.add(keras.layers.Dense(1, activation="sigmoid"))

    for layer in model_B_on_A.layers[:-1]:
        layer.trainable = False

    model_B_on_A.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.SGD(learning_rate=1e-3),
        metrics=["accuracy"],
    )
    model_B_on_A.fit(X_train_B, y_train_B, epochs=4, validation_data=(X_valid_B, y_valid_B), verbose=0)

    for layer in model_B_on_A.layers[:-1]:
        layer.trainable = True

    optimizer = keras.optimizers.SGD(learning_rate=1e-3)
    model_B_on_A.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    history = model_B_on_A.fit(X_train_B, y_train_B, epochs=16, validation_data=(X_valid_B, y_valid_B), verbose=0)

    _, accuracy = model_B_on_A.evaluate(X_test_B, y_test_B)
    assert accuracy > 0.9
    assert len(history.history["val_accuracy"]) == 16
    assert all(
        np.array_equal(a, b)
        for a, b in zip(model_A.get_weights(), keras.models.load_model("my_model_A.fastdl").get_weights(), strict=True)
    )


# -- faster optimizers -----------------------------------------------------------------------------------

OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(learning_rate=0.001, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(learning_rate=0.001, momentum=0.9, nesterov=True),
    "adagrad": lambda: keras.optimizers.Adagrad(learning_rate=0.001),
    "rmsprop": lambda: keras.optimizers.RMSprop(learning_rate=0.001, rho=0.9),
    "adam": lambda: keras.optimizers.Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999),
    "adamax": lambda: keras.optimizers.Adamax(learning_rate=0.001, beta_1=0.9, beta_2=0.999),
    "nadam": lambda: keras.optimizers.Nadam(learning_rate=0.001, beta_1=0.9, beta_2=0.999),
    "adamw": lambda: keras.optimizers.AdamW(weight_decay=1e-5, learning_rate=0.001, beta_1=0.9, beta_2=0.999),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, part: Any) -> None:
    keras.utils.set_random_seed(42)
    model = small_net()
    model.compile(loss="sparse_categorical_crossentropy", optimizer=OPTIMIZERS[name](), metrics=["accuracy"])
    assert fitted(model, part) > (0.65 if name == "adagrad" else 0.75)


# -- learning-rate schedules -----------------------------------------------------------------------------


def test_power_scheduling(part: Any) -> None:
    lr_schedule = keras.optimizers.schedules.InverseTimeDecay(
        initial_learning_rate=0.01, decay_steps=10_000, decay_rate=1.0, staircase=False
    )
    optimizer = keras.optimizers.SGD(learning_rate=lr_schedule)
    model = small_net()
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    assert fitted(model, part) > 0.7


def test_exponential_scheduling_by_a_callback(part: Any) -> None:
    def exponential_decay(lr0: float, s: float) -> Any:
        def exponential_decay_fn(epoch: int) -> float:
            return lr0 * 0.1 ** (epoch / s)

        return exponential_decay_fn

    exponential_decay_fn = exponential_decay(lr0=0.01, s=20)
    model = small_net()
    model.compile(loss="sparse_categorical_crossentropy", optimizer="nadam", metrics=["accuracy"])
    lr_scheduler = keras.callbacks.LearningRateScheduler(exponential_decay_fn)
    assert fitted(model, part, callbacks=[lr_scheduler]) > 0.7
    assert model.optimizer.learning_rate == pytest.approx(0.01 * 0.1 ** (1 / 20))


def test_performance_scheduling(part: Any) -> None:
    model = small_net()
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    lr_scheduler = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=5)
    early = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    assert fitted(model, part, callbacks=[lr_scheduler, early]) > 0.7


# -- avoiding overfitting --------------------------------------------------------------------------------


def test_l1_and_l2_regularization(part: Any) -> None:
    layer = keras.layers.Dense(
        100, activation="relu", kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.l2(0.01)
    )
    assert layer.kernel_regularizer.l2 == pytest.approx(0.01)
    keras.utils.set_random_seed(42)
    RegularizedDense = partial(
        keras.layers.Dense,
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.l2(0.01),
    )
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            RegularizedDense(100),
            RegularizedDense(100),
            RegularizedDense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate=0.02)
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    assert fitted(model, part) > 0.7


def test_dropout(part: Any) -> None:
    keras.utils.set_random_seed(42)
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=[28, 28]),
            keras.layers.Dropout(rate=0.2),
            keras.layers.Dense(100, activation="relu", kernel_initializer="he_normal"),
            keras.layers.Dropout(rate=0.2),
            keras.layers.Dense(100, activation="relu", kernel_initializer="he_normal"),
            keras.layers.Dropout(rate=0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    assert fitted(model, part) > 0.7

    # Monte-Carlo dropout
    X_test, y_test = part[2]
    y_probas = np.stack([model(X_test, training=True) for sample in range(20)])
    y_proba = y_probas.mean(axis=0)
    y_std = y_probas.std(axis=0)
    assert (y_proba.argmax(axis=1) == y_test).mean() > 0.7
    assert y_std.max() > 0.01
    assert np.array_equal(model.predict(X_test[:1]), model.predict(X_test[:1]))

    class MCDropout(keras.layers.Dropout):
        def call(self, inputs: Any, training: Any = False) -> Any:
            return super().call(inputs, training=True)

    mc_model = keras.models.Sequential(
        [MCDropout(layer.rate) if isinstance(layer, keras.layers.Dropout) else layer for layer in model.layers]
    )
    mc_model.set_weights(model.get_weights())
    mean = np.mean([mc_model.predict(X_test[:200], verbose=0) for sample in range(20)], axis=0)
    assert (mean.argmax(axis=1) == y_test[:200]).mean() > 0.7


def test_max_norm(part: Any) -> None:
    keras.utils.set_random_seed(42)
    model = small_net(kernel_constraint=keras.constraints.max_norm(1.0))
    model.compile(loss="sparse_categorical_crossentropy", optimizer="nadam", metrics=["accuracy"])
    assert fitted(model, part) > 0.7
    norms = np.linalg.norm(model.layers[1].get_weights()[0].astype(np.float64), axis=0)
    assert norms.max() == pytest.approx(1.0, abs=1e-5)
    keras.layers.Dense(
        100, activation="relu", kernel_initializer="he_normal", kernel_constraint=keras.constraints.MaxNorm(1.0)
    )


# -- from the chapter before: the functional and the subclassing API --------------------------------------


def test_wide_and_deep() -> None:
    rng = np.random.default_rng(42)
    X, noise = rng.standard_normal((2000, 8)), rng.standard_normal(2000)
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3] + 0.1 * noise
    X_train_A, X_train_B = X[:1500, :5], X[:1500, 2:]
    X_test_A, X_test_B = X[1500:, :5], X[1500:, 2:]

    keras.utils.set_random_seed(42)
    input_A = keras.layers.Input(shape=[5], name="wide_input")
    input_B = keras.layers.Input(shape=[6], name="deep_input")
    hidden1 = keras.layers.Dense(30, activation="relu")(input_B)
    hidden2 = keras.layers.Dense(30, activation="relu")(hidden1)
    concat = keras.layers.concatenate([input_A, hidden2])
    output = keras.layers.Dense(1, name="main_output")(concat)
    aux_output = keras.layers.Dense(1, name="aux_output")(hidden2)
    model = keras.models.Model(inputs=[input_A, input_B], outputs=[output, aux_output])
    model.compile(loss=["mse", "mse"], loss_weights=[0.9, 0.1], optimizer=keras.optimizers.Adam(learning_rate=1e-2))
    model.fit([X_train_A, X_train_B], [y[:1500], y[:1500]], epochs=20, verbose=0)
    total_loss, main_loss, aux_loss = model.evaluate([X_test_A, X_test_B], [y[1500:], y[1500:]])
    assert total_loss == pytest.approx(0.9 * main_loss + 0.1 * aux_loss)
    assert main_loss < 0.9 * y.var()
    y_pred_main, y_pred_aux = model.predict([X_test_A[:3], X_test_B[:3]])
    assert y_pred_main.shape == y_pred_aux.shape == (3, 1)


def test_subclassing() -> None:
    class WideAndDeepModel(keras.models.Model):
        def __init__(self, units: int = 30, activation: str = "relu", **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.hidden1 = keras.layers.Dense(units, activation=activation)
            self.hidden2 = keras.layers.Dense(units, activation=activation)
            self.main_output = keras.layers.Dense(1)
            self.aux_output = keras.layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            input_A, input_B = inputs
            hidden1 = self.hidden1(input_B)
            hidden2 = self.hidden2(hidden1)
            concat = keras.layers.concatenate([input_A, hidden2])
            main_output = self.main_output(concat)
            aux_output = self.aux_output(hidden2)
            return main_output, aux_output

    rng = np.random.default_rng(42)
    X_A, X_B = rng.standard_normal((300, 5)), rng.standard_normal((300, 6))
    y = X_A[:, 0] + X_B[:, 1]
    model = WideAndDeepModel(30, activation="relu", name="wide_and_deep")
    model.compile(loss="mse", loss_weights=[0.9, 0.1], optimizer=keras.optimizers.SGD(learning_rate=1e-2))
    history = model.fit((X_A, X_B), (y, y), epochs=10, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
