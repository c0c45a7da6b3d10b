"""fastdl.distributed under mpirun: ranks reach what one process reaches, the same bits on each, or end together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastdl
from fastdl import config, layers, optimizers
from fastdl.tabular import TabularClassifier

from . import guide, mpi_cases

pytestmark = pytest.mark.engine
pytest.importorskip("mpi4py")
if shutil.which("mpirun") is None:
    pytest.skip("mpirun is not there", allow_module_level=True)
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe"]
BEGINNING = """
import os, pickle, signal, sys, time
import numpy as np
import fastdl
from fastdl import callbacks, distributed, layers, optimizers

rank, size = distributed.rank(), distributed.size()


def tell(value):
    with open(f"{rank}.pickle", "wb") as file:
        pickle.dump(value, file)
"""


@pytest.fixture(autouse=True)
def float32() -> Any:
    yield
    config.set_floatx("float32")


def mpirun(ranks: int, text: str, folder: Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    script = folder / "ranks.py"
    script.write_text(BEGINNING + textwrap.dedent(text), encoding="utf-8")
    path = os.pathsep.join([str(Path(fastdl.__file__).parents[1]), str(Path(__file__).parent)])
    return subprocess.run(
        [*MPIRUN, "-n", str(ranks), sys.executable, script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "FASTDL_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def told(ranks: int, text: str, folder: Path) -> list[Any]:
    """What each rank told."""
    done = mpirun(ranks, text, folder)
    assert done.returncode == 0, done.stderr
    return [np.load(folder / f"{rank}.pickle", allow_pickle=True) for rank in range(ranks)]


def the_same(found: list[Any]) -> Any:
    """(weights, history) of one rank: all have them, to the bit."""
    for weights, history in found[1:]:
        assert history == found[0][1]
        for ours, firsts in zip(weights, found[0][0], strict=True):
            np.testing.assert_array_equal(ours, firsts)
    return found[0]


# -- the same as one process ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What 4 ranks make of each case, with a quarter of the batch."""
    text = """
    import mpi_cases as cases

    found = {}
    for name in cases.CASES:
        model = cases.made(name)
        x, y = distributed.shard(*cases.data())
        options = dict(epochs=cases.EPOCHS, shuffle=False, validation_data=(x[:9], y[:9]), timeout=20)
        if rank:  # rank 0's weights count
            model.set_weights([weight + 1 for weight in model.get_weights()])
        history = distributed.fit(model, x, y, cases.BATCH // size, verbose=0, **options)
        found[name] = model.get_weights(), history.history
    tell(found)
    """
    return told(4, text, tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("name", mpi_cases.CASES)
def test_ranks_are_one_process_with_their_batches_together(name: str, trained: list[dict[str, Any]]) -> None:
    weights, history = the_same([found[name] for found in trained])
    model, (x, y) = mpi_cases.made(name), mpi_cases.data()
    held_out = x[:36], y[:36]  # the first 9 rows of each rank
    alone = model.fit(x, y, mpi_cases.BATCH, mpi_cases.EPOCHS, verbose=0, shuffle=False, validation_data=held_out)
    for ours, ones in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, ones, rtol=1e-9, atol=1e-11)
    assert history.keys() == alone.history.keys()
    for logged, values in alone.history.items():
        np.testing.assert_allclose(history[logged], values, rtol=1e-9, err_msg=logged)


def test_weights_are_averaged_after_every_few_batches(tmp_path: Path) -> None:
    """Beside two models that are averaged by hand: after batches 2 and 4, and the fifth, with which an epoch ends."""
    text = """
    import mpi_cases as cases

    model = cases.made("momentum, penalty, weight decay")
    x, y = distributed.shard(*[rows[:100] for rows in cases.data()])
    history = distributed.fit(model, x, y, 10, verbose=0, shuffle=False, average_every=2, timeout=20)
    tell((model.get_weights(), history.history))
    """
    weights, _ = the_same(told(2, text, tmp_path))
    x, y = mpi_cases.data()
    models = [mpi_cases.made("momentum, penalty, weight decay") for _ in range(2)]
    for batch in range(5):
        for rank, model in enumerate(models):
            rows = slice(rank + batch * 20, rank + batch * 20 + 20, 2)
            model.train_on_batch(x[rows], y[rows])
        if batch in (1, 3, 4):
            mean = [(a + b) / 2 for a, b in zip(*(model.get_weights() for model in models), strict=True)]
            for model in models:
                model.set_weights(mean)
    for ours, ones in zip(weights, mean, strict=True):
        np.testing.assert_allclose(ours, ones, rtol=1e-9, atol=1e-11)


def test_batch_norm_keeps_the_mean_of_what_ranks_have_seen(tmp_path: Path) -> None:
    """With three ranks of one batch each and a rate of zero: beside a model that has seen one rank's rows alone."""
    text = """
    x = np.load("x.npy", mmap_mode="r")  # rows of files are read when they are needed
    model = fastdl.Sequential([fastdl.Input((6,)), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(1)])
    model.compile(optimizers.SGD(0.0), "mse")
    rows = distributed.shard(x)
    history = distributed.fit(model, rows, rows[:, :1], 8, verbose=0, timeout=20)
    tell((model.get_weights(), history.history))
    """
    x = (np.random.default_rng(0).normal(size=(24, 6)) * 3 + 1).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    weights, _ = the_same(told(3, text, tmp_path))
    seen = []
    for rank in range(3):
        norm = layers.BatchNormalization()
        model = fastdl.Sequential([fastdl.Input((6,)), norm, layers.Dense(1)])
        model.compile(optimizers.SGD(0.0), "mse")
        model.train_on_batch(x[rank::3], x[rank::3, :1])
        seen.append([norm.moving_mean.numpy(), norm.moving_variance.numpy()])
    np.testing.assert_allclose(weights[2:4], np.mean(seen, axis=0), rtol=1e-6)
    assert np.ptp(seen, axis=0).min() > 1e-3


# -- shards -----------------------------------------------------------------------------------------------


def test_each_row_belongs_to_one_rank(tmp_path: Path) -> None:
    text = """
    import pandas as pd

    x = np.load("x.npy", mmap_mode="r")
    frame, files = pd.DataFrame({"n": np.arange(11)}), [*"abcdefghijk"]
    a, (b, c), d, files = distributed.shard(x, (x + 1, {"c": x}), frame, files)
    assert isinstance(a, np.memmap), type(a)
    refused = []
    for wrong in ((x[:1],), (x, x[:5]), (zip(x, x),), ([x, x],)):
        try:
            distributed.shard(*wrong)
        except (ValueError, TypeError) as error:
            refused.append(str(error))
    tell((np.array(a), b, np.array(c["c"]), d["n"].tolist(), files, refused))
    """
    x = np.arange(22.0).reshape(11, 2)
    np.save(tmp_path / "x.npy", x)
    found = told(2, text, tmp_path)
    for rank, (a, b, c, numbers, files, refused) in enumerate(found):
        np.testing.assert_array_equal(a, x[rank::2])
        np.testing.assert_array_equal(b, x[rank::2] + 1)
        np.testing.assert_array_equal(c, x[rank::2])
        assert (numbers, files) == ([*range(11)][rank::2], [*"abcdefghijk"][rank::2])
        assert [text.split(":")[0] for text in refused] == [
            "1 rows are too few for 2 ranks",
            "what is sharded together must have as many rows",
            "zip has no rows by number",
            "a list of arrays may be rows or inputs",
        ]


def test_batches_of_files(tmp_path: Path) -> None:
    """Each rank reads its files, one a batch: beside one process that reads two at once."""
    text = """
    import mpi_cases as cases

    class Files:  # begins anew each epoch
        def __init__(self, names):
            self.names = names
        def __iter__(self):
            return ((data["x"], data["y"]) for data in map(np.load, self.names))

    names = distributed.shard([f"{number}.npz" for number in range(6)])
    model = cases.made("adam")
    history = distributed.fit(model, Files(names), epochs=2, verbose=0, timeout=20)
    tell((model.get_weights(), history.history))
    """
    x, y = mpi_cases.data()
    for number in range(6):  # the last one is smaller
        rows = slice(number * 10, min(number * 10 + 10, 56))
        np.savez(tmp_path / f"{number}.npz", x=x[rows], y=y[rows])
    weights, history = the_same(told(2, text, tmp_path))
    model = mpi_cases.made("adam")
    alone = model.fit(x[:56], y[:56], 20, epochs=2, verbose=0, shuffle=False)
    for ours, ones in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, ones, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(history["loss"], alone.history["loss"], rtol=1e-9)


# -- files, stops -----------------------------------------------------------------------------------------

NET = """
fastdl.utils.set_random_seed(0)
x = np.random.default_rng(rank).normal(size=(320, 8)).astype(np.float32)
model = fastdl.Sequential([fastdl.Input((8,)), layers.Dense(16, "relu"), layers.Dropout(0.2), layers.Dense(1)])
model.compile("adam", "mse")
"""


def test_a_stopped_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """Rank 0 alone writes; what one rank stops within epoch 2 ends after it on all; a backup goes on, on all."""
    text = NET + textwrap.dedent("""
    start = model.get_weights()

    class Stop(callbacks.Callback):
        def on_train_slice_end(self, batch, logs=None):
            self.model.stop_training |= rank == 1 and self.model.optimizer.iterations > 10

    def fit(*more, **options):
        model.set_weights(start)
        model.compile("adam", "mse")
        model.session.seed = 5
        return distributed.fit(model, x, x[:, :1], epochs=4, verbose=0, callbacks=more, timeout=20, **options).history

    whole = fit(), model.get_weights()
    os.mkdir(str(rank))
    stopped = fit(callbacks.BackupAndRestore("backup", delete_checkpoint=False),
                  callbacks.ModelCheckpoint(f"{rank}/m.fastdl"), callbacks.CSVLogger(f"{rank}/log.csv"), Stop())
    rest = fit(callbacks.BackupAndRestore("backup"))
    tell((whole[1] + model.get_weights(), [whole[0], stopped, rest]))
    """)
    found = told(2, text, tmp_path)
    weights, (whole, stopped, rest) = the_same(found)
    assert (len(whole["loss"]), len(stopped["loss"]), len(rest["loss"])) == (4, 2, 2)
    assert stopped["loss"] + rest["loss"] == whole["loss"]
    for ours, ones in zip(weights[4:], weights[:4], strict=True):
        np.testing.assert_array_equal(ours, ones)
    assert sorted(os.listdir(tmp_path / "0")) == ["log.csv", "m.fastdl"]
    assert os.listdir(tmp_path / "1") == []


FAULTS = {
    "raise KeyError('gone')": "rank 1 of 2 ends all ranks: KeyError: 'gone'",
    "sys.exit(0)": "rank 1 of 2 ends all ranks: SystemExit: 0",
    "os.kill(os.getpid(), signal.SIGKILL)": "exited on signal 9 (Killed)",
    "time.sleep(60)": "rank 0 of 2 ends all ranks: TimeoutError: the other ranks did not answer for 2 s",
    "model.weights[0].assign(model.weights[0] + 1e-6)": "dense/kernel is not the same on all ranks",
    "model.optimizer.kept[1].assign(model.optimizer.kept[1].numpy() + 1)": "is not the same on all ranks",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_happens_to_one_rank_ends_all(fault: str, tmp_path: Path) -> None:
    text = NET + textwrap.dedent(f"""
    class Fault(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if rank == 1 and epoch == 2:
                {fault}

    distributed.fit(model, x, x[:, :1], epochs=2000, verbose=0, callbacks=Fault(), timeout=2)
    """)
    began = time.monotonic()
    done = mpirun(2, text, tmp_path)
    assert time.monotonic() - began < 10
    assert done.returncode != 0
    assert FAULTS[fault] in done.stderr


REFUSED = {
    "distributed.fit(model, x[: 160 + rank * 32], x[: 160 + rank * 32, :1], timeout=5)": (
        "the epoch of rank 0 ended after 5 steps, that of the others goes on"
    ),
    "model.layers[0].trainable = rank == 0; model.compile('adam', 'mse'); distributed.fit(model, x, x[:, :1])": (
        "all ranks must make the same model"
    ),
    "distributed.fit(model, x, x[:, :1], average_every=0)": "average_every must be a positive integer, not 0",
    "model.compile(optimizers.SGD(use_ema=True), 'mse'); distributed.fit(model, x, x[:, :1], average_every=2)": (
        "average_every averages weights over ranks, use_ema over steps"
    ),
    "model.compile('sgd', fastdl.losses.MeanSquaredError(reduction='sum')); distributed.fit(model, x, x[:, :1])": (
        "reduction='sum' is of one rank's rows"
    ),
    "with distributed.divided(5): TabularClassifier(folds=2).fit(x, x[:, 0] > 0)": (
        "all ranks must fit on the same rows"
    ),
    "with distributed.divided(5): TabularClassifier(time_limit=9).fit(x, x[:, 0] > 0)": (
        "time_limit must be None within distributed.divided"
    ),
}


@pytest.mark.parametrize("call", REFUSED)
def test_what_ranks_cannot_do_is_one_line(call: str, tmp_path: Path) -> None:
    done = mpirun(2, NET + "from fastdl.tabular import TabularClassifier\n" + call, tmp_path)
    assert done.returncode != 0
    assert REFUSED[call] in done.stderr


def test_a_bag_is_divided_over_ranks(tmp_path: Path) -> None:
    """The page's script on three ranks: each trains its share of five nets, and all hold what one process makes."""
    rows = np.random.default_rng(0).normal(size=(300, 3))
    frame = pd.DataFrame(rows, columns=["age", "visits", "spent"]).assign(plan=np.where(rows[:, 0] > 1, "gold", "free"))
    labels = pd.Series(np.where(rows.sum(axis=1) > 0, "yes", "no"), name="churn")
    frame.assign(churn=labels).to_csv(tmp_path / "churn.csv", index=False)
    few = guide.BLOCKS["bag"].replace("folds=10", "folds=5, epochs=3")
    watched = """
    from fastdl.tabular import ensembles

    train, trained = ensembles.train, []
    ensembles.train = lambda job, *rest: trained.append(job.seed) or train(job, *rest)
    """
    tells = "\ntell((model.predict_proba(frame), model.validation_score_, trained))\n"
    found = told(3, textwrap.dedent(watched) + few + tells, tmp_path)
    alone = TabularClassifier(folds=5, epochs=3, random_state=0).fit(
        pd.read_csv(tmp_path / "churn.csv")[[*frame]], labels
    )
    for answers, score, trained in found:
        np.testing.assert_array_equal(answers, alone.predict_proba(frame))
        assert score == alone.validation_score_
        assert len(trained) in (1, 2)
    assert len({seed for _, _, trained in found for seed in trained}) == 5
    assert fastdl.Runner(tmp_path / "churn.onnx").predict_labels(frame)[0] == alone.predict(frame)[0]


def test_the_page(tmp_path: Path, digits: Any) -> None:
    """Its script as it stands there, on two ranks."""
    np.save(tmp_path / "x.npy", digits[0])
    np.save(tmp_path / "y.npy", digits[1])
    done = mpirun(2, guide.BLOCKS["ranks"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert fastdl.load_model(tmp_path / "best.fastdl").evaluate(*digits, return_dict=True)["accuracy"] > 0.8
