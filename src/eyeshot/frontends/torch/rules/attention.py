"""Attention: a unit reads its own query, and all keys and values that it may look at.

A mask hides no read: the product with a masked key is computed before the mask is added. What a causal flag
leaves out is not computed, or not used: unit i reads keys 0 … i.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.frontends.torch.calls import Call, NoRule
from eyeshot.frontends.torch.rules import function, rule
from eyeshot.frontends.torch.rules.shared import the, values_of
from eyeshot.frontends.torch.trace import Tracer

__all__ = ["with_attention"]


def attended(
    c: Call,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Any = None,
    causal: bool = False,
    gqa: bool = False,
) -> int:
    """Queries (…, L, E), keys (…, S, E), values (…, S, F): each of (…, L, F) reads one feature of the values.

    ``mask`` broadcasts to (…, L, S). ``gqa``: several heads of queries share one of keys. Joined as they are
    computed: queries with keys, then with the mask, and these scores with the values.
    """
    g = c.g
    rows = query.shape[-2]
    parts: list[int] = []
    if (q := c.v(query)) is not None:
        parts.append(families.mix(g, q, (query.ndim - 1,), (1,)))
    values = None
    for t, features in ((key, (key.ndim - 1,)), (value, ())):
        if (x := c.v(t)) is None:
            continue
        if features:
            x = families.mix(g, x, features, (1,))
        # Causal: query i those up to i, so that the last ones may read no more.
        x = families.banded(g, x, t.ndim - 2, rows, right=0 if causal else None)
        x = _shared(c, x, t.ndim - 3, query.shape[-3]) if gqa else x
        if features:
            parts.append(x)
        else:
            values = x
    if mask is not None and (m := c.v(mask)) is not None:
        if mask.ndim and mask.shape[-1] > 1:
            m = families.mix(g, m, (mask.ndim - 1,), (1,))
        parts = [*_one(c, parts), m]
    if values is not None:
        parts = [*_one(c, parts), values]
    return c.join(parts, attention_shape(query, value, gqa))


def _one(c: Call, parts: list[int]) -> list[int]:
    """These as one, if there are any."""
    return [c.join(parts)] if len(parts) > 1 else parts


def _shared(c: Call, x: int, dim: int, heads: int) -> int:
    """Each head of keys serves several of queries, which follow one another."""
    return families.repeat(c.g, x, dim, heads // c.g.shapes[x][dim])


def attention_shape(query: Tensor, value: Tensor, gqa: bool = False) -> tuple[int, ...]:
    """(…, L, F), what lies before broadcast."""
    lead = tuple(value.shape[:-2])
    if gqa:
        lead = (*lead[:-1], query.shape[-3])
    lead = tuple(torch.broadcast_shapes(tuple(query.shape[:-2]), lead))
    return (*lead, query.shape[-2], value.shape[-1])


# --- the function


@function(torch.nn.functional.scaled_dot_product_attention)
def scaled_dot_product_attention(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Whole, before a kernel is chosen."""

    def translated(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: Any = None,
        enable_gqa: bool = False,
    ) -> Any:
        if not _fits(query, key, value, attn_mask, is_causal, enable_gqa):
            return None
        c = Call(tracer, None, func, args, kwargs)
        if tracer.real:
            out = tracer.pausing(func, *args, **kwargs)
        else:
            shape = attention_shape(query, value, enable_gqa)
            fused = dropout_p == 0 and query.shape[-1] == shape[-1]
            out = tracer.pausing(_empty, shape, query.dtype, fused)
        found = attended(c, query, key, value, attn_mask, is_causal, enable_gqa)
        return tracer.emit("scaled_dot_product_attention", out, found)

    out = translated(*args, **kwargs)
    # What does not fit raises PyTorch's own message.
    return func(*args, **kwargs) if out is None else out


@function(torch.nn.functional.multi_head_attention_forward)
def multi_head_attention_forward(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """As PyTorch runs it, with the function above in it."""
    inner = torch.nn.functional.scaled_dot_product_attention

    def attention(query: Tensor, key: Tensor, value: Tensor, *more: Any, **named: Any) -> Any:
        given = (query, key, value, *more)
        if all(tracer.value(t) is None for t in given if isinstance(t, Tensor)):
            return inner(*given, **named)
        return scaled_dot_product_attention(tracer, inner, given, named)

    return with_attention(func, attention)(*args, **kwargs)


def with_attention(func: Any, attention: Callable[..., Tensor]) -> Callable[..., Any]:
    """``multi_head_attention_forward`` with another ``scaled_dot_product_attention`` in it.

    Inside a function that is intercepted PyTorch intercepts no others. The copy looks up one name elsewhere,
    and nothing of PyTorch's is changed.
    """
    names = {**func.__globals__, "scaled_dot_product_attention": attention}
    copy = FunctionType(func.__code__, names, func.__name__, func.__defaults__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def _empty(shape: tuple[int, ...], dtype: torch.dtype, fused: bool) -> Tensor:
    """The output; fused kernels lay heads out beside the features, as (batch, L, heads, F)."""
    if len(shape) == 4 and fused:
        batch, heads, rows, features = shape
        out = torch.empty((batch, rows, heads, features), dtype=dtype, device="meta")
        return out.transpose(1, 2)
    return torch.empty(shape, dtype=dtype, device="meta")


def _fits(query: Any, key: Any, value: Any, mask: Any, causal: bool, gqa: bool) -> bool:
    """Whether PyTorch would take these."""
    tensors = (query, key, value)
    if any(
        not isinstance(t, Tensor) or t.ndim < 2 or t.is_nested or not t.numel() for t in tensors
    ):
        return False
    if len({t.dtype for t in tensors}) > 1 or not query.dtype.is_floating_point:
        return False
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        return False
    if causal and mask is not None:
        return False
    lead = [list(t.shape[:-2]) for t in tensors]
    if gqa:
        if any(t.ndim < 3 for t in tensors):
            return False
        heads, *others = [shape.pop() for shape in lead]
        if any(heads % n for n in others):
            return False
    try:
        wide = list(torch.broadcast_shapes(*lead))
        if gqa:
            wide.append(heads)
        full = [*wide, query.shape[-2], key.shape[-2]]
        return mask is None or list(torch.broadcast_shapes(mask.shape, full)) == full
    except RuntimeError:
        return False


# --- kernels


@rule("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention")
def flash_attention(
    c: Call,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *rest: Any,
    is_causal: bool = False,
    attn_mask: Any = None,
    **kwargs: Any,
) -> list[int | None]:
    """``rest``: dropout, then the causal flag; an overload has three scales before them."""
    flags = [a for a in rest if isinstance(a, bool)]
    return _kernel(c, query, key, value, attn_mask, flags[0] if flags else is_causal)


@rule("_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention")
def efficient_attention(
    c: Call,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    compute_log_sumexp: bool = False,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *args: Any,
    **kwargs: Any,
) -> list[int | None]:
    return _kernel(c, query, key, value, attn_bias, is_causal)


@rule("_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math")
def fused_attention(
    c: Call,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *args: Any,
    attn_mask: Any = None,
    enable_gqa: bool = False,
    **kwargs: Any,
) -> list[int | None]:
    mask = attn_mask if attn_bias is None else attn_bias
    return _kernel(c, query, key, value, mask, is_causal, enable_gqa)


def _kernel(
    c: Call, query: Tensor, key: Tensor, value: Tensor, mask: Any, causal: bool, gqa: bool = False
) -> list[int | None]:
    return [attended(c, query, key, value, mask, causal, gqa), *_behind(c)]


def _behind(c: Call) -> list[int | None]:
    """What a kernel returns besides: sums over the scores, which may read all, and states of random numbers."""
    found: list[int | None] = []
    for out in c.out[1:]:
        held = None
        if isinstance(out, Tensor) and out.numel() and out.is_floating_point():
            held = families.opaque(c.g, [v for _, v in c.reads()], tuple(out.shape))
        found.append(held)
    return found


@rule("_flash_attention_forward", "_efficient_attention_forward")
def packed_attention(
    c: Call, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **kwargs: Any
) -> list[int | None]:
    """(batch, L, heads, E): all keys. Sequences packed into one, and windows, read less."""
    g = c.g
    if query.ndim != 4 or values_of(c, *rest):
        raise NoRule("packed sequences")
    parts = []
    if (q := c.v(query)) is not None:
        parts.append(families.mix(g, q, (3,), (1,)))
    if (k := c.v(key)) is not None:
        parts.append(families.mix(g, k, (1, 3), (1, 1)))
    if (v := c.v(value)) is not None:
        parts.append(families.mix(g, v, (1,), (1,)))
    main = c.join([_shared(c, x, 2, query.shape[2]) for x in parts], tuple(c.out[0].shape))
    why = "which keys a kernel of packed sequences skips is not followed; all are taken as read"
    return [c.bound(main, "no-rule", why), *_behind(c)]


@rule("_native_multi_head_attention")
def native_multi_head_attention(
    c: Call, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> list[int | None]:
    """The fast path of ``nn.MultiheadAttention``: (batch, L, E), all features mixed on the way in and out."""
    g = c.g
    out, weights = c.out
    scores = []
    if (q := c.v(query)) is not None:
        scores.append(families.mix(g, q, (2,), (1,)))
    if (k := c.v(key)) is not None:
        scores.append(families.mix(g, k, (1, 2), (1, 1)))
    for t, x in c.reads():
        if t is query or t is key or t is value:
            continue
        if t.shape[-1:] == key.shape[1:2] and t.dtype is not query.dtype:
            scores.append(families.opaque(g, (x,), (1, 1, 1)))
        else:
            raise NoRule("weights that depend on the input")
    parts = _one(c, scores)
    if (v := c.v(value)) is not None:
        parts = [*parts, families.mix(g, v, (1, 2), (1, 1))]
    main = c.join(parts, tuple(out.shape))
    if not weights.numel() or not scores:
        return [main, None]
    score = c.join(scores)
    if weights.ndim == 4:
        score = families.unsqueeze(g, score, 1)
    return [main, c.shaped(score, tuple(weights.shape))]


@rule("_transformer_encoder_layer_fwd")
def transformer_encoder_layer(c: Call, src: Tensor, *args: Any, **kwargs: Any) -> int:
    """Self-attention over all tokens and features; masks hide nothing."""
    if any(t is not src for t, _ in c.reads()):
        raise NoRule("weights or a mask that depend on the input")
    return families.mix(c.g, the(c, src), (src.ndim - 2, src.ndim - 1))
