"""A child process takes so much memory and time and no more, and whoever asked it is told."""

import math
import os
import pickle
import signal
import time

import numpy as np
import pytest

from fastdl.errors import FusionError
from fastdl.fusion.runtime import confined
from fastdl.fusion.runtime.confined import Child, Exceeded, Limits
from fastdl.fusion.runtime.session import Session

from .hostile import good

SMALL = Limits(memory=64 * 2**20, seconds=1)
ROOM = Limits(memory=256 * 2**20, seconds=10)


def test_what_it_gives_is_given():
    assert confined.confined(math.gcd, 12, 18, limits=ROOM) == 6


@pytest.mark.parametrize(
    ("function", "argument", "error"),
    [(int, "x", ValueError), (FusionError.__new__, int, TypeError), (os.stat, "/nowhere", FileNotFoundError)],
)
def test_what_it_raises_is_raised(function, argument, error):
    with pytest.raises(error):
        confined.confined(function, argument, limits=ROOM)


@pytest.mark.parametrize(
    ("what", "function", "argument"),
    [
        ("memory", bytearray, 2**30),
        ("processor time", math.factorial, 3 * 10**6),
        pytest.param("waits", time.sleep, 60, marks=pytest.mark.slow),
    ],
)
def test_what_takes_too_much_is_ended(what, function, argument):
    began = time.perf_counter()
    with pytest.raises(Exceeded, match="more than 64 MB of memory and 1 s"):
        confined.confined(function, argument, limits=SMALL)
    assert time.perf_counter() - began < 20


def test_a_crash_is_told():
    with pytest.raises(Exceeded, match="crashed \\(SIGSEGV\\)"):
        confined.confined(signal.raise_signal, signal.SIGSEGV, limits=ROOM)


def session():
    return Child(Session, good().SerializeToString())


def run(child):
    return child.call("run", None, {"x": np.ones((2, 4), np.float32)}, limits=ROOM)[0]


def test_an_object_lives_on_between_calls_and_after_its_end():
    child = session()
    want = run(child)
    process = child._worker._process.pid
    assert np.array_equal(run(child), want)
    assert child._worker._process.pid == process
    os.kill(process, signal.SIGKILL)
    child._worker._process.wait()
    assert np.array_equal(run(child), want)
    assert child._worker._process.pid != process


def test_both_sides_of_a_fork_may_use_it():
    child = session()
    want = run(child)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if np.array_equal(run(child), want) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert np.array_equal(run(child), want)


def test_a_copy_by_pickle_has_a_process_of_its_own():
    child = session()
    want = run(child)
    copy = pickle.loads(pickle.dumps(child))
    assert np.array_equal(run(copy), want)
    assert copy._worker._process.pid != child._worker._process.pid


def test_none_is_left_when_the_object_is_gone():
    child = session()
    run(child)
    process = child._worker._process
    del child
    assert process.poll() is not None


def test_what_a_command_used_is_used_again():
    for _ in range(2):
        confined.confined(math.gcd, 4, 2, limits=ROOM)
        assert len(confined._idle) == 1
    process = confined._idle[0]._process.pid
    confined.confined(math.gcd, 4, 2, limits=ROOM)
    assert confined._idle[0]._process.pid == process
