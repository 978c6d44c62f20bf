"""What rules have in common: the values of arguments, and outputs with and without kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eyeshot.frontends.torch.calls import Call

__all__ = ["blank", "fresh", "per_output", "the", "values_of"]


def the(c: Call, tensor: Tensor) -> int:
    """The value of a tensor that is known to depend on an input."""
    value = c.v(tensor)
    assert value is not None
    return value


def values_of(c: Call, *arguments: Any) -> list[int]:
    """The values of those that are tensors and depend on an input, in this order."""
    return [value for a in arguments if (value := c.v(a)) is not None]


def fresh(c: Call, value: int, x: int) -> int:
    """``value``; where an operator has left ``x`` as it was, a new value: its output is a tensor of its own."""
    return c.join([value]) if value == x else value


def per_output(c: Call, make: Callable[[Tensor], int | None]) -> Any:
    """``make`` of every output, as the operator returns them: a list, or the one."""
    if isinstance(c.out, (list, tuple)):
        return [make(out) for out in c.out]
    return make(c.out)


def blank(c: Call, value: int | None, dtype: torch.dtype | None = None) -> Tensor | None:
    """In place of a kernel's output: of the value's shape and the first argument's dtype, without data."""
    if value is None:
        return None
    return torch.empty(c.g.shapes[value], dtype=dtype or c.args[0].dtype, device="meta")
