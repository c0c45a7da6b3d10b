"""Keras's own tests against fastdl: no fewer of them pass than did, and they fail if fastdl's numbers are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from keras_suite import report, scope, suite

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(suite.wheel() is None, reason="could not import 'keras'"),
]
TOTALS = Path(__file__).parent / "totals.json"


def test_as_many_pass_as_did(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """totals.json holds the last totals: raise them (python tests/keras_suite --keep) when more pass."""
    kept = json.loads(TOTALS.read_text(encoding="utf-8"))
    listed = kept["areas"]
    results, _ = suite.run(tmp_path)
    totals = report.totals(results)
    more = [area for area in listed if totals[area]["passed"] > listed[area]["passed"]]
    news = f"\nmore pass than totals.json lists: {', '.join(more)}" if more else ""
    record_property("keras_suite", f"Keras's own tests, of Keras {suite.version()}:\n{report.table(results)}{news}")
    fewer = {area: (totals[area], last) for area, last in listed.items() if totals[area]["passed"] < last["passed"]}
    assert fewer == {}, report.failures(results)
    if kept["keras"] == suite.version():  # else Keras has other tests
        assert [area for area, last in listed.items() if totals[area]["in_scope"] < 0.97 * last["in_scope"]] == []


# share of those that pass and compare numbers which must see the fault
SHARES = {"losses": 0.6, "metrics": 0.7, "optimizers": 0.55}  # others await zero, numbers within 5 %, or two that agree


@pytest.mark.slow
@pytest.mark.parametrize("area", SHARES)
def test_wrong_numbers_are_seen(area: str, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    passed = set[str]()
    for folder, fault in ((before, ""), (after, area)):
        folder.mkdir()
        results, _ = suite.run(folder, [area], fault=fault)
        passed_now = {result.test for result in results if result.outcome != "failed"}
        passed = passed or passed_now
    compares = {name for name in passed if suite.compares_numbers(before, name)}
    assert len(compares) > 30
    assert len(compares - passed_now) >= SHARES[area] * len(compares), sorted(compares & passed_now)


def test_no_row_of_the_scope_is_of_nothing() -> None:
    source = suite.wheel()
    assert source is not None
    folders = [source / "src" / area for area in scope.AREAS]
    files = [f"{path.relative_to(source / 'src')}::" for folder in folders for path in folder.rglob("*_test.py")]
    patterns = [pattern for some in scope.FILES.values() for pattern in some]
    assert [pattern for pattern in patterns if not any(fnmatchcase(file, pattern) for file in files)] == []
