"""Resampling: to another size, and blocks of positions made channels and back.

An axis that is not resized is left alone, as in PyTorch and the onnx package's evaluator; onnxruntime would
read a neighbour with weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eyeshot.core import families
from eyeshot.core.primitives import Stencil
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.sampling import COORDINATES, NEAREST, Sampling, sampling_taps
from eyeshot.frontends.onnx.rules.views import axes_of

__all__ = []

#: Axes are resampled to at most so many positions: float32 tells no more of them apart.
MAX_POSITIONS = 1 << 24


# --- to another size


@rule("Upsample")
def upsample(c: Call, x: Value, scales: Value | None = None) -> int:
    """Scales are attributes until opset 8, before opset 7 one for the height and one for the width."""
    given = c.attr("scales")
    if scales is not None:
        numbers = c.known(scales)
        if numbers is None:
            raise NoRule("the scales depend on data")
        given = numbers.reshape(-1).tolist()
    elif given is None:
        given = (1.0, 1.0, c.attr("height_scale", 1.0), c.attr("width_scale", 1.0))
    mode = {"bilinear": "linear"}.get(c.attr("mode", "nearest"), c.attr("mode", "nearest"))
    return _resized(c, x, given, None, Sampling(mode, "asymmetric", "simple", False, (0.0, 1.0)))


@rule("Resize")
def resize(
    c: Call,
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
) -> int:
    """Until opset 10 the second input is the scales, and coordinates are multiples of what one step is."""
    mode = c.attr("mode", "nearest")
    if c.opset < 11:
        return upsample(c, x, roi)
    axes = axes_of(c, c.attr("axes", range(x.rank)), x.rank)
    steps = _given(c, scales)
    wanted = _given(c, sizes)
    if (steps is None) == (wanted is None):
        raise c.fail("takes scales or sizes, one of them")
    given = steps if steps is not None else wanted
    assert given is not None
    if len(given) != len(axes):
        raise c.fail(f"{len(given)} scales or sizes for {len(axes)} dims")
    coordinates = c.attr("coordinate_transformation_mode", "half_pixel")
    sampling = Sampling(
        mode,
        coordinates,
        c.attr("nearest_mode", "round_prefer_floor"),
        bool(c.attr("antialias", 0)) and mode != "nearest",
        (0.0, 1.0),
        float(c.attr("cubic_coeff_a", families.CUBIC)),
        bool(c.attr("exclude_outside", 0)) and mode == "cubic",
    )
    parts: list[tuple[float, float]] | None = None
    read = None
    if coordinates == "tf_crop_and_resize":
        if roi is None:
            raise c.fail("a roi is wanted")
        numbers = c.constant(roi)
        read = c.v(roi) if c.depends else None
        if numbers is not None:
            flat = numbers.reshape(-1).astype(np.float32).tolist()
            if len(flat) != 2 * len(axes) or not np.isfinite(flat).all():
                raise c.fail(f"a roi of {len(flat)} numbers for {len(axes)} dims")
            parts = list(zip(flat[: len(axes)], flat[len(axes) :], strict=True))
    else:
        parts = [(0.0, 1.0)] * len(axes)
    scale, size = [1.0] * x.rank, list(x.shape)
    if steps is not None:
        for d, s in zip(axes, steps, strict=True):
            scale[d] = s
            size[d] = _size(c, x.shape[d], s)
    else:
        size, scale = _stretched(c, x.shape, axes, [int(n) for n in given])
    if parts is None:
        # The input says which part of it is resized: all of the resized axes may be read.
        size = list(c.shape_of(tuple(size)))
        values = (
            [] if (at := c.v(x)) is None else [families.mix(c.g, at, axes, [size[d] for d in axes])]
        )
        if read is not None:
            values.append(_all(c, read, len(size)))
        value = c.join(values, size)
        why = "the input says which part of it is resized; all of it is taken"
        return c.bound(value, "data-dependent", why)
    return _along(
        c, c.operand(x), scale, size,
        {d: sampling._replace(roi=p) for d, p in zip(axes, parts, strict=True)},
    )  # fmt: skip


def _all(c: Call, at: int, rank: int) -> int:
    """All of a value, for an output of ``rank`` dims."""
    old = len(c.g.shapes[at])
    at = families.mix(c.g, at, range(old), (1,) * old) if old else at
    return families.reshape(c.g, at, (1,) * rank)


def _given(c: Call, x: Value | None) -> list[float] | None:
    """The numbers of a parameter; an empty one is left out."""
    if x is None or 0 in x.shape:
        return None
    numbers = c.known(x)
    if numbers is None:
        raise NoRule("the scales or sizes depend on data")
    return [float(n) for n in numbers.reshape(-1)]


def _size(c: Call, n: int, scale: float) -> int:
    """floor(n·scale), as float32 has it."""
    if not 0 < scale < math.inf:
        raise c.fail(f"a scale of {scale}")
    size = int(np.float32(scale) * np.float32(n))
    c.shape_of((size,))
    if size < 1:
        raise NoRule("a tensor without elements")
    return size


def _stretched(
    c: Call, shape: Sequence[int], axes: Sequence[int], sizes: Sequence[int]
) -> tuple[list[int], list[float]]:
    """Sizes and scales where sizes are given; ``keep_aspect_ratio_policy`` makes one scale of all."""
    size, scale = list(shape), [1.0] * len(shape)
    for d, n in zip(axes, sizes, strict=True):
        c.shape_of((n,))
        if n < 1:
            raise NoRule("a tensor without elements")
        size[d], scale[d] = n, float(np.float32(n) / np.float32(shape[d]))
    policy = c.attr("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and axes:
        one = (min if policy == "not_larger" else max)(scale[d] for d in axes)
        for d in axes:
            scale[d] = one
            size[d] = max(math.floor(float(np.float32(one) * np.float32(shape[d])) + 0.5), 1)
    return size, scale


def _resized(
    c: Call, x: Value, scales: Sequence[float], sizes: Sequence[int] | None, how: Sampling
) -> int:
    """All dims of ``x`` resampled by ``scales``, in the same way."""
    if len(scales) != x.rank:
        raise c.fail(f"{len(scales)} scales for {x.rank} dims")
    size = (
        [_size(c, n, s) for n, s in zip(x.shape, scales, strict=True)] if sizes is None else sizes
    )
    return _along(c, c.operand(x), scales, size, dict.fromkeys(range(x.rank), how))


def _along(
    c: Call, at: int, scale: Sequence[float], size: Sequence[int], how: dict[int, Sampling]
) -> int:
    """One dim after the other."""
    if c.g.shapes[at] == tuple(size) and all(h.roi == (0.0, 1.0) for h in how.values()):
        return at
    for d, sampling in how.items():
        n = c.g.shapes[at][d]
        if sampling.mode not in ("nearest", "linear", "cubic"):
            raise c.fail(f"mode {sampling.mode!r}")
        if sampling.coordinates not in COORDINATES:
            raise c.fail(f"coordinate_transformation_mode {sampling.coordinates!r}")
        if sampling.nearest not in NEAREST:
            raise c.fail(f"nearest_mode {sampling.nearest!r}")
        # tf_crop_and_resize is another part of the input even at the same size.
        if np.float32(scale[d]) == 1 and size[d] == n and sampling.roi == (0.0, 1.0):
            continue
        if size[d] > MAX_POSITIONS:
            raise NoRule(f"an axis resampled to {size[d]} positions")
        taps = sampling_taps(n, size[d], float(np.float32(scale[d])), sampling)
        at = c.g.add(Stencil(d, taps, size[d]), at)
    return at


# --- blocks of positions and channels


@rule("DepthToSpace")
def depth_to_space(c: Call, x: Value) -> int:
    """Channels are (block row, block column, channel) in mode DCR, PyTorch's order in CRD."""
    block = _block(c, x)
    at = c.operand(x)
    if _mode(c) == "CRD":
        return families.pixel_shuffle(c.g, at, (block, block))
    n, channels, *sizes = x.shape
    if channels % block**2:
        raise c.fail(f"{channels} channels are not a multiple of {block**2}")
    split = (n, block, block, channels // block**2, *sizes)
    out = (n, channels // block**2, *(size * block for size in sizes))
    return families.rearrange(c.g, at, split, (0, 3, 4, 1, 5, 2), out, (1, 3, 1, 1), (1, 1, 2, 2))


@rule("SpaceToDepth")
def space_to_depth(c: Call, x: Value) -> int:
    """The inverse of :func:`depth_to_space`."""
    block = _block(c, x)
    at = c.operand(x)
    if _mode(c) == "CRD":
        return families.pixel_unshuffle(c.g, at, (block, block))
    n, channels, *sizes = x.shape
    if any(size % block for size in sizes):
        raise c.fail(f"{list(x.shape)} does not divide into blocks of {block}")
    height, width = (size // block for size in sizes)
    split = (n, channels, height, block, width, block)
    out = (n, channels * block**2, height, width)
    return families.rearrange(c.g, at, split, (0, 3, 5, 1, 2, 4), out, (1, 1, 2, 2), (1, 3, 1, 1))


def _block(c: Call, x: Value) -> int:
    block: int = c.attr("blocksize", 0)
    if block < 1 or x.rank != 4:
        raise c.fail(f"blocks of {block} in {list(x.shape)}")
    return block


def _mode(c: Call) -> str:
    mode: str = c.attr("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise c.fail(f"mode {mode!r}")
    return mode
