"""Train a net for a table: raw columns in, one proven ONNX file and a report out."""

from __future__ import annotations

import argparse
import csv
import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdl.base.files import check_target, write_together
from fastdl.commands import _common as common
from fastdl.errors import DataError

if TYPE_CHECKING:
    from fastdl.tabular import Table
    from fastdl.tabular.estimator import Tabular
    from fastdl.tabular.tasks import Task

NAMES = "name,name,…"
FILES = "model.onnx", "report.html", "metrics.json", "model.fastdl"
SHOWN = 40  # columns; the report has all
SHARE_AFTER, MOST_AFTER = 0.3, 12.0  # of a time limit, and seconds, that what comes after training may take
LEAST_SHARED = 5.0  # seconds; of less there is nothing to spare


def arguments(parser: argparse.ArgumentParser) -> None:
    """The table, its target, what each column is, and how long to search."""
    parser.add_argument("data", type=common.a_path, metavar="data.csv", help="CSV (also .gz, .tsv) or Parquet")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    parser.add_argument("--test", type=common.a_path, metavar="test.csv", help="rows to judge by, never learned from")
    parser.add_argument("--output", type=common.a_path, metavar="FOLDER", help="where files go (default: by the data)")
    parser.add_argument(
        "--time-limit", type=common.positive, metavar="S", help="search; ends after about so many seconds"
    )
    parser.add_argument("--task", choices=("classes", "numbers"), help="what the target holds (default: found)")
    parser.add_argument("--metric", help="accuracy, log_loss or roc_auc; rmse or mae")
    parser.add_argument("--net", default="slim", help="slim (default), realmlp, realmlp-small or tabm")
    parser.add_argument(
        "--folds", type=common.positive_integer, default=5, help="nets of a bag (default: 5; 1: one net)"
    )
    parser.add_argument("--epochs", type=common.positive_integer, help="of each net (default: 64 to 256, by the rows)")
    parser.add_argument("--weight", metavar="COLUMN", help="the column that says how much a row counts")
    for name, told in {
        "drop": "columns to leave out",
        "categorical": "columns to take as categories",
        "numeric": "columns to take as numbers",
        "date": "columns to take as dates",
    }.items():
        parser.add_argument(f"--{name}", type=_names, default=[], metavar=NAMES, help=told)
    parser.add_argument("--layout", choices=("columns", "matrices"), default="columns", help="of the file's inputs")
    parser.add_argument("--seed", type=_seed, default=0, help="of all that is drawn (default: 0)")


def _names(text: str) -> list[str]:
    """Names between commas; one that holds a comma stands in double quotes."""
    names = next(csv.reader([text], skipinitialspace=True), [])
    return [name.strip() for name in names if name.strip()]


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2**32 - 1, not {text}")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Read, train, judge, prove; then write all files of the folder, or none."""
    from fastdl.fusion.files.model_file import files_for
    from fastdl.tabular import TabularClassifier, TabularRegressor, card, judging, read_table, saving, tasks

    folder = options.output or Path(options.data.name.split(".")[0] or "model")
    paths = {name: folder / name for name in FILES}
    _check_folder(folder, paths, options)
    table: Table = read_table(options.data)
    test: Table | None = None if options.test is None else read_table(options.test)
    common.show(f"{options.data}: {len(table):,} rows, {len(table.names)} columns", *_indented(table.notes))
    task = tasks.find(table, options.target, options.task, options.weight)
    common.show(f"Target {options.target!r}: {task.told}", *_indented(task.notes))
    _check_names(options)
    table = task.rows(table)
    test = None if test is None else task.judged(test, table, str(options.test))
    kind: Any = TabularClassifier if task.kind == "classes" else TabularRegressor
    model = kind(
        options.net,
        folds=options.folds,
        epochs=options.epochs,
        metric=options.metric,
        time_limit=for_training(options.time_limit),
        categorical_features=options.categorical or "from_dtype",
        numeric_features=options.numeric,
        date_features=options.date,
        drop=options.drop,
        random_state=options.seed,
        verbose=1,
    )
    if test is not None:
        _check_columns(model, task, table, test, str(options.test))
    model.fit(task.columns(table), task.targets(table), sample_weight=task.weights(table))
    if model.interrupted_:
        common.show("Stopped: what follows is of the best nets until then. Once more, and nothing is written.")
    kinds = [f"{name}: {kind} ({model.columns_.described(name)})" for name, kind in model.columns_.kinds.items()]
    more = [f"and {len(kinds) - SHOWN:,} more, which report.html lists"] if len(kinds) > SHOWN else []
    common.show("Columns", *_indented([*kinds[:SHOWN], *more, *model.columns_.notes]))
    judged = judging.validate(model, task, table, test)
    common.show(*judged.lines())
    file, proof = model.to_onnx(layout=options.layout)
    content = card.content_of(
        model, task, judged, table, file, proof, f"{options.target}, from {options.data.name}", test
    )
    files = [
        *files_for(file, paths["model.onnx"]),
        (paths["report.html"], [card.page(content).encode()]),
        (paths["metrics.json"], [judged.to_json().encode() + b"\n"]),
        (paths["model.fastdl"], [saving.to_bytes(model)]),
    ]
    folder.mkdir(parents=True, exist_ok=True)  # when all is there to be written
    write_together(*files)
    common.show(f"Proof: {proof}", f"Written: {', '.join(map(str, paths.values()))}")
    common.show(f"Next: fastdl predict {paths['model.onnx']} new.csv --output answers.csv")


def for_training(limit: float | None) -> float | None:
    """What is left for it: judging, the proof and the report need a few seconds of the limit."""
    return limit if limit is None or limit < LEAST_SHARED else limit - min(SHARE_AFTER * limit, MOST_AFTER)


def _check_folder(folder: Path, paths: Mapping[str, Path], options: argparse.Namespace) -> None:
    """Before any work: the folder is one or can be made, and no file that is read would be written over."""
    if folder.exists():
        if not folder.is_dir():
            raise common.UsageError(f"{folder} is a file: name a folder by --output")
        common.check_files([], [options.data, options.test], paths.values())
        return
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file, in which no folder can be made", str(there))
    check_target(there / folder.name)


def _check_names(options: argparse.Namespace) -> None:
    """UsageError if the target or the weight is to be left out, or to be taken for something."""
    for what, name in {"target": options.target, "weight": options.weight}.items():
        for option in ("drop", "categorical", "numeric", "date"):
            if name in getattr(options, option):
                raise common.UsageError(f"--{option} names {name!r}, which is the {what}")


def _check_columns(model: Tabular, task: Task, table: Table, test: Table, name: str) -> None:
    """DataError for test rows without a column that will be read, before the training that would be in vain."""
    from fastdl.tabular import Columns

    lacking = [each for each in task.columns(table).names if each not in test and each not in model.drop]
    if not lacking:
        return
    columns = Columns(
        categorical=model.categorical_features,
        numeric=model.numeric_features,
        date=model.date_features,
        drop=model.drop,
    ).fit(task.columns(table), task.weights(table))
    if needed := [each for each in lacking if each in columns.inputs]:
        raise DataError(f"{name}: there is no column {needed[0]!r}, which training reads")


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
