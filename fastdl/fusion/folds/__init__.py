"""The folds: a module each, which states its algebra, when it refuses, and its RULES. They are found, not listed."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from fastdl.fusion.folds.rule import Rule

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (
            rule
            for module in iter_modules(__path__)
            for rule in getattr(import_module(f"{__name__}.{module.name}"), "RULES", ())
        ),
        key=lambda rule: rule.order,
    )
)
