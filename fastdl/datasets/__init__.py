"""Two data sets to learn and test with, each as `(x_train, y_train), (x_test, y_test)` of uint8.

    from fastdl import datasets
    (x_train, y_train), (x_test, y_test) = datasets.digits()           # inside the package, 8 × 8
    (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist()    # found or downloaded, 28 × 28

Keras's spelling, `datasets.fashion_mnist.load_data()`, works as well.
"""

from typing import TYPE_CHECKING, Any

from fastdl.base.naming import no_such
from fastdl.datasets._digits import digits
from fastdl.datasets._fashion_mnist import FASHION_MNIST_CLASSES, fashion_mnist, find_fashion_mnist

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise no_such(__name__, name, __all__, "there are digits and fashion_mnist")


__all__ = ["FASHION_MNIST_CLASSES", "digits", "fashion_mnist", "find_fashion_mnist"]
