"""Normalisation: its own element, and statistics over some dims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Mix
from eyeshot.frontends.torch.calls import Call
from eyeshot.frontends.torch.rules import rule
from eyeshot.frontends.torch.rules.shared import blank, per_output, the, values_of

__all__ = ["softmax"]


def _outputs(c: Call, values: Any) -> Any:
    """Without kernels: the output is like the input, statistics have their values' shapes."""
    first, second, weight = c.args[:3]
    if isinstance(second, Tensor):
        weight, sizes = second, first.shape[1:2]
    elif isinstance(second, (list, tuple)):
        sizes = first.shape[-len(second) :]
        if tuple(second) != tuple(sizes):
            return None
    else:
        weight, sizes = None, ()
    if not first.is_contiguous() or (weight is not None and weight.shape != sizes):
        return None
    return tuple(
        torch.empty(0, dtype=first.dtype, device="meta") if value is None else blank(c, value)
        for value in values
    )


def _batch_norm(
    c: Call, input: Tensor, affine: Sequence[Any], running: Sequence[Any], training: bool
) -> list[int | None]:
    """``affine``: weight and bias. ``running``: mean and variance: read, or in training written to."""
    x = the(c, input)
    shape = c.g.shapes[x]
    rank = len(shape)
    column = (shape[1], *(1,) * (rank - 2))
    read = affine if training else (*affine, *running)
    per_channel = [families.reshape(c.g, v, column) for v in values_of(c, *read)]
    if not training:
        return [c.join([x, *per_channel]), None, None]
    dims = tuple(d for d in range(rank) if d != 1)
    stats = families.mix(c.g, x, dims, (1,) * len(dims))
    flat = families.reshape(c.g, stats, (shape[1],))
    for t in running:
        if t is not None:
            # Not every schema says so.
            c.tracer.assign(c, t, c.join([flat, *values_of(c, t)]))
    return [c.join([x, stats, *per_channel]), flat, flat]


@rule("native_batch_norm", "_native_batch_norm_legit", kernel=_outputs)
def native_batch_norm(
    c: Call, input: Tensor, weight: Any, bias: Any, *rest: Any
) -> list[int | None]:
    # Overload no_stats has no running statistics before the flag.
    at = 0 if isinstance(rest[0], bool) else 2
    return _batch_norm(c, input, (weight, bias), rest[:at], rest[at])


@rule("_native_batch_norm_legit_no_training", "_batch_norm_no_update", kernel=_outputs)
def batch_norm_no_training(
    c: Call, input: Tensor, weight: Any, bias: Any, mean: Any, var: Any, *rest: Any
) -> list[int | None]:
    return _batch_norm(c, input, (weight, bias), (mean, var), False)


@rule("cudnn_batch_norm", "miopen_batch_norm")
def cudnn_batch_norm(
    c: Call, input: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any
) -> list[int | None]:
    out = _batch_norm(c, input, (weight, bias), (mean, var), training)
    return [*out, None][: len(c.out)]


@rule("native_layer_norm", kernel=_outputs)
def native_layer_norm(
    c: Call, input: Tensor, normalized_shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> list[int]:
    x = the(c, input)
    rank = len(c.g.shapes[x])
    dims = tuple(range(rank - len(normalized_shape), rank))
    stats = families.mix(c.g, x, dims, (1,) * len(dims))
    return [c.join([x, stats, *values_of(c, weight, bias)]), stats, stats]


@rule("_fused_rms_norm")
def fused_rms_norm(
    c: Call, input: Tensor, normalized_shape: Sequence[int], weight: Any, eps: Any
) -> list[int]:
    return native_layer_norm(c, input, normalized_shape, weight, None, 0.0)[:2]


@rule("rms_norm")
def rms_norm(
    c: Call, input: Tensor, normalized_shape: Sequence[int], weight: Any = None, eps: Any = None
) -> int:
    return native_layer_norm(c, input, normalized_shape, weight, None, 0.0)[0]


@rule("native_group_norm")
def native_group_norm(
    c: Call, input: Tensor, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float
) -> list[int]:
    x = the(c, input)
    shape = c.g.shapes[x]
    axes = tuple(range(2, len(shape)))
    stats = families.mix(c.g, x, axes, (1,) * len(axes)) if axes else x
    column = (C, *(1,) * len(axes))
    extra = [families.reshape(c.g, v, column) for v in values_of(c, weight, bias)]
    small = families.reshape(c.g, stats, (N, C))
    small = c.g.add(Mix((1,), (group,), group), small)
    if group != C:
        stats = c.g.add(Mix((1,), (C,), group), stats)
    return [c.join([x, stats, *extra]), small, small]


@rule("_softmax", "_log_softmax", "softmax", "log_softmax", "_safe_softmax")
def softmax(c: Call, self: Tensor, dim: int, *rest: Any, **kwargs: Any) -> int:
    x = the(c, self)
    rank = len(c.g.shapes[x])
    return families.norm(c.g, x, (dim % rank,)) if rank else c.join([x])


@rule("_weight_norm_interface", "_weight_norm")
def weight_norm(c: Call, v: Tensor, g: Tensor, dim: int = 0) -> Any:
    """Weights that depend on an input: both are read whole."""
    read = values_of(c, v, g)
    return per_output(c, lambda out: families.opaque(c.g, read, tuple(out.shape)))
