"""Vision: regions, boxes, pictures. Where the input says which regions, what is read is a bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from eyeshot.core import families
from eyeshot.core.primitives import Stencil, Taps
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.grids import weighted_sets

__all__ = []

Array = NDArray[Any]

#: So many known regions are looked at one by one.
MAX_REGIONS = 1 << 10
#: So many samples may lie along one side of a region, and so many bins.
MAX_SAMPLES = 1 << 16

#: What regions of the input's choice may read.
REGIONS = "the input says which regions; any of the plane is taken"


@rule("RoiAlign")
def roi_align(c: Call, x: Value, rois: Value, batch: Value) -> int:
    """Each bin of a region reads the four elements around each of its samples."""
    if x.rank != 4 or rois.rank != 2 or rois.shape[1] != 4 or batch.shape != rois.shape[:1]:
        raise c.fail(f"regions {list(rois.shape)} of {list(x.shape)}")
    size = (c.attr("output_height", 1), c.attr("output_width", 1))
    # Before opset 16 there was no half pixel.
    whole = c.opset < 16 or c.attr("coordinate_transformation_mode", "half_pixel") != "half_pixel"
    scale, ratio = np.float32(c.attr("spatial_scale", 1.0)), c.attr("sampling_ratio", 0)

    def samples(count: int, start: Any, end: Any) -> Array:
        """Coordinates [bins, samples] along an axis."""
        shift = np.float32(0 if whole else 0.5)
        begin = start * scale - shift
        length = end * scale - shift - begin
        length = max(length, np.float32(1)) if whole else length
        each = length / np.float32(count)
        many = ratio if ratio > 0 else int(np.ceil(each))
        if max(many, 1) * count > MAX_SAMPLES:
            raise NoRule(f"a region of {many} samples in each of {count} bins")
        bins = np.arange(count, dtype=np.float32)[:, None]
        steps = np.arange(max(many, 0), dtype=np.float32) + np.float32(0.5)
        return begin + bins * each + steps * each / np.float32(max(many, 1))

    def one(at: int, box: Array) -> int:
        """Box: x and y of its beginning, x and y of its end."""
        missed = []
        values = []
        y = at
        for k in (0, 1):
            n = x.shape[2 + k]
            found = samples(size[k], box[1 - k], box[3 - k])
            outside = (found < -1) | (found > n)
            near = np.clip(found, 0, n - 1).astype(np.float64)
            low = near.astype(np.int64)
            high = np.minimum(low + 1, n - 1)
            places = np.concatenate([np.where(outside, -1, low), np.where(outside, -1, high)], 1)
            shares = np.concatenate([1 - near + low, near - low], 1) / max(found.shape[1], 1)
            y = weighted_sets(c.g, y, 2 + k, places, shares)
            missed.append(outside.any(axis=1))
        values.append(y)
        # A sample outside takes the first element of the plane, times 0.
        for k in (0, 1):
            if missed[k].any():
                z = families.narrow(c.g, families.narrow(c.g, at, 2, 0, 1), 3, 0, 1)
                counts = tuple(missed[k].astype(int).tolist())
                taps = Taps(size[k], 0, (0,) * size[k], counts)
                z = c.g.add(Stencil(2 + k, taps, size[k]), z)
                values.append(c.shaped(z, c.g.shapes[y]))
        if len(values) == 1:
            return y
        weights = ((1.0,) + (0.0,) * (len(values) - 1),)
        taps = Taps(1, 0, (0,), (len(values),), weights=weights)
        return c.g.add(Stencil(0, taps, 1), families.concat(c.g, values, 0))

    return _regions(c, x, rois, batch, size, one)


@rule("MaxRoiPool")
def max_roi_pool(c: Call, x: Value, rois: Value) -> int:
    """Girshick 2015, arXiv 1504.08083: each bin of a region reads the elements that it covers."""
    if x.rank != 4 or rois.rank != 2 or rois.shape[1] != 5:
        raise c.fail(f"regions {list(rois.shape)} of {list(x.shape)}")
    size = tuple(c.attr("pooled_shape", ()))
    scale = np.float32(c.attr("spatial_scale", 1.0))
    if len(size) != 2 or min(size) < 1:
        raise c.fail(f"pooled_shape {list(size)}")

    def one(at: int, box: Array) -> int:
        for k in (0, 1):
            n, count = x.shape[2 + k], size[k]
            begin, end = (_rounded(box[j - k] * scale) for j in (1, 3))
            each = np.float32(max(end - begin + 1, 1)) / np.float32(count)
            bins = np.arange(count, dtype=np.float32)
            low = np.clip(np.floor(bins * each).astype(np.int64) + begin, 0, n)
            high = np.clip(np.ceil((bins + np.float32(1)) * each).astype(np.int64) + begin, 0, n)
            counts = np.maximum(high - low, 0)
            taps = Taps(count, 0, tuple(low.tolist()), tuple(counts.tolist()))
            at = c.g.add(Stencil(2 + k, taps, count), at)
        return at

    return _regions(c, x, rois, None, size, one)


def _rounded(x: Any) -> int:
    """Halves away from zero, as in C."""
    return int(math.copysign(math.floor(abs(float(x)) + 0.5), float(x)))


def _regions(
    c: Call,
    x: Value,
    rois: Value,
    batch: Value | None,
    size: Sequence[int],
    one: Callable[[int, Array], int],
) -> int:
    """Known regions one after the other, by ``one``. Their first number, or ``batch``, says of which image."""
    count = rois.shape[0]
    out = c.shape_of((count, x.shape[1], *size))
    if min(size) < 1 or not count:
        raise NoRule("a tensor without elements")
    boxes, images = c.constant(rois), None if batch is None else c.constant(batch)
    values = []
    why = ""
    if (at := c.v(x)) is not None:
        unknown = boxes is None or (batch is not None and images is None)
        if boxes is None or unknown or count > MAX_REGIONS or max(size) > MAX_SAMPLES:
            values.append(families.mix(c.g, at, (0, 2, 3), (count, *size)))
            why = REGIONS
        else:
            boxes = boxes.astype(np.float32)
            if not (np.isfinite(boxes).all() and np.abs(boxes).max() < 1 << 20):
                raise c.fail("a region far outside")
            if images is None:
                images, boxes = boxes[:, 0].astype(np.int64), boxes[:, 1:]
            parts = []
            for image, box in zip(images.reshape(-1).tolist(), boxes, strict=True):
                if not 0 <= image < x.shape[0]:
                    raise c.fail(f"image {image} of {x.shape[0]}")
                parts.append(one(families.narrow(c.g, at, 0, image, image + 1), box))
            values.append(families.concat(c.g, parts, 0) if count > 1 else parts[0])
    for more in (rois, batch):
        if more is not None and (at := c.v(more)) is not None:
            at = families.reduce(c.g, at, (1,), False) if more.rank > 1 else at
            values.append(families.reshape(c.g, at, (count, 1, 1, 1)))
    value = c.join(values, out)
    return c.bound(value, "data-dependent", why) if why else value


@rule("NonMaxSuppression")
def non_max_suppression(
    c: Call,
    boxes: Value,
    scores: Value,
    most: Value | None = None,
    overlap: Value | None = None,
    least: Value | None = None,
) -> Any:
    """Which boxes remain, and how many, depends on all boxes and scores. The most that may remain is taken."""
    if boxes.rank != 3 or scores.rank != 3 or boxes.shape[:2] != (scores.shape[0], scores.shape[2]):
        raise c.fail(f"scores {list(scores.shape)} for boxes {list(boxes.shape)}")
    found = c.walker.inferred(c)
    if found and found[0] is not None:
        count = found[0][0][0]
    else:
        wanted = c.ints(most)
        each = min(max(wanted[0] if wanted else 0, 0), scores.shape[2])
        count = scores.shape[0] * scores.shape[1] * each
    values = [at for _, at in c.reads()]
    if not count or not values:
        return Value(None, (count, 3), TensorProto.INT64)
    value = families.opaque(c.g, values, (count, 3))
    why = "boxes remain by comparison with all others, at most so many; all are taken"
    return c.bound(value, "data-dependent", why)


@rule("ImageDecoder")
def image_decoder(c: Call, stream: Value) -> Any:
    raise NoRule("the picture's size is in its bytes")


# --- parts of pictures


@rule("CenterCropPad")
def center_crop_pad(c: Call, x: Value, shape: Value) -> int:
    """The middle of what is too long, and what is too short in the middle of zeros; odd elements at the end."""
    sizes = c.ints(shape) or []
    axes = [d + x.rank if d < 0 else d for d in c.attr("axes", range(x.rank))]
    if len(sizes) != len(axes) or any(not 0 <= d < x.rank for d in axes):
        raise c.fail(f"sizes {sizes} for axes {axes} of {list(x.shape)}")
    c.shape_of(tuple(sizes))
    at = c.operand(x)
    for d, size in zip(axes, sizes, strict=True):
        n = c.g.shapes[at][d]
        if not size:
            raise NoRule("a tensor without elements")
        if size < n:
            begin = (n - size) // 2
            at = families.narrow(c.g, at, d, begin, begin + size)
        elif size > n:
            begin = (size - n) // 2
            at = families.pad(c.g, at, ((begin, size - n - begin),), "drop", d)
    return at


@rule("Crop")
def crop(c: Call, x: Value) -> int:
    """An operator of early times: a border is taken off, or a part of a given size beginning behind it."""
    border, scale = tuple(c.attr("border", ())), tuple(c.attr("scale", ()))
    if x.rank != 4 or len(border) != 4 or len(scale) not in (0, 2):
        raise c.fail(f"border {list(border)} and scale {list(scale)} for {list(x.shape)}")
    left, top, right, bottom = border
    at = c.operand(x)
    for k, (begin, end) in enumerate(((top, bottom), (left, right))):
        n = x.shape[2 + k]
        at = families.narrow(c.g, at, 2 + k, begin, begin + scale[k] if scale else n - end)
    return at
