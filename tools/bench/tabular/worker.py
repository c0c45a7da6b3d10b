"""The child: one fit of one peer on one split, in a process of its own; what it measured goes to standard output."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine
from bench.tabular.sets import CLASSES, TABLES

HIGHEST, NOW = "VmHWM", "VmRSS"


def memory(name: str) -> float:
    """A line of /proc/self/status, in MB; NaN where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return float("nan")


def cpu_seconds() -> float:
    """Of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def proofs(model: Any) -> dict[str, Any]:
    """Of each layout of the file of raw columns: how far its answers are from the model's, the bar, and its size."""
    told = {}
    for layout in ("columns", "matrices"):
        file, proof = model.to_onnx(layout=layout)
        told[layout] = {"max_error": proof.max_error, "bar": proof.bar, "bytes": len(file.SerializeToString())}
    return told


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Fit and score. The clock runs from raw columns to a fitted model, and from raw rows to predictions."""
    import numpy as np

    from bench.tabular import encoders, scores, splits
    from bench.tabular.peers import EVERY, Case

    table, peer = TABLES[job["set"]], EVERY[job["peer"]]
    if word := peer.missing():
        return {"skip": word}
    frame, target = table.load(Path(job["folder"]))
    train, test = splits.rows(target, table.task, job["split"])
    y = target.to_numpy()
    labels, codes = np.unique(y, return_inverse=True)
    if table.task == CLASSES and peer.columns != "Raw":
        y = codes
    columns = getattr(encoders, peer.columns)()
    learn, unseen = frame.iloc[train].reset_index(drop=True), frame.iloc[test].reset_index(drop=True)
    case = Case(table.task, job["seed"], job["threads"], job.get("limit"))
    peer.make(case)  # imports what it needs before the clock starts

    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the highest use so far is forgotten
    before, cpu, began = memory(NOW), cpu_seconds(), time.perf_counter()
    columns.fit(learn)
    x = columns.transform(learn)
    case = Case(table.task, job["seed"], job["threads"], job.get("limit"), columns.categories)
    model = peer.make(case)
    model.fit(x, y[train], **peer.fit_options(case))
    fitted, used = time.perf_counter() - began, cpu_seconds() - cpu
    added = memory(HIGHEST) - before
    began = time.perf_counter()
    told = (model.predict_proba if table.task == CLASSES else model.predict)(columns.transform(unseen))
    answered = time.perf_counter() - began
    if table.task == CLASSES:
        every = np.zeros((len(test), len(labels)))
        every[:, np.searchsorted(np.unique(y), model.classes_)] = told
        told_scores = scores.classification(codes[test], every)
    else:
        told_scores = scores.regression(y[test], np.reshape(told, len(test)))
    return {
        "version": peer.version(),
        "scores": told_scores,
        "rows": len(train),
        "fit_seconds": fitted,
        "fit_cpu_seconds": used,
        "predict_seconds": answered,
        "fit_mb": added,
        "files": proofs(model) if hasattr(model, "to_onnx") else {},
    }


def main(arguments: Sequence[str]) -> int:
    """`tabular-worker JOB`, a job in JSON: pins itself before any library looks at the cores."""
    job = json.loads(arguments[1])
    machine.pin(job["threads"])
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    try:
        answer = measure(job)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        answer = {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"}
    print(json.dumps(answer), file=answers, flush=True)
    return 0
