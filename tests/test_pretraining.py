"""Pretraining: RBMs beside the exact likelihood and scikit-learn's, autoencoders, masked features."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import datasets, kernels, layers
from fastdl.errors import DataError, ShapeError
from fastdl.pretraining import RBM, pretrain_masked, stack_autoencoders, stack_rbms

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(2)


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    (x, y), _ = datasets.digits()
    return (x.reshape(len(x), -1) / 16).astype(np.float32), y


@pytest.fixture(autouse=True)
def seeded() -> None:
    fastdl.utils.set_random_seed(1)


# -- restricted Boltzmann machines ------------------------------------------------------------------------


def bars(rows: int = 400) -> Array:
    """6 pixels: one of three pairs is on, 5 % of the pixels are flipped."""
    x = np.repeat(np.eye(3)[RNG.integers(0, 3, rows)], 2, axis=1)
    return np.where(RNG.random(x.shape) < 0.05, 1 - x, x)


def log_likelihood(rbm: RBM, x: Array) -> float:
    """The exact mean, by the sum over all visible states."""
    states = np.array(list(itertools.product([0.0, 1.0], repeat=x.shape[1])))
    return float((-rbm.free_energy(x) - np.logaddexp.reduce(-rbm.free_energy(states))).mean())


@pytest.mark.parametrize("options", [{}, {"k": 3}, {"persistent": True}, {"momentum": 0.5, "weight_decay": 1e-4}])
def test_training_raises_the_exact_likelihood(options: dict[str, Any]) -> None:
    x = bars()
    rbm = RBM(4, learning_rate=0.1, dtype="float64", **options)
    rbm.fit(x, epochs=1)
    before = log_likelihood(rbm, x)
    errors = rbm.fit(x, epochs=150)
    assert log_likelihood(rbm, x) > before + 0.8
    assert errors[-1] < 0.7 * errors[0]
    frequency = np.bincount((x @ [32, 16, 8, 4, 2, 1]).astype(int), minlength=64) / len(x)
    entropy = -(frequency[frequency > 0] * np.log(frequency[frequency > 0])).sum()
    assert log_likelihood(rbm, x) <= -entropy + 1e-9, "no model is likelier than the data's own distribution"


def test_many_gibbs_steps_give_the_exact_gradient() -> None:
    """With long chains the negative phase is a sample of the model: the mean update is the likelihood's gradient."""
    rbm = RBM(3, k=60, learning_rate=1.0, dtype="float64")
    rbm._begin(4, np.random.default_rng(0))
    rbm.kernel, rbm.hidden_bias, rbm.visible_bias = (RNG.standard_normal(s) for s in ((4, 3), (3,), (4,)))
    x = (RNG.random((20_000, 4)) < 0.4).astype(np.float64)
    states = np.array(list(itertools.product([0.0, 1.0], repeat=4)))
    p = np.exp(-rbm.free_energy(states))
    p /= p.sum()
    kernel, hidden, visible = rbm.kernel.copy(), rbm.hidden_bias.copy(), rbm.visible_bias.copy()
    expected = x.T @ rbm.transform(x) / len(x) - states.T @ (p[:, None] * rbm.transform(states))
    expected_hidden = rbm.transform(x).mean(0) - p @ rbm.transform(states)
    expected_visible = x.mean(0) - p @ states
    rbm._step(x, np.random.default_rng(3))
    np.testing.assert_allclose(rbm.kernel - kernel, expected, atol=0.02)
    np.testing.assert_allclose(rbm.hidden_bias - hidden, expected_hidden, atol=0.02)
    np.testing.assert_allclose(rbm.visible_bias - visible, expected_visible, atol=0.02)


def test_its_formulas_are_scikit_learns(digits: Any) -> None:
    neural = pytest.importorskip("sklearn.neural_network")
    x = digits[0][:300]
    theirs = neural.BernoulliRBM(20, learning_rate=0.05, n_iter=5, batch_size=32, random_state=0).fit(x)
    ours = RBM(20)
    ours.fit(x, epochs=1)
    ours.kernel = np.ascontiguousarray(theirs.components_.T, np.float32)
    ours.hidden_bias, ours.visible_bias = (
        b.astype(np.float32) for b in (theirs.intercept_hidden_, theirs.intercept_visible_)
    )
    np.testing.assert_allclose(ours.transform(x), theirs.transform(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.free_energy(x), theirs._free_energy(x), rtol=1e-5, atol=1e-4)


def test_it_learns_as_well_as_scikit_learns(digits: Any) -> None:
    """The pseudo-likelihood after training in the same way, by persistent chains."""
    neural = pytest.importorskip("sklearn.neural_network")
    x = digits[0][:1000]
    theirs = neural.BernoulliRBM(40, learning_rate=0.05, n_iter=10, batch_size=50, random_state=0).fit(x)
    ours = RBM(40, persistent=True, learning_rate=0.05)
    ours.fit(x, epochs=10, batch_size=50)
    judge = neural.BernoulliRBM(40, random_state=1, n_iter=1).fit(x[:50])
    scores = [float(theirs.score_samples(x).mean())]
    judge.components_, judge.intercept_hidden_ = ours._kernel().T.astype(float), ours.hidden_bias.astype(float)
    judge.intercept_visible_ = ours.visible_bias.astype(float)
    scores.append(float(judge.score_samples(x).mean()))
    assert scores[1] == pytest.approx(scores[0], rel=0.05)


def test_gaussian_units_take_what_is_scaled() -> None:
    x = RNG.standard_normal((500, 2)) @ np.array([[1.0, 0.9, 0.1], [0.1, -0.2, 1.0]])
    x = (x - x.mean(0)) / x.std(0)
    rbm = RBM(8, "gaussian", learning_rate=0.05)
    errors = rbm.fit(x, epochs=60)
    assert errors[-1] < 0.7 * errors[0]
    assert np.corrcoef(rbm.reconstruct(x)[:, 0], x[:, 0])[0, 1] > 0.6


def test_it_is_repeatable_and_goes_on(digits: Any) -> None:
    x = digits[0][:200]

    def trained(*epochs: int) -> RBM:
        fastdl.utils.set_random_seed(5)
        rbm = RBM(10)
        for count in epochs:
            rbm.fit(x, count)
        return rbm

    assert np.array_equal(trained(3)._kernel(), trained(3)._kernel())
    assert np.square(x - trained(3, 3).reconstruct(x)).mean() < np.square(x - trained(3).reconstruct(x)).mean()


def test_its_dense_layer_is_its_transform(digits: Any) -> None:
    x = digits[0][:50]
    rbm = RBM(12)
    rbm.fit(x, 2)
    model = fastdl.Sequential([fastdl.Input((64,)), rbm.dense(name="first"), layers.Dense(10, "softmax")])
    hidden = fastdl.Sequential([fastdl.Input((64,)), model.layers[0]])
    np.testing.assert_allclose(hidden.predict(x), rbm.transform(x), rtol=1e-5, atol=1e-6)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, digits[1][:50], verbose=0)
    assert not np.array_equal(model.layers[0].get_weights()[0], rbm._kernel())


def test_a_stack_is_each_on_the_one_before(digits: Any) -> None:
    x = digits[0][:300]
    stack = stack_rbms(x, [30, 20], epochs=3, learning_rate=0.1)
    assert [rbm._kernel().shape for rbm in stack] == [(64, 30), (30, 20)]
    assert stack[1].transform(stack[0].transform(x)).shape == (300, 20)


def test_the_sums_are_the_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = kernels.matmul
    monkeypatch.setattr(kernels, "matmul", lambda *a, **k: calls.append(1) or original(*a, **k))
    RBM(3, k=2).fit(bars(32), epochs=1)
    assert len(calls) == 1 + 2 * 2 + 2


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "hidden": (lambda: RBM(0), ValueError, "hidden and k must be positive"),
    "visible": (lambda: RBM(2, "binary"), ValueError, "'bernoulli' or 'gaussian'"),
    "rate": (lambda: RBM(2, learning_rate=0.0), ValueError, "learning_rate must be positive"),
    "range": (lambda: RBM(2).fit([[0.0, 1.5]]), DataError, r"\[0, 1.5\]: Bernoulli units need \[0, 1\]"),
    "NaN": (lambda: RBM(2).fit([[0.0, np.nan]]), DataError, "NaN"),
    "shape": (lambda: RBM(2).fit([0.0, 1.0]), ShapeError, r"\(2,\), not \(rows, features\)"),
    "not trained": (lambda: RBM(2).transform([[0.0]]), RuntimeError, "call fit first"),
    "share": (lambda: pretrain_masked(fastdl.Sequential([layers.Dense(2)]), [[1.0]], share=1.0), ValueError, "share"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call()


def test_other_features_than_it_was_trained_on() -> None:
    rbm = RBM(2)
    rbm.fit(bars(20), epochs=1)
    for use in (rbm.transform, rbm.free_energy, rbm.fit):
        with pytest.raises(ShapeError, match=r"\(5, 3\), not \(rows, 6\)"):
            use(np.zeros((5, 3)))


# -- autoencoders, masked features ------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_encoders_keep_what_gives_the_input_back(tied: bool, noise: float, digits: Any) -> None:
    x = digits[0][:600]
    first, second = stack_autoencoders(x, [32, 16], "tanh", noise=noise, tied=tied, epochs=25)
    assert [w.shape for w in (first.kernel, second.kernel)] == [(64, 32), (32, 16)]
    code = fastdl.Sequential([fastdl.Input((64,)), first, second])
    other = fastdl.Sequential([fastdl.Input((64,)), layers.Dense(32, "tanh"), layers.Dense(16, "tanh")])
    seen = np.where(RNG.random(x.shape) < noise, 0, x)
    trained, untrained = code.predict(seen), other.predict(seen)

    def unexplained(h: Array) -> float:
        """The share of x's variance that no linear map of the code gives."""
        basis = np.hstack([h, np.ones((len(h), 1))])
        rest = x - basis @ np.linalg.lstsq(basis, x, rcond=None)[0]
        return float(rest.var() / x.var())

    assert unexplained(trained) < unexplained(untrained)


def test_masked_features_are_filled_in(digits: Any) -> None:
    x = digits[0][:800]
    encoder = fastdl.Sequential([fastdl.Input((64,)), layers.Dense(64, "relu"), layers.Dense(48, "relu")])
    before = encoder.get_weights()
    losses = pretrain_masked(encoder, x, share=0.3, epochs=15)
    assert len(losses) == 15
    assert losses[-1] < 0.5 * x.var(0).mean(), "better than each feature's mean"
    assert losses[-1] < 0.6 * losses[0]
    assert not any(np.array_equal(a, b) for a, b in zip(before, encoder.get_weights(), strict=True))
