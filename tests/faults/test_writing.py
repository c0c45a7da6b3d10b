"""Writing that fails: each write, sync, rename, chmod and open of every writer, with a full disk, an I/O error, a short
write, or the process killed. The old file or the new one is there, whole; of a log its whole lines; no temporary is
left, unless it was killed; and what is raised is an OSError."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import shim

pytestmark = pytest.mark.slow

SETUP = """
import json, signal
from pathlib import Path
import numpy as np
import onnx
import fastdl
from fastdl import layers
from fastdl.callbacks import BackupAndRestore, CSVLogger, ModelCheckpoint
from fastdl.cli import main
x, y = np.random.default_rng(0).standard_normal((64, 4)).astype("f4"), np.arange(64) % 3

def net(seed):
    fastdl.utils.set_random_seed(seed)
    model = fastdl.Sequential([fastdl.Input((4,)), layers.BatchNormalization(), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model

def command(*words):
    code = main(list(words))
    if code: raise OSError(code)

def whole_json(name): json.load(open(name, encoding="utf-8"))
def whole_page(name): assert open(name, encoding="utf-8").read().rstrip().endswith("</html>")
def whole_onnx(name): onnx.checker.check_model(onnx.load(name))
def whole_model(name): fastdl.models.load_model(name)
def whole_weights(name): net(1).load_weights(name)
def whole_lines(name):
    text = open(name, newline="").read()
    assert text.endswith("\\n") and {line.count(",") for line in text.splitlines()} == {2}, text[-200:]
def whole_backup(name):
    assert BACKUP.path.exists() or BACKUP.path_before.exists()
    net(3).fit(x, y, epochs=1, verbose=0, callbacks=[BACKUP])  # it goes on from there: no epoch is left to do

BACKUP = BackupAndRestore("backup", delete_checkpoint=False, double_checkpoint="twice" in sys.argv[1])
def fit(callback, epochs=2): net(2).fit(x, y, epochs=epochs, verbose=0, callbacks=[callback])
def back_up():  # one epoch more than there are
    done = [fastdl.models.tensor_file.read(path).notes["epochs"] for path in Path("backup").glob("*.safetensors")]
    fit(BACKUP, 1 + max(done, default=0))

QUANTIZE = "quantize plain.onnx q.onnx --samples x.npy --type float16"
# name: what is written, by what, and what says that it is whole
WRITERS = {
    "save": ("m.fastdl", lambda: net(2).save("m.fastdl"), whole_model),
    "keras": ("m.keras", lambda: net(2).save("m.keras"), whole_model),
    "weights of keras": ("w.weights.h5", lambda: net(2).save_weights("w.weights.h5"), whole_weights),
    "save_weights": ("w.fastdl", lambda: net(2).save_weights("w.fastdl"), whole_weights),
    "export": ("m.onnx", lambda: net(2).export("m.onnx", verify=x), whole_onnx),
    "fuse": ("f.onnx", lambda: command("fuse", "plain.onnx", "f.onnx"), whole_onnx),
    "report": ("r.json", lambda: command("fuse", "plain.onnx", "g.onnx", "--json", "r.json"), whole_json),
    "page": ("r.html", lambda: command("fuse", "plain.onnx", "h.onnx", "--html", "r.html"), whole_page),
    "quantize": ("q.onnx", lambda: command(*QUANTIZE.split()), whole_onnx),
    "log": ("log.csv", lambda: fit(CSVLogger("log.csv", append=True)), whole_lines),
    "backup": ("backup", back_up, whole_backup),
    "backup twice": ("backup", back_up, whole_backup),
    "checkpoint": ("c.fastdl", lambda: fit(ModelCheckpoint("c.fastdl", monitor="loss")), whole_model),
}
"""

FAILING = (
    SETUP
    + """
name = sys.argv[1]
target, write, whole = WRITERS[name]
net(1).export("plain.onnx", fuse=False)
np.save("x.npy", x)
for _ in range(2):
    write()
def there(): return {path for path in Path().rglob("*")}
names = there()
WAYS = [(ONCE, errno.ENOSPC), (ONCE, errno.EIO), (FOR_GOOD, errno.ENOSPC), (SHORT, 0), (FULL, errno.ENOSPC)]
count = tried = 0
for kind in ("write", "fsync", "rename", "chmod", "open"):
    arm(kind, 0)
    write()
    calls = disarm()
    for how, error in WAYS:
        if how in (SHORT, FULL) and kind != "write": continue
        for nth in range(1, calls + 1):
            arm(kind, nth, how, error)
            tried += 1
            try:
                write()
            except OSError:
                count += 1
            finally:
                disarm()
            whole(target)
            assert there() <= names, (kind, nth, there() - names)
killed = 0
for kind in ("write", "fsync", "rename"):
    arm(kind, 0)
    write()
    for nth in range(1, disarm() + 1):
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            arm(kind, nth, KILL)
            write()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        killed += 1
        whole(target)
        for left in there() - names:  # nobody was there to tidy up
            os.unlink(left)
print(f"{name}: {tried} faults, {count} OSErrors, {killed} times killed")
assert tried
"""
)


WRITERS = ["save", "save_weights", "keras", "weights of keras", "export", "fuse", "report", "page", "quantize"]
CALLBACKS = ["checkpoint", "log", "backup", "backup twice"]


@pytest.mark.parametrize("writer", [*WRITERS, *CALLBACKS])
def test_every_fault(writer: str, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    ended = shim.run(shim.build(tmp_path), FAILING, tmp_path / "work", writer)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print(ended.stdout)
