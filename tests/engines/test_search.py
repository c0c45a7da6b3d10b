"""A search of 64 models on Dask and on Ray: the scores of one process, by all workers at once, on one thread each."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import cloudpickle
import numpy as np
import pytest
from sklearn.base import clone

from fastdl import config

from . import guide

pytestmark = pytest.mark.engine
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers do not have this file

TELLS = {
    "accuracy": "accuracy",
    "process": lambda *_: os.getpid(),
    "threads": lambda *_: config.get_num_threads(),
    "time": lambda *_: time.time(),
}


@pytest.fixture(scope="module")
def one(digits: Any) -> Any:
    """The search in one process."""
    search = guide.run("search")["search"]
    return search.fit(digits[0].reshape(len(digits[0]), -1), digits[1])


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_search(engine: str, one: Any, digits: Any, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("ray" if engine == "ray" else "distributed")
    if engine == "ray":
        request.getfixturevalue("ray")
    x, y = digits
    search = clone(one).set_params(scoring=TELLS)
    guide.run(f"{engine} search", search=search, x=x, y=y)
    for split in ("split0", "split1"):
        np.testing.assert_array_equal(
            search.cv_results_[f"{split}_test_accuracy"], one.cv_results_[f"{split}_test_score"]
        )
    processes, threads, times = (
        np.concatenate([search.cv_results_[f"split{split}_test_{what}"] for split in (0, 1)])
        for what in ("process", "threads", "time")
    )
    assert len(processes) == 64
    assert set(threads) == {1}
    workers = set(processes) - {os.getpid()}
    assert len(workers) == 2
    assert set(processes) == workers
    assert min((processes == worker).sum() for worker in workers) >= 16
    first, last = ([end(times[processes == worker]) for worker in workers] for end in (np.min, np.max))
    assert min(last) - max(first) > 0.5 * (max(last) - min(first))  # both at work, most of the time
