"""What all tests share: which are the smoke tests, and one line that says why tests were skipped."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

# the first case of each test in these: a look into every room, in less than 20 s: pytest -m smoke
SMOKE = (
    "kernels/test_kernels.py",
    "ops/test_ops.py",
    "layers/test_layers.py",
    "models/test_sequential.py",
    "fusion/test_hand_made.py",
    "compiler/test_team.py",
)
LATENCIES = Path(__file__).parent / "fusion/test_report.py"  # what is measured, and how sure it is


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core; one test or one file is sooner done than they are started."""
    files = [name for name in config.args if name.partition("::")[0].endswith(".py")]
    if len(files) == len(config.args) == 1:
        return 0
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    chosen = {Path(__file__).parent / name for name in SMOKE}
    seen: set[str] = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if item.path in chosen and test not in seen and not item.get_closest_marker("slow"):
            seen.add(test)
            item.add_marker(pytest.mark.smoke)


@pytest.fixture(autouse=True, scope="module")
def few_rounds(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whoever measures latencies beside what a test looks at takes as few rounds as it may: three."""
    measure = sys.modules.get("fastdl.fusion.proof.measure")
    with pytest.MonkeyPatch.context() as patch:
        if measure and request.path != LATENCIES:
            patch.setattr(measure, "BUDGET", 0.0)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [skip_reason(report) for report in terminalreporter.getreports("skipped")]
    missing = [
        match[1].split(".")[0] for reason in reasons if (match := re.match(r"could not import '([^']+)'", reason))
    ]
    lines = []
    if missing:
        names = " and ".join(sorted(set(missing)))
        lines.append(f"{len(missing):,} need {names}, not installed here: pip install '.[parity]' or '.[engines]'")
    others = Counter(reason for reason in reasons if not reason.startswith("could not import"))
    lines += [f"{count:,}: {reason}" for reason, count in others.most_common()]
    if lines:
        terminalreporter.write_line(f"{len(reasons):,} skipped: {'; '.join(lines)}")


def skip_reason(report: pytest.TestReport) -> str:
    place = report.longrepr  # file, line, "Skipped: reason"
    return str(place[2] if isinstance(place, tuple) else place).removeprefix("Skipped: ")
