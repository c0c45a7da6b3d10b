"""How many threads fastdl uses: what is said in Python, else by the environment, else as many cores as there are.

Each case runs in a process of its own, in which what is meant to heed the limit runs, and its threads are counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastdl.base import cores

VARIABLES = ("FASTDL_NUM_THREADS", "OMP_NUM_THREADS")


def run(code: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """before: what the new process does before Python begins."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES} | environment
    command = ["sh", "-c", f'{before}exec "$0" -P -c "$1"', sys.executable, code]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def told(code: str, before: str = "", **environment: str) -> int:
    done = run(code, before, **environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


ASK = "import fastdl; print(fastdl.get_num_threads())"
ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PRECEDENCE = {
    "nothing": ({}, ASK, None),
    "own": ({"FASTDL_NUM_THREADS": "3"}, ASK, 3),
    "OpenMP's": ({"OMP_NUM_THREADS": "5"}, ASK, 5),
    "own before OpenMP's": ({"FASTDL_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, ASK, 3),
    "an empty one is none": ({"FASTDL_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, ASK, 5),
    "levels of nesting": ({"OMP_NUM_THREADS": "6, 2"}, ASK, 6),
    "more than the kernels take": ({"OMP_NUM_THREADS": "1000"}, ASK, 256),
    "said in Python": ({"FASTDL_NUM_THREADS": "3"}, f"import fastdl; fastdl.set_num_threads(7); {ASK}", 7),
    "no longer said": (
        {"FASTDL_NUM_THREADS": "3"},
        f"import fastdl; fastdl.set_num_threads(7); fastdl.set_num_threads(None); {ASK}",
        3,
    ),
    "for a while": (
        {"FASTDL_NUM_THREADS": "3"},
        "from fastdl import config\nwith config.thread_limit(2): print(config.get_num_threads())",
        2,
    ),
    "set while it runs": ({}, f"import os, fastdl; os.environ['OMP_NUM_THREADS'] = '9'; {ASK}", 9),
}


@pytest.mark.parametrize("case", PRECEDENCE)
def test_what_goes_before_what(case: str) -> None:
    environment, code, expected = PRECEDENCE[case]
    assert told(code, **environment) == (cores.available_cores() if expected is None else expected)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or ALL < 2, reason="there is one core, or no affinity")
def test_affinity_that_a_process_is_started_with() -> None:
    first = min(os.sched_getaffinity(0))
    assert told(ASK, before=f"taskset -p -c {first} $$ >/dev/null; ") == 1


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "٣"])
def test_a_value_that_is_no_number_of_threads_is_one_clear_line(name: str, value: str) -> None:
    done = run("from fastdl.cli import main; raise SystemExit(main(['info']))", **{name: value})
    assert done.returncode == 1
    most = " to 256" if name.startswith("FASTDL") else " up"
    line = f"fastdl info: the environment variable {name} must be a whole number from 1{most}, not {value!r}\n"
    assert done.stderr == line


def test_fit_says_so_too() -> None:
    code = "from fastdl import layers, Sequential; model = Sequential([layers.Dense(1)]); model.compile(loss='mse')"
    done = run(f"{code}; model.fit([[1.0]], [[1.0]])", FASTDL_NUM_THREADS="257")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ValueError: the environment variable FASTDL_NUM_THREADS must be a whole number from 1 to 256"
    )


# -- who heeds it -----------------------------------------------------------------------------------------

COUNTED = """
import json, os, tempfile, warnings
import numpy as np, onnxruntime, sklearn.model_selection
import fastdl
from fastdl import kernels, layers, sklearn

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
x, y = rng.normal(size=(600, 1000)).astype("f"), rng.integers(0, 3, 600)
folder = tempfile.mkdtemp()

def net():
    model = fastdl.Sequential([fastdl.Input((1000,)), layers.Dense(2100, "relu"), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model

def export():
    with fastdl.config.thread_limit(1):
        net().export(folder + "/m.onnx")

def served(**options):
    runner = fastdl.Runner(folder + "/m.onnx", **options)
    runner.predict(x)
    return runner

WORKS = {
    "fit": lambda: net().fit(x, y, epochs=1, verbose=0),
    "predict": lambda: net().predict(x, verbose=0),
    "kernels": lambda: kernels.matmul(np.ones((500, 500), "f"), np.ones((500, 500), "f")),
    "estimator": lambda: sklearn.FastdlClassifier((400,), batch_size=512, epochs=1).fit(x, y),
    "Runner": lambda: served(),
    "Runner of 4": lambda: served(threads=4),
    "Runner of 4 for a trusted file": lambda: served(threads=4, limited=False),
}

def in_child(work, end):
    if not os.fork():
        before = len(os.listdir("/proc/self/task"))
        kept = work()
        os.write(end, f"{1 + len(os.listdir('/proc/self/task')) - before} ".encode())
        os._exit(0)
    os.wait()

start, end = os.pipe()
in_child(export, end)
for work in WORKS.values():
    in_child(work, end)
os.close(end)
print(json.dumps(dict(zip(WORKS, [int(n) for n in os.read(start, 1000).split()[1:]], strict=True))))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no /proc here")
@pytest.mark.parametrize(("variable", "number"), [(VARIABLES[0], 1), (VARIABLES[1], 1), (VARIABLES[0], 3)])
def test_as_many_threads_work_as_were_granted(variable: str, number: int) -> None:
    """Counted in a process for each; a number that a Runner is given goes before the environment's."""
    done = run(COUNTED, **{variable: str(number)})
    assert done.returncode == 0, done.stderr
    threads = json.loads(done.stdout)
    assert threads == {what: 4 if "of 4" in what else number for what in threads}
    assert len(threads) == 7


# -- control groups ---------------------------------------------------------------------------------------

FILES = {
    "none": ({}, None),
    "no quota in version 2": ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, None),
    "version 2": ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
    "the least above": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/c/cpu.max": "10000 100000\n",
        },
        0.5,
    ),
    "in a container whose own group is the mount": (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"},
        2.0,
    ),
    "in a container that is told the host's path": (
        {
            "proc/self/cgroup": "4:memory:/docker/7\n3:cpu,cpuacct:/docker/7\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/cpu.max": "1 100000\n",
        },
        3.0,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "3:cpuacct:/b\n2:cpu:/a\n0::/\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "25000\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        0.5,
    ),
    "no quota in version 1": (
        {
            "proc/self/cgroup": "2:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "files that say nothing": ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "\n"}, None),
}


@pytest.mark.parametrize("case", FILES)
def test_the_quota_of_control_groups(case: str, tmp_path: Path) -> None:
    files, expected = FILES[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.quota(tmp_path) == (float("inf") if expected is None else expected)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this system's, where one may be made, that grants half a core."""
    for mount, file, text in [("cpu", "cpu.cfs_quota_us", "50000"), (".", "cpu.max", "50000 100000")]:
        folder = Path("/sys/fs/cgroup") / mount / f"fastdl-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / file).write_text(text)
            yield folder
            return
        except OSError:
            continue
        finally:
            folder.rmdir()
    pytest.skip("no control group may be made here")


@pytest.mark.skipif(ALL < 2, reason="there is one core")
def test_a_real_control_group(group: Path) -> None:
    assert told(ASK, before=f"echo $$ > {group}/cgroup.procs; ") == 1
