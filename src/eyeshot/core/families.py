"""Families: one builder for each way in which operators read, shared by all frontends.

A builder appends primitives to a graph and returns the value's number. Sizes follow PyTorch's
formulas (Dumoulin & Visin 2016, arXiv 1603.07285, derive them). Parameters come one per axis;
a parameter that does not fit raises :class:`~eyeshot.errors.FieldError`, which names it.

``first`` is the tensor dim of the first axis (2 in ``(batch, channel, *axes)``); axes follow one another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from eyeshot.core.graph import Graph
from eyeshot.core.primitives import (
    MAX_SIZE,
    Border,
    Concat,
    Join,
    Mix,
    Rearrange,
    Shape,
    Stencil,
    Taps,
    text,
)
from eyeshot.core.taps import (
    ANTIALIASED_CUBIC,
    CUBIC,
    MAX_PERIOD,
    adaptive,
    antialiased,
    cubic,
    gathered,
    kernel_weights,
    sampled,
    scattered,
    small,
    transposed,
    window,
)
from eyeshot.errors import FieldError

__all__ = [
    "ANTIALIASED_CUBIC",
    "CUBIC",
    "MAX_MASK",
    "MAX_PERIOD",
    "adaptive_pool",
    "antialiased",
    "attention_block",
    "banded",
    "causal_mix",
    "channel_shuffle",
    "channel_window",
    "col2im",
    "concat",
    "conv",
    "conv_transpose",
    "cubic",
    "diagonal",
    "expand",
    "flip",
    "gathered",
    "gathered_sets",
    "group_norm",
    "im2col",
    "index",
    "interpolate",
    "join",
    "kernel_weights",
    "masked",
    "mix",
    "narrow",
    "norm",
    "opaque",
    "pad",
    "permute",
    "pick",
    "pixel_shuffle",
    "pixel_unshuffle",
    "placed",
    "pool",
    "rearrange",
    "recurrent",
    "reduce",
    "repeat",
    "reshape",
    "roll",
    "same_padding",
    "sampled",
    "sliding",
    "spread",
    "squeeze",
    "take",
    "transposed_weights",
    "unsqueeze",
    "window",
]

Pair = tuple[int, int]


# --- sizes


def conv_size(
    n: int, kernel: int, stride: int, dilation: int, pad: Pair, ceil: bool = False
) -> int:
    """Output size of a window: floor((n + padding - dilation·(kernel-1) - 1) / stride) + 1."""
    span = dilation * (kernel - 1) + 1
    room = n + pad[0] + pad[1] - span
    if ceil:
        # PyTorch: the last window must start inside the input or its beginning padding.
        size = -(-room // stride) + 1
        size -= (size - 1) * stride >= n + pad[0]
        if size > 0:
            return size
    if room < 0 or ceil:
        grown = f" with dilation {dilation} spans {span}," if dilation > 1 else " is"
        padded = f", padded to {n + pad[0] + pad[1]}" if any(pad) else ""
        raise FieldError("kernel", f"{kernel}{grown} larger than its input ({n}{padded})")
    return room // stride + 1


def same_padding(n: int, kernel: int, stride: int, dilation: int, lower: bool = False) -> Pair:
    """TensorFlow's SAME: size ceil(n/stride), the odd element at the end (``lower``: at the beginning)."""
    size = -(-n // stride)
    total = max((size - 1) * stride + dilation * (kernel - 1) + 1 - n, 0)
    less, more = total // 2, total - total // 2
    return (more, less) if lower else (less, more)


def _fits(size: int, field: str) -> int:
    if not 0 < size <= MAX_SIZE:
        raise FieldError(field, f"gives size {size}, outside 1 … {MAX_SIZE}")
    return size


# --- windows


def conv(
    graph: Graph,
    x: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    channels: int,
    groups: int = 1,
    border: Border = "drop",
    first: int = 2,
) -> int:
    """Convolution: all channels of the group, then a window per axis; the channel dim is ``first - 1``."""
    x = _mix_channels(graph, x, first - 1, channels, groups)
    if border != "drop":
        x = pad(graph, x, padding, border, first)
        padding = [(0, 0)] * len(padding)
    return pool(graph, x, kernel, stride, padding, dilation, first=first)


def _mix_channels(graph: Graph, x: int, dim: int, channels: int, groups: int) -> int:
    shape = graph.shapes[x]
    n = shape[dim]
    if n % groups:
        raise FieldError("groups", f"{groups} does not divide the input's {n} channels")
    if channels % groups:
        raise FieldError("channels", f"{channels} is not a multiple of groups {groups}")
    if n == channels == groups:
        return x
    return graph.add(Mix((dim,), (_fits(channels, "channels"),), groups), x)


def pool(
    graph: Graph,
    x: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    ceil: bool = False,
    first: int = 2,
    counted: bool = True,
) -> int:
    """A window per axis.

    ``counted``: padding counts in an average as elements do. What a window of ``ceil`` mode reads beyond the
    padding never does.
    """
    for k, size in enumerate(kernel):
        dim = first + k
        n = graph.shapes[x][dim]
        out = conv_size(n, size, stride[k], dilation[k], padding[k], ceil)
        begin, end = padding[k]
        if size == 1 and stride[k] == 1 and out == n and not begin:
            continue
        _fits(out, "padding")
        beyond = stride[k] * (out - 1) + dilation[k] * (size - 1) - begin >= n + end
        if counted and beyond and (begin or end):
            x = pad(graph, x, (padding[k],), "drop", dim)
            begin = 0
        cut = beyond or (not counted and bool(begin or end))
        x = graph.add(
            Stencil(dim, window(size, stride[k], dilation[k], begin, "drop", cut), out), x
        )
    return x


def conv_transpose(
    graph: Graph,
    x: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    output_padding: Sequence[int],
    dilation: Sequence[int],
    channels: int,
    groups: int = 1,
    first: int = 2,
) -> int:
    """Transposed convolution; size (n-1)·stride - padding + dilation·(kernel-1) + output_padding + 1."""
    x = _mix_channels(graph, x, first - 1, channels, groups)
    for k, size in enumerate(kernel):
        dim = first + k
        n = graph.shapes[x][dim]
        out = (n - 1) * stride[k] - sum(padding[k]) + dilation[k] * (size - 1)
        out += output_padding[k] + 1
        small(stride[k], "stride")
        taps = transposed(size, stride[k], dilation[k], padding[k][0])
        x = graph.add(Stencil(dim, taps, _fits(out, "padding")), x)
    return x


def transposed_weights(
    graph: Graph,
    w: int,
    inputs: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    outputs: Sequence[int],
    groups: int = 1,
) -> int:
    """What a transposed convolution from axes of ``inputs`` to ``outputs`` reads of its weights.

    They are (in, out/groups, *taps), and each output meets some of its channel's: (1, out, *axes) comes of it.
    """
    rows, columns, *kernel = graph.shapes[w]
    w = reshape(graph, w, (groups, rows // groups, columns, *kernel))
    w = reduce(graph, w, (1,), False)
    w = reshape(graph, w, (1, groups * columns, *kernel))
    for k, size in enumerate(outputs):
        taps = _met(inputs[k], kernel[k], stride[k], dilation[k], padding[k][0], small(size))
        w = graph.add(Stencil(2 + k, taps, size), w)
    return w


def _met(n: int, kernel: int, stride: int, dilation: int, begin: int, size: int) -> Taps:
    """Which taps t of a transposed window meet an input: p + begin - dilation·t = stride·i for 0 <= i < n."""
    turn = stride // math.gcd(stride, dilation)  # met taps are so far apart
    first, count = [], []
    for p in range(size):
        # i falls as t grows: a tap is met from the first at which i < n on, until i < 0.
        low = max(0, -((stride * (n - 1) - p - begin) // dilation))
        high = min(kernel - 1, (p + begin) // dilation)
        some = range(low, min(low + turn, high + 1))
        start = next((t for t in some if not (p + begin - dilation * t) % stride), None)
        first.append(start or 0)
        count.append(0 if start is None else (high - start) // turn + 1)
    return Taps(size, 0, tuple(first), tuple(count), turn)


def adaptive_pool(graph: Graph, x: int, sizes: Sequence[int], first: int = 2) -> int:
    """Adaptive pooling to ``sizes``; to 1 it reads the whole axis."""
    whole = []
    for k, size in enumerate(sizes):
        n = graph.shapes[x][first + k]
        if size == 1 and n > 1:
            whole.append(first + k)
        elif size != n:
            x = graph.add(Stencil(first + k, adaptive(n, _fits(size, "size")), size), x)
    if whole:
        x = graph.add(Mix(tuple(whole), (1,) * len(whole)), x)
    return x


def interpolate(
    graph: Graph,
    x: int,
    sizes: Sequence[int],
    scales: Sequence[Fraction | None],
    mode: str,
    align_corners: bool = False,
    first: int = 2,
) -> int:
    """Resampling to ``sizes``; ``scales`` are inputs per output where given, else n/size.

    ``mode``: nearest, nearest-exact, linear, cubic, area. Source coordinates as in PyTorch.
    """
    if mode == "area":
        return adaptive_pool(graph, x, sizes, first)
    half = Fraction(1, 2)
    for k, size in enumerate(sizes):
        n = graph.shapes[x][first + k]
        given = scales[k]
        scale = Fraction(n, _fits(size, "size")) if given is None else given
        offset = Fraction(0)
        if align_corners and mode in ("linear", "cubic"):
            scale = Fraction(n - 1, size - 1) if size > 1 else Fraction(0)
        elif mode in ("linear", "cubic"):
            offset = half * scale - half
        elif mode == "nearest-exact":
            offset = half * scale
        # PyTorch copies an axis that linear interpolation leaves as long as it was; cubic still reads four.
        if size == n and (mode == "linear" or (scale == 1 and mode != "cubic")):
            continue
        small(scale.denominator, "size" if given is None else "scale")
        x = graph.add(Stencil(first + k, sampled(mode, scale, offset), size), x)
    return x


# --- one element of one dim


def pad(
    graph: Graph, x: int, padding: Sequence[Pair], border: Border = "drop", first: int = 2
) -> int:
    """Padding per axis, negative to crop; ``border`` says what the padding repeats."""
    for k, (begin, end) in enumerate(padding):
        if not (begin or end):
            continue
        n = graph.shapes[x][first + k]
        if border != "drop":
            most = {"reflect": n - 1, "wrap": n, "clamp": MAX_SIZE}[border]
            if min(begin, end) < 0:
                raise FieldError("padding", "only constant padding may be negative")
            if max(begin, end) > most:
                raise FieldError(
                    "padding", f"{max(begin, end)} is more than {most}, the most for {n} elements"
                )
        size = _fits(n + begin + end, "padding")
        x = graph.add(Stencil(first + k, window(1, 1, 1, begin, border), size), x)
    return x


def placed(graph: Graph, x: int, dim: int, begin: int, n: int) -> int:
    """Its elements at ``begin``, ``begin + 1``, … of ``n``; the others read nothing, not even padding."""
    if not begin and n == graph.shapes[x][dim]:
        return x
    taps = window(1, 1, 1, begin, renormalized=True)
    return graph.add(Stencil(dim, taps, _fits(n, "size")), x)


def narrow(graph: Graph, x: int, dim: int, start: int, stop: int, step: int = 1) -> int:
    """Elements start, start + step, … below stop along ``dim``; 0 <= start < stop <= n."""
    n = graph.shapes[x][dim]
    if not 0 <= start < stop <= n:
        raise FieldError("stop", f"nothing is left of {n} elements between {start} and {stop}")
    if (start, stop, step) == (0, n, 1):
        return x
    size = -(-(stop - start) // step)
    return graph.add(Stencil(dim, window(1, step, 1, -start), size), x)


def take(graph: Graph, x: int, dim: int, positions: Sequence[int]) -> int:
    """The elements at known ``positions`` along ``dim``."""
    at = tuple(positions)
    return graph.add(Stencil(dim, Taps(len(at), 0, at, (1,) * len(at)), len(at)), x)


def index(graph: Graph, x: int, dim: int, position: int) -> int:
    """The element at ``position``; the dim disappears."""
    return squeeze(graph, graph.add(Stencil(dim, window(1, 1, 1, -position), 1), x), (dim,))


def repeat(graph: Graph, x: int, dim: int, times: int) -> int:
    """Each element along ``dim`` so many times in a row."""
    if times == 1:
        return x
    small(times, "times")
    taps = Taps(times, 1, (0,) * times, (1,) * times)
    return graph.add(Stencil(dim, taps, _fits(graph.shapes[x][dim] * times, "times")), x)


def flip(graph: Graph, x: int, dims: Sequence[int]) -> int:
    """Mirrored along ``dims``."""
    for dim in dims:
        n = graph.shapes[x][dim]
        x = graph.add(Stencil(dim, Taps(1, -1, (n - 1,), (1,)), n), x)
    return x


def roll(graph: Graph, x: int, dims: Sequence[int], shifts: Sequence[int]) -> int:
    """out[i] = in[(i - shift) mod n]."""
    for dim, shift in zip(dims, shifts, strict=True):
        n = graph.shapes[x][dim]
        # The shorter way round: the canvas shows a roll as a shift.
        shift = (shift + n // 2) % n - n // 2
        if shift:
            x = graph.add(Stencil(dim, window(1, 1, 1, shift, "wrap"), n), x)
    return x


# --- rearrangements


def rearrange(
    graph: Graph,
    x: int,
    split: Shape,
    order: Sequence[int],
    shape: Shape,
    parts: Sequence[int] | None = None,
    merged: Sequence[int] | None = None,
) -> int:
    """Reshape to ``split``, permute, reshape to ``shape``; see :class:`Rearrange` for the rest."""
    prim = Rearrange(
        split,
        tuple(order),
        shape,
        None,
        None if parts is None else tuple(parts),
        None if merged is None else tuple(merged),
    )
    return graph.add(prim, x)


def squeeze(graph: Graph, x: int, dims: Sequence[int]) -> int:
    """Without ``dims``, which have size 1."""
    old = graph.shapes[x]
    kept = [d for d in range(len(old)) if d not in dims]
    shape = tuple(old[d] for d in kept)
    parts = [int(d in kept) for d in range(len(old))]
    return rearrange(graph, x, shape, range(len(kept)), shape, parts, (1,) * len(kept))


def unsqueeze(graph: Graph, x: int, dim: int) -> int:
    """With a new dim of size 1 at ``dim``."""
    old = graph.shapes[x]
    merged = (*(1,) * dim, 0, *(1,) * (len(old) - dim))
    shape = (*old[:dim], 1, *old[dim:])
    return rearrange(graph, x, old, range(len(old)), shape, (1,) * len(old), merged)


def reshape(graph: Graph, x: int, shape: Sequence[int]) -> int:
    """Row-major reshape."""
    old = graph.shapes[x]
    shape = tuple(shape)
    if math.prod(shape) != math.prod(old):
        raise FieldError("shape", f"{text([shape])} has not as many elements as {text([old])}")
    if shape == old:
        return x
    return rearrange(graph, x, old, range(len(old)), shape)


def permute(graph: Graph, x: int, order: Sequence[int]) -> int:
    """Dims in a new order."""
    old = graph.shapes[x]
    if sorted(order) != list(range(len(old))):
        raise FieldError("order", f"{list(order)} is no order of {len(old)} dims")
    each = (1,) * len(old)
    return rearrange(graph, x, old, order, tuple(old[k] for k in order), each, each)


def expand(graph: Graph, x: int, shape: Sequence[int]) -> int:
    """Size-1 dims broadcast; leading dims added."""
    old = graph.shapes[x]
    shape = tuple(shape)
    if old == shape:
        return x
    split = (1,) * (len(shape) - len(old)) + old
    return graph.add(Rearrange(split, tuple(range(len(split))), shape, shape), x)


def pixel_shuffle(graph: Graph, x: int, factors: Sequence[int], first: int = 2) -> int:
    """Channels (C, f1, f2, …) moved into the axes: PyTorch's order."""
    shape = graph.shapes[x]
    dim, axes = first - 1, len(factors)
    block = math.prod(factors)
    if shape[dim] % block:
        raise FieldError("factor", f"{shape[dim]} channels are not a multiple of {block}")
    batch, spatial, rest = shape[:dim], shape[first : first + axes], shape[first + axes :]
    split = (*batch, shape[dim] // block, *factors, *spatial, *rest)
    order = [*range(dim + 1)]
    for k in range(axes):
        order += [dim + 1 + axes + k, dim + 1 + k]
    order += range(dim + 1 + 2 * axes, len(split))
    sizes = tuple(_fits(n * f, "factor") for n, f in zip(spatial, factors, strict=True))
    out = (*batch, shape[dim] // block, *sizes, *rest)
    same, tail = (1,) * dim, (1,) * len(rest)
    parts = (*same, 1 + axes, *(1,) * axes, *tail)
    return rearrange(graph, x, split, order, out, parts, (*same, 1, *(2,) * axes, *tail))


def pixel_unshuffle(graph: Graph, x: int, factors: Sequence[int], first: int = 2) -> int:
    """The inverse of :func:`pixel_shuffle`."""
    shape = graph.shapes[x]
    dim, axes = first - 1, len(factors)
    batch, spatial, rest = shape[:dim], shape[first : first + axes], shape[first + axes :]
    for n, f in zip(spatial, factors, strict=True):
        if n % f:
            raise FieldError("factor", f"size {n} is not a multiple of {f}")
    sizes = tuple(n // f for n, f in zip(spatial, factors, strict=True))
    split = [*batch, shape[dim]]
    for n, f in zip(sizes, factors, strict=True):
        split += [n, f]
    order = [*range(dim + 1)]
    order += [dim + 2 + 2 * k for k in range(axes)]
    order += [dim + 1 + 2 * k for k in range(axes)]
    order += range(dim + 1 + 2 * axes, len(split) + len(rest))
    out = (*batch, shape[dim] * math.prod(factors), *sizes, *rest)
    same, tail = (1,) * dim, (1,) * len(rest)
    merged = (*same, 1 + axes, *(1,) * axes, *tail)
    parts = (*same, 1, *(2,) * axes, *tail)
    return rearrange(graph, x, (*split, *rest), order, out, parts, merged)


def diagonal(graph: Graph, x: int, dim1: int, dim2: int, offset: int = 0) -> int:
    """A diagonal of two dims, as the last one: seen as one dim, every (columns + 1)-th element is taken."""
    shape = graph.shapes[x]
    rest = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    x = permute(graph, x, [*rest, dim1, dim2])
    rows, columns = shape[dim1], shape[dim2]
    x = reshape(graph, x, (*(shape[d] for d in rest), rows * columns))
    count = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    if count < 1:
        raise FieldError("offset", f"{offset} is beside {rows} rows and {columns} columns")
    start = offset if offset >= 0 else -offset * columns
    stop = start + (columns + 1) * (count - 1) + 1
    return narrow(graph, x, len(rest), start, stop, columns + 1)


def im2col(
    graph: Graph,
    x: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    first: int = 2,
) -> int:
    """Windows as columns: (batch, channels, *axes) to (batch, channels·taps, positions)."""
    shape = graph.shapes[x]
    axes = len(kernel)
    counts = []
    for k, taps in enumerate(kernel):
        dim = first + k
        count = conv_size(shape[dim], taps, stride[k], dilation[k], padding[k])
        prim = gathered(taps, stride[k], dilation[k], padding[k][0])
        x = graph.add(Stencil(dim, prim, _fits(count * taps, "kernel")), x)
        counts.append(count)
    head = shape[:first]
    split = (*head, *(n for k in range(axes) for n in (counts[k], kernel[k])))
    order = [*range(first), *range(first + 1, len(split), 2), *range(first, len(split), 2)]
    out = (*head[:-1], head[-1] * math.prod(kernel), math.prod(counts))
    same = (1,) * (first - 1)
    parts = (*same, 1, *(2,) * axes)
    return rearrange(graph, x, split, order, out, parts, (*same, 1 + axes, axes))


def col2im(
    graph: Graph,
    x: int,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    first: int = 2,
) -> int:
    """Columns added up where their windows lay: the transpose of :func:`im2col`, to axes of ``sizes``."""
    shape = graph.shapes[x]
    axes = len(kernel)
    counts = [
        conv_size(n, kernel[k], stride[k], dilation[k], padding[k]) for k, n in enumerate(sizes)
    ]
    block = math.prod(kernel)
    if shape[first - 1] % block or shape[first] != math.prod(counts):
        raise FieldError(
            "size",
            f"{text([shape])} are not the columns of {block} taps at {text([tuple(counts)])}",
        )
    head = (*shape[: first - 1], shape[first - 1] // block)
    split = (*head, *kernel, *counts)
    order = [*range(first), *(first + d * axes + k for k in range(axes) for d in (1, 0))]
    out = (*head, *(counts[k] * kernel[k] for k in range(axes)))
    same = (1,) * (first - 1)
    x = rearrange(graph, x, split, order, out, (*same, 1 + axes, axes), (*same, 1, *(2,) * axes))
    for k, size in enumerate(sizes):
        taps = scattered(kernel[k], stride[k], dilation[k], padding[k][0])
        x = graph.add(Stencil(first + k, taps, _fits(size, "size")), x)
    return x


def channel_shuffle(graph: Graph, x: int, groups: int, dim: int = 1) -> int:
    """Channels seen as (groups, C/groups), transposed."""
    shape = graph.shapes[x]
    if len(shape) <= dim:
        raise FieldError("inputs", "the tensor has no channels")
    if shape[dim] % groups:
        raise FieldError("groups", f"{groups} does not divide the input's {shape[dim]} channels")
    if groups in (1, shape[dim]):
        return x
    split = (*shape[:dim], groups, shape[dim] // groups, *shape[dim + 1 :])
    order = [*range(dim), dim + 1, dim, *range(dim + 2, len(split))]
    parts = (*(1,) * dim, 2, *(1,) * (len(shape) - dim - 1))
    return rearrange(graph, x, split, order, shape, parts, parts)


# --- several tensors


def join(graph: Graph, *inputs: int) -> int:
    """Any pointwise operator."""
    return graph.add(Join(), *inputs)


def concat(graph: Graph, inputs: Sequence[int], dim: int) -> int:
    """Inputs one after another along ``dim``."""
    if len({len(graph.shapes[v]) for v in inputs}) > 1:
        raise FieldError(
            "inputs", f"shapes {text([graph.shapes[v] for v in inputs])} differ in rank"
        )
    return graph.add(Concat(dim), *inputs)


# --- mixing


def mix(graph: Graph, x: int, dims: Sequence[int], sizes: Sequence[int] | None = None) -> int:
    """Everything along ``dims`` is read; they then have ``sizes`` (as before)."""
    shape = graph.shapes[x]
    if sizes is None:
        sizes = [shape[d] for d in dims]
    return graph.add(Mix(tuple(dims), tuple(sizes)), x)


def reduce(graph: Graph, x: int, dims: Sequence[int], keepdim: bool) -> int:
    """A reduction over ``dims``."""
    x = mix(graph, x, dims, (1,) * len(dims))
    return x if keepdim else squeeze(graph, x, dims)


def causal_mix(graph: Graph, x: int, dim: int) -> int:
    """Everything up to its own position along ``dim``: running sums, recurrences."""
    return graph.add(Mix((dim,), (graph.shapes[x][dim],), 1, True), x)


def banded(
    graph: Graph,
    x: int,
    dim: int,
    rows: int,
    offset: int = 0,
    left: int | None = None,
    right: int | None = None,
) -> int:
    """Row i of ``rows`` reads what there is of ``i + offset - left`` to ``i + offset + right`` along ``dim``.

    None: no end on that side. With neither, the dim has size 1, as for all rows alike.
    """
    n = graph.shapes[x][dim]
    if left is not None and offset + rows - 1 <= left:
        left = None
    if right is not None and offset + right >= n - 1:
        right = None
    if left is not None and right is not None:
        taps = window(max(0, left + right + 1), 1, 1, left - offset, renormalized=True)
        return graph.add(Stencil(dim, taps, _fits(rows, "rows")), x)
    if right is not None:
        x = causal_mix(graph, x, dim)
        return _shifted(graph, x, dim, rows, offset + right, (0, max(0, offset + right + rows - n)))
    if left is not None:
        x = flip(graph, causal_mix(graph, flip(graph, x, (dim,)), dim), (dim,))
        return _shifted(graph, x, dim, rows, offset - left, (max(0, left - offset), 0))
    return mix(graph, x, (dim,), (1,))


def _shifted(graph: Graph, x: int, dim: int, rows: int, shift: int, grown: Pair) -> int:
    """Row i is position i + shift, with the ends repeated so often; nothing behind them."""
    n = graph.shapes[x][dim]
    x = pad(graph, x, (grown,), "clamp", dim)
    shift += grown[0]
    if not shift and rows == graph.shapes[x][dim]:
        return x
    if shift >= 0 and shift + rows <= n + sum(grown):
        return narrow(graph, x, dim, shift, shift + rows)
    return placed(graph, x, dim, -shift, rows)


def recurrent(
    graph: Graph, x: int, dim: int, features: int, hidden: int, bidirectional: bool
) -> int:
    """A recurrence along ``dim`` over mixed ``features``; the second direction's follow the first's."""
    x = mix(graph, x, (features,), (hidden,))
    forward = causal_mix(graph, x, dim)
    if not bidirectional:
        return forward
    backward = flip(graph, causal_mix(graph, flip(graph, x, (dim,)), dim), (dim,))
    return concat(graph, (forward, backward), features)


def norm(graph: Graph, x: int, dims: Sequence[int]) -> int:
    """Its own element, and statistics over ``dims``: normalisation and softmax."""
    return join(graph, x, mix(graph, x, dims, (1,) * len(dims)))


def group_norm(graph: Graph, x: int, groups: int, first: int = 2) -> int:
    """Its own element, and statistics over its group's channels and all axes."""
    shape = graph.shapes[x]
    dim = first - 1
    axes = tuple(range(first, len(shape)))
    if shape[dim] % groups:
        raise FieldError("groups", f"{groups} does not divide the input's {shape[dim]} channels")
    y = mix(graph, x, axes, (1,) * len(axes)) if axes else x
    if groups != shape[dim]:
        y = graph.add(Mix((dim,), (shape[dim],), groups), y)
    return join(graph, x, y)


def channel_window(graph: Graph, x: int, size: int, dim: int = 1) -> int:
    """Channels [c - floor(size/2), c + floor((size-1)/2)]: local response normalisation."""
    taps = window(size, 1, 1, size // 2, renormalized=True)
    return graph.add(Stencil(dim, taps, graph.shapes[x][dim]), x)


def attention_block(
    graph: Graph, x: int, dims: Sequence[int], window_: Sequence[int], shift: Sequence[int]
) -> int:
    """Keys of the same block: i reads [⌊(i-shift)/w⌋·w + shift, +w) around the end, per dim.

    A shifted-window transformer (Liu et al. 2021, arXiv 2103.14030) rolls by -shift to that effect.
    """
    for dim, width, by in zip(dims, window_, shift, strict=True):
        n = graph.shapes[x][dim]
        if n % width:
            raise FieldError("window", f"size {n} is not a multiple of {width}")
        if width == n:
            x = mix(graph, x, (dim,))
            continue
        small(width, "window")
        by %= width
        # Blocks begin at shift, shift + width, …; positions before the first read the block before it.
        begin = tuple(by - width if p < by else by for p in range(width))
        taps = Taps(width, width, begin, (width,) * width, 1, "wrap" if by else "drop")
        x = graph.add(Stencil(dim, taps, n), x)
    return x


def sliding(graph: Graph, x: int, dims: Sequence[int], widths: Sequence[int]) -> int:
    """Positions within ``width // 2`` of its own, per dim."""
    for dim, width in zip(dims, widths, strict=True):
        half = width // 2
        taps = window(2 * half + 1, 1, 1, half, renormalized=True)
        x = graph.add(Stencil(dim, taps, graph.shapes[x][dim]), x)
    return x


def opaque(graph: Graph, inputs: Sequence[int], shape: Sequence[int]) -> int:
    """An operator that nobody translated: everything of every input. The caller records the bound."""
    parts = []
    for x in inputs:
        rank = len(graph.shapes[x])
        part = mix(graph, x, range(rank), (1,) * rank) if rank else x
        parts.append(reshape(graph, part, (1,) * len(shape)))
    x = join(graph, *parts)
    return expand(graph, x, shape)


# --- known positions


#: Periods of known positions are looked for up to this many; longer ones are written down whole.
MAX_PATTERN = 64


def pick(graph: Graph, x: int, dim: int, positions: Sequence[int]) -> int:
    """As :func:`take`, but written down by the shortest period in which the positions repeat.

    So steps, mirrors and repeats keep their closed form. Positions from 0 to n-1 in order give x itself.
    """
    at = tuple(positions)
    count = len(at)
    if count == graph.shapes[x][dim] and at == tuple(range(count)):
        return x
    for period in range(1, min(count // 2, MAX_PATTERN) + 1):
        advance = at[period] - at[0]
        if all(b - a == advance for a, b in zip(at, at[period:], strict=False)):
            taps = Taps(period, advance, at[:period], (1,) * period)
            return graph.add(Stencil(dim, taps, count), x)
    small(count, "positions")
    return take(graph, x, dim, at)


def gathered_sets(graph: Graph, x: int, dim: int, sets: Sequence[Sequence[int]]) -> int:
    """Output i reads all positions of ``sets[i]`` along ``dim``; negative ones are none. Lengths are equal."""
    width, size = len(sets[0]), len(sets)
    ends = [(min(some, default=0), max(some, default=-1)) for some in
            ([p for p in places if p >= 0] for places in sets)]  # fmt: skip
    counts = [high - low + 1 for low, high in ends]
    if all(
        {p for p in places if p >= 0} == set(range(low, high + 1))
        for places, (low, high) in zip(sets, ends, strict=True)
    ):
        first = tuple(low for low, _ in ends)
        small(size, "positions")
        return graph.add(Stencil(dim, Taps(size, 0, first, tuple(counts)), size), x)
    # Sets with gaps: their elements side by side, then added up.
    at = [p for places in sets for p in places]
    small(len(at), "positions")
    taps = Taps(len(at), 0, tuple(max(p, 0) for p in at), tuple(int(p >= 0) for p in at))
    x = graph.add(Stencil(dim, taps, len(at)), x)
    return graph.add(Stencil(dim, window(width, width, 1, 0), size), x)


def spread(graph: Graph, x: int, dim: int, positions: Sequence[int], n: int) -> int:
    """Element k along ``dim`` added at ``positions[k]`` of n; what is added to no position reads nothing."""
    at = tuple(positions)
    count = len(at)
    if at == tuple(range(at[0], at[0] + count)):
        return placed(graph, x, dim, at[0], n)
    small(max(n, count), "positions")
    # Elements that go to the same position side by side: each position then reads one run.
    order = sorted(range(count), key=at.__getitem__)
    x = pick(graph, x, dim, order)
    counts = [0] * n
    for p in at:
        counts[p] += 1
    first, total = [], 0
    for many in counts:
        first.append(total)
        total += many
    return graph.add(Stencil(dim, Taps(n, 0, tuple(first), tuple(counts)), n), x)


#: A mask that varies along several dims is written down up to this many elements.
MAX_MASK = 1 << 16


def masked(graph: Graph, x: int, held: NDArray[Any]) -> int | None:
    """The elements where ``held``, which broadcasts to ``x``, is true, nothing elsewhere.

    None if that is too long to write down.
    """
    if held.all():
        return x
    shape = graph.shapes[x]
    lead = len(shape) - held.ndim
    varied = [
        d + lead
        for d in range(held.ndim)
        if held.shape[d] > 1 and (held != held.take([0], d)).any()
    ]
    n = math.prod(shape[d] for d in varied)
    if n > MAX_MASK:
        return None
    line = held[tuple(slice(None) if d + lead in varied else 0 for d in range(held.ndim))]
    taps = Taps(n, 0, tuple(range(n)), tuple(int(kept) for kept in line.reshape(-1)))
    if len(varied) == 1:
        return graph.add(Stencil(varied[0], taps, n), x)
    rest = [d for d in range(len(shape)) if d not in varied]
    order = [*rest, *varied]
    x = permute(graph, x, order)
    moved = graph.shapes[x]
    x = reshape(graph, x, (*moved[: len(rest)], n))
    x = graph.add(Stencil(len(rest), taps, n), x)
    x = reshape(graph, x, moved)
    return permute(graph, x, sorted(range(len(order)), key=order.__getitem__))
