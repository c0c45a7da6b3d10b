"""Keras's `testing` for the tests: assertions, and what an object is put through, for whoever `keras` is."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from absl.testing import parameterized

from keras_suite.missing import Missing

Array = np.ndarray[Any, Any]
MORE_OF_A_TYPE_ERROR = "unexpected keyword argument", "has no argument", "positional argument"


class Manner:
    """driven: whether messages of errors may be in other words, and layers are built by calling them."""

    driven = False


def numpy_of(x: Any) -> Any:
    import keras

    if isinstance(x, np.ndarray):
        return x
    return keras.src.backend.convert_to_numpy(x) if hasattr(x, "detach") else np.array(x)


class _Refused:
    """`assertRaises` in which an argument that is not there is no ValueError or TypeError that a test awaits."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __enter__(self) -> Any:
        self.inner.__enter__()
        return self.inner

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        if isinstance(error, TypeError) and any(part in str(error) for part in MORE_OF_A_TYPE_ERROR):
            pattern = getattr(self.inner, "expected_regex", None)
            if pattern is None or not pattern.search(str(error)):
                return False
        if Manner.driven and hasattr(self.inner, "expected_regex"):
            self.inner.expected_regex = None
        return self.inner.__exit__(kind, error, trace)


class TestCase(parameterized.TestCase):
    maxDiff = None

    def setUp(self) -> None:
        import keras

        keras.utils.clear_session()

    def get_temp_dir(self) -> str:
        folder = tempfile.mkdtemp(prefix="keras-")
        self.addCleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder

    def assertRaises(self, expected: Any, *args: Any, **options: Any) -> Any:
        if args:
            return super().assertRaises(expected, *args, **options)
        return _Refused(super().assertRaises(expected, **options))

    def assertRaisesRegex(self, expected: Any, expected_regex: Any, *args: Any, **options: Any) -> Any:
        if args and Manner.driven:
            return super().assertRaises(expected, *args, **options)
        if args:
            return super().assertRaisesRegex(expected, expected_regex, *args, **options)
        return _Refused(super().assertRaisesRegex(expected, expected_regex, **options))

    def convert_to_numpy(self, x: Any) -> Any:
        return numpy_of(x)

    def assertAllClose(
        self, actual: Any, desired: Any, atol: float = 1e-6, rtol: float = 1e-6,
        tpu_atol: Any = None, tpu_rtol: Any = None, msg: Any = None,
    ) -> None:  # fmt: skip
        np.testing.assert_allclose(numpy_of(actual), numpy_of(desired), rtol, atol, err_msg=msg or "")

    def assertNotAllClose(self, x1: Any, x2: Any, atol: float = 1e-6, rtol: float = 1e-6, msg: Any = None) -> None:
        try:
            self.assertAllClose(x1, x2, atol, rtol)
        except AssertionError:
            return
        raise AssertionError(f"all elements are close: {msg or ''} {x1}")

    def assertAlmostEqual(
        self, actual: Any, desired: Any, decimal: int = 3, tpu_decimal: Any = None, msg: Any = None
    ) -> None:
        np.testing.assert_almost_equal(numpy_of(actual), numpy_of(desired), decimal, err_msg=msg or "")

    def assertAllEqual(self, actual: Any, desired: Any, msg: Any = None) -> None:
        np.testing.assert_array_equal(numpy_of(actual), numpy_of(desired), err_msg=msg or "")

    def assertLen(self, iterable: Any, expected_len: int, msg: Any = None) -> None:
        self.assertEqual(len(iterable), expected_len, msg)

    def assertDType(self, x: Any, dtype: Any, msg: Any = None) -> None:
        self.assertEqual(dtype_of(x), dtype, msg)

    def assertSparse(self, x: Any, sparse: bool = True) -> None:
        self.assertFalse(sparse, "sparse tensors are not in scope")

    assertRagged = assertSparse

    def run_class_serialization_test(self, instance: Any, custom_objects: Any = None) -> Any:
        """A config that JSON holds makes the object again, by its class and by Keras's `deserialize_keras_object`."""
        from keras_suite import tools

        config = instance.get_config()
        told = _json(config)  # before from_config, which may empty it
        scope = _scope(custom_objects, type(instance))
        with scope():
            again = type(instance).from_config(config)
        self.assertEqual(told, _json(again.get_config()))
        with scope():
            again = tools.through_json(instance, lambda each: _from_json(_json(each)))
        self.assertIs(type(again), type(instance))
        self.assertEqual(told, _json(again.get_config()))
        return again

    def run_layer_test(self, layer_cls: Any, init_kwargs: Any, **options: Any) -> None:
        """See keras_suite.layer_checks."""
        from keras_suite import layer_checks

        layer_checks.run(self, layer_cls, init_kwargs or {}, **options)


def dtype_of(x: Any) -> str:
    import keras

    return str(keras.src.backend.standardize_dtype(x.dtype if hasattr(x, "dtype") else type(x)))


def _scope(custom_objects: Any, kind: type) -> Callable[[], Any]:
    """Makes the scope of the test's own classes: Keras finds those of its test files where the wheel has them."""
    import contextlib

    import keras

    own = {} if kind.__module__.startswith(("keras.", "fastdl.")) else {kind.__name__: kind}
    named = {**own, **(custom_objects or {})}
    if not named or (not custom_objects and isinstance(keras.saving.custom_object_scope, Missing)):
        return contextlib.nullcontext
    return lambda: keras.saving.custom_object_scope(named)


def _json(value: Any) -> str:
    """JSON that tells tuples from lists."""

    def plain(each: Any) -> Any:
        if isinstance(each, tuple):
            return {"a tuple": [plain(one) for one in each]}
        if isinstance(each, list):
            return [plain(one) for one in each]
        return {key: plain(one) for key, one in each.items()} if isinstance(each, dict) else each

    return json.dumps(plain(value), sort_keys=True, default=repr)


def _from_json(text: str) -> Any:
    return json.loads(text, object_hook=lambda each: tuple(each["a tuple"]) if "a tuple" in each else each)


def named_product(*args: Any, **options: Any) -> list[Any]:
    """Every combination of one case of each argument: a list of mappings that have a testcase_name, or named values."""
    cases = [*args]
    for name, values in options.items():
        cases.append([{"testcase_name": str(getattr(each, "__name__", each)).lower(), name: each} for each in values])
    combined = []
    for each in itertools.product(*cases):
        label = "_".join(one["testcase_name"] for one in each)
        combined.append({key: value for one in each for key, value in one.items()} | {"testcase_name": label})
    return combined


def get_test_data(
    train_samples: int, test_samples: int, input_shape: Any, num_classes: int, random_seed: int | None = None
) -> Any:
    """Classes around random centres: (x, y) to train on, and (x, y) to test on."""
    draw = np.random.RandomState(random_seed)
    total = train_samples + test_samples
    centres = 2 * num_classes * draw.random_sample((num_classes, *input_shape))
    labels = draw.randint(0, num_classes, size=total)
    x = (centres[labels] + draw.normal(0, 1, size=(total, *input_shape))).astype("float32")
    return (x[:train_samples], labels[:train_samples]), (x[train_samples:], labels[train_samples:])


def never(*_: Any, **__: Any) -> bool:
    return False


TOOLS: dict[str, Any] = {
    "TestCase": TestCase,
    "named_product": named_product,
    "get_test_data": get_test_data,
    **{f"{whose}uses_{what}": never for whose in ("", "jax_", "tensorflow_", "torch_") for what in ("gpu", "tpu")},
}
