"""Memory that runs out: each allocation of the core, and each large one of anybody's, fails once, and from there on for
good: MemoryError, and the next call is right. Small ones that fail inside Python or numpy raise what those please."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import shim

pytestmark = pytest.mark.slow

# each: a function that computes something big enough to be noticed, and returns bytes
SCRIPT = """
import numpy as np
import fastdl
from fastdl import kernels, layers
a = np.random.default_rng(0).standard_normal((300, 400)).astype("f4")

def product():
    return kernels.matmul(a, a.T).tobytes()

def net():
    fastdl.utils.set_random_seed(3)
    hidden = [layers.Dense(64, "relu"), layers.BatchNormalization()]
    model = fastdl.Sequential([fastdl.Input((400,)), *hidden, layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model

def training():
    model = net()
    model.fit(a, np.arange(300) % 3, epochs=1, verbose=0)
    return b"".join(w.tobytes() for w in model.get_weights())

trained = net()
def prediction():
    trained.compile("sgd", "mse")  # its programs are made anew
    return trained.predict(a).tobytes()

def saving():
    trained.save("model.fastdl")
    return fastdl.models.load_model("model.fastdl").predict(a[:50]).tobytes()

scenario, whose = globals()[sys.argv[1]], sys.argv[2]
limits = {"library": "_ext."} if whose == "core" else {"least": 4096 * 16}
for _ in range(3):
    right = scenario()  # what is made once is there
arm("memory", 0, **limits)
scenario()
total = disarm()
assert total > 0, "nothing was allocated"
counts = {"right": 0, "MemoryError": 0}
for how in (ONCE, FOR_GOOD):
    for nth in range(1, total + 1):
        arm("memory", nth, how, **limits)
        try:
            got = scenario()
            disarm()
            assert got == right, f"wrong after allocation {nth} failed"
            counts["right"] += 1
        except MemoryError:
            disarm()
            counts["MemoryError"] += 1
        finally:
            disarm()
        assert scenario() == right, f"the call after {nth} is wrong"
print(total, counts)
left = [name for name in os.listdir() if name.startswith(".")]
assert not left, left
"""


@pytest.mark.parametrize("whose", ["core", "large"])
@pytest.mark.parametrize("scenario", ["product", "training", "prediction", "saving"])
def test_each_allocation_fails(scenario: str, whose: str, tmp_path: Path) -> None:
    ended = shim.run(shim.build(tmp_path), SCRIPT, tmp_path, scenario, whose)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print(ended.stdout)
