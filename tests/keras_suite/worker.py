"""A process that runs some of Keras's test files with fastdl as `keras`, and writes a line of JSON for each test.

`python -m keras_suite.worker FOLDER RESULTS MANNER FILE… or FILE::TEST…`. MANNER: plain, driven, or keras for Keras
itself. suite.py says the rest by the environment.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import signal
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keras_suite import causes, scope
from keras_suite.missing import Collection, let_classes_be_refused
from keras_suite.stand_in import NOT_INSTALLED

SECONDS = 10  # of computing that a test may take, and six times that of waiting


class Plugin:
    """Drops what is out of scope, and writes what became of the rest."""

    def __init__(self, folder: Path, results: Path, wanted: set[str], passed_over: set[str]) -> None:
        self.folder, self.file, self.wanted, self.passed_over = folder, results.open("a"), wanted, passed_over
        self._insides: dict[str, set[str]] = {}
        self._public = _public_names(Path(os.environ["KERAS_WHEEL"]))

    def insides(self, path: str) -> set[str]:
        if path not in self._insides:
            self._insides[path] = scope.insides((self.folder / path).read_text(encoding="utf-8"), self._public)
        return self._insides[path]

    def write(self, **line: Any) -> None:
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def name_of(self, item: pytest.Item) -> str:
        path, _, rest = item.nodeid.partition("::")
        return f"{(self.folder / path).relative_to(self.folder)}::{rest}"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.write(file=report.nodeid, cause=str(report.longrepr).strip().splitlines()[-1])

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        Collection.running = False
        for item in items[:1]:
            item.config.option.tbstyle = "native"  # others parse the file anew for each failure
        kept = []
        for item in items:
            name = self.name_of(item)
            reason = scope.reason(name, _source(item), self.insides(name.partition("::")[0]))
            if reason:
                self.write(test=name, outcome="out of scope", cause=reason)
            elif name not in self.passed_over and (not self.wanted or name in self.wanted):
                kept.append(item)
        items[:] = kept

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.write(test=self.name_of(item), outcome="begun")
        signal.alarm(6 * SECONDS)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report = yield
        name = self.name_of(item)
        if report.skipped:
            self.write(test=name, outcome="out of scope", cause=f"skips itself: {scope.skip_reason(report)}")
        elif report.failed and call.excinfo is not None:
            kind, cause = causes.of(call.excinfo, self.folder)
            if kind == "missing name" and cause.partition(".")[0] in NOT_INSTALLED:
                self.write(test=name, outcome="out of scope", cause="TensorFlow, JAX, Torch, Grain")
            else:
                self.write(test=name, outcome="failed", kind=kind, cause=cause, when=call.when)
        elif report.passed and call.when == "call":
            self.write(test=name, outcome="passed")
        return report


def _public_names(wheel: Path) -> set[str]:
    """All that Keras exports, and its modules: what `keras/**/__init__.py` says outside of `keras/src`."""
    names = {path.stem for path in wheel.rglob("*.py")} | {path.name for path in wheel.rglob("*") if path.is_dir()}
    for path in wheel.rglob("__init__.py"):
        if "src" not in path.relative_to(wheel).parts:
            names |= set(re.findall(r"\b(\w+) as \1\b", path.read_text(encoding="utf-8")))
    return names


def _source(item: pytest.Item) -> str:
    try:
        return inspect.getsource(inspect.unwrap(item.function))  # type: ignore[attr-defined]
    except (OSError, TypeError):
        return ""


def _late(*_: Any) -> None:
    raise TimeoutError(f"took more than {SECONDS} s")


def _stand_in(driven: bool) -> None:
    from keras_suite import case, driving, stand_in, tools

    case.Manner.driven = driven
    wheel = Path(os.environ["KERAS_WHEEL"])
    stand_in.install(stand_in.Names(wheel, driving.table(driven), tools.TOOLS))


def _keras() -> None:
    """Keras itself, with the harness's `testing`."""
    from keras_suite import case

    importlib.import_module("keras")
    for name in ("testing", "testing.test_case", "testing.test_utils"):
        module = types.ModuleType(f"keras.src.{name}")
        vars(module).update(case.TOOLS)
        module.__path__ = []  # type: ignore[attr-defined]
        sys.modules[f"keras.src.{name}"] = module
        parent, _, last = f"keras.src.{name}".rpartition(".")
        setattr(sys.modules[parent], last, module)


def _backend() -> str:
    return str(importlib.import_module("keras").backend.backend())


def main() -> None:
    folder, results, manner, *rest = sys.argv[1:]
    passed_over = set(os.environ.get("KERAS_PASSED_OVER", "").split("\n")) - {""}
    if manner == "keras":
        _keras()
    else:
        _stand_in(manner == "driven")
    if fault := os.environ.get("KERAS_FAULT"):
        from keras_suite import faults

        faults.FAULTS[fault]()
    conftest = types.ModuleType("conftest")
    vars(conftest)["skip_if_backend"] = lambda name, reason: pytest.mark.skipif(name == _backend(), reason=reason)
    sys.modules["conftest"] = conftest
    let_classes_be_refused(folder)
    signal.signal(signal.SIGALRM, _late)
    signal.signal(signal.SIGPROF, _late)
    warnings.simplefilter("ignore")
    files = list(dict.fromkeys(name.partition("::")[0] for name in rest))
    wanted = {name for name in rest if "::" in name}
    plugin = Plugin(Path(folder), Path(results), wanted, passed_over)
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-c", f"{folder}/pytest.ini", "--rootdir", folder]
    options += ["--import-mode=importlib", "-p", "no:terminal", "--continue-on-collection-errors"]
    os.chdir(folder)
    pytest.main([*options, *files], plugins=[plugin])
    plugin.write(done=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # no thread of a test's keeps it
