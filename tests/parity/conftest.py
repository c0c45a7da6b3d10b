"""Keras runs on PyTorch here; its backend must be chosen before anything imports it."""

import os
import tempfile
from collections.abc import Iterator

import pytest

_home = tempfile.TemporaryDirectory(prefix="keras-")  # a keras.json that is neither the user's nor kept
os.environ["KERAS_HOME"] = _home.name
os.environ["KERAS_BACKEND"] = "torch"


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Nets this small gain nothing from PyTorch's threads, and on a busy machine run ten times slower."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many rows of the tables were held against a reference that fastdl did not write."""
    passed = sum("parity" in report.nodeid for report in terminalreporter.getreports("passed"))
    if passed:
        terminalreporter.write_line(f"parity: {passed} rows agree with PyTorch, Keras and scikit-learn")
