"""Hostile files: mutations of small files through whatever reads them.

    python tools/fuzz.py model|onnx [--replay FILE...]

The seeds are made from code. A mutation changes the structure (numbers, names, nodes, sizes, entries of the header,
whose checksum is made right again), or bytes. Each is read in a child with a limit of memory, and one of time each. A
finding is whatever is neither an answer nor one of fastdl's errors, OSError or MemoryError; its file stays, and
--replay reads it, or any others, again.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY, SECONDS = 4 << 30, 30  # of one child; of one file
ODD = [0, 1, -1, 2, 3, 7, 255, 2**31, -(2**31), 2**40, 2**62, -(2**63), 2**63 - 1]
WORDS = ["", "x", "a b", "é" * 40, "../x", "\n", "float32", "Dense", "relu", "0"]


def value_like(value: Any, rng: random.Random) -> Any:
    """Something else in its place."""
    if isinstance(value, bool) or rng.random() < 0.2:
        return rng.choice([None, True, False, [], {}, 1e400, -0.5, *ODD, *WORDS])
    if isinstance(value, int):
        return rng.choice([*ODD, value + 1, value - 1, -value])
    if isinstance(value, float):
        return rng.choice([0.0, -1.0, 1e308, float("inf"), float("nan"), value * 2])
    if isinstance(value, str):
        return rng.choice([*WORDS, value * 2, value[:-1], value.upper()])
    if isinstance(value, list):
        return rng.choice([[], value * 2, value[::-1], value[:1]])
    return rng.choice([{}, None, 1])


def change_json(tree: Any, rng: random.Random) -> None:
    """One leaf, entry or branch of a tree of JSON, somewhere."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in list(items):
            places.append((node, key))
            walk(child)

    walk(tree)
    node, key = rng.choice(places)
    if isinstance(node, dict) and rng.random() < 0.2:
        node.pop(key)
    elif isinstance(node, dict) and rng.random() < 0.1:
        node[rng.choice(WORDS)] = node[key]
    else:
        node[key] = value_like(node[key], rng)


def flip(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut out or doubled."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(changed))
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 40)]
        else:
            changed[at:at] = changed[at : at + rng.randrange(1, 40)]
        if not changed:
            return b""
    return bytes(changed)


def model_seeds(folder: Path) -> list[bytes]:
    """Model files: each kind of layer, optimizer state, branches."""
    import numpy as np

    import fastdl
    from fastdl import layers

    x, y = np.random.default_rng(0).standard_normal((40, 4)), np.arange(40) % 3
    inputs = fastdl.Input((4,))
    left, right = layers.Dense(3, "gelu")(inputs), layers.LayerNormalization()(layers.Dense(3)(inputs))
    models = [
        fastdl.Sequential(
            [fastdl.Input((4,)), layers.BatchNormalization(), layers.Dense(3, "softmax", kernel_regularizer="l2")]
        ),
        fastdl.Sequential(
            [fastdl.Input((4,)), layers.Dense(5, layers.PReLU()), layers.Dropout(0.2), layers.Dense(3, "softmax")]
        ),
        fastdl.Model(inputs, layers.Dense(3, "softmax")(layers.Add()([left, right]))),
    ]
    seeds = []
    for number, model in enumerate(models):
        model.compile(["adam", "sgd", "lion"][number], "sparse_categorical_crossentropy")
        model.fit(x, y, epochs=1, verbose=0)
        model.save(folder / "seed.fastdl")
        seeds.append((folder / "seed.fastdl").read_bytes())
    return seeds


def mutate_model(data: bytes, rng: random.Random) -> bytes:
    """The header or the notes in it changed, and the checksum made right; or bytes, as they are."""
    if rng.random() < 0.1:
        return flip(data, rng)
    from fastdl.models import tensor_file

    length = int.from_bytes(data[:8], "little")
    table, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    about = table["__metadata__"]
    if rng.random() < 0.8:
        notes = json.loads(about["notes"])
        for _ in range(rng.choice([1, 1, 2, 3])):
            change_json(notes, rng)
        about["notes"] = tensor_file._json(notes).decode()
    else:
        change_json(table, rng)
        if not isinstance(table.get("__metadata__"), dict):
            return flip(data, rng)
        about = table["__metadata__"]
    about["checksum"] = f"sha256:{tensor_file.BLANK.decode()}"
    header = tensor_file._json(table)
    header += b" " * (-len(header) % 8)
    blank = len(header).to_bytes(8, "little") + header
    at = 8 + len(tensor_file.BEGIN)
    checksum = tensor_file._checksum([blank, rest])
    return blank[:at] + checksum + blank[at + len(tensor_file.BLANK) :] + rest


def read_model(path: Path) -> None:
    import numpy as np

    from fastdl.models import load_model

    model = load_model(path)
    if isinstance(model.input_shape, tuple) and np.prod(model.input_shape[1:]) < 1e6:
        model.predict(np.zeros((3, *model.input_shape[1:]), np.float32))


def onnx_seeds(folder: Path) -> list[bytes]:
    """Graphs that fastdl writes, plain and folded, and the smallest that it folds."""
    seeds = []
    for seed in model_seeds(folder):
        (folder / "seed.fastdl").write_bytes(seed)
        from fastdl.models import load_model

        model = load_model(folder / "seed.fastdl")
        for fuse in (False, True):
            model.export(folder / "seed.onnx", fuse=fuse)
            seeds.append((folder / "seed.onnx").read_bytes())
    return seeds


def mutate_onnx(data: bytes, rng: random.Random) -> bytes:
    """A few fields anywhere in the message changed; or bytes."""
    if rng.random() < 0.2:
        return flip(data, rng)
    import onnx

    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        change_message(model, rng)
    return model.SerializeToString()


def change_message(model: Any, rng: random.Random) -> None:
    """One field, somewhere: a number, a name, an item doubled, dropped or moved."""
    message = model
    while True:
        fields = message.ListFields()
        if not fields:
            return
        field, value = rng.choice(fields)
        repeated = not isinstance(value, (str, bytes, int, float)) and hasattr(
            value, "append" if not hasattr(value, "add") else "add"
        )
        nested = field.type == field.TYPE_MESSAGE
        if nested and not (repeated and rng.random() < 0.25):
            message = rng.choice(list(value)) if repeated else value
            continue
        if not repeated:
            new = value_of(field, value, rng)
        elif not len(value):
            return
        else:
            items = [copy.deepcopy(item) for item in value]
            at = rng.randrange(len(items))
            kind = rng.randrange(3)
            if kind == 0:
                items.pop(at)
            elif kind == 1:
                items.insert(rng.randrange(len(items) + 1), items[at])
            elif nested:
                items.append(items.pop(at))
            else:
                items[at] = value_of(field, items[at], rng)
            del value[:]
            value.extend(items)
            return
        setattr(message, field.name, new)
        return


def value_of(field: Any, value: Any, rng: random.Random) -> Any:
    if isinstance(value, str):
        return rng.choice(
            [*WORDS, value + "2", "Gemm", "Relu", "Reshape", "Softmax", "Gather", "Concat", "Loop", "dense"]
        )
    if isinstance(value, bytes):
        return flip(value, rng) if value else b"x"
    if isinstance(value, float):
        return rng.choice([0.0, -1.0, 1e30, float("inf"), float("nan")])
    low, high = (-(2**63), 2**63) if field.cpp_type == field.CPPTYPE_INT64 else (-(2**31), 2**31)
    if field.enum_type:
        return rng.choice(list(field.enum_type.values_by_number))
    return rng.choice(
        [
            odd
            for odd in [*ODD, value + 1, value - 1]
            if low <= odd < high and (field.cpp_type != field.CPPTYPE_UINT64 or odd >= 0)
        ]
    )


def read_onnx(path: Path) -> None:
    """Each reader for itself: what one refuses, another may take."""
    import fastdl
    from fastdl.fusion import fuse, inspect

    readers: list[Callable[[Path], Any]] = [
        inspect,
        lambda source: fuse(source, measure=False),
        fastdl.from_onnx,
        fastdl.Runner,
    ]
    for reader in readers:
        expect_refusal(reader, path)


def expect_refusal(reader: Callable[[Path], Any], path: Path) -> str:
    from fastdl.errors import FastdlError

    try:
        reader(path)
    except (FastdlError, OSError, MemoryError) as error:
        return type(error).__name__
    return "read"


TARGETS: dict[str, tuple[Any, Any, Any]] = {
    "model": (model_seeds, mutate_model, lambda path: expect_refusal(read_model, path)),
    "onnx": (onnx_seeds, mutate_onnx, read_onnx),
}


def limit() -> None:
    """Of this child's memory; and SIGALRM ends it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.enable()


def replay(kind: str, paths: list[Path]) -> int:
    """Read each file again, in a child of its own, and print what came of it; how many are findings."""
    findings = 0
    for path in paths:
        child = os.fork()
        if child == 0:
            limit()
            signal.alarm(SECONDS)
            try:
                told, code = TARGETS[kind][2](path) or "tried", 0
            except Exception as error:
                told, code = f"finding: {type(error).__name__}: {error}", 1
            print(f"{path}: {told}", flush=True)
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            print(f"{path}: finding: ended by {signal.Signals(-code).name}", flush=True)
        findings += code != 0
    return findings


def work(kind: str, until: float, rng: random.Random, folder: Path) -> None:
    """Mutations until it is time; the one at hand lies in `current` in case it ends this process."""
    make_seeds, mutate, read = TARGETS[kind]
    seeds = make_seeds(folder)
    current, done, ends = folder / "current", 0, Counter[str]()
    limit()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # onnxruntime's warnings
    while time.time() < until:
        data = rng.choice(seeds)
        try:
            for _ in range(rng.choice([1, 1, 2, 4])):
                data = mutate(data, rng) or data
        except Exception:  # a mutation of a mutation that nothing parses
            continue
        current.write_bytes(data)
        signal.alarm(SECONDS)
        try:
            ends[read(current) or "tried"] += 1
        except Exception:
            found = folder / f"finding-{kind}-{rng.randrange(10**9)}"
            found.write_bytes(data)
            found.with_suffix(".txt").write_text(traceback.format_exc())
        signal.alarm(0)
        done += 1
        (folder / "done").write_text(f"{done} files: {dict(ends)}")
    current.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=None, help="default: the time")
    parser.add_argument(
        "--findings", type=Path, default=None, help="where they are left (default: a folder of their own)"
    )
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="read these files, and no others")
    options = parser.parse_args(arguments)
    if options.replay:
        return min(1, replay(options.kind, options.replay))
    folder = options.findings or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    seed = int(time.time()) if options.seed is None else options.seed
    until, round_, told = time.time() + options.seconds, 0, []
    while time.time() < until:
        round_ += 1
        child = os.fork()
        if child == 0:
            work(options.kind, until, random.Random(f"{seed} {round_}"), folder)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if (folder / "done").exists():
            told.append((folder / "done").read_text())
        if code and (folder / "current").exists():
            found = folder / f"finding-{options.kind}-{round_}"
            os.replace(folder / "current", found)
            found.with_suffix(".txt").write_text(f"ended with {code} (-{int(signal.SIGALRM)}: more than {SECONDS} s)\n")
        elif code:
            raise RuntimeError(f"the child ended with {code} before it read anything")
    findings = sorted(folder.glob("finding-*.txt"))
    print(f"{options.kind}: seed {seed}; {'; '.join(told)}; {len(findings)} findings")
    for text in findings:
        print(f"{text.with_suffix('')}: {text.read_text().strip().splitlines()[-1]}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
