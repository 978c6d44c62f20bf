"""Look-ups: rows of tables, what a mask lets through, what is listed or counted, values among boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Stencil, Taps
from eyeshot.frontends.torch.calls import Call, NeedsData
from eyeshot.frontends.torch.rules import rule
from eyeshot.frontends.torch.rules.indexing import DEPENDENT, DEPENDS, index, indexed, reason
from eyeshot.frontends.torch.rules.shared import blank, per_output, the, values_of

__all__ = []


# --- tables


@rule("embedding", kernel=blank)
def embedding(
    c: Call,
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale: bool = False,
    sparse: bool = False,
) -> int | None:
    """Rows of a table; where the table is constant, a token reads itself."""
    return index(c, weight, [indices])


@rule("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    c: Call,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> list[int | None]:
    """Rows between one offset and the next are added up."""
    g = c.g
    outs = c.out
    bags, total = outs[0].shape[0], indices.shape[0]
    parts = []
    rows = index(c, weight, [indices])
    if rows is not None:
        parts.append(rows)
    parts += [families.unsqueeze(g, w, 1) for w in values_of(c, per_sample_weights)]
    starts = c.known(offsets)
    found: list[int] = []
    if parts:
        x = c.join(parts, (total, weight.shape[1]))
        if starts is None:
            found.append(c.bound(families.mix(g, x, (0,), (bags,)), DEPENDENT, reason(c, offsets)))
        else:
            first = [int(p) for p in starts[:bags]]
            ends = [*first[1:], int(starts[bags]) if include_last_offset else total]
            counts = [end - start for start, end in zip(first, ends, strict=True)]
            taps = Taps(bags, 0, tuple(first), tuple(counts))
            if len(set(counts)) == 1 and first == list(range(0, total, counts[0])):
                taps = families.window(counts[0], counts[0], 1, 0)
            found.append(g.add(Stencil(0, taps, bags), x))
    if starting := values_of(c, offsets):
        found.append(families.opaque(g, starting, tuple(outs[0].shape)))
    everything = [value for _, value in c.reads()]
    others = [
        families.opaque(g, everything, tuple(o.shape)) if o.numel() else None for o in outs[1:]
    ]
    return [c.join(found, tuple(outs[0].shape)), *others]


# --- masks


@rule("masked_select", kernel=blank)
def masked_select(c: Call, self: Tensor, mask: Tensor) -> int | None:
    held = c.known(mask)
    if held is None:
        if c.out is None:
            raise NeedsData("masked_select needs numbers")
        read = [value for _, value in c.reads()]
        return c.bound(families.opaque(c.g, read, tuple(c.out.shape)), DEPENDENT, DEPENDS)
    shape = np.broadcast_shapes(tuple(self.shape), held.shape)
    x = c.shaped(the(c, self), shape)
    return indexed(c, x, list(np.broadcast_to(held, shape).nonzero()))


# --- what depends on all elements


@rule("nonzero", "unique_consecutive", "_unique2", "_unique", "unique_dim", "nonzero_numpy",
      "nonzero_static", "repeat_interleave")  # fmt: skip
def listed(c: Call, *args: Any, **kwargs: Any) -> Any:
    """What is listed where depends on all the elements before it."""
    if c.out is None:
        raise NeedsData("a shape that depends on data")
    read = [value for _, value in c.reads()]

    def every(out: Tensor) -> int | None:
        if not out.numel():
            return None
        return c.bound(families.opaque(c.g, read, tuple(out.shape)), DEPENDENT, DEPENDS)

    return per_output(c, every)


@rule("bincount", "histc", "_histogramdd_from_bin_cts", "_histogramdd_from_bin_tensors", "histogram",
      "_histogramdd_bin_edges")  # fmt: skip
def counted(c: Call, *args: Any, **kwargs: Any) -> Any:
    """Every bin looks at every element."""
    read = [value for _, value in c.reads()]
    return per_output(
        c, lambda out: families.opaque(c.g, read, tuple(out.shape)) if out.numel() else None
    )


@rule("multinomial")
def multinomial(c: Call, self: Tensor, num_samples: int, *args: Any, **kwargs: Any) -> int:
    """Numbers drawn from a row look at all of its probabilities."""
    return families.mix(c.g, the(c, self), (self.ndim - 1,), (num_samples,))


# --- among boundaries


@rule("isin")
def isin(c: Call, elements: Any, test_elements: Any, **kwargs: Any) -> int:
    """Its own element, and all that it is compared with."""
    parts = values_of(c, elements)
    if others := values_of(c, test_elements):
        parts.append(families.opaque(c.g, others, tuple(c.out.shape)))
    return c.join(parts, c.out.shape)


@rule("searchsorted")
def searchsorted(
    c: Call, sorted_sequence: Tensor, self: Any, *, sorter: Any = None, **kwargs: Any
) -> int:
    """Its own value, and all of the sequence that it is looked up in."""
    parts = values_of(c, self)
    for t in (sorted_sequence, sorter):
        if t is None or (v := c.v(t)) is None:
            continue
        v = families.mix(c.g, v, (t.ndim - 1,), (1,))
        # One sequence serves all values; several lie along the values' dims.
        parts.append(v if t.ndim > 1 else families.reshape(c.g, v, (1,) * c.out.ndim))
    return c.join(parts, c.out.shape)


@rule("bucketize")
def bucketize(c: Call, self: Any, boundaries: Tensor, **kwargs: Any) -> int:
    """A value among boundaries: it reads itself and all of them."""
    return searchsorted(c, boundaries, self)
