"""Large data are looked at in parts."""

from __future__ import annotations

import numpy as np
import pytest

from fastdl.base import arrays


def test_large_data_are_looked_at_and_converted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the parts Python hears Ctrl-C."""
    monkeypatch.setattr(arrays, "AT_ONCE", 50)
    seen = []
    monkeypatch.setattr(arrays, "_finite", lambda part, real=arrays._finite: seen.append(len(part)) or real(part))
    x = np.random.default_rng(0).standard_normal((33, 10))
    assert arrays.all_finite(x)
    assert seen == [5] * 6 + [3]
    x[31, 2] = np.nan
    assert not arrays.all_finite(x)
    for layout in (x, np.asfortranarray(x), x[::-1], x.astype(">f8"), x.astype(np.float16)):
        assert np.array_equal(arrays.copied(layout, np.dtype(np.float32)), layout.astype(np.float32), equal_nan=True)
    assert arrays.copied(x[:, :0], np.dtype(np.float32)).shape == (33, 0)
