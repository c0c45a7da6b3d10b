"""Every hostile file through every command, each in a process of its own: outcome, processor time and memory.

`python -m tests.fusion.budget [words]` prints the table, the costliest last; words: only files with one of them.
"""

import json
import os
import resource
import select
import signal
import sys
import time
import warnings

import numpy as np

import fastdl
from fastdl import errors, fusion
from fastdl.fusion.runtime import confined
from fastdl.fusion.runtime.session import load_onnxruntime
from fastdl.runner import Runner

from . import bombs

SECONDS, MEGABYTES = 20, 600  # what a file below 10 kB may cost
WAIT = 150  # by the clock
ALLOWED = (errors.ModelFileError, errors.FusionError, errors.DataError, errors.ShapeError)


def predict(content):
    """A Runner, and a batch of what it asks for."""
    runner = Runner(content)
    feed, numbers = {}, 0.0
    for port, dtype in zip(runner._inputs, runner._dtypes, strict=True):
        shape = [size if isinstance(size, int) else 64 if axis == 0 else 4 for axis, size in enumerate(port.shape)]
        numbers += np.prod([float(size) for size in shape])
        if numbers > 2**22:  # the caller's own memory
            return
        feed[port.name] = np.full(shape, "a" * 40 + "!", object) if dtype.kind == "O" else np.ones(shape, dtype)
    runner.predict(feed)


COMMANDS = {
    "fuse": fusion.fuse,
    "inspect": fusion.inspect,
    "verify": lambda content: fusion.verify(content, content),
    "quantize": lambda content: fusion.quantize(content, samples=np.ones((64, 4), np.float32)),
    "Runner": predict,
    "from_onnx": fastdl.from_onnx,
}


def outcome(command, content):
    """What came of it: "right", or the type of a typed error; "WRONG: …" for any other."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            COMMANDS[command](content)
    except ALLOWED as error:
        text = str(error)
        return f"WRONG: {text!r} is not one line" if "\n" in text else f"{type(error).__name__}: {text[:100]}"
    except BaseException as error:
        return f"WRONG: {type(error).__name__}: {str(error)[:200]}"
    return "right"


def cost(command, content):
    """(outcome, seconds of processor time, MB), of a fork and its largest child together."""
    receive, send = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        told = outcome(command, content)
        while confined._idle:
            confined._idle.pop()._end()
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        seconds = sum(one.ru_utime + one.ru_stime for one in used)
        os.write(send, json.dumps([told, seconds, sum(one.ru_maxrss >> 10 for one in used)]).encode())
        os._exit(0)
    os.close(send)
    ready, _, _ = select.select([receive], [], [], WAIT)
    if not ready:
        os.kill(child, signal.SIGKILL)
    answer = os.read(receive, 65536) if ready else b""
    os.close(receive)
    _, status, used = os.wait4(child, 0)
    if not answer:
        died = f"WRONG: ended by {signal.Signals(status & 127).name}" if ready else f"WRONG: more than {WAIT} s"
        return died, time.perf_counter() - began, used.ru_maxrss >> 10
    return tuple(json.loads(answer))


def table(names, commands=tuple(COMMANDS)):
    """One row a file and command, as `cost` tells it."""
    load_onnxruntime()
    for name in names:
        content = bombs.content(name)
        for command in commands:
            yield name, len(content), command, *cost(command, content)


def fails(row):
    """Whether a row is not within the budget."""
    _, _, _, told, seconds, memory = row
    return told.startswith("WRONG") or seconds > SECONDS or memory > MEGABYTES


def main(words):
    names = [name for name in bombs.BOMBS if not words or any(word in name for word in words)]
    rows = []
    for row in table(names):
        rows.append(row)
        if fails(row):
            print("FAILS", *row, flush=True)
    rows.sort(key=lambda row: (row[4], row[5]))
    for name, size, command, told, seconds, memory in rows if words else rows[-25:]:
        print(f"{seconds:6.2f} s {memory:6} MB  {command:9} {size:6} bytes  {name}: {told}")
    worst = max(rows, key=lambda row: row[5])
    print(
        f"{len(names)} files, {len(rows)} runs, {sum(map(fails, rows))} beyond {SECONDS} s or {MEGABYTES} MB or untyped"
    )
    for what, row in (("time", rows[-1]), ("memory", worst)):
        print(f"most {what}: {row[4]:.1f} s, {row[5]} MB: {row[2]}, {row[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
