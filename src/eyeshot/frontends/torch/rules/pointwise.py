"""Operators that read one element of each input, and those that read none.

Which operators are pointwise is PyTorch's own tag; here are those that it leaves untagged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Join
from eyeshot.frontends.torch.calls import Call
from eyeshot.frontends.torch.rules import rule
from eyeshot.frontends.torch.rules.shared import blank, the, values_of

__all__ = ["constant", "pointwise"]


def like(c: Call, value: int) -> Any:
    """An output of the first tensor's dtype, where all tensors agree in that and nothing is promoted."""
    dtype = None
    for a in c.args:
        if isinstance(a, Tensor):
            if dtype is None:
                dtype = a.dtype
                if not dtype.is_floating_point or not a.is_contiguous():
                    return None
            elif a.dtype is not dtype:
                return None
        elif isinstance(a, (list, tuple, complex)):
            return None
    if c.kwargs and "dtype" in c.kwargs:
        return None
    return blank(c, value, dtype)


# "pointwise" is no operator: the rule of all those with the tag that have none of their own.
@rule("pointwise", "clone", "_to_copy", "dropout", "rrelu_with_noise", "_prelu_kernel", "lift_fresh",
      "lift_fresh_copy", "_conj_physical", "resolve_conj", "resolve_neg", "bernoulli", "normal", "nan_to_num",
      "_pin_memory", "contiguous", "complex", "polar", "fake_quantize_per_tensor_affine",
      "fake_quantize_per_channel_affine", "floor_divide")  # fmt: skip
def pointwise(c: Call, *args: Any, **kwargs: Any) -> int:
    values = [value for _, value in c.reads()]
    if c.out is not None:
        return c.join(values, tuple(c.out.shape))
    first, *others = [tuple(a.shape) for a in args if isinstance(a, Tensor)]
    if any(shape != first and shape for shape in others):
        first = Join().out_shape([first, *others])
    return c.join(values, first)


# The same, where the output is sure to be like the inputs: no kernel needs to run.
rule("relu", "gelu", "silu", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu",
     "add", "sub", "mul", "div", "neg", "exp", "sqrt", "rsqrt", "pow", "abs", "clamp", "clamp_min", "softplus",
     "mish", "erf", "sin", "cos", "reciprocal", kernel=like)(pointwise)  # fmt: skip


@rule("where")
def where(c: Call, condition: Tensor, self: Tensor, other: Tensor) -> int | None:
    """One of two tensors; which one is known where the condition is a constant."""
    return _chosen(c, condition, self, other)


@rule("masked_fill")
def masked_fill(c: Call, self: Tensor, mask: Tensor, value: Any) -> int | None:
    return _chosen(c, mask, value, self)


def _chosen(c: Call, condition: Tensor, yes: Any, no: Any) -> int | None:
    shape = tuple(
        torch.broadcast_shapes(*(t.shape for t in (condition, yes, no) if isinstance(t, Tensor)))
    )
    values = values_of(c, condition, yes, no)
    if c.v(condition) is not None:
        return c.join(values, shape)
    mask = c.known(condition)
    if mask is None:
        why = "the mask is not known; what it may hide is taken as read"
        return c.bound(c.join(values, shape), "unknown-mask", why)
    kept = []
    for tensor, held in ((yes, mask.astype(bool)), (no, ~mask.astype(bool))):
        value = c.v(tensor)
        if value is None or not held.any():
            continue
        value = c.shaped(value, shape)
        if not held.all():
            some = families.masked(c.g, value, held)
            if some is None:
                why = "the mask is large; what it hides is taken as read"
                return c.bound(c.join(values, shape), "large-mask", why)
            value = some
        kept.append(value)
    return c.join(kept) if kept else None


@rule("native_dropout")
def native_dropout(c: Call, input: Tensor, p: float, train: bool | None) -> list[int | None]:
    """The output, and a mask that is drawn."""
    return [c.join([the(c, input)]), None]


@rule("log_sigmoid_forward")
def log_sigmoid_forward(c: Call, self: Tensor) -> list[int | None]:
    """The output, and a buffer for the gradient that some devices leave empty."""
    value = c.join([the(c, self)])
    return [value, value if c.out[1].numel() else None]


@rule("copy")
def copy(c: Call, self: Tensor, src: Tensor, non_blocking: bool = False) -> int | None:
    value = c.v(src)
    return None if value is None else c.shaped(c.join([value]), self.shape)


@rule("fill")
def fill(c: Call, self: Tensor, value: Any) -> int | None:
    read = c.v(value)
    return None if read is None else c.shaped(read, self.shape)


@rule("bernoulli_")
def bernoulli_(c: Call, self: Tensor, p: Any = 0.5, *, generator: Any = None) -> int | None:
    """Drawn anew: what was there counts for nothing."""
    return fill(c, self, p)


@rule("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like",
      "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided", "zero", "random", "uniform",
      "normal_", "exponential", "log_normal", "cauchy", "geometric", "empty_strided", "sym_size",
      "sym_stride", "sym_numel", "_assert_async", "_assert_scalar", "_functional_assert_async",
      "_functional_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range",
      "sym_constrain_range_for_size")  # fmt: skip
def constant(c: Call, *args: Any, **kwargs: Any) -> None:
    """Reads nothing: of its tensors only the shape counts."""
    return None


# "_foreach" is no operator: the rule of all those whose names begin so.
@rule("_foreach")
def foreach(c: Call, *args: Any, **kwargs: Any) -> list[int | None]:
    """The k-th output reads the k-th of each list, and every lone tensor; pointwise where it is as large."""
    lists = [
        a for a in args if isinstance(a, (list, tuple)) and any(isinstance(t, Tensor) for t in a)
    ]
    lone = values_of(c, *args, *kwargs.values())
    found: list[int | None] = []
    for k, tensors in enumerate(zip(*lists, strict=True)):
        values = [*lone, *values_of(c, *tensors)]
        shape = tuple(tensors[0].shape)
        out = shape if c.out is None else tuple(c.out[k].shape)
        if not values:
            found.append(None)
        elif out == shape:
            found.append(c.join(values, shape))
        else:  # the norm or the greatest element of each
            found.append(families.opaque(c.g, values, out))
    return found


@rule("_foreach_zero_")
def foreach_zero(c: Call, self: list[Tensor]) -> list[None]:
    return [None] * len(self)


@rule("_foreach_copy_")
def foreach_copy(
    c: Call, self: list[Tensor], src: list[Tensor], non_blocking: bool = False
) -> list[int | None]:
    return [copy(c, *pair) for pair in zip(self, src, strict=True)]
