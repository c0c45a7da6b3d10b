"""Losses, metrics, activations, penalties, layers and models of one's own, made of fastdl.ops: they train as what they
spell out does, they are saved by name, and they are exported."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastdl
from fastdl import layers, losses, metrics, models, ops, optimizers, regularizers, saving
from fastdl.errors import FusionError, ModelFileError

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(96, 5)), RNG.normal(size=(96, 3))
ONE_HOT = np.eye(3)[RNG.integers(0, 3, 96)]


def net(loss, last=None, hidden="tanh", penalty=None, **compiled):
    """The same weights at each call."""
    first = layers.Dense(7, hidden, kernel_regularizer=penalty)
    model = models.Sequential([layers.Input((5,)), first, layers.Dense(3, last)], dtype="float64")
    rng = np.random.default_rng(1)
    model.trace()
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    model.compile(optimizers.SGD(0.1), loss, **compiled)
    return model


def trained(model, y=Y):
    """The history and the weights after two epochs."""
    history = model.fit(X, y, batch_size=40, epochs=2, verbose=0, shuffle=False).history
    return history, model.get_weights()


class Halved(losses.MeanSquaredError):
    """A built-in loss with a `call` of one's own, which asks the base's."""

    def call(self, y_true, y_pred):
        return 0.5 * super().call(y_true, y_pred)


class Absolute(losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def half_square(y_true, y_pred):
    return ops.mean(0.5 * ops.square(y_true - y_pred), axis=-1)


# what is one's own, the built-in that it spells out, what multiplies the built-in's loss
LOSSES = {
    "a lambda of operators": (lambda a, b: (a - b) ** 2, "mse", 1),
    "a mean": (lambda a, b: ops.mean(ops.square(a - b), axis=-1), "mse", 1),
    "one number for the batch": (lambda a, b: ops.mean(ops.square(a - b)), "mse", 1),
    "by numpy's names": (lambda a, b: np.mean(np.square(a - b), axis=-1), "mse", 1),
    "a function": (half_square, "mse", 0.5),
    "a class": (Absolute(), "mae", 1),
    "a class below a built-in": (Halved(), "mse", 0.5),
    "built-ins together": (lambda a, b: losses.mean_squared_error(a, b) + losses.mean_squared_error(a, b), "mse", 2),
    "log cosh": (lambda a, b: ops.mean(ops.log((ops.exp(a - b) + ops.exp(b - a)) / 2), axis=-1), "log_cosh", 1),
    "logits": (
        lambda a, b: ops.logsumexp(b, axis=-1) * ops.sum(a, axis=-1) - ops.sum(a * b, axis=-1),
        losses.CategoricalCrossentropy(from_logits=True),
        1,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_ones_own_trains_as_the_built_in_one(name):
    own, built_in, factor = LOSSES[name]
    y = ONE_HOT if name == "logits" else Y
    history, weights = trained(net(own), y)
    plain = net(built_in)
    plain.compile(optimizers.SGD(0.1 * factor), built_in)
    expected, wanted = trained(plain, y)
    np.testing.assert_allclose(history["loss"], np.multiply(expected["loss"], factor), rtol=1e-9)
    for weight, right in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(weight, right, rtol=1e-7, atol=1e-9)


def test_it_heeds_weights_of_samples():
    weight = RNG.uniform(size=96)
    own, plain = net(lambda a, b: (a - b) ** 2), net("mse")
    assert own.evaluate(X, Y, sample_weight=weight) == pytest.approx(plain.evaluate(X, Y, sample_weight=weight))


def test_called_on_arrays_it_gives_what_it_says():
    assert Absolute()(Y, Y + 1) == pytest.approx(1)
    assert Halved()(Y, Y + 2) == pytest.approx(2)
    np.testing.assert_allclose(losses.loss_for(half_square).call(Y, Y + 1), np.full(96, 0.5))


METRICS = {
    "a lambda": (lambda a, b: ops.mean(ops.abs(a - b), axis=-1), "mae"),
    "more than one number a sample": (lambda a, b: ops.square(a - b), "mse"),
    "one number for the batch, by numpy": (lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).mean()), "mae"),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_ones_own_gives_what_the_built_in_one_does(name):
    own, built_in = METRICS[name]
    values = [net("mse", metrics=[metric]).evaluate(X[:64], Y[:64])[1] for metric in (own, built_in)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


ACTIVATIONS = {
    "silu": lambda x: x * ops.sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + ops.erf(x / np.sqrt(2.0))),
    "softsign": lambda x: x / (1 + ops.abs(x)),
    "relu": lambda x: ops.maximum(x, 0.0),
    "elu": lambda x: ops.where(x > 0, x, ops.exp(x) - 1),
    "softmax": lambda x: ops.exp(x) / ops.sum(ops.exp(x), axis=-1, keepdims=True),
    "leaky_relu": lambda x: ops.relu(x) - 0.2 * ops.relu(-x),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_of_ones_own_trains_as_the_built_in_one(name):
    history, weights = trained(net("mse", hidden=ACTIVATIONS[name]))
    expected, wanted = trained(net("mse", hidden=name))
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-9)
    np.testing.assert_allclose(weights[0], wanted[0], rtol=1e-7, atol=1e-9)


class Ridge(regularizers.Regularizer):
    def __call__(self, x):
        return 0.02 * ops.sum(ops.square(x))


PENALTIES = {
    "a function": (lambda w: 0.02 * ops.sum(w**2), regularizers.L2(0.02)),
    "a class": (Ridge(), regularizers.L2(0.02)),
    "of absolute values": (lambda w: 0.02 * ops.sum(abs(w)), regularizers.L1(0.02)),
    "of products": (lambda w: 0.02 * ops.sum(ops.matmul(ops.transpose(w), w) * np.eye(7)), regularizers.L2(0.02)),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_of_ones_own_trains_as_the_built_in_one(name):
    own, built_in = PENALTIES[name]
    history, weights = trained(net("mse", penalty=own))
    expected, wanted = trained(net("mse", penalty=built_in))
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-9)
    np.testing.assert_allclose(weights[0], wanted[0], rtol=1e-7, atol=1e-9)


# -- layers and models ------------------------------------------------------------------------------------


@saving.register_keras_serializable("tests")
class Linear(layers.Layer):
    """Keras's textbook layer, with its order of arguments."""

    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_normal", name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b


class Gate(layers.Layer):
    """Of two inputs, given one by one, with weights of rank 0 and 1."""

    def build(self, a_shape, b_shape):
        self.slope = self.add_weight(name="slope", shape=(), initializer="ones")
        self.scale = self.add_weight(name="scale", shape=(a_shape[-1],), initializer="ones")

    def call(self, a, b):
        return a * ops.sigmoid(self.slope * b) * self.scale


class Penalized(layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * ops.mean(ops.square(x), axis=-1))
        self.add_loss(0.01 * ops.sum(ops.square(ops.mean(x, axis=0))))
        return x


def test_a_layer_of_ones_own_trains_as_the_built_in_one():
    own = models.Sequential([layers.Input((5,)), Linear(7), layers.Activation("tanh"), Linear(3)], dtype="float64")
    plain = net("mse")
    own.trace()
    own.set_weights(plain.get_weights())
    own.compile(optimizers.SGD(0.1), "mse")
    np.testing.assert_allclose(trained(own)[0]["loss"], trained(plain)[0]["loss"], rtol=1e-12)
    np.testing.assert_allclose(own.get_weights()[0], plain.get_weights()[0], rtol=1e-9)


def gated():
    inputs = layers.Input((5,), dtype="float64")
    hidden = layers.Dense(4, "tanh")(inputs)
    gate = Gate()(hidden, Linear(4)(inputs))
    return models.Model(inputs, layers.Dense(3)(gate * 2.0 - hidden[:, ::-1]))


def test_weights_of_all_ranks_are_trained():
    model = gated()
    model.compile("adam", "mse")
    before = model.get_weights()
    losses_ = model.fit(X, Y, epochs=5, verbose=0).history["loss"]
    assert losses_[-1] < losses_[0]
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_operators_between_a_models_tensors_are_layers_of_it(tmp_path):
    model = gated()
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Operation") == 3
    model.save(tmp_path / "model.fastdl")
    again = models.load_model(tmp_path / "model.fastdl", {"Gate": Gate})
    assert (again.predict(X) == model.predict(X)).all()
    clone = models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert (clone.predict(X) == model.predict(X)).all()


def test_what_layers_add_to_the_loss_is_trained_and_reported():
    model = models.Sequential([layers.Input((5,)), layers.Dense(3), Penalized()], dtype="float64")
    model.compile(optimizers.SGD(0.1), "mse")
    predicted = model.predict(X)
    added = 0.1 * np.mean(predicted**2) + 0.01 * np.sum(predicted.mean(0) ** 2)
    assert model.evaluate(X, Y) == pytest.approx(np.mean((predicted - Y) ** 2) + added)
    alone = models.Sequential([layers.Input((5,)), layers.Dense(3, kernel_initializer="ones"), Penalized()])
    alone.compile(optimizers.SGD(0.5))  # no loss but that of the layer
    first, *_, last = alone.fit(X, epochs=30, verbose=0).history["loss"]
    assert last < 0.1 * first


class Tower(models.Model):
    """A model with layers, and a weight of its own."""

    def __init__(self, units=8, **options):
        super().__init__(**options)
        self.units = units
        self.hidden, self.out = Linear(units), layers.Dense(3)
        self.tau = self.add_weight(name="tau", shape=(), initializer="ones")

    def call(self, x, training=None):
        return self.out(ops.relu(self.hidden(x))) * self.tau


def test_a_model_of_ones_own_trains_saves_copies_and_exports(tmp_path):
    model = Tower(6)
    model.compile("adam", half_square, metrics=[metrics.MeanAbsoluteError()])
    x, y = X.astype("float32"), Y.astype("float32")
    assert len(model.fit(x, y, epochs=3, verbose=0).history["loss"]) == 3
    assert [type(layer).__name__ for layer in model.layers] == ["Linear", "Dense"]
    assert len(model.trainable_weights) == 5
    model.save(tmp_path / "tower.fastdl")
    again = models.load_model(tmp_path / "tower.fastdl", {"Tower": Tower, "half_square": half_square})
    assert again.evaluate(x, y) == model.evaluate(x, y)
    assert (
        (again.fit(x, y, verbose=0, shuffle=False).history["loss"])
        == (model.fit(x, y, verbose=0, shuffle=False).history["loss"])
    )
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert (other.predict(x) == model.predict(x)).all()
    report = model.export(tmp_path / "tower.onnx")
    answers = fastdl.Runner(tmp_path / "tower.onnx").predict(x)
    np.testing.assert_allclose(answers, model.predict(x), rtol=1e-5, atol=1e-6)
    assert report.verified


# -- files ------------------------------------------------------------------------------------------------


def test_a_file_of_what_is_not_known_here_says_what_to_hand_over(tmp_path):
    net(half_square).save(tmp_path / "model.fastdl")
    with pytest.raises(ModelFileError, match=r"'half_square' is not known here: pass custom_objects="):
        models.load_model(tmp_path / "model.fastdl")
    with saving.custom_object_scope({"half_square": half_square}):
        assert models.load_model(tmp_path / "model.fastdl").evaluate(X, Y) > 0
    saving.get_custom_objects()["half_square"] = half_square
    try:
        assert models.load_model(tmp_path / "model.fastdl").evaluate(X, Y) > 0
    finally:
        del saving.get_custom_objects()["half_square"]


def test_a_lambda_has_no_name_that_a_file_could_hold(tmp_path):
    with pytest.raises(ValueError, match="write it as a function, with def"):
        net(lambda a, b: (a - b) ** 2).save(tmp_path / "model.fastdl")
    with pytest.raises(ValueError, match="write it as a function, with def"):
        net("mse", hidden=lambda x: x * 2.0).save(tmp_path / "model.fastdl")
    assert not list(tmp_path.iterdir())


def test_what_is_registered_needs_nothing_to_be_loaded(tmp_path):
    model = models.Sequential([layers.Input((5,)), Linear(3)])
    model.save(tmp_path / "model.fastdl")
    assert (models.load_model(tmp_path / "model.fastdl").predict(X) == model.predict(X)).all()
    assert saving.get_registered_name(Linear) == "tests>Linear"
    assert saving.get_registered_object("tests>Linear") is Linear


def test_a_class_of_a_layers_name_is_not_taken_for_it(tmp_path):
    own = type("Dense", (Linear,), {"__module__": __name__})
    model = models.Sequential([layers.Input((5,)), own(3)])
    with pytest.raises(ValueError, match="rename the class"):
        model.save(tmp_path / "model.fastdl")


# -- what cannot be compiled ---------------------------------------------------------------------------------


def test_a_loss_that_is_not_made_of_ops_says_what_it_would_have_to_be():
    def by_numpy(y_true, y_pred):
        return np.median(y_true - y_pred, axis=-1)

    with pytest.raises(ValueError, match=r"must be made of fastdl\.ops, or return \(values, gradients\).*median"):
        net(by_numpy).fit(X, Y, verbose=0)


def test_a_branch_on_values_says_ops_where():
    def branching(y_true, y_pred):
        return y_true if y_true > 0 else y_pred

    with pytest.raises(TypeError, match=r"ops\.where"):
        net(branching).fit(X, Y, verbose=0)


def test_a_call_that_gives_no_tensor_says_so():
    class Wrong(layers.Layer):
        def call(self, x):
            return 3

    with pytest.raises(TypeError, match="call must give tensors"):
        models.Sequential([layers.Input((5,)), Wrong()]).trace()


def test_a_layers_weight_outside_of_it_says_where_it_belongs():
    layer, inputs = layers.Dense(3), layers.Input((5,))
    outputs = layer(inputs)
    with pytest.raises(TypeError, match="in a layer of your own"):
        outputs * layer.bias


def test_the_error_function_in_float64_says_why_it_is_not_exported(tmp_path):
    model = net("mse", hidden=lambda x: ops.erf(x))
    with pytest.raises(FusionError, match="float64 Erf"):
        model.export(tmp_path / "model.onnx")
