"""A metric as a class that counts in variables, and one as a function."""

import keras
import numpy as np
from keras import layers, ops


class CategoricalTruePositives(keras.metrics.Metric):
    def __init__(self, name="categorical_true_positives", **kwargs):
        super().__init__(name=name, **kwargs)
        self.true_positives = self.add_weight(name="ctp", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        predicted = ops.argmax(y_pred, axis=-1)
        hits = ops.cast(ops.equal(ops.argmax(y_true, axis=-1), predicted), "float32")
        if sample_weight is not None:
            hits = hits * ops.cast(sample_weight, "float32")
        self.true_positives.assign_add(ops.sum(hits))

    def result(self):
        return self.true_positives

    def reset_state(self):
        self.true_positives.assign(0.0)


def largest_error(y_true, y_pred):
    return ops.max(ops.abs(y_true - y_pred), axis=-1)


rng = np.random.default_rng(0)
x = rng.normal(size=(300, 6)).astype("float32")
y = np.eye(3, dtype="float32")[np.argmax(x[:, :3], axis=1)]
model = keras.Sequential(
    [keras.Input((6,)), layers.Dense(12, activation="relu"), layers.Dense(3, activation="softmax")]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.02),
    loss="categorical_crossentropy",
    metrics=[CategoricalTruePositives(), largest_error, "accuracy"],
)
history = model.fit(x, y, batch_size=50, epochs=4, verbose=0, validation_data=(x, y)).history
assert history["categorical_true_positives"][-1] > history["categorical_true_positives"][0]
logs = model.evaluate(x, y, verbose=0, return_dict=True)
predicted = model.predict(x, verbose=0)
assert int(logs["categorical_true_positives"]) == int((predicted.argmax(1) == y.argmax(1)).sum())
assert np.isclose(logs["largest_error"], np.abs(predicted - y).max(1).mean(), atol=1e-4)
assert np.isclose(history["val_accuracy"][-1], logs["accuracy"])
