"""No latency is measured where nobody looks at it: it would be most of these tests' time."""

from typing import Any

import pytest

from fastdl.fusion import pipeline


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*models: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(pipeline, "measure_latency", nothing)
