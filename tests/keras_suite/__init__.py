"""Keras's own unit tests, copied from the installed wheel, run against fastdl, which their processes know as `keras`.

`python tests/keras_suite` runs all that is in scope (scope.py) and prints totals; with areas or files only those, and
each failure with its cause: `python tests/keras_suite losses`, `python tests/keras_suite layers/core/dense_test.py`.
What passes as it is counts as unmodified; what fails is run again with driving.py between the test and fastdl.
"""
