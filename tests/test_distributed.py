"""fastdl.distributed without MPI: one line says what is missing. With it: tests/engines/test_mpi.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from fastdl import distributed


@pytest.mark.parametrize(
    "call", [distributed.rank, distributed.size, lambda: distributed.shard([1]), lambda: distributed.fit(None, [1])]
)
def test_without_mpi4py(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"needs MPI and mpi4py .* pip install 'fastdl\[mpi\]'"):
        call()
