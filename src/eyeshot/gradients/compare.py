"""Whether a run on less than everything gives the same numbers: what no graph can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["agree", "noise"]

#: Numbers of the unit from the crop and from the whole input agree if they differ by at most so many units of
#: rounding of the largest.
ROUNDING = 1000


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether values are the same but for rounding; NaN never is."""
    one, other = one.detach(), other.detach()
    allowed = ROUNDING * torch.finfo(one.dtype).eps * float(one.abs().max())
    return float((one - other).abs().max()) <= allowed


def noise(
    like: NDArray[Any], axes: Sequence[int], window: Sequence[tuple[int, int]], seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A sample of normal noise and its part in ``window`` along ``axes``.

    As wide as ``like``, and no less than 1: a dark image leaves much of a network asleep, thresholds above all.
    """
    width = max(1.0, float(np.std(like, dtype=np.float64)))
    whole = np.random.default_rng(seed).normal(0, width, like.shape).astype(like.dtype)
    where: list[slice] = [slice(None)] * like.ndim
    for axis, (begin, end) in zip(axes, window, strict=True):
        where[axis] = slice(begin, end)
    return whole, whole[tuple(where)]
