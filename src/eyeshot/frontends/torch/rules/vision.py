"""torchvision's operators. Most sample where their data says: bounds. Nothing here imports torchvision."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Mix
from eyeshot.frontends.torch.calls import Call
from eyeshot.frontends.torch.rules import rule
from eyeshot.frontends.torch.rules.shared import values_of

__all__ = []


@rule("torchvision::deform_conv2d")
def deform_conv2d(
    c: Call,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> int:
    """Dai et al. 2017, arXiv 1703.06211: its own offsets (and mask), and the plane they point into."""
    batch, channels, height, width = c.out.shape
    values = []
    sampled = False
    if (x := c.v(input)) is not None:
        x = families.mix(c.g, x, (2, 3), (height, width))
        values.append(c.g.add(Mix((1,), (channels,), groups), x))
        sampled = True
    for v in values_of(c, offset, mask) if use_mask else values_of(c, offset):
        # Those of the offset groups that the weight group of each output channel covers.
        apart = groups if offset_groups % groups == 0 else 1
        values.append(c.g.add(Mix((1,), (channels,), apart), v))
    if (w := c.v(weight)) is not None:
        w = families.reduce(c.g, w, (1, 2, 3), False)
        values.append(families.reshape(c.g, w, (channels, 1, 1)))
    values += [families.reshape(c.g, b, (channels, 1, 1)) for b in values_of(c, bias)]
    value = c.join(values, (batch, channels, height, width))
    if sampled:
        c.bound(value, "data-dependent", "offsets say where it samples; the whole plane is taken")
    return value


@rule("torchvision::roi_align", "torchvision::roi_pool", "torchvision::qroi_align")
def roi_align(c: Call, input: Tensor, rois: Tensor, *rest: Any) -> int | list[int]:
    """Regions (image number and corners) of every channel: anything of it."""
    out = c.out[0] if isinstance(c.out, (list, tuple)) else c.out
    count, channels, height, width = out.shape
    values = []
    if (x := c.v(input)) is not None:
        values.append(families.mix(c.g, x, (0, 2, 3), (count, height, width)))
    value = _regions(c, values, rois, (count, channels, height, width))
    return [value] * len(c.out) if isinstance(c.out, (list, tuple)) else value


@rule("torchvision::ps_roi_align", "torchvision::ps_roi_pool")
def ps_roi_align(c: Call, input: Tensor, rois: Tensor, *rest: Any) -> list[int | None]:
    """As :func:`roi_align`, where input channel (c, i, j) serves bin (i, j) of output channel c."""
    count, channels, height, width = c.out[0].shape
    values = []
    if (x := c.v(input)) is not None:
        x = families.mix(c.g, x, (0, 2, 3), (count, 1, 1))
        values.append(families.reshape(c.g, x, (count, channels, height, width)))
    return [_regions(c, values, rois, (count, channels, height, width)), None]


def _regions(c: Call, values: list[int], rois: Tensor, shape: tuple[int, ...]) -> int:
    """``values`` joined with what each region's own row says."""
    if (r := c.v(rois)) is not None:
        r = families.reduce(c.g, r, (1,), False)
        values.append(families.reshape(c.g, r, (shape[0], 1, 1, 1)))
    value = c.join(values, shape)
    return c.bound(
        value, "data-dependent", "regions say where it samples; the whole plane is taken"
    )


@rule("torchvision::nms", "torchvision::qnms")
def nms(c: Call, dets: Tensor, scores: Tensor, iou_threshold: float) -> int | None:
    """Which boxes remain depends on all boxes and scores; so does how many."""
    if not c.out.numel():
        return None
    value = families.opaque(c.g, [v for _, v in c.reads()], tuple(c.out.shape))
    return c.bound(
        value, "data-dependent", "boxes remain by comparison with all others; all are taken"
    )


@rule("torchvision::box_iou_rotated")
def box_iou_rotated(c: Call, boxes1: Tensor, boxes2: Tensor) -> int:
    """Element (i, j) reads box i of one and box j of the other."""
    values = []
    for t, dim in ((boxes1, 1), (boxes2, 0)):
        if (v := c.v(t)) is not None:
            values.append(families.unsqueeze(c.g, families.reduce(c.g, v, (1,), False), dim))
    return c.join(values, tuple(c.out.shape))
