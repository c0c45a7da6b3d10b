"""examples/service.py under load: eight clients at once get the answers that a Runner gives, and nothing is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fastdl

from .servers import free_port, started

pytestmark = pytest.mark.engine
httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
EXAMPLES = Path(__file__).parents[2] / "examples"
CLIENTS, ROUNDS = 8, 60


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[tuple[str, int]]:
    """Its address and its process."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "warning"]
    environment = {"MODEL": str(folder / "churn/model.onnx"), "PYTHONPATH": str(Path(fastdl.__file__).parents[1])}
    with started(command, f"http://127.0.0.1:{port}/health", EXAMPLES, **environment) as process:
        yield f"http://127.0.0.1:{port}", process


def questions() -> list[list[dict[str, Any]]]:
    """Requests of one to five rows, with gaps and a plan that no training has seen."""
    plans, visits = ["free", "silver", "gold", None, "платина"], [0, 3, None, 7.5]
    rows = [
        {"since": "2023-01-02", "plan": plan, "visits": number, "spent": spent}
        for plan in plans
        for number in visits
        for spent in (12.5, None)
    ]
    return [rows[first : first + 1 + first % 5] for first in range(len(rows))]


def test_eight_clients(service: tuple[str, int], folder: Path) -> None:
    address, process = service
    asked, runner = questions(), fastdl.Runner(folder / "churn/model.onnx")
    names = runner.class_names
    assert names == ["no", "yes"]
    expected = [
        [dict(zip(names, row, strict=True)) for row in runner.predict_probabilities(rows).tolist()] for rows in asked
    ]
    assert len({str(answer) for answer in expected}) > 30

    def client(number: int) -> int:
        with httpx.Client(base_url=address) as http:
            for step in range(ROUNDS):
                which = (number * 7 + step) % len(asked)
                answer = http.post("/predict", json=asked[which], timeout=30)
                assert answer.status_code == 200, answer.text
                assert answer.json() == expected[which]
        return ROUNDS

    sizes = []
    for _ in range(4):
        with ThreadPoolExecutor(CLIENTS) as pool:
            assert sum(pool.map(client, range(CLIENTS))) == CLIENTS * ROUNDS
        sizes.append(resident(process))
    assert sizes[3] - sizes[1] < 4 * 2**20, f"it grows: {sizes}"


def resident(process: int) -> int:
    """Bytes of memory."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return 0
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"plan": "gold"}], "it is given no 'since'"),
        ([], "the model takes columns by name"),
        ({"plan": "gold"}, "valid list"),
    ],
)
def test_what_cannot_be_answered_is_said(service: tuple[str, int], rows: Any, told: str) -> None:
    answer = httpx.post(f"{service[0]}/predict", json=rows)
    assert answer.status_code == 422
    assert told in answer.text
    assert httpx.get(f"{service[0]}/health").json() == {"status": "ready"}
