"""What `run_layer_test` puts a layer through: config, build, a symbolic call, a call on arrays, one step of training.

Not looked at: masks, seed generators (Keras's own insides), the other dtypes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _is_shape(x: Any) -> bool:
    return isinstance(x, list | tuple) and all(isinstance(size, int | type(None)) for size in x)


def _over(function: Callable[..., Any], shapes: Any, dtypes: Any) -> Any:
    """The function of each (shape, dtype) of nested ones."""
    if _is_shape(shapes):
        return function(tuple(shapes), dtypes or "float32")
    if isinstance(shapes, dict):
        return {
            key.removesuffix("_shape"): _over(function, each, (dtypes or {}).get(key)) for key, each in shapes.items()
        }
    dtypes = dtypes if isinstance(dtypes, list | tuple) else [dtypes] * len(shapes)
    return type(shapes)(_over(function, one, two) for one, two in zip(shapes, dtypes, strict=True))


def _flat(x: Any) -> list[Any]:
    if isinstance(x, dict):
        return [each for key in sorted(x) for each in _flat(x[key])]
    return [each for one in x for each in _flat(one)] if isinstance(x, list | tuple) else [x]


def _shapes(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _shapes(each) for key, each in x.items()}
    return type(x)(_shapes(each) for each in x) if isinstance(x, list | tuple) else tuple(x.shape)


def _flat_shapes(x: Any) -> list[Any]:
    if _is_shape(x):
        return [tuple(x)]
    return [each for one in (x.values() if isinstance(x, dict) else x) for each in _flat_shapes(one)]


def _symbolic(shape: Any, dtype: Any) -> Any:
    import keras

    return keras.Input(shape[1:], dtype=str(dtype))


def _array(shape: Any, dtype: Any) -> Any:
    draw = np.random.default_rng(0)
    return (3 * draw.random(tuple(2 if size is None else size for size in shape))).astype(str(dtype))


def _call(layer: Any, x: Any, options: Any) -> Any:
    return layer(**x, **options) if isinstance(x, dict) else layer(x, **options)


def run(
    case: Any, layer_cls: Any, init_kwargs: Any, input_shape: Any = None, input_dtype: Any = None,
    input_data: Any = None, call_kwargs: Any = None, custom_objects: Any = None, run_training_check: bool = True,
    input_sparse: bool = False, input_ragged: bool = False, assert_built_after_instantiation: bool = False,
    **expected: Any,
) -> None:  # fmt: skip
    from keras_suite.case import Manner

    if input_sparse or input_ragged:
        case.skipTest("sparse and ragged inputs are not in scope")
    call_kwargs = call_kwargs or {}
    case.run_class_serialization_test(layer_cls(**init_kwargs), custom_objects)
    if input_data is None and input_shape is None:
        return
    arrays = _over(_array, input_shape, input_dtype) if input_data is None else input_data
    shapes = _shapes(arrays) if input_shape is None else input_shape
    dtypes = input_dtype
    if input_data is not None:
        dtypes = [str(np.asarray(each).dtype) for each in _flat(arrays)]
        dtypes = dtypes[0] if len(dtypes) == 1 else dtypes
    if not Manner.driven:
        layer = layer_cls(**init_kwargs)
        if isinstance(shapes, dict):
            layer.build(**shapes)
        else:
            layer.build(shapes)
        _check_weights(case, layer, expected)
    layer = layer_cls(**init_kwargs)
    symbolic = _over(_symbolic, shapes, dtypes)
    output = _call(layer, symbolic, call_kwargs)
    _check_weights(case, layer, expected)
    _check_output(case, output, expected, symbolic=True)
    if assert_built_after_instantiation:
        case.assertTrue(layer_cls(**init_kwargs).built, "a layer without weights is built once it is made")
    layer = layer_cls(**init_kwargs)
    result = _call(layer, arrays, call_kwargs)
    _check_output(case, result, expected, symbolic=False)
    if (losses := expected.get("expected_num_losses")) is not None:
        case.assertLen(layer.losses, losses)
    if run_training_check and not call_kwargs:
        _train(layer_cls(**init_kwargs), shapes, dtypes, arrays, result)


def _check_weights(case: Any, layer: Any, expected: Any) -> None:
    case.assertTrue(layer.built)
    for what in ("trainable_weights", "non_trainable_weights"):
        if (count := expected.get(f"expected_num_{what}")) is not None:
            case.assertLen(getattr(layer, what), count, f"number of {what}")


def _check_output(case: Any, output: Any, expected: Any, symbolic: bool) -> None:
    from keras_suite.case import dtype_of

    if (shape := expected.get("expected_output_shape")) is not None:
        for have, want in zip(_flat(output), _flat_shapes(shape), strict=True):
            have = tuple(have.shape)
            fits = len(have) == len(want) and all(
                one == two or two is None or (symbolic and i == 0)
                for i, (one, two) in enumerate(zip(have, want, strict=True))
            )
            case.assertTrue(fits, f"output of shape {have}, expected {want}")
    if (dtype := expected.get("expected_output_dtype")) is not None:
        wanted = list(dtype) if isinstance(dtype, list | tuple) else [dtype] * len(_flat(output))
        case.assertEqual([dtype_of(each) for each in _flat(output)], wanted)
    if not symbolic and (values := expected.get("expected_output")) is not None:
        for have, want in zip(_flat(output), _flat(values), strict=True):
            case.assertAllClose(want, have, msg="output")


def _train(layer: Any, shapes: Any, dtypes: Any, arrays: Any, result: Any) -> None:
    """One step in a model of its own."""
    import keras

    inputs = _over(_symbolic, shapes, dtypes)
    outputs = _call(layer, inputs, {})
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse" if len(_flat(result)) == 1 else ["mse"] * len(_flat(result)))
    zeros = [np.zeros(np.shape(each), "float32") for each in _flat(result)]
    model.fit(arrays, zeros[0] if len(zeros) == 1 else zeros, batch_size=len(zeros[0]), verbose=0)
