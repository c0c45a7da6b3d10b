"""Callbacks: one that stops at the lowest loss, one that sets the rate, one that listens to all."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x, y = rng.normal(size=(320, 5)).astype("float32"), rng.normal(size=(320, 1)).astype("float32")


class EarlyStoppingAtMinLoss(keras.callbacks.Callback):
    def __init__(self, patience=0):
        super().__init__()
        self.patience, self.best_weights = patience, None

    def on_train_begin(self, logs=None):
        self.wait, self.stopped_epoch, self.best = 0, 0, np.inf

    def on_epoch_end(self, epoch, logs=None):
        current = logs.get("loss")
        if np.less(current, self.best):
            self.best, self.wait, self.best_weights = current, 0, self.model.get_weights()
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch, self.model.stop_training = epoch, True
                self.model.set_weights(self.best_weights)


class Rates(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.1 / (1 + epoch)
        self.seen.append(float(np.asarray(self.model.optimizer.learning_rate)))


class Listener(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.heard = []

    def on_train_begin(self, logs=None):
        self.heard.append("train begins")

    def on_train_batch_end(self, batch, logs=None):
        self.heard.append(("batch", batch, sorted(logs)))

    def on_test_end(self, logs=None):
        self.heard.append("tested")

    def on_predict_batch_end(self, batch, logs=None):
        self.heard.append("predicted")


def net():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


rates, listener = Rates(), Listener()
net().fit(x, y, epochs=3, batch_size=64, verbose=0, callbacks=[rates])
assert np.allclose(rates.seen, [0.1, 0.05, 0.1 / 3])
model = net()
model.fit(x, y, epochs=1, batch_size=64, verbose=0, callbacks=[listener], validation_data=(x, y))
assert [each[1] for each in listener.heard if isinstance(each, tuple)] == [0, 1, 2, 3, 4]
assert listener.heard[0] == "train begins"
assert "tested" in listener.heard
model.predict(x, batch_size=160, verbose=0, callbacks=[listener])
assert listener.heard.count("predicted") == 2
stopper = EarlyStoppingAtMinLoss(patience=1)
model = net()
model.optimizer.learning_rate = 5.0
model.fit(x, y, epochs=50, batch_size=320, verbose=0, callbacks=[stopper])
assert stopper.stopped_epoch > 0
