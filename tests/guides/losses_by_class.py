"""A loss as a class with settings of its own, saved and loaded by the name that it is registered under."""

import os
import tempfile

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable(package="guide")
class CustomMSE(keras.losses.Loss):
    def __init__(self, regularization_factor=0.1, name="custom_mse", **kwargs):
        super().__init__(name=name, **kwargs)
        self.regularization_factor = regularization_factor

    def call(self, y_true, y_pred):
        mse = ops.mean(ops.square(y_true - y_pred), axis=-1)
        reg = ops.mean(ops.square(0.5 - y_pred), axis=-1)
        return mse + reg * self.regularization_factor

    def get_config(self):
        return {"regularization_factor": self.regularization_factor, "name": self.name}


rng = np.random.default_rng(0)
x, y = rng.normal(size=(256, 4)).astype("float32"), rng.uniform(size=(256, 3)).astype("float32")
model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
model.compile(optimizer="adam", loss=CustomMSE(0.3))
model.fit(x, y, epochs=2, verbose=0)
predicted = model.predict(x, verbose=0)
expected = np.mean((y - predicted) ** 2) + 0.3 * np.mean((0.5 - predicted) ** 2)
assert np.isclose(model.evaluate(x, y, verbose=0), expected, rtol=1e-4)
assert np.isclose(float(CustomMSE(0.3)(y, predicted)), expected, rtol=1e-4)

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model" + ENDING)  # noqa: F821
    model.save(path)
    loaded = keras.models.load_model(path)
    assert np.allclose(loaded.predict(x, verbose=0), predicted, atol=1e-6)
    assert loaded.loss.regularization_factor == 0.3
