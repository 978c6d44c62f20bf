"""Windows: convolutions and pooling, with ONNX's ways of padding.

Where implementations differ the specification decides, then onnxruntime. They do where SAME meets a stride that
is longer than the window by two or more: what would be a negative padding is none here, as in TensorFlow, from
where the word comes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eyeshot.core import families
from eyeshot.core.families import Pair
from eyeshot.core.primitives import Mix, Stencil, Taps
from eyeshot.frontends.onnx.calls import Call, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = []

#: Known positions become a table of at most so many elements.
MAX_TABLE = 1 << 20


class Window(NamedTuple):
    """A window's parameters, one per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]


def window_of(c: Call, sizes: Sequence[int], kernel: Sequence[int] | None = None) -> Window:
    """The attributes of a window over axes of ``sizes``; ``kernel``: of the weights, if there are any."""
    given = tuple(c.attr("kernel_shape", ()))
    if kernel is not None and given and given != tuple(kernel):
        raise c.fail(f"kernel {list(given)}, and weights of {list(kernel)}")
    return _window(c, sizes, given if kernel is None else tuple(kernel))


def _window(c: Call, sizes: Sequence[int], kernel: Sequence[int]) -> Window:
    """The attributes of a window of this ``kernel`` over axes of ``sizes``."""
    axes = len(sizes)
    stride = tuple(c.attr("strides", None) or (1,) * axes)
    dilation = tuple(c.attr("dilations", None) or (1,) * axes)
    if not axes == len(kernel) == len(stride) == len(dilation):
        raise c.fail(
            f"kernel {list(kernel)}, strides {list(stride)} and dilations {list(dilation)} for {axes} axes"
        )
    if min((*kernel, *stride, *dilation), default=1) < 1:
        raise c.fail("kernel, strides and dilations must be at least 1")
    auto = c.attr("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = [
            families.same_padding(n, k, s, d, auto == "SAME_LOWER")
            for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)
        ]
    elif auto == "VALID":
        pads = [(0, 0)] * axes
    else:
        pads = _pads(c, axes)
    return Window(tuple(kernel), stride, dilation, tuple(pads))


def _pads(c: Call, axes: int) -> list[Pair]:
    """All beginnings come before all ends."""
    given = c.attr("pads", None) or (0,) * (2 * axes)
    if len(given) != 2 * axes:
        raise c.fail(f"pads {list(given)} for {axes} axes")
    return list(zip(given[:axes], given[axes:], strict=True))


# --- convolutions


def _channels_read(c: Call, weights: Value, shape: Sequence[int]) -> list[int]:
    """What outputs of ``shape`` read of weights (or of a bias): all that belongs to their channel."""
    w = c.v(weights)
    if w is None:
        return []
    rest = tuple(range(1, weights.rank))
    if rest:
        w = families.reduce(c.g, w, rest, False)
    return [families.reshape(c.g, w, (1, shape[1], *(1,) * (len(shape) - 2)))]


@rule("Conv")
def conv(c: Call, x: Value, w: Value, b: Value | None = None) -> int:
    """Channels of the group, then a window per axis."""
    if x.rank < 3 or w.rank != x.rank:
        raise c.fail(f"weights of {w.rank} dims on an input of {x.rank}")
    groups = c.attr("group", 1)
    win = window_of(c, x.shape[2:], w.shape[2:])
    if groups < 1 or w.shape[1] * groups != x.shape[1]:
        raise c.fail(f"weights {list(w.shape)} in {groups} groups on {x.shape[1]} channels")
    channels = w.shape[0]
    values: list[int] = []
    if (at := c.v(x)) is not None:
        values.append(
            families.conv(
                c.g, at, win.kernel, win.stride, win.padding, win.dilation, channels, groups
            )
        )
        shape = c.g.shapes[values[0]]
    else:
        sizes = [
            families.conv_size(n, k, s, d, p)
            for n, k, s, d, p in zip(x.shape[2:], *win, strict=True)
        ]
        shape = (x.shape[0], channels, *sizes)
    values += _channels_read(c, w, shape)
    values += _per_channel(c, (b,), shape)
    return c.join(values, shape)


def _per_channel(c: Call, others: Sequence[Value | None], shape: Sequence[int]) -> list[int]:
    """Values of one number a channel, or one for all, in the shape of an output."""
    values = []
    for other in others:
        if other is not None and (at := c.v(other)) is not None:
            if other.size not in (1, shape[1]):
                raise c.fail(f"{other.size} numbers for {shape[1]} channels")
            one = (1, other.size, *(1,) * (len(shape) - 2))
            values.append(families.reshape(c.g, at, one))
    return values


@rule("ConvTranspose")
def conv_transpose(c: Call, x: Value, w: Value, b: Value | None = None) -> int:
    """The window read backwards."""
    if x.rank < 3 or w.rank != x.rank:
        raise c.fail(f"weights of {w.rank} dims on an input of {x.rank}")
    groups = c.attr("group", 1)
    axes = x.rank - 2
    if groups < 1 or w.shape[0] != x.shape[1] or x.shape[1] % groups:
        raise c.fail(f"weights {list(w.shape)} in {groups} groups on {x.shape[1]} channels")
    channels = w.shape[1] * groups
    win, more = _transposed_window(c, x.shape[2:], w.shape[2:])
    y = families.conv_transpose(
        c.g, c.operand(x), win.kernel, win.stride, win.padding, more, win.dilation, channels, groups
    )
    shape = c.g.shapes[y]
    values = [] if c.v(x) is None else [y]
    if (at := c.v(w)) is not None:
        values.append(
            families.transposed_weights(
                c.g, at, x.shape[2:], win.stride, win.padding, win.dilation, shape[-axes:], groups
            )
        )
    values += _per_channel(c, (b,), shape)
    return c.join(values or [y], shape)


def _transposed_window(
    c: Call, sizes: Sequence[int], kernel: Sequence[int]
) -> tuple[Window, list[int]]:
    """The window, and how much longer the output is to be. A size that is asked for decides the padding."""
    axes = len(sizes)
    auto = c.attr("auto_pad", "NOTSET")
    # SAME is the output's, which is `stride` times as long.
    stride, dilation = window_of(c, sizes, kernel)[1:3]
    longer = list(c.attr("output_padding", None) or (0,) * axes)
    asked = list(c.attr("output_shape", None) or ())
    # Some exporters name all dims of the output.
    asked = asked[2:] if len(asked) == axes + 2 else asked
    if len(longer) != axes or (asked and len(asked) != axes):
        raise c.fail(f"output_padding {longer} or output_shape {asked} for {axes} axes")
    pads = _pads(c, axes) if auto == "NOTSET" else [(0, 0)] * axes
    if not asked and auto not in ("SAME_UPPER", "SAME_LOWER"):
        return Window(tuple(kernel), stride, dilation, tuple(pads)), longer
    for k, n in enumerate(sizes):
        whole = (n - 1) * stride[k] + dilation[k] * (kernel[k] - 1) + 1 + longer[k]
        total = max(whole - (asked[k] if asked else n * stride[k]), 0)
        less = total // 2
        pads[k] = (less, total - less) if auto == "SAME_UPPER" else (total - less, less)
        if asked:
            longer[k] += asked[k] - (whole - total)
    return Window(tuple(kernel), stride, dilation, tuple(pads)), longer


@rule("CausalConvWithState")
def causal_conv(
    c: Call, x: Value, w: Value, b: Value | None = None, past: Value | None = None
) -> list[Any]:
    """Each channel's own window of what came before; the end of what came is kept for the next call."""
    if x.rank != 3 or w.rank != 3 or w.shape[:2] != (x.shape[1], 1):
        raise c.fail(f"weights {list(w.shape)} on {list(x.shape)}")
    n, kernel = x.shape[2], w.shape[2]
    kept = (*x.shape[:2], kernel - 1)
    if past is not None and past.shape != kept:
        raise c.fail(f"a state of {list(past.shape)}, not {list(kept)}")
    # What is known to be zero, at the beginning of a sequence, reads nothing.
    padded = c.v(x)
    before = c.v(past) if past is not None and kernel > 1 else None
    if kernel > 1 and padded is not None and before is None:
        padded = families.pad(c.g, padded, ((kernel - 1, 0),))
    elif before is not None:
        padded = families.concat(c.g, (before, c.operand(x)), 2)
    values = []
    if padded is not None:
        values.append(families.pool(c.g, padded, (kernel,), (1,), ((0, 0),), (1,)))
    values += _channels_read(c, w, x.shape)
    values += _per_channel(c, (b,), x.shape)
    state: Any = Value(None, kept, x.dtype)
    if kernel > 1 and padded is not None:
        state = families.narrow(c.g, padded, 2, n, n + kernel - 1)
    return [c.join(values, x.shape), state]


@rule("DeformConv")
def deform_conv(
    c: Call, x: Value, w: Value, offset: Value, b: Value | None = None, mask: Value | None = None
) -> int:
    """Dai et al. 2017, arXiv 1703.06211: its own offsets (and mask), and the plane they point into."""
    axes = x.rank - 2
    groups, parts = c.attr("group", 1), c.attr("offset_group", 1)
    if axes < 1 or w.rank != x.rank or groups < 1 or w.shape[1] * groups != x.shape[1]:
        raise c.fail(f"weights {list(w.shape)} in {groups} groups on {list(x.shape)}")
    win = window_of(c, x.shape[2:], w.shape[2:])
    sizes = [
        families.conv_size(n, k, s, d, p) for n, k, s, d, p in zip(x.shape[2:], *win, strict=True)
    ]
    channels = w.shape[0]
    shape = (x.shape[0], channels, *sizes)
    taps = parts * math.prod(win.kernel)
    for given, count in ((offset, taps * axes), (mask, taps)):
        if given is not None and given.shape != (x.shape[0], count, *sizes):
            raise c.fail(f"offsets or a mask of {list(given.shape)} for outputs of {list(shape)}")
    values = []
    sampled = False
    if (at := c.v(x)) is not None:
        at = families.mix(c.g, at, range(2, x.rank), sizes)
        values.append(c.g.add(Mix((1,), (channels,), groups), at))
        sampled = True
    for more in (offset, mask):
        if more is not None and (at := c.v(more)) is not None:
            # Those of the offset groups that the weight group of each output channel covers.
            apart = groups if parts % groups == 0 else 1
            values.append(c.g.add(Mix((1,), (channels,), apart), at))
    values += _channels_read(c, w, shape)
    values += _per_channel(c, (b,), shape)
    value = c.join(values, shape)
    if sampled:
        why = "offsets say where it samples; the whole plane is taken"
        value = c.bound(value, "data-dependent", why)
    return value


# --- pools


@rule("MaxPool", "AveragePool", "LpPool")
def pool(c: Call, x: Value) -> list[Any]:
    """A window per axis; where a maximum lies is read off the same window. An average may leave padding out."""
    if x.rank < 3:
        raise c.fail(f"a window over the axes of {list(x.shape)}")
    win = window_of(c, x.shape[2:])
    # SAME has no remainder.
    ceil = bool(c.attr("ceil_mode", 0)) and not c.attr("auto_pad", "").startswith("SAME")
    counted = c.node.op_type != "AveragePool" or bool(c.attr("count_include_pad", 0))
    at = families.pool(
        c.g, c.operand(x), win.kernel, win.stride, win.padding, win.dilation, ceil, counted=counted
    )
    return [at, at]


@rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(c: Call, x: Value) -> int:
    if x.rank < 2:
        raise c.fail(f"no channels in {list(x.shape)}")
    axes = range(2, x.rank)
    return families.mix(c.g, c.operand(x), axes, (1,) * len(axes)) if axes else c.operand(x)


@rule("MaxUnpool")
def max_unpool(c: Call, x: Value, indices: Value, output_shape: Value | None = None) -> int:
    """Each element goes where its index says, among all elements of the output; the last to come stays.

    The indices count in the shape that the window gives; an output that is to be larger has it in its corner.
    """
    if x.rank < 3 or indices.shape != x.shape:
        raise c.fail(f"indices of {list(indices.shape)} for {list(x.shape)}")
    axes = x.rank - 2
    kernel = tuple(c.attr("kernel_shape", ()))
    stride, pads = c.attr("strides", None) or (1,) * axes, _pads(c, axes)
    if not axes == len(kernel) == len(stride):
        raise c.fail(f"kernel {list(kernel)} and strides {list(stride)} for {axes} axes")
    sizes = [(n - 1) * stride[k] - sum(pads[k]) + kernel[k] for k, n in enumerate(x.shape[2:])]
    shape = c.shape_of((*x.shape[:2], *sizes))
    asked = c.ints(output_shape)
    out = shape if asked is None else c.shape_of(tuple(asked))
    if len(out) != x.rank or any(a < b for a, b in zip(out, shape, strict=True)):
        raise c.fail(f"an output of {list(out)} for windows of {list(shape)}")
    numbers = c.constant(indices)
    total = math.prod(shape)
    if numbers is None or total > MAX_TABLE:
        values = [at for v in (x, indices) if (at := c.v(v)) is not None]
        value = families.opaque(c.g, values, out)
        return c.bound(
            value, "data-dependent", "indices say where its elements go; anywhere is taken"
        )
    places = numbers.reshape(-1).astype(np.int64)
    if places.size and not 0 <= places.min() <= places.max() < total:
        raise c.fail(f"an index outside the {total} elements of {list(shape)}")
    source = np.full(total, -1)
    source[places] = np.arange(len(places))
    counts = tuple(int(s >= 0) for s in source)
    y = families.reshape(c.g, c.operand(x), (x.size,))
    taps = Taps(total, 0, tuple(np.maximum(source, 0).tolist()), counts)
    y = families.reshape(c.g, c.g.add(Stencil(0, taps, total), y), shape)
    for d, n in enumerate(out):
        y = families.placed(c.g, y, d, 0, n)
    return y


@rule("Col2Im")
def col2im(c: Call, x: Value, image: Value, block: Value) -> int:
    """Columns added up where their windows lay."""
    sizes, kernel = c.ints(image) or [], c.ints(block) or []
    if x.rank != 3:
        raise c.fail(f"columns of {list(x.shape)}, not of 3 dims")
    win = _window(c, sizes, kernel)
    return families.col2im(
        c.g, c.operand(x), sizes, win.kernel, win.stride, win.padding, win.dilation
    )


# --- over channels


@rule("BatchNormalization")
def batch_norm(c: Call, x: Value, scale: Value, shift: Value, mean: Value, var: Value) -> list[Any]:
    """Its own element with learnt statistics; with those of the batch, everything of its channel.

    Which it is, older versions say by ``is_test``, or by how many outputs there are.
    """
    if c.opset < 7:
        training = not c.attr("is_test", 0)
    elif c.opset < 14:
        training = sum(map(bool, c.node.output)) > 1
    else:
        training = bool(c.attr("training_mode", 0))
    # Once, each activation could have statistics of its own.
    own = c.opset < 9 and not c.attr("spatial", 1)
    channel = x.shape[1:2] or (1,)
    each = x.shape[1:] if own else channel

    def statistic(p: Value) -> list[int]:
        if p.shape != each:
            raise c.fail(f"{list(p.shape)} numbers for {list(each)}")
        return [] if (at := c.v(p)) is None else [at]

    def beside(p: Value) -> list[int]:
        """A parameter in the place of its channel."""
        like = (1, *each) if own or x.rank < 2 else (1, *channel, *(1,) * (x.rank - 2))
        like = like[-x.rank :] if x.rank else like
        return [families.reshape(c.g, at, like) for at in statistic(p)]

    at = c.v(x)
    values = [] if at is None else [at]
    learnt = [v for p in (scale, shift) for v in beside(p)]
    if not training:
        values += learnt + beside(mean) + beside(var)
        return [c.join(values, x.shape)]
    seen: list[int] = []
    if at is not None:
        dims = [0] if own else [k for k in range(x.rank) if k != 1 or x.rank < 2]
        whole = families.mix(c.g, at, dims, (1,) * len(dims))
        values.append(whole)
        seen = [families.reshape(c.g, whole, each)]

    def kept(found: list[int]) -> Any:
        return c.join(found, each) if found else Value(None, each, x.dtype)

    first: Any = (
        c.join(values + learnt, x.shape) if values + learnt else Value(None, x.shape, x.dtype)
    )
    means, variances = (kept(seen + statistic(p)) for p in (mean, var))
    saved = kept(seen)
    return [first, means, variances, saved, saved]


@rule("LRN")
def lrn(c: Call, x: Value) -> int:
    """Channels [c - floor((size-1)/2), c + ceil((size-1)/2)]."""
    size = c.attr("size", 0)
    if x.rank < 2 or size < 1:
        raise c.fail(f"{size} neighbouring channels of {list(x.shape)}")
    taps = families.window(size, 1, 1, (size - 1) // 2, renormalized=True)
    return c.g.add(Stencil(1, taps, x.shape[1]), c.operand(x))
