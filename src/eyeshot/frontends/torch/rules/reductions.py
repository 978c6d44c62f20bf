"""Operators that read along whole dims: reductions, running sums, sorting, transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Stencil, Taps
from eyeshot.frontends.torch.calls import Call, NoRule
from eyeshot.frontends.torch.rules import function, rule
from eyeshot.frontends.torch.rules.shared import per_output, the
from eyeshot.frontends.torch.trace import Tracer

__all__ = []


def reduced(c: Call, x: int, dims: Sequence[int] | None, keepdim: bool) -> int:
    """A reduction over ``dims``; over all of them for None or none."""
    rank = len(c.g.shapes[x])
    if not rank:
        return c.join([x])
    chosen = tuple(sorted({d % rank for d in dims})) if dims else tuple(range(rank))
    return families.reduce(c.g, x, chosen, keepdim)


def _one(dim: Any) -> Any:
    return (dim,) if isinstance(dim, int) else dim


@rule("mean", "sum", "nansum", "amax", "amin", "logsumexp", "var", "std", "prod", "any", "all", "argmax",
      "argmin", "max", "min", "count_nonzero", "nanmean", "var_mean", "std_mean", "aminmax", "median",
      "nanmedian")  # fmt: skip
def reduction(
    c: Call,
    self: Tensor,
    dim: Any = None,
    unbiased: Any = None,
    keepdim: Any = None,
    *,
    correction: Any = None,
    dtype: Any = None,
) -> Any:
    """The third argument is keepdim, but for the variances, where it is ``unbiased``."""
    if isinstance(dim, Tensor):  # max and min of two tensors
        return c.join([value for _, value in c.reads()], c.out.shape)
    if isinstance(dim, bool):  # var.default(self, unbiased)
        dim = None
    assert c.op is not None
    keep = (
        unbiased if keepdim is None and not c.op.name.endswith(("var", "std", "_mean")) else keepdim
    )
    y = reduced(c, the(c, self), _one(dim), bool(keep))
    return per_output(c, lambda out: families.reshape(c.g, y, tuple(out.shape)))


@rule("mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "soft_margin_loss")
def loss(c: Call, *args: Any, **kwargs: Any) -> int:
    """Element by element, then reduced unless ``reduction`` is none."""
    values = [value for _, value in c.reads()]
    if c.out.ndim:
        return c.join(values, c.out.shape)
    return families.opaque(c.g, values, ())


@rule(
    "nll_loss_forward", "nll_loss2d_forward", "multi_margin_loss", "multilabel_margin_loss_forward"
)
def class_loss(c: Call, *args: Any, **kwargs: Any) -> Any:
    """The target says which class is read."""
    values = [value for _, value in c.reads()]
    why = "the target says which class is read; all are taken as read"

    def every(out: Tensor) -> int:
        return c.bound(families.opaque(c.g, values, tuple(out.shape)), "data-dependent", why)

    return per_output(c, every)


@rule("trace")
def trace(c: Call, self: Tensor) -> int:
    x = the(c, self)
    rows, columns = c.g.shapes[x]
    x = families.reshape(c.g, x, (rows * columns,))
    x = families.narrow(c.g, x, 0, 0, (columns + 1) * (min(rows, columns) - 1) + 1, columns + 1)
    return reduced(c, x, None, False)


@rule("_pdist_forward")
def pdist(c: Call, self: Tensor, p: float = 2) -> int:
    """Distances of every two rows."""
    x = families.mix(c.g, the(c, self), (1,), (1,))
    first, second = torch.triu_indices(self.shape[0], self.shape[0], 1).tolist()
    pairs = [families.take(c.g, x, 0, at) for at in (first, second)]
    return families.squeeze(c.g, c.join(pairs), (1,))


@function(torch.quantile, torch.nanquantile, Tensor.quantile, Tensor.nanquantile)
def quantile(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """A reduction along one dim, once for every quantile; which ones does not matter."""

    def along(
        input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, **rest: Any
    ) -> Any:
        c = Call(tracer, None, func, args, kwargs)
        x = c.v(input)
        if x is None or (isinstance(q, Tensor) and c.v(q) is not None):
            return func(*args, **kwargs)
        where = tracer.pausing(q.to, input.device) if isinstance(q, Tensor) else q
        out = tracer.pausing(func, input, where, dim, keepdim, **rest)
        y = reduced(c, x, None if dim is None else (dim,), keepdim)
        return tracer.emit(func.__name__, out, c.shaped(y, out.shape))

    return along(*args, **kwargs)


@rule("norm", "linalg_vector_norm", "native_norm")
def norm(
    c: Call,
    self: Tensor,
    p: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> int:
    return reduced(c, the(c, self), _one(dim), keepdim)


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "_cummax_helper", "_cummin_helper")
def cumulative(c: Call, self: Tensor, dim: int, *, dtype: Any = None) -> Any:
    x = the(c, self)
    rank = len(c.g.shapes[x])
    y = families.causal_mix(c.g, x, dim % rank) if rank else c.join([x])
    return [y] * len(c.out) if isinstance(c.out, (list, tuple)) else y


@rule("sort", "argsort", "msort", "topk", "kthvalue", "mode")
def sorting(c: Call, self: Tensor, *args: Any, **kwargs: Any) -> Any:
    """All along the dim, whatever comes out of it."""
    x = the(c, self)
    shape = c.g.shapes[x]
    names = [a.name for a in c.func._schema.arguments]
    dim = {**dict(zip(names, c.args, strict=False)), **kwargs}.get("dim")
    assert c.op is not None
    if dim is None:
        dim = 0 if c.op.name == "aten::msort" else -1

    first = c.out[0] if isinstance(c.out, (list, tuple)) else c.out
    if not shape:
        y = c.join([x])
    elif first.ndim < len(shape):
        y = families.reduce(c.g, x, (dim % len(shape),), False)
    else:
        y = families.mix(c.g, x, (dim % len(shape),), (first.shape[dim],))
    return per_output(c, lambda _: y)


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def fft(c: Call, self: Tensor, dim: Sequence[int], *args: Any) -> int:
    """Every frequency reads the whole signal."""
    x = the(c, self)
    out = tuple(c.out.shape)
    dims = tuple(sorted({d % len(out) for d in dim}))
    return families.mix(c.g, x, dims, [out[d] for d in dims])


@rule("glu")
def glu(c: Call, self: Tensor, dim: int = -1) -> int:
    """Each half of the channels gates the other."""
    x = the(c, self)
    shape = c.g.shapes[x]
    dim %= len(shape)
    half = shape[dim] // 2
    return c.join(
        [families.narrow(c.g, x, dim, 0, half), families.narrow(c.g, x, dim, half, 2 * half)]
    )


@rule("renorm")
def renorm(c: Call, self: Tensor, p: Any, dim: int, maxnorm: Any) -> int:
    x = the(c, self)
    rank = len(c.g.shapes[x])
    return families.norm(c.g, x, tuple(d for d in range(rank) if d != dim % rank))


@rule("tril", "triu")
def triangle(c: Call, self: Tensor, diagonal: int = 0) -> int:
    """The elements on one side of a diagonal, written down one by one; nothing is read elsewhere."""
    x = the(c, self)
    shape = c.g.shapes[x]
    rows, columns = shape[-2:]
    if rows * columns > families.MAX_MASK:
        raise NoRule("a large triangle")
    assert c.op is not None
    lower = c.op.name.startswith("aten::tril")
    held = tuple(
        int(k - r <= diagonal if lower else k - r >= diagonal)
        for r in range(rows)
        for k in range(columns)
    )
    n = rows * columns
    x = families.reshape(c.g, x, (*shape[:-2], n))
    x = c.g.add(Stencil(len(shape) - 2, Taps(n, 0, tuple(range(n)), held), n), x)
    return families.reshape(c.g, x, shape)
