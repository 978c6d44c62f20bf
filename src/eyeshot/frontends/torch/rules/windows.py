"""Windows: convolutions, pools, padding, and the patches that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Border, Stencil, Taps
from eyeshot.errors import FieldError
from eyeshot.frontends.torch.calls import Call, NoRule
from eyeshot.frontends.torch.rules import function, rule
from eyeshot.frontends.torch.rules.shared import blank, fresh, the, values_of
from eyeshot.frontends.torch.trace import Tracer

__all__ = ["max_pool", "named_axes"]


def each(value: Any, axes: int) -> list[int]:
    """One number per axis, where PyTorch takes one for all."""
    if isinstance(value, int):
        return [value] * axes
    return list(value) * axes if len(value) == 1 else list(value)


def _pooled(c: Call, value: int) -> Any:
    """An output without a kernel. Of an input that is laid out otherwise, PyTorch keeps the layout."""
    return blank(c, value) if c.args[0].is_contiguous() else None


def _convolved(c: Call, value: int) -> Any:
    """As above, where weights and input fit; if not, PyTorch's kernel says what is wrong."""
    x, weight, bias = c.args[:3]
    transposed, groups = c.args[6], c.args[8]
    rows, columns = weight.shape[:2]
    channels = rows if transposed else columns * groups
    fits = x.ndim == weight.ndim and x.shape[1] == channels and x.dtype == weight.dtype
    if bias is not None:
        fits = fits and bias.shape[0] == c.g.shapes[value][1]
    return _pooled(c, value) if fits else None


# --- convolutions


@rule("convolution", "convolution_overrideable", "_convolution", kernel=_convolved)
def convolution(
    c: Call,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *flags: Any,
) -> int:
    axes = weight.ndim - 2
    c.title = f"conv{'_transpose' * transposed}{axes}d"
    kernel = list(weight.shape[2:])
    strides, spacing = each(stride, axes), each(dilation, axes)
    pads = [(p, p) for p in each(padding, axes)]
    x = c.operand(input)
    first = len(c.g.shapes[x]) - axes
    columns = c.g.shapes[x][first:]
    if transposed:
        channels = weight.shape[1] * groups
        x = families.conv_transpose(
            c.g,
            x,
            kernel,
            strides,
            pads,
            each(output_padding, axes),
            spacing,
            channels,
            groups,
            first,
        )
    else:
        channels = weight.shape[0]
        x = families.conv(c.g, x, kernel, strides, pads, spacing, channels, groups, first=first)
    extra = []
    if (w := c.v(weight)) is not None:
        # The input makes the weights: each output channel reads all of its own that meet the input.
        if transposed:
            w = families.transposed_weights(
                c.g, w, columns, strides, pads, spacing, c.g.shapes[x][first:], groups
            )
            w = families.reshape(c.g, w, c.g.shapes[w][1:])
        else:
            w = families.mix(c.g, w, range(1, weight.ndim), (1,) * (weight.ndim - 1))
            w = families.reshape(c.g, w, (channels, *(1,) * axes))
        extra.append(w)
    if (b := c.v(bias)) is not None:
        extra.append(families.reshape(c.g, b, (channels, *(1,) * axes)))
    return c.join([x, *extra])


@rule("mkldnn_convolution")
def mkldnn_convolution(
    c: Call,
    self: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> int:
    return convolution(c, self, weight, bias, stride, padding, dilation, False, (0,), groups)


@rule("_slow_conv2d_forward", "slow_conv3d_forward", "slow_conv_dilated2d", "slow_conv_dilated3d",
      "conv_depthwise3d", "_conv_depthwise2d")  # fmt: skip
def slow_convolution(
    c: Call,
    self: Tensor,
    weight: Tensor,
    kernel_size: Sequence[int],
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
) -> int:
    """The backends' own names; only the depthwise ones have groups, one to a channel."""
    axes = len(kernel_size)
    assert c.op is not None
    groups = self.shape[-axes - 1] if "depthwise" in c.op.name else 1
    return convolution(c, self, weight, bias, stride, padding, dilation, False, (0,), groups)


@rule("slow_conv_transpose2d", "slow_conv_transpose3d")
def slow_conv_transpose(
    c: Call,
    self: Tensor,
    weight: Tensor,
    kernel_size: Sequence[int],
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    output_padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
) -> int:
    return convolution(c, self, weight, bias, stride, padding, dilation, True, output_padding, 1)


@rule("conv_tbc")
def conv_tbc(c: Call, self: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> int:
    """(time, batch, channels) with weights (taps, in, out)."""
    channels = weight.shape[2]
    x = families.mix(c.g, c.operand(self), (2,), (channels,))
    values = [families.pool(c.g, x, weight.shape[:1], (1,), [(pad, pad)], (1,), first=0)]
    if (w := c.v(weight)) is not None:
        values.append(families.reduce(c.g, w, (0, 1), False))
    return c.join([*values, *values_of(c, bias)])


# --- pools


@rule("max_pool1d", "max_pool2d", "max_pool3d", "mkldnn_max_pool2d", "mkldnn_max_pool3d",
      "quantized_max_pool1d", "quantized_max_pool2d", "quantized_max_pool3d", kernel=_pooled)  # fmt: skip
def max_pool(
    c: Call,
    self: Tensor,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> int:
    return _pool(c, self, kernel_size, stride, padding, dilation, ceil_mode)


def _pool(
    c: Call,
    self: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
    counted: bool = True,
) -> int:
    axes = named_axes(c)
    kernel = each(kernel_size, axes)
    x = the(c, self)
    first = len(c.g.shapes[x]) - axes
    strides = each(stride, axes) if stride else kernel
    pads = [(p, p) for p in each(padding, axes)]
    y = families.pool(c.g, x, kernel, strides, pads, each(dilation, axes), ceil, first, counted)
    return fresh(c, y, x)


def named_axes(c: Call) -> int:
    """The number of axes, which the operator's name says."""
    assert c.op is not None
    return next(int(digit) for digit in c.op.name if digit.isdigit())


@rule("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool_with_indices(
    c: Call,
    self: Tensor,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> list[int]:
    return [_pool(c, self, kernel_size, stride, padding, dilation, ceil_mode)] * 2


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d", kernel=_pooled)
def avg_pool(
    c: Call,
    self: Tensor,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> int:
    """A divisor of the caller's own scales all windows alike, so that padding counts."""
    counted = count_include_pad or divisor_override is not None
    return _pool(c, self, kernel_size, stride, padding, 1, ceil_mode, counted)


@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
      "adaptive_avg_pool3d")  # fmt: skip
def adaptive_avg_pool(c: Call, self: Tensor, output_size: Any) -> int:
    axes = named_axes(c)
    x = the(c, self)
    first = len(c.g.shapes[x]) - axes
    y = families.adaptive_pool(c.g, x, each(output_size, axes), first)
    return fresh(c, y, x)


@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(c: Call, self: Tensor, output_size: Any) -> list[int]:
    return [adaptive_avg_pool(c, self, output_size)] * 2


@rule("fractional_max_pool2d", "fractional_max_pool3d")
def fractional_max_pool(
    c: Call, self: Tensor, kernel_size: Any, output_size: Any, random_samples: Tensor
) -> list[int]:
    """Graham 2014, arXiv 1412.6071: windows whose beginnings a random number in [0, 1) shifts."""
    if c.v(random_samples) is not None:
        raise NoRule("the input chooses its windows")
    axes = named_axes(c)
    y = the(c, self)
    first = len(c.g.shapes[y]) - axes
    for k, (kernel, size) in enumerate(
        zip(each(kernel_size, axes), each(output_size, axes), strict=True)
    ):
        begin, end = _fractions(c.g.shapes[y][first + k], kernel, size)
        count = tuple(int(n) for n in end + kernel - begin)
        taps = Taps(size, 0, tuple(begin.tolist()), count)
        y = c.g.add(Stencil(first + k, taps, size), y)
    c.bound(
        y,
        "data-dependent",
        "the windows lie where random numbers put them; all that may be are taken",
    )
    return [y, y]


def _fractions(n: int, kernel: int, size: int) -> tuple[Any, Any]:
    """The least and greatest first position of each window: floor((i + u)·a) - floor(u·a) for 0 <= u < 1."""
    last = n - kernel
    if size == 1:
        return np.array([last]), np.array([last])
    i = np.arange(size)
    low = -(-i * last // (size - 1)) - 1
    high = i * last // (size - 1) + 1
    low[-1] = high[-1] = last
    return np.clip(low, 0, last), np.clip(high, 0, last)


@rule("max_unpool2d", "max_unpool3d")
def max_unpool(c: Call, self: Tensor, indices: Tensor, *sizes: Any) -> int:
    """Indices are positions in the plane of a channel: every element may land anywhere in it."""
    axes = named_axes(c)
    out = tuple(c.out.shape)
    dims = range(len(out) - axes, len(out))
    value = c.join([families.mix(c.g, v, dims, out[-axes:]) for v in values_of(c, self, indices)])
    return c.bound(
        value,
        "data-dependent",
        "indices say where its elements go; anywhere in their plane is taken",
    )


# --- patches and shuffles


@rule("im2col")
def im2col(
    c: Call, self: Tensor, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> int:
    x = the(c, self)
    first = len(c.g.shapes[x]) - 2
    pads = [(p, p) for p in each(padding, 2)]
    return families.im2col(
        c.g, x, each(kernel_size, 2), each(stride, 2), pads, each(dilation, 2), first
    )


@rule("col2im")
def col2im(
    c: Call,
    self: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any,
    padding: Any,
    stride: Any,
) -> int:
    x = the(c, self)
    first = len(c.g.shapes[x]) - 1
    pads = [(p, p) for p in each(padding, 2)]
    return families.col2im(
        c.g, x, each(output_size, 2), each(kernel_size, 2), each(stride, 2), pads,
        each(dilation, 2), first,
    )  # fmt: skip


@rule("pixel_shuffle")
def pixel_shuffle(c: Call, self: Tensor, upscale_factor: int) -> int:
    x = the(c, self)
    return families.pixel_shuffle(c.g, x, (upscale_factor,) * 2, len(c.g.shapes[x]) - 2)


@rule("pixel_unshuffle")
def pixel_unshuffle(c: Call, self: Tensor, downscale_factor: int) -> int:
    x = the(c, self)
    return families.pixel_unshuffle(c.g, x, (downscale_factor,) * 2, len(c.g.shapes[x]) - 2)


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(c: Call, self: Tensor, groups: int) -> int:
    x = the(c, self)
    y = families.channel_shuffle(c.g, x, groups)
    return fresh(c, y, x)


# --- padding


@rule("constant_pad_nd")
def constant_pad_nd(c: Call, self: Tensor, pad: Sequence[int], value: Any = 0) -> int:
    return _pad(c, self, pad, "drop")


@rule("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(c: Call, self: Tensor, padding: Sequence[int]) -> int:
    return _pad(c, self, padding, "reflect")


@rule("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(c: Call, self: Tensor, padding: Sequence[int]) -> int:
    return _pad(c, self, padding, "clamp")


def _pad(c: Call, self: Tensor, pad: Sequence[int], border: Border) -> int:
    """PyTorch lists pairs from the last dim on."""
    x = the(c, self)
    pairs = [(pad[k], pad[k + 1]) for k in range(0, len(pad), 2)][::-1]
    y = families.pad(c.g, x, pairs, border, len(c.g.shapes[x]) - len(pairs))
    return fresh(c, y, x)


@function(torch.nn.functional.pad)
def pad(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Circular padding as one operator: PyTorch writes it piece by piece into an empty tensor."""
    given = {**dict(zip(("input", "pad", "mode", "value"), args, strict=False)), **kwargs}
    x = given["input"]
    if given.get("mode") != "circular" or tracer.value(x) is None:
        return func(*args, **kwargs)
    call = Call(tracer, None, func, args, kwargs)
    try:
        value = _pad(call, x, given["pad"], "wrap")
    except FieldError:  # a crop, or what PyTorch refuses in its own words
        return func(*args, **kwargs)
    if tracer.real:
        out = tracer.pausing(func, *args, **kwargs)
    else:
        out = torch.empty(tracer.graph.shapes[value], dtype=x.dtype, device="meta")
    return tracer.emit("pad", out, value)
