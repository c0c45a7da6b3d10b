"""Callbacks beside Keras's: the same arguments, the same hooks in the same order, the same decisions."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from callbacks.small import Stub, run
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdl
from fastdl import callbacks

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras with numpy 2
]

LEGACY = inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize(
    "name",
    [
        *("CSVLogger", "EarlyStopping", "History", "LearningRateScheduler", "ModelCheckpoint"),
        *("ReduceLROnPlateau", "SwapEMAWeights", "TensorBoard", "TerminateOnNaN"),
    ],
)
def test_arguments_and_defaults(name: str) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(getattr(api, name)).parameters.values() if p.kind != LEGACY]
        for api in (callbacks, keras.callbacks)
    )
    assert ours == theirs


def test_hooks() -> None:
    """All of Keras's are there, and take the same arguments."""
    keras = pytest.importorskip("keras")
    for name, hook in inspect.getmembers(keras.callbacks.Callback, inspect.isfunction):
        if name.startswith(("on_", "set_")):
            ours = inspect.signature(getattr(callbacks.Callback, name)).parameters.values()
            assert [(p.name, p.default) for p in ours] == [
                (p.name, p.default) for p in inspect.signature(hook).parameters.values()
            ], name


def recorder(base: Any) -> Any:
    """A callback of either library that notes all hooks, their numbers, the logs' names and values."""

    class Recorder(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[Any] = []

    def hook(name: str) -> Any:
        def note(self: Any, *arguments: Any, logs: Any = None) -> None:
            number = [argument for argument in arguments if isinstance(argument, int)]
            given = next((argument for argument in arguments if isinstance(argument, dict)), logs) or {}
            values = {key: float(value) for key, value in given.items() if key != "outputs"}
            self.heard.append((name, *number, values))

        return note

    for purpose in ("train", "test", "predict"):
        for moment in ("begin", "end", "batch_begin", "batch_end"):
            setattr(Recorder, f"on_{purpose}_{moment}", hook(f"{purpose}_{moment}"))
    Recorder.on_epoch_begin, Recorder.on_epoch_end = hook("epoch_begin"), hook("epoch_end")
    return Recorder()


def test_fit_evaluate_and_predict_call_the_same_hooks_with_the_same_logs() -> None:
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 4)).astype("float32"), rng.standard_normal((50, 1)).astype("float32")
    weights, heard = [rng.standard_normal((4, 1)).astype("float32"), np.zeros(1, "float32")], []
    for api in (keras, fastdl):
        model = api.Sequential([api.Input((4,)), api.layers.Dense(1)])
        model.compile(api.optimizers.SGD(0.05), "mse", metrics=["mae"])
        model.set_weights(weights)
        notes = recorder(api.callbacks.Callback)
        model.fit(x, y, 16, 2, 0, [notes], validation_data=(x[:20], y[:20]), shuffle=False)
        model.evaluate(x, y, batch_size=16, verbose=0, callbacks=[notes])
        model.predict(x, batch_size=16, verbose=0, callbacks=[notes])
        heard.append(notes.heard)
    theirs, ours = heard
    assert [note[:-1] for note in ours] == [note[:-1] for note in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one[-1] == pytest.approx(other[-1], rel=1e-5), one[:-1]


values = st.lists(st.integers(0, 12).map(lambda n: n / 4), max_size=14)  # few, and exact, so that some are the same


@settings(max_examples=300, deadline=None)
@given(
    values,
    st.fixed_dictionaries(
        {
            "patience": st.integers(0, 3),
            "min_delta": st.sampled_from([0, 0.25, 0.5, -0.25]),
            "mode": st.sampled_from(["auto", "min", "max"]),
            "baseline": st.sampled_from([None, 1.0, 2.0]),
            "restore_best_weights": st.booleans(),
            "start_from_epoch": st.integers(0, 4),
        }
    ),
)
def test_early_stopping_decides_as_keras(sequence: list[float], arguments: dict[str, Any]) -> None:
    keras = pytest.importorskip("keras")
    seen = []
    for api in (keras.callbacks, callbacks):
        stopping = api.EarlyStopping(**arguments)
        stub, kept = run(stopping, sequence)
        seen.append(
            (len(kept), stub.weights, stopping.best, stopping.best_epoch, stopping.wait, stopping.stopped_epoch)
        )
    assert seen[0] == seen[1]


@settings(max_examples=300, deadline=None)
@given(
    values,
    st.fixed_dictionaries(
        {
            "factor": st.sampled_from([0.5, 0.25]),
            "patience": st.integers(0, 3),
            "min_delta": st.sampled_from([0, 0.25, 0.5]),
            "mode": st.sampled_from(["auto", "min", "max"]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0, 0.125]),
        }
    ),
)
def test_plateau_decides_as_keras(sequence: list[float], arguments: dict[str, Any]) -> None:
    keras = pytest.importorskip("keras")
    seen = []
    for api in (keras.callbacks, callbacks):
        stub, kept = run(api.ReduceLROnPlateau(**arguments), sequence)
        seen.append(([logs["learning_rate"] for logs in kept], stub.optimizer.learning_rate))
    assert seen[0] == seen[1]


class Files(Stub):
    """Saves as Keras asks."""

    def save(self, path: Any, overwrite: bool = True) -> None:
        super().save(path)


@settings(max_examples=100, deadline=None)
@given(
    values,
    st.fixed_dictionaries(
        {
            "save_best_only": st.booleans(),
            "mode": st.sampled_from(["auto", "min", "max"]),
            "initial_value_threshold": st.sampled_from([None, 1.0, 2.0]),
        }
    ),
)
def test_checkpoints_are_saved_as_keras(sequence: list[float], arguments: dict[str, Any]) -> None:
    keras = pytest.importorskip("keras")
    saved = [
        run(api.ModelCheckpoint("{epoch:02d}-{val_loss:.2f}" + ending, **arguments), sequence, stub=Files())[0].saved
        for api, ending in ((keras.callbacks, ".keras"), (callbacks, ".fastdl"))
    ]
    assert [path.replace(".keras", ".fastdl") for path in saved[0]] == saved[1]


def test_schedulers_and_csv_files_as_keras(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    written = []
    for api in (keras.callbacks, callbacks):
        path = tmp_path / "log.csv"
        run(api.CSVLogger(str(path), ";"), [3.0, 2.5])
        run(api.CSVLogger(str(path), ";", append=True), [0.1, 1e-9], "loss")
        _, kept = run(api.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 2)), [1, 2, 3])
        written.append((path.read_bytes(), [logs["learning_rate"] for logs in kept]))
    assert written[0] == written[1]
