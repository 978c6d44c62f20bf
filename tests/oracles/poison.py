"""What a PyTorch function reads, shown by poisoning its input: it knows nothing of eyeshot.

Line by line of each axis, the whole hyperplane of the input is set to NaN (float64), and whoever turns NaN
read it. The inputs are random, so a read that only changes a number (an operator that drops NaN) shows too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["hulls", "reads"]


def reads(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    which: int,
    axis: int,
    pick: Callable[[Any], Tensor] = lambda out: out,
) -> np.ndarray:
    """Bool array [n, *output]: whether poisoning position p along ``axis`` of an input changes an output."""
    rows = []
    with torch.no_grad():
        clean = pick(function(*[x.clone() for x in inputs]))
        for p in range(inputs[which].shape[axis]):
            seen = torch.zeros(clean.shape, dtype=torch.bool)
            for poison in (float("nan"), 1e3, -1e3):
                spoilt = [x.clone() for x in inputs]
                line = spoilt[which].select(axis, p)
                if poison == poison:
                    line.add_(poison if line.is_floating_point() else 1)
                elif line.is_floating_point() or line.is_complex():
                    line.fill_(poison)
                else:
                    continue
                out = pick(function(*spoilt))
                seen |= (out != clean) & ~((out != out) & (clean != clean))
            rows.append(seen.numpy())
    return np.stack(rows)


def hulls(read: np.ndarray, unit_dims: Sequence[int]) -> np.ndarray:
    """Int array [*unit dims, 2]: per unit the hull of the positions read, (0, 0) where there is none."""
    others = tuple(d + 1 for d in range(read.ndim - 1) if d not in unit_dims)
    any_of = read.any(axis=others)
    n = len(read)
    at = np.arange(n).reshape(n, *(1,) * (any_of.ndim - 1))
    lo = np.where(any_of, at, n).min(axis=0)
    hi = np.where(any_of, at + 1, 0).max(axis=0)
    empty = lo >= hi
    return np.stack([np.where(empty, 0, lo), np.where(empty, 0, hi)], axis=-1)
