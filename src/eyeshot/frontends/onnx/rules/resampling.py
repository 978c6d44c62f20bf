"""Resampling: to another size, and blocks of positions made channels and back.

Source coordinates are worked out as onnxruntime does, in float32: a coordinate that should be a whole number
may fall just short of it, and its neighbours are then others. The closed form is taken where it says the same.

The specification does not say which elements of weight 0 are read. As in onnxruntime and PyTorch, linear
interpolation reads the element at or before its coordinate and the one after it. (The onnx package's evaluator
pairs a whole coordinate with the element before it, and nearest reads two.) An axis that is not resized is left
alone, as in PyTorch and the evaluator, where onnxruntime would read a neighbour with weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.core import families
from eyeshot.core.primitives import Stencil, Taps
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import axes_of

__all__ = []

Array = NDArray[Any]

#: Axes are resampled to at most so many positions: float32 tells no more of them apart.
MAX_POSITIONS = 1 << 24
#: So many are looked at at a time.
STRETCH = 1 << 18


class Sampling(NamedTuple):
    """How an axis is resampled; ``roi``: the part of the input that tf_crop_and_resize takes."""

    mode: str
    coordinates: str
    nearest: str
    antialias: bool
    roi: tuple[float, float]


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
        taps = _taps(n, size[d], float(np.float32(scale[d])), sampling)
        at = c.g.add(Stencil(d, taps, size[d]), at)
    return at


# --- source coordinates, in float32 and as fractions

F = np.float32

#: As onnxruntime computes them: of output indices (floats), for scale, input size, output size and roi.
COORDINATES: dict[str, Callable[[Array, Any, Any, Any, tuple[Any, Any]], Array]] = {
    "asymmetric": lambda i, s, n, m, r: i / s,
    "half_pixel": lambda i, s, n, m, r: (i + F(0.5)) / s - F(0.5),
    "pytorch_half_pixel": lambda i, s, n, m, r: (
        (i + F(0.5)) / s - F(0.5) if m > 1 else np.zeros_like(i)
    ),
    "tf_half_pixel_for_nn": lambda i, s, n, m, r: (i + F(0.5)) / s,
    "align_corners": lambda i, s, n, m, r: (
        i * (n - F(1)) / (m - F(1)) if m > 1 else np.zeros_like(i)
    ),
    "tf_crop_and_resize": lambda i, s, n, m, r: _cropped(i, n, m, r),
    "half_pixel_symmetric": lambda i, s, n, m, r: (
        (n / F(2) * (F(1) - m / (s * n))).astype(np.float64)
        + (i.astype(np.float64) + 0.5) / np.float64(s)
        - 0.5
    ).astype(F),
}


def _cropped(i: Array, n: Any, m: Any, roi: tuple[Any, Any]) -> Array:
    start, end = F(roi[0]), F(roi[1])
    if m > 1:
        return start * (n - F(1)) + (i * (end - start) * (n - F(1))) / (m - F(1))
    middle = 0.5 * np.float64(start + end) * np.float64(n - F(1))
    return np.full_like(i, middle)


#: What is so close to the middle between two elements is taken to lie there, as by onnxruntime.
TIE = 1e-6

#: The nearest element, by coordinate and scale; ``simple`` is that of opsets before 11.
NEAREST: dict[str, Callable[[Array, float], Array]] = {
    "round_prefer_floor": lambda x, s: np.ceil(x.astype(np.float64) - 0.5 - TIE),
    "round_prefer_ceil": lambda x, s: np.floor(x.astype(np.float64) + 0.5 + TIE),
    "floor": lambda x, s: np.floor(x),
    "ceil": lambda x, s: np.ceil(x),
    "simple": lambda x, s: np.ceil(x) if s < 1 else np.trunc(x),
}


def _exact(n: int, size: int, scale: float, how: Sampling) -> tuple[Fraction, Fraction] | None:
    """Step and offset of the coordinates as numbers mean them; None where the scale is no simple fraction."""
    half = Fraction(1, 2)
    if how.coordinates == "align_corners":
        return (Fraction(n - 1, size - 1) if size > 1 else Fraction(0)), Fraction(0)
    if how.coordinates == "tf_crop_and_resize":
        return None
    outputs = _fraction(scale)
    if outputs is None:
        return None
    step = 1 / outputs
    if how.coordinates == "asymmetric":
        return step, Fraction(0)
    if how.coordinates == "tf_half_pixel_for_nn":
        return step, half * step
    if how.coordinates == "half_pixel_symmetric":
        return step, Fraction(n, 2) * (1 - Fraction(size) / (outputs * n)) + half * step - half
    return step, half * step - half


def _fraction(scale: float) -> Fraction | None:
    """The simplest fraction that is this number in float32."""
    for most in (16, 1 << 10, 1 << 20):
        found = Fraction(scale).limit_denominator(most)
        if F(found.numerator) / F(found.denominator) == F(scale):
            return found
    return None


@lru_cache(maxsize=4096)
def _taps(n: int, size: int, scale: float, how: Sampling) -> Taps:
    """What each of ``size`` outputs of an axis of ``n`` elements reads."""
    closed = (_closed_stretch if how.antialias else _closed)(n, size, scale, how)
    if closed is not None and all(
        _same(closed, n, i, *_windows(i, n, size, scale, how)) for i in _stretches(size)
    ):
        return closed
    if size > families.MAX_PERIOD:
        raise NoRule(f"{size} positions without a closed form")
    low, count = _windows(np.arange(size), n, size, scale, how)
    border: Any = "drop" if how.antialias else "linear" if how.mode == "linear" else "clamp"
    return Taps(size, n, tuple(low.tolist()), tuple(count.tolist()), 1, border)


def _stretches(size: int) -> Iterator[Array]:
    """All indices, so many at a time."""
    for start in range(0, size, STRETCH):
        yield np.arange(start, min(start + STRETCH, size))


def _windows(i: Array, n: int, size: int, scale: float, how: Sampling) -> tuple[Array, Array]:
    """The first element that outputs read, before the border, and how many."""
    with np.errstate(over="ignore"):
        x = COORDINATES[how.coordinates](i.astype(F), F(scale), F(n), F(size), how.roi)
    # Far outside, where nothing is told apart any more.
    x = np.clip(x, -(2.0**40), 2.0**40)
    if how.antialias:
        low, high = _stretch(x, n, scale, how)
        count = np.maximum(high - low, 0)
    else:
        low = _lowest(x, n, scale, how)
        count = np.full(len(i), {"nearest": 1, "linear": 2, "cubic": 4}[how.mode])
    if how.coordinates == "tf_crop_and_resize":
        count = np.where((x < 0) | (x > n - 1), 0, count)
    return low, count


def _same(taps: Taps, n: int, i: Array, low: Array, count: Array) -> bool:
    """Whether taps read ``count`` elements from ``low`` on, of n, as far as the border lets tell."""
    phase = i % taps.period
    first = np.array(taps.first)[phase] + taps.advance * (i // taps.period)
    last = first + np.array(taps.counts)[phase]
    high = low + count
    if taps.border == "drop":
        low, high, first, last = (np.clip(at, 0, n) for at in (low, high, first, last))
    else:
        low, high, first, last = (np.clip(at, 0, n - 1) for at in (low, high - 1, first, last - 1))
    # The second element of a pair follows from the first.
    return bool((first == low).all() and (taps.border == "linear" or (last == high).all()))


def _lowest(x: Array, n: int, scale: float, how: Sampling) -> Array:
    """The first element that each output reads, before the border."""
    if how.mode == "nearest":
        return NEAREST[how.nearest](x, scale).astype(np.int64)
    low = np.floor(x).astype(np.int64)
    return np.clip(low, 0, n - 1) if how.mode == "linear" else low - 1


def _closed(n: int, size: int, scale: float, how: Sampling) -> Taps | None:
    """The closed form of :func:`_lowest`."""
    exact = _exact(n, size, scale, how)
    if exact is None or exact[0].denominator > families.MAX_PERIOD:
        return None
    step, offset = exact
    if how.mode == "nearest":
        # ceil(a/b) = floor((a + b - 1)/b): coordinates are multiples of 1/b.
        short = 1 - Fraction(1, 2 * math.lcm(step.denominator, offset.denominator))
        nearest = how.nearest
        if nearest == "simple":
            nearest = "ceil" if scale < 1 else "floor"
        offset += {
            "floor": Fraction(0),
            "ceil": short,
            "round_prefer_ceil": Fraction(1, 2),
            "round_prefer_floor": short - Fraction(1, 2),
        }[nearest]
    return families.sampled(how.mode, step, offset)


RADII = {"linear": 1, "cubic": 2}


def _stretch(x: Array, n: int, scale: float, how: Sampling) -> tuple[Array, Array]:
    """First element, and that after the last, under a kernel stretched to the scale where that is below 1."""
    step = F(1) / F(scale)
    reach = F(RADII[how.mode]) * max(step, F(1))
    centre = F(0.5) + x.astype(F)
    low = np.floor(centre - reach + F(0.5)).astype(np.int64)
    high = np.floor(centre + reach + F(0.5)).astype(np.int64)
    return np.clip(low, 0, n), np.clip(high, 0, n)


def _closed_stretch(n: int, size: int, scale: float, how: Sampling) -> Taps | None:
    exact = _exact(n, size, scale, how)
    if exact is None or exact[0].denominator > families.MAX_PERIOD:
        return None
    step, offset = exact
    if offset != step / 2 - Fraction(1, 2):
        return None
    return families.antialiased(Fraction(RADII[how.mode]), step)


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
