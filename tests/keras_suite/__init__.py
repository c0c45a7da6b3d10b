"""Keras's own unit tests, of the installed wheel, run against fastdl: `keras.*` stands for fastdl in processes of its own.

`python tests/keras_suite` runs all that is in scope and prints totals; with areas or parts of names only those, each
failure with its cause: `python tests/keras_suite losses`, `python tests/keras_suite layers/core/dense_test.py -v`.
"""
