"""Rules: what each PyTorch operator reads, as chains of primitives.

A rule is a function of a :class:`Call` and the operator's arguments, under the names that its schema gives
them. It returns the graph's value of each output: a number, a list of them, or None for an output that
reads nothing. Registering a name twice raises.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["FUNCTIONS", "KERNELS", "RULES", "Rule", "function", "load", "rule"]

Rule = Callable[..., Any]

#: Rules by the schema's name without overload: ``aten::convolution``.
RULES: dict[str, Rule] = {}
#: Of these the rule alone tells shape and dtype of the outputs, so that no kernel needs to run.
KERNELS: dict[str, Callable[..., Any]] = {}
#: Functions of the Python interface that are translated whole: fn(tracer, func, args, kwargs) -> output.
FUNCTIONS: dict[Any, Callable[..., Any]] = {}

_loaded: list[bool] = []

MODULES = (
    "pointwise", "views", "windows", "resampling", "norms", "reductions", "matmul", "indexing",
    "scatter", "lookup", "attention", "recurrent", "vision", "quantized", "escapes",
)  # fmt: skip


def rule(*names: str, kernel: Callable[..., Any] | None = None) -> Callable[[Rule], Rule]:
    """Register a rule for operators; a name without a library is aten's."""

    def register(function: Rule) -> Rule:
        for name in names:
            full = name if "::" in name else f"aten::{name}"
            if full in RULES:
                raise ValueError(f"two rules for {full}")
            RULES[full] = function
            if kernel is not None:
                KERNELS[full] = kernel
        return function

    return register


def function(*targets: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the translation of a function of the Python interface."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        for target in targets:
            if target in FUNCTIONS:
                raise ValueError(f"two translations of {target}")
            FUNCTIONS[target] = handler
        return handler

    return register


def load() -> dict[str, Rule]:
    """All rules."""
    if _loaded:
        return RULES
    _loaded.append(True)
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}")
    return RULES
