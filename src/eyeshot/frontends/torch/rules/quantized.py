"""Quantised operators. They run on data only, with weights packed away in script objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from eyeshot.core import families
from eyeshot.frontends.torch.calls import Call
from eyeshot.frontends.torch.rules import rule, windows
from eyeshot.frontends.torch.rules.norms import softmax
from eyeshot.frontends.torch.rules.pointwise import constant, pointwise
from eyeshot.frontends.torch.rules.shared import the, values_of
from eyeshot.frontends.torch.rules.views import cat

__all__ = []

# --- one element of each input

rule("int_repr", "_make_per_tensor_quantized_tensor", "quantized_batch_norm")(pointwise)
rule(*(f"quantized::{name}" for name in (
    "add", "add_relu", "add_scalar", "add_scalar_relu", "add_out", "add_relu_out", "add_scalar_out",
    "add_scalar_relu_out", "mul", "mul_relu", "mul_scalar", "mul_scalar_relu", "mul_out", "mul_relu_out",
    "mul_scalar_out", "mul_scalar_relu_out", "hardswish", "leaky_relu", "sigmoid", "elu", "celu", "clamp",
    "relu6", "threshold", "dropout", "batch_norm", "batch_norm_relu", "batch_norm1d", "batch_norm1d_relu",
    "batch_norm2d", "batch_norm2d_relu", "batch_norm3d", "batch_norm3d_relu",
)))(pointwise)  # fmt: skip
rule("_empty_affine_quantized", "_empty_per_channel_affine_quantized", "empty_quantized")(constant)


@rule("dequantize")
def dequantize(c: Call, self: Tensor | Sequence[Tensor]) -> Any:
    if isinstance(self, Tensor):
        return c.join([the(c, self)])
    return [None if (v := c.v(t)) is None else c.join([v]) for t in self]


@rule("quantize_per_tensor")
def quantize_per_tensor(c: Call, self: Any, scale: Any, zero_point: Any, dtype: Any) -> Any:
    if isinstance(self, Tensor):
        return pointwise(c)
    shared = values_of(c, scale, zero_point)
    out = []
    for k, t in enumerate(self):
        values = values_of(c, t)
        values += [families.index(c.g, s, 0, k) for s in shared]
        out.append(c.join(values, tuple(t.shape)) if values else None)
    return out


@rule("quantize_per_channel")
def quantize_per_channel(
    c: Call, self: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: Any
) -> int:
    return _scaled(c, self, (scales, zero_points), axis)


@rule("_make_per_channel_quantized_tensor")
def make_per_channel(c: Call, self: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> int:
    return _scaled(c, self, (scale, zero_point), axis)


def _scaled(c: Call, self: Tensor, scales: Sequence[Any], axis: int | None = None) -> int:
    """Its own element, and the scale and zero point of its channel (of the tensor without ``axis``)."""
    shape = tuple(self.shape)
    values = values_of(c, self)
    for v in values_of(c, *scales):
        like = [1] * len(shape)
        if axis is not None and c.g.shapes[v] not in ((), (1,)):
            like[axis] = shape[axis]
        values.append(families.reshape(c.g, v, like))
    return c.join(values, shape)


@rule("quantize_per_tensor_dynamic")
def quantize_per_tensor_dynamic(c: Call, self: Tensor, *args: Any) -> int:
    """The scale spans all elements."""
    x = the(c, self)
    return families.norm(c.g, x, range(len(c.g.shapes[x])))


# --- fake quantisation


@rule(
    "fake_quantize_per_tensor_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
)
def fake_quantize_per_tensor(
    c: Call, self: Tensor, scale: Any, zero_point: Any, *args: Any
) -> list[int]:
    return [_scaled(c, self, (scale, zero_point))] * 2


@rule("fake_quantize_per_channel_affine_cachemask")
def fake_quantize_per_channel(
    c: Call, self: Tensor, scale: Tensor, zero_point: Tensor, axis: int, *args: Any
) -> list[int]:
    return [_scaled(c, self, (scale, zero_point), axis)] * 2


@rule("_fake_quantize_learnable_per_tensor_affine")
def fake_quantize_learnable(c: Call, self: Tensor, scale: Any, zero_point: Any, *args: Any) -> int:
    return _scaled(c, self, (scale, zero_point))


@rule("_fake_quantize_learnable_per_channel_affine")
def fake_quantize_learnable_per_channel(
    c: Call, self: Tensor, scale: Tensor, zero_point: Tensor, axis: int, *args: Any
) -> int:
    return _scaled(c, self, (scale, zero_point), axis)


@rule("_fused_moving_avg_obs_fq_helper")
def fused_observer(c: Call, *args: Any) -> list[int]:
    return [fused_fake_quantize(c, *args)] * 2


@rule("fused_moving_avg_obs_fake_quant")
def fused_fake_quantize(
    c: Call,
    self: Tensor,
    observer_on: Tensor,
    fake_quant_on: Tensor,
    running_min: Tensor,
    running_max: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    averaging_const: float,
    quant_min: int,
    quant_max: int,
    ch_axis: int,
    per_row_fake_quant: bool = False,
    symmetric_quant: bool = False,
) -> int:
    """With the observer on, minimum and maximum of the input make the scale before it is used.

    They are kept: a later call reads them too.
    """
    axis = ch_axis % self.ndim if per_row_fake_quant else None
    observing, quantising = c.known(observer_on), c.known(fake_quant_on)
    if (observing is None or observing.any()) and (x := c.v(self)) is not None:
        dims = [d for d in range(self.ndim) if d != axis]
        seen = families.mix(c.g, x, dims, (1,) * len(dims))
        for t in (running_min, running_max, scale, zero_point):
            if not t.numel():
                continue
            kept = families.reshape(c.g, seen, tuple(t.shape))
            old = c.v(t)
            c.tracer.assign(c, t, kept if old is None else c.join([kept, old]))
    if quantising is not None and not quantising.any():
        return _scaled(c, self, ())
    return _scaled(c, self, (scale, zero_point), axis)


# --- packed weights


class Packed:
    """What a script object of packed parameters says of itself, along the last ``axes`` axes."""

    def __init__(self, params: Any, axes: int) -> None:
        weight = params.unpack()[0]
        self.shape = tuple(weight.shape)
        self.transposed = bool(params.transpose())
        self.groups = int(params.groups())
        self.kernel = list(self.shape[-axes:])
        # One axis is packed as two, of which the first has one element.
        self.stride = list(params.stride())[-axes:]
        self.padding = [(p, p) for p in list(params.padding())[-axes:]]
        self.output_padding = list(params.output_padding())[-axes:]
        self.dilation = list(params.dilation())[-axes:]


@rule(*(f"quantized::{name}{end}" for name in ("conv1d", "conv2d", "conv3d") for end in ("", "_relu")),
      *(f"quantized::conv_transpose{k}d" for k in (1, 2, 3)))  # fmt: skip
def quantized_conv(c: Call, qx: Tensor, packed_weight: Any, *args: Any) -> int:
    return _conv(c, the(c, qx), packed_weight)


@rule("quantized::conv1d_dynamic", "quantized::conv2d_dynamic", "quantized::conv3d_dynamic",
      *(f"quantized::conv_transpose{k}d_dynamic" for k in (1, 2, 3)))  # fmt: skip
def dynamic_conv(c: Call, qx: Tensor, packed_weight: Any, *args: Any) -> int:
    x = the(c, qx)
    return _with_scale(c, _conv(c, x, packed_weight), x)


@rule("quantized::conv2d_add", "quantized::conv2d_add_relu")
def quantized_conv_add(c: Call, qx: Tensor, qaccum: Tensor, packed_weight: Any, *args: Any) -> int:
    values = []
    if (x := c.v(qx)) is not None:
        values.append(_conv(c, x, packed_weight))
    return c.join([*values, *values_of(c, qaccum)], tuple(c.out.shape))


def _conv(c: Call, x: int, params: Any) -> int:
    axes = windows.named_axes(c)
    # The operators that the script object runs are none of the network's.
    p = c.tracer.pausing(Packed, params, axes)
    first = len(c.g.shapes[x]) - axes
    if p.transposed:
        return families.conv_transpose(
            c.g, x, p.kernel, p.stride, p.padding, p.output_padding, p.dilation,
            p.shape[1] * p.groups, p.groups, first,
        )  # fmt: skip
    return families.conv(
        c.g, x, p.kernel, p.stride, p.padding, p.dilation, p.shape[0], p.groups, first=first
    )


def _with_scale(c: Call, value: int, x: int) -> int:
    """Dynamic quantisation: the scale of the activations spans all elements of ``x``."""
    rank = len(c.g.shapes[x])
    seen = families.mix(c.g, x, range(rank), (1,) * rank)
    return c.join([value, families.reshape(c.g, seen, (1,) * len(c.g.shapes[value]))])


@rule(*(f"quantized::linear{name}" for name in (
    "", "_relu", "_leaky_relu", "_tanh", "_dynamic_fp16", "_relu_dynamic_fp16",
    "_dynamic_fp16_unpacked_weight", "_with_input_q_dq_qweight_dq_output_fp32",
    "_with_input_q_dq_qweight_dq_relu_output_fp32",
)))  # fmt: skip
def quantized_linear(c: Call, X: Tensor, *args: Any) -> int:
    x = the(c, X)
    return families.mix(c.g, x, (len(c.g.shapes[x]) - 1,), (c.out.shape[-1],))


@rule("quantized::linear_dynamic", "quantized::linear_relu_dynamic")
def dynamic_linear(c: Call, X: Tensor, *args: Any) -> int:
    return _with_scale(c, quantized_linear(c, X), the(c, X))


# --- others


@rule("quantized::max_pool1d", "quantized::max_pool2d")
def quantized_max_pool(c: Call, qx: Tensor, *args: Any) -> int:
    return windows.max_pool(c, qx, *args)


@rule("quantized::cat", "quantized::cat_relu", "quantized::cat_out", "quantized::cat_relu_out")
def quantized_cat(c: Call, qx: Sequence[Tensor], dim: int, *args: Any) -> int:
    return cat(c, qx, dim)


@rule("quantized::softmax")
def quantized_softmax(c: Call, qx: Tensor, dim: int, *args: Any) -> int:
    return softmax(c, qx, dim)


@rule("quantized::layer_norm")
def quantized_layer_norm(
    c: Call, input: Tensor, normalized_shape: Sequence[int], *args: Any
) -> int:
    x = the(c, input)
    rank = len(c.g.shapes[x])
    return families.norm(c.g, x, range(rank - len(normalized_shape), rank))


@rule("quantized::group_norm")
def quantized_group_norm(c: Call, input: Tensor, num_groups: int, *args: Any) -> int:
    return families.group_norm(c.g, the(c, input), num_groups)


@rule("quantized::instance_norm")
def quantized_instance_norm(c: Call, input: Tensor, *args: Any) -> int:
    x = the(c, input)
    return families.norm(c.g, x, range(2, len(c.g.shapes[x])))


@rule("quantized::prelu")
def quantized_prelu(c: Call, qx: Tensor, weight: Tensor, *args: Any) -> int:
    return _scaled(c, qx, (weight,), 1 if qx.ndim > 1 else 0)


@rule("quantized::matmul")
def quantized_matmul(c: Call, qa: Tensor, qb: Tensor, *args: Any) -> int:
    """Matrices in the last two dims, leading dims alike."""
    rows, columns = c.out.shape[-2:]
    values = []
    for t, dim, size in ((qa, -1, columns), (qb, -2, rows)):
        if (v := c.v(t)) is not None:
            values.append(families.mix(c.g, v, (t.ndim + dim,), (size,)))
    return c.join(values, tuple(c.out.shape))


@rule("quantized::embedding_byte", "quantized::embedding_4bit")
def quantized_embedding(c: Call, weight: Any, indices: Tensor, *args: Any) -> int:
    x = the(c, indices)
    return c.shaped(families.unsqueeze(c.g, x, len(c.g.shapes[x])), c.out.shape)
