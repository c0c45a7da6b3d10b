"""Memory that runs out: each allocation of the core, and each large one of anybody's, fails once, and from there on for
good: MemoryError, and the next call is right. Small ones that fail inside Python or numpy raise what those please."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import shim

pytestmark = pytest.mark.slow

START = """
from pathlib import Path
import numpy as np
import fastdl
LARGE, TARGETS = 65537, []
"""

# each: a function that computes something big enough to be noticed, and returns bytes
CORE = """
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

def told(result): return result
"""

LOOP = """
scenario, whose = globals()[sys.argv[1]], sys.argv[2]
limits = {"core": {"library": "_ext."}, "onnxruntime": {"library": whose}, "large": {"least": LARGE}}[whose]
for _ in range(3):
    right = told(scenario())  # what is made once is there
names = set(os.listdir())
arm("memory", 0, **limits)
scenario()
total = disarm()
assert total > 0, "nothing was allocated"
counts = {"right": 0, "MemoryError": 0}
for how in (ONCE, FOR_GOOD):
    for nth in range(1, total + 1):
        for target in TARGETS:
            Path(target).write_bytes(b"old")
        arm("memory", nth, how, **limits)
        try:
            got = scenario()
            disarm()
            assert told(got) == right, f"wrong after allocation {nth} failed"
            counts["right"] += 1
        except MemoryError:
            disarm()
            counts["MemoryError"] += 1
            assert all(Path(target).read_bytes() == b"old" for target in TARGETS), f"{nth} cost the old file"
        finally:
            disarm()
        assert set(os.listdir()) == names, f"{nth} left {set(os.listdir()) - names}"
        assert told(scenario()) == right, f"the call after {nth} is wrong"
print(scenario.__name__, whose, total, counts)
"""


@pytest.mark.parametrize("whose", ["core", "large"])
@pytest.mark.parametrize("scenario", ["product", "training", "prediction", "saving"])
def test_each_allocation_fails(scenario: str, whose: str, tmp_path: Path) -> None:
    fail_each(CORE, scenario, whose, tmp_path)


# The same of what serves, proves and writes ONNX. Large is what is more than one of numpy's buffers (8,192 numbers):
# where it gets none of those it ends the process.
ONNX = """
import fastdl.fusion.proof.feeds, fastdl.fusion.proof.measure
import onnx, onnx.shape_inference, onnxruntime.transformers.float16
from fastdl import fusion, layers
fastdl.fusion.proof.feeds.BATCHES = (1, 2)  # fewer rows to prove on, and to time, are fewer places of the same kind
fastdl.fusion.proof.measure.BUDGET = fastdl.fusion.proof.measure.SLICE = 0.0
# Neither is ours: the one sets bytes in a way that ends the process; the other does not say why it could not write.
spared(onnxruntime.transformers.float16, "convert_tensor_float_to_float16")
spared(onnx.shape_inference, "infer_shapes_path")

x = np.random.default_rng(0).standard_normal((64, 256)).astype("f4")
fastdl.utils.set_random_seed(3)
hidden = [layers.BatchNormalization(), layers.Dense(128, "relu"), layers.BatchNormalization()]
net = fastdl.Sequential([fastdl.Input((256,)), *hidden, layers.Dense(64, "softmax")])
net.export("plain.onnx", fuse=False)
net.export("fused.onnx")
served, read = fastdl.Runner("plain.onnx"), onnx.load("plain.onnx")

def opening(): return fastdl.Runner("plain.onnx").predict(x[:2])  # and what it binds
def serving(): return served.predict(x)
def fusing(): return fusion.fuse(read, measure=False)[0]
def verifying(): return fusion.verify("plain.onnx", "fused.onnx").max_abs_error
# Nothing folds in these two: that is tested above.
def quantizing(): return fusion.quantize("fused.onnx", samples=x, tolerance=9.0, measure=False)[0]
def halving(): return fusion.quantize("fused.onnx", samples=x, type="float16", measure=False)[0]
def inspecting(): return fusion.inspect("plain.onnx").operators
def importing(): return fastdl.from_onnx("plain.onnx").predict(x)
def exporting(): net.export("m.onnx")
def writing(): fusion.write_model(read, "m.onnx")

TARGETS = ["m.onnx"] if sys.argv[1] in ("exporting", "writing") else []
def told(result):
    model = onnx.load("m.onnx") if TARGETS else result
    return model.graph.SerializeToString() if hasattr(model, "graph") else str(model)
"""


@pytest.mark.parametrize(
    ("scenario", "whose"),
    [
        *((scenario, "onnxruntime") for scenario in ("opening", "serving")),
        *((scenario, "large") for scenario in ("opening", "fusing", "verifying", "quantizing", "halving")),
        *((scenario, "large") for scenario in ("inspecting", "importing", "exporting", "writing")),
    ],
)
def test_each_allocation_fails_around_onnx(scenario: str, whose: str, tmp_path: Path) -> None:
    fail_each(ONNX, scenario, whose, tmp_path)


def fail_each(scenarios: str, scenario: str, whose: str, folder: Path) -> None:
    library, work = shim.build(folder), folder / "work"
    work.mkdir()
    ended = shim.run(library, START + scenarios + LOOP, work, scenario, whose)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print(ended.stdout)
