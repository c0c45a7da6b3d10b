"""Where rows come from: iterables of batches train to the same bits as the batches one by one; frames are arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdl
from fastdl import layers
from fastdl.callbacks import BackupAndRestore, LambdaCallback
from fastdl.errors import DataError, DataWarning, ShapeError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((70, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 70)
W = RNG.uniform(0.5, 2, 70)
SIZES = [16, 16, 16, 16, 6]
CUTS = np.cumsum(SIZES)[:-1]


def net(**options: Any) -> fastdl.Sequential:
    fastdl.utils.set_random_seed(5)
    model = fastdl.Sequential([layers.Dense(8, "tanh"), layers.Dropout(0.3), layers.Dense(3, "softmax")])
    if options.pop("built", True):
        model.build((None, 4))
    settings = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **options}
    model.compile("adam", **settings)
    return model


def cut(weighted: bool = False) -> list[tuple[Array, ...]]:
    arrays = (X, Y, W) if weighted else (X, Y)
    return list(zip(*(np.split(array, CUTS) for array in arrays), strict=True))


class Iterable:
    def __init__(self, weighted: bool = False) -> None:
        self.weighted, self.begun = weighted, 0

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        return iter(cut(self.weighted))


class Sequence:
    """As Keras's Sequence and PyDataset."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.ended = 0

    def __len__(self) -> int:
        return len(SIZES)

    def __getitem__(self, number: int) -> tuple[Array, ...]:
        self.asked.append(number)
        return cut()[number]

    def on_epoch_end(self) -> None:
        self.ended += 1


def endless() -> Iterator[tuple[Array, ...]]:
    while True:
        yield from cut()


def generator(epochs: int = 1) -> Iterator[tuple[Array, ...]]:
    for _ in range(epochs):
        yield from cut()


class Tensor:
    """As PyTorch's and TensorFlow's: no array, but it can be made one."""

    def __init__(self, array: Array) -> None:
        self.array, self.shape = array, array.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array

    def detach(self) -> Tensor:
        return self


class Loader:
    """As PyTorch's DataLoader: lists of tensors, a length, and no batch by number."""

    def __len__(self) -> int:
        return len(SIZES)

    def __iter__(self) -> Iterator[Any]:
        return ([Tensor(x), Tensor(y)] for x, y in cut())


SOURCES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "iterable": (Iterable, {}),
    "list of batches": (cut, {"shuffle": False}),
    "sequence": (Sequence, {"shuffle": False}),
    "loader": (Loader, {}),
    "endless generator": (endless, {"steps_per_epoch": 5}),
    "generator as long as needed": (lambda: generator(2), {"steps_per_epoch": 5}),
    "iterable begun again": (Iterable, {"steps_per_epoch": 5}),
    "map": (lambda: map(tuple, [*cut(), *cut()]), {"steps_per_epoch": 5}),
}


def by_hand(model: fastdl.Sequential, epochs: int = 2, batches: Any = None) -> list[Array]:
    for _ in range(epochs):
        for batch in cut() if batches is None else batches:
            model.train_on_batch(*batch)
    return model.get_weights()


def same(ours: list[Array], theirs: list[Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("built", [True, False])
def test_fit_takes_the_batches_as_they_come(name: str, built: bool) -> None:
    make, options = SOURCES[name]
    model = net(built=built)
    history = model.fit(make(), epochs=2, verbose=0, **options)
    assert same(model.get_weights(), by_hand(net(built=built)))
    assert len(history.history["loss"]) == 2


@pytest.mark.parametrize("name", ["iterable", "sequence", "endless generator"])
def test_an_epochs_logs_are_those_of_its_rows(name: str) -> None:
    """Of all sizes of batches together: as of the same rows in arrays."""
    make, options = SOURCES[name]
    ours = net().fit(make(), epochs=3, verbose=0, **options).history
    theirs = net().fit(X, Y, 16, epochs=3, shuffle=False, verbose=0).history
    for key, values in theirs.items():
        np.testing.assert_allclose(ours[key], values, rtol=1e-6)


def test_weights_of_samples_and_classes() -> None:
    model = net(weighted_metrics=["accuracy"])
    model.fit(Iterable(weighted=True), epochs=2, verbose=0)
    assert same(model.get_weights(), by_hand(net(), batches=cut(weighted=True)))
    classes = {0: 0.2, 2: 3.0}
    model = net()
    model.fit(Iterable(), class_weight=classes, verbose=0)
    other = net()
    for x, y in cut():
        other.train_on_batch(x, y, class_weight=classes)
    assert same(model.get_weights(), other.get_weights())


def test_a_sequence_is_shuffled_by_batches_and_told_of_epochs() -> None:
    sequence, again = Sequence(), Sequence()
    net().fit(sequence, epochs=3, verbose=0)
    asked = np.array(sequence.asked[1:]).reshape(3, 5)  # the first one was to look at
    assert (np.sort(asked, 1) == np.arange(5)).all()
    assert len({tuple(order) for order in asked}) > 1
    assert sequence.ended == 3
    net().fit(again, epochs=3, verbose=0)
    assert again.asked == sequence.asked


def test_an_iterable_is_begun_once_an_epoch_or_when_it_ends() -> None:
    source = Iterable()
    net().fit(source, epochs=3, verbose=0)
    assert source.begun == 3
    source = Iterable()
    model = net()
    with pytest.warns(DataWarning, match="ran out after 2 of 3 batches"):
        model.fit(source, epochs=4, steps_per_epoch=3, verbose=0)  # 3, 2, 3, 2
    assert source.begun == 2
    assert model.optimizer is not None
    assert model.optimizer.iterations == 10


@pytest.mark.parametrize("shuffle", [True, False])
def test_steps_of_arrays_go_on_where_the_last_epoch_ended(shuffle: bool) -> None:
    seen: list[float] = []
    x = np.arange(40.0)[:, None]

    def note(y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        seen.extend(y_true[:, 0].tolist())
        return np.zeros(len(y_true)), np.zeros_like(y_pred)

    model = fastdl.Sequential([fastdl.Input((1,)), layers.Dense(1)])
    model.compile(fastdl.optimizers.SGD(0.0), note)
    with pytest.warns(DataWarning, match="ran out after 1 of 2 batches"):
        model.fit(x, x, 8, epochs=6, steps_per_epoch=2, shuffle=shuffle, verbose=0)  # 80 rows in all: 2, 2, 1 batches
    assert sorted(seen[:40]) == sorted(seen[40:]) == x[:, 0].tolist()
    assert (seen[:40] == x[:, 0].tolist()) != shuffle
    assert (seen[:40] == seen[40:]) != shuffle


def test_validation_on_batches_is_that_on_their_rows() -> None:
    expected = net().fit(X, Y, validation_data=(X, Y, W), verbose=0).history
    for held in (Iterable(weighted=True), cut(weighted=True)):
        found = net().fit(X, Y, validation_data=held, verbose=0).history
        assert found["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-6)
        assert found["val_accuracy"] == pytest.approx(expected["val_accuracy"])
    part = net().fit(X, Y, validation_data=(X[:32], Y[:32]), verbose=0).history
    for held, steps in ((endless(), 2), (Iterable(), 2), ((X, Y), 1)):  # 2 batches of 16, 1 of 32
        options = {"validation_data": held, "validation_steps": steps, "validation_batch_size": 32}
        found = net().fit(X, Y, verbose=0, **options).history
        assert found["val_loss"] == pytest.approx(part["val_loss"], rel=1e-6)


def test_evaluate_and_predict_on_batches() -> None:
    model = net()
    expected = model.evaluate(X, Y, sample_weight=W)
    assert model.evaluate(Iterable(weighted=True)) == pytest.approx(expected, rel=1e-6)
    assert model.evaluate(endless(), steps=2) == pytest.approx(model.evaluate(X[:32], Y[:32]), rel=1e-6)
    assert model.evaluate(X, Y, 16, steps=2) == pytest.approx(model.evaluate(X[:32], Y[:32]), rel=1e-6)
    predicted = model.predict(X)
    for source in (Iterable(), Iterable(weighted=True), Sequence(), Loader(), (x for x, _ in cut()), generator()):
        np.testing.assert_allclose(model.predict(source), predicted, rtol=1e-6)
    np.testing.assert_allclose(model.predict(endless(), steps=2), predicted[:32], rtol=1e-6)
    np.testing.assert_allclose(model.predict(X, 16, steps=2), predicted[:32], rtol=1e-6)


def test_callbacks_hear_of_batches() -> None:
    model = net()
    heard: list[tuple[str, int]] = []
    steps: list[Any] = []

    class Hears(fastdl.callbacks.Callback):
        def set_params(self, params: dict[str, Any]) -> None:
            steps.append(params["steps"])

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            heard.append(("train", batch))

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            heard.append(("test", batch))

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            heard.append(("predict", batch))
            assert logs["outputs"].shape == (SIZES[batch], 3)

    model.fit(Iterable(), validation_data=Sequence(), callbacks=Hears(), verbose=0)
    model.predict(Loader(), callbacks=[Hears()])
    assert heard == [(purpose, i) for purpose in ("train", "test", "predict") for i in range(5)]
    assert steps == [None, 5]


def test_training_may_stop_within_an_epoch() -> None:
    def stop(batch: int, logs: Any) -> None:
        model.stop_training = batch == 2

    model = net()
    history = model.fit(endless(), epochs=9, steps_per_epoch=5, verbose=0, callbacks=LambdaCallback(on_batch_end=stop))
    assert model.optimizer is not None
    assert model.optimizer.iterations == 3
    assert len(history.history["loss"]) == 1


def test_an_interrupted_training_on_batches_goes_on_to_the_bit(tmp_path: Path) -> None:
    def interrupted(epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    whole = net()
    whole.fit(Sequence(), epochs=4, verbose=0)
    model = net()
    backup = BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        model.fit(Sequence(), epochs=4, verbose=0, callbacks=[backup, LambdaCallback(on_epoch_end=interrupted)])
    fastdl.utils.set_random_seed(99)
    model = fastdl.models.clone_model(model)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(Sequence(), epochs=4, verbose=0, callbacks=[BackupAndRestore(tmp_path / "backup")])
    assert same(whole.get_weights(), model.get_weights())


def test_several_inputs_and_outputs() -> None:
    def make() -> Any:
        fastdl.utils.set_random_seed(2)
        one, two = fastdl.Input((4,), name="one"), fastdl.Input((1,), name="two")
        joined = layers.Concatenate()([one, two])
        heads = layers.Dense(3, "softmax", name="class")(joined), layers.Dense(1, name="number")(joined)
        model = fastdl.Model([one, two], list(heads))
        model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
        return model

    numbers = W[:, None]
    lists = [((x, w), (y, w)) for x, y, w in zip(*(np.split(a, CUTS) for a in (X, Y, numbers)), strict=True)]
    named = [({"one": x, "two": w}, {"class": y, "number": w}) for (x, w), (y, _) in lists]
    expected = make()
    expected.fit([X, numbers], [Y, numbers], 16, shuffle=False, verbose=0)
    for batches in (lists, named):
        model = make()
        model.fit(iter(batches), verbose=0)
        for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        predicted = model.predict(iter(batches))
        for ours, theirs in zip(predicted, model.predict([X, numbers]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


REFUSED: list[tuple[Callable[[fastdl.Sequential], Any], type[Exception], str]] = [
    (lambda m: m.fit(Iterable(), Y), DataError, "y must not be given where x is an iterable"),
    (lambda m: m.fit(Iterable(), sample_weight=W), DataError, "sample_weight must not be given"),
    (lambda m: m.fit(Iterable(), batch_size=16), DataError, "batch_size must not be given"),
    (lambda m: m.fit(Iterable(), validation_split=0.2), ValueError, "validation_split needs all rows"),
    (lambda m: m.fit(Iterable(), steps_per_epoch=0), ValueError, "steps_per_epoch must be a positive integer"),
    (lambda m: m.fit(X, Y, validation_data=(X,)), DataError, "validation_data must be"),
    (lambda m: m.fit(X, Y, validation_data=Iterable(), validation_steps=-1), ValueError, "validation_steps must be"),
    (lambda m: m.fit(generator(), epochs=2), DataError, "used up by one pass"),
    (lambda m: m.fit(generator(), epochs=2, steps_per_epoch=5), DataError, "used up by one pass"),
    (lambda m: m.fit(iter([])), DataError, "no more batches"),
    (lambda m: m.fit(iter([X])), DataError, r"batch 1's parts must be \(x, y\)"),
    (lambda m: m.fit(iter([(X, Y, W, W)])), DataError, "not 4"),
    (lambda m: m.fit(iter([(X, Y), (X[:, :3], Y)])), ShapeError, r"batch 2's x has shape \(70, 3\)"),
    (lambda m: m.fit(iter([(X, Y), (X, Y[:7])])), DataError, "y has 7"),
    (lambda m: m.fit(iter([(X, Y), (X, Y + 2)])), DataError, "batch 2's y holds label"),
    (lambda m: m.fit(iter([(X * np.nan, Y)])), DataError, "batch 1's x has NaN"),
    (lambda m: m.fit(iter([(X, None)])), DataError, "batch 1's y is missing"),
    (lambda m: m.fit(X, Y, validation_data=iter([(X[:, :2], Y)])), ShapeError, "validation batch 1's x has shape"),
    (lambda m: m.fit({"a": X}, Y), DataError, "must have the entries input"),
    (lambda m: m.fit(X), DataError, "y is missing"),
    (lambda m: m.evaluate(Iterable(), Y), DataError, "y must not be given"),
    (lambda m: m.predict(iter([])), DataError, "no more batches"),
    (lambda m: m.predict(X, steps=0), ValueError, "steps must be"),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED)
def test_refuses(call: Callable[[fastdl.Sequential], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(net())


def test_what_a_generator_raises_comes_out_and_the_model_goes_on() -> None:
    def broken() -> Iterator[Any]:
        yield cut()[0]
        raise OSError("no more disk")

    model = net()
    with pytest.raises(OSError, match="no more disk"):
        model.fit(broken(), verbose=0)
    model.fit(Iterable(), verbose=0)


# ----------------------------------------------------------------------------------------------------- frames


@pytest.fixture(params=["pandas", "polars"])
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def test_frames_and_series_are_their_arrays(library: Any) -> None:
    columns = {name: X[:, i] for i, name in enumerate("abcd")}
    x, y, w = library.DataFrame(columns), library.Series(Y), library.Series(W)
    model = net()
    model.fit(x, y, 16, sample_weight=w, validation_data=(x, y), verbose=0)
    other = net()
    other.fit(X, Y, 16, sample_weight=W, validation_data=(X, Y), verbose=0)
    assert same(model.get_weights(), other.get_weights())
    assert model.evaluate(x, library.DataFrame({"y": Y})) == other.evaluate(X, Y)
    assert np.array_equal(model.predict(x), other.predict(X))
    assert model.train_on_batch(x, y) == other.train_on_batch(X, Y)


def test_a_frame_of_several_kinds_of_numbers(library: Any) -> None:
    x = library.DataFrame({"a": [True, False], "b": [1, 2], "c": [0.5, 1.5], "d": np.array([1, 2], np.uint8)})
    model = net()
    expected = model.predict([[1, 1, 0.5, 1], [0, 2, 1.5, 2]])
    assert np.array_equal(model.predict(x), expected)


def test_columns_that_are_not_numbers_are_named(library: Any) -> None:
    x = library.DataFrame({"a": [1.0], "town": ["Rome"], "c": [0.5], "when": [np.datetime64("2020-01-01", "ns")]})
    with pytest.raises(DataError, match=r"x must hold real numbers: encode or drop its column 'town'.*'when'"):
        net().predict(x)
    with pytest.raises(DataError, match="y must hold real numbers"):
        net().fit(X[:2], library.Series(["cat", "dog"]))


def test_missing_values_of_a_frame_are_found(library: Any) -> None:
    x = library.DataFrame({name: [1.0, None if name == "c" else 2.0] for name in "abcd"})
    with pytest.raises(DataError, match="NaN or Inf in row 1"):
        net().fit(x, [0, 1])
