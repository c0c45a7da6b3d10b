"""What stands for a name that fastdl does not have: only the tests that use it fail, not the file that imports it."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, NoReturn


class MissingName(BaseException):
    """A test used a name that fastdl does not have. No Exception, so that no `assertRaises` takes it for its own."""


class Collection:
    """While test files are imported: what they do with a missing name at their top level is no failure."""

    running = True


class _Absent:
    """The base of classes that a test file derives from a missing one: to make one fails."""

    path = ""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        raise MissingName(cls.path)


class Missing:
    """A name that is not there: whatever is done with it in a test raises MissingName."""

    def __init__(self, path: str) -> None:
        self.__dict__["path"] = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return type(self)(f"{self.path}.{name}" if Collection.running else self.path)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if Collection.running:
            return type(self)(self.path)
        raise MissingName(self.path)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (type("Absent", (_Absent,), {"path": self.path}),)

    def _used(self, *_: Any) -> NoReturn:
        raise MissingName(self.path)

    __instancecheck__ = __subclasscheck__ = __bool__ = __iter__ = __len__ = __getitem__ = __enter__ = _used
    __array__ = __float__ = __int__ = __setattr__ = __add__ = __radd__ = __mul__ = __rmul__ = __sub__ = __lt__ = _used
    __eq__ = __ne__ = _used  # type: ignore[assignment] # that it is equal to nothing would look like a wrong answer
    __hash__ = object.__hash__

    def __exit__(self, *_: Any) -> None: ...
    def __repr__(self) -> str:
        return f"<{self.path}, which fastdl does not have>"


class Elsewhere(Missing):
    """A name of a library that is not installed: whoever imports it may compare it with others."""

    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__


class _Refused:
    """The base of a class at a test file's top level that fastdl refuses: to make one of it raises what it said."""

    error: Exception

    def __new__(cls, *args: Any, **options: Any) -> Any:
        raise cls.error


def let_classes_be_refused(folder: str) -> None:
    """A class statement that raises while test files of the folder are imported fails the tests that use the class."""
    build = builtins.__build_class__

    def tolerant(body: Callable[[], Any], name: str, *bases: Any, **options: Any) -> Any:
        try:
            return build(body, name, *bases, **options)
        except Exception as error:
            if not Collection.running or not body.__code__.co_filename.startswith(folder):
                raise
            return type(name, (_Refused,), {"error": error})

    builtins.__build_class__ = tolerant
