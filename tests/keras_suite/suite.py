"""Copies the tests out of the wheel, runs them in processes, and adds up."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from keras_suite import scope
from keras_suite.stand_in import NOT_INSTALLED

HERE = Path(__file__).parent
# What trainer_test.py says of its backend that no stand-in can answer: (what is there, what is put there). By the last
# three a model that is a Dense layer mixed with Keras's Trainer becomes one that has such a layer (driving.DenseModel).
REWRITTEN = [
    (r"raise ImportError\(f\"Invalid backend.*\)", "from keras.src.trainers.trainer import DenseModel, Trainer"),
    (r"with backend\.device\(CPU_DEVICES\[.*\]\):", "if True:"),
    (r"class (\w+)\(Trainer, layers\.Dense\):", r"class \1(DenseModel):"),
    (r"layers\.Dense\.__init__\(", "DenseModel.__init__("),
    (r"(DenseModel\.__init__\((?:[^()]|\([^()]*\))*\)\s+)Trainer\.__init__\(self\)", r"\1pass"),
]


@dataclass(frozen=True)
class Result:
    """What became of a test. outcome: unmodified, driven or failed."""

    test: str
    outcome: str
    kind: str = ""
    cause: str = ""

    @property
    def area(self) -> str:
        return self.test.partition("/")[0]


def wheel() -> Path | None:
    """The folder of the installed Keras, which is not imported; None without one."""
    found = importlib.util.find_spec("keras")
    return Path(next(iter(found.submodule_search_locations or []))) if found and found.origin else None


def version() -> str:
    return importlib.metadata.version("keras")


def copied(folder: Path, source: Path, real: bool = False) -> list[str]:
    """Copy the test files of the areas into the folder; their paths within it."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts =\n")
    paths = []
    for area in scope.AREAS:
        for file in sorted((source / "src" / area).rglob("*_test.py")):
            path = file.relative_to(source / "src")
            if scope.reason(f"{path}::", "") or (real and not file.is_file()):
                continue
            text = file.read_text(encoding="utf-8")
            for old, new in [] if real or path.name != "trainer_test.py" else REWRITTEN:
                text = re.sub(old, new, text)
            if real:  # an absent library is but a name in most files
                for name in NOT_INSTALLED:
                    if importlib.util.find_spec(name) is None:
                        text = re.sub(rf"^import {name}((?:\.\w+)*) as (\w+)$", r"\2 = None", text, flags=re.M)
                        text = re.sub(rf"^import {name}$", f"{name} = None", text, flags=re.M)
                        text = re.sub(rf"^from {name}(?:\.\w+)* import \w+ as (\w+)$", r"\1 = None", text, flags=re.M)
                        text = re.sub(rf"^from {name}(?:\.\w+)* import (\w+)$", r"\1 = None", text, flags=re.M)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
            paths.append(str(path))
    return paths


def compares_numbers(folder: Path, name: str) -> bool:
    """Whether a copied test compares numbers: only such a one can see that they are a little wrong."""
    path, _, rest = name.partition("::")
    test = re.sub(r"(?:_[0-9]+|\d+)$", "", rest.rpartition("::")[2])
    text = (folder / path).read_text(encoding="utf-8")
    body = re.search(rf"    def {re.escape(test)}\w*\(.*?(?=\n    def |\nclass |\Z)", text, re.S)
    return bool(body and re.search(r"assert(AllClose|AlmostEqual)", body[0]))


def _process(folder: Path, results: Path, manner: str, names: Sequence[str], fault: str, over: set[str]) -> None:
    import fastdl

    root = str(Path(fastdl.__file__).parent.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), root]),
        "KERAS_WHEEL": str(wheel()),
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "torch"),
        "KERAS_PASSED_OVER": "\n".join(over),
        "KERAS_FAULT": fault,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "keras_suite.worker", str(folder), str(results), manner, *names]
    subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )


def _run(folder: Path, manner: str, names: Sequence[str], label: str, fault: str = "") -> list[dict[str, str]]:
    """The lines of a run; a process that dies costs the test that it died of."""
    results, over = folder / f"{label}-{manner}.jsonl", set[str]()
    lines: dict[str, dict[str, str]] = {}
    for _ in range(20):
        results.unlink(missing_ok=True)
        _process(folder, results, manner, names, fault, over)
        said = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
        for line in said:
            key = line.get("test") or line.get("file") or "done"
            if lines.get(key, {}).get("outcome") != "failed":  # a test that failed and then was torn down
                lines[key] = line
        if lines.pop("done", None):
            break
        begun = [name for name, line in lines.items() if line.get("outcome") == "begun"]
        if not begun:
            break
        for name in begun:
            lines[name] = {"test": name, "outcome": "failed", "kind": "died", "cause": "the process ended"}
        over |= {name for name, line in lines.items() if line.get("outcome") in ("failed", "passed")}
    return list(lines.values())


def run(
    folder: Path, wanted: Sequence[str] = (), manner: str = "", fault: str = ""
) -> tuple[list[Result], Counter[str]]:
    """Run what is in scope, twice: as it is, and what fails driven another way. And how many are out of scope, why.

    wanted: areas, or beginnings of files. manner: "keras" for Keras itself, once.
    """
    source = wheel()
    assert source is not None
    paths = copied(folder, source, manner == "keras")
    if wanted:
        paths = [path for path in paths if any(path.startswith(each.partition("::")[0]) for each in wanted)]
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(path.partition("/")[0], []).append(path)
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda area: _area(folder, area, groups[area], manner, fault), groups)
        results, outside = list[Result](), Counter[str]()
        for some, others in done:
            results += some
            outside += others
    return results, outside


def _area(folder: Path, area: str, paths: list[str], manner: str, fault: str) -> tuple[list[Result], Counter[str]]:
    results, outside = list[Result](), Counter[str]()
    again = []
    for line in _run(folder, manner or "plain", paths, area, fault):
        if "file" in line:
            results.append(Result(f"{line['file']}::", "failed", "file", line["cause"]))
        elif line["outcome"] == "out of scope":
            outside[line["cause"]] += 1
        elif line["outcome"] == "passed":
            results.append(Result(line["test"], "unmodified"))
        elif manner:
            results.append(Result(line["test"], "failed", line.get("kind", ""), line.get("cause", "")))
        else:
            again.append(line["test"])
    if again:
        lines = {line.get("test", line.get("file", "")): line for line in _run(folder, "driven", again, area, fault)}
        for test in again:
            unread = lines.get(test.partition("::")[0], {"cause": "it was not reached"})
            line = lines.get(test, {"outcome": "failed", "kind": "file", "cause": unread["cause"]})
            if line["outcome"] == "out of scope":
                outside[line["cause"]] += 1
                continue
            outcome = "driven" if line["outcome"] == "passed" else "failed"
            results.append(Result(test, outcome, line.get("kind", ""), line.get("cause", "")))
    return results, outside
