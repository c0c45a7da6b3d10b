"""A textbook's listings, with nothing changed but `import fastdl as keras`, on Fashion-MNIST."""

from __future__ import annotations

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
    ("listing", "non_trainable"), [(after_the_activation, 2368), (before_the_activation, 800), (before_and_first, None)]
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
