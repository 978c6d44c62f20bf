"""Resampling: interpolation to another size, and sampling at coordinates.

PyTorch computes source coordinates in floating point, so a coordinate that should be a whole number may fall
just short of it, and its neighbours are then others. Here the same arithmetic is done (ATen's UpSample.h and
cpu/UpSampleKernel.cpp), and the closed form is taken where it says the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Border, Stencil, Taps
from eyeshot.frontends.torch.calls import Call
from eyeshot.frontends.torch.rules import rule
from eyeshot.frontends.torch.rules.shared import fresh, the

__all__ = []

MODES = {
    "upsample_nearest": "nearest",
    "_upsample_nearest_exact": "nearest-exact",
    "upsample_linear": "linear",
    "upsample_bilinear": "linear",
    "upsample_trilinear": "linear",
    "upsample_bicubic": "cubic",
}
#: Radius of an antialiasing kernel, in positions of the longer of input and output.
RADII = {"bilinear": 1, "bicubic": 2, "lanczos": 3}

#: Wider than any float in use: one rounding at the end stands for a fused multiply-add.
Wide = np.longdouble


@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
      "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
      "upsample_trilinear3d", "upsample_bicubic2d")  # fmt: skip
def upsample(c: Call, self: Tensor, output_size: Any, *args: Any) -> int:
    """Output size, then ``align_corners`` unless nearest, then a scale per axis, or a list of them."""
    assert c.op is not None
    name, axes = c.op.name.removeprefix("aten::")[:-2], int(c.op.name[-2])
    mode = MODES[name]
    align = False if mode.startswith("nearest") else args[0]
    scales = _scales(args if mode.startswith("nearest") else args[1:], axes)
    # Kernels for two axes, and those for channels last, have ways of their own.
    planar = axes == 2 or (axes == 3 and not self.is_contiguous())
    x = the(c, self)
    for k, size in enumerate(c.out.shape[2:]):
        n = self.shape[2 + k]
        if n == size and (
            mode == "linear" or (mode == "nearest" and (planar or scales[k] is None))
        ):
            continue
        taps = _sampled(n, size, scales[k], mode, align, self.dtype == torch.float64, planar)
        x = c.g.add(Stencil(2 + k, taps, size), x)
    return fresh(c, x, the(c, self))


@rule("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa")
def upsample_antialiased(
    c: Call, self: Tensor, output_size: Any, align_corners: bool, *args: Any
) -> int:
    assert c.op is not None
    radius = RADII[c.op.name.removeprefix("aten::_upsample_")[: -len("2d_aa")]]
    scales = _scales(args, 2)
    x = the(c, self)
    for k, size in enumerate(c.out.shape[2:]):
        n = self.shape[2 + k]
        if n != size:
            taps = _antialiased(
                n, size, scales[k], radius, align_corners, self.dtype == torch.float64
            )
            x = c.g.add(Stencil(2 + k, taps, size), x)
    return fresh(c, x, the(c, self))


def _scales(args: Sequence[Any], axes: int) -> list[float | None]:
    """Outputs per input, as far as the caller gave them: one argument each, or all in a list."""
    if args and isinstance(args[0], (list, tuple)):
        args = args[0]
    given = [s if s is not None and s > 0 else None for s in args]
    return given + [None] * (axes - len(given))


def _fraction(scale: float) -> Fraction | None:
    """The simplest fraction that is this number."""
    for most in (16, 1 << 10, 1 << 20):
        found = Fraction(scale).limit_denominator(most)
        if float(found) == scale:
            return found
    return None


def _step(n: int, size: int, scale: float | None, align: bool) -> Fraction | None:
    """Inputs per output; None where it is no simple fraction."""
    if align:
        return Fraction(n - 1, size - 1) if size > 1 else Fraction(0)
    if scale is None:
        return Fraction(n, size)
    found = _fraction(scale)
    return 1 / found if found else None


def _rounded_step(n: int, size: int, scale: float | None, align: bool, kind: Any) -> Any:
    """As PyTorch has it, in numbers of type ``kind``."""
    if align:
        return kind(n - 1) / kind(size - 1) if size > 1 else kind(0)
    return kind(1.0 / scale) if scale is not None else kind(n) / kind(size)


@lru_cache(maxsize=4096)
def _sampled(
    n: int, size: int, scale: float | None, mode: str, align: bool, double: bool, planar: bool
) -> Taps:
    """The neighbours that each output of an axis of ``n`` elements reads, and their weights."""
    at, low = _lowest(n, size, scale, mode, align, double, planar)
    count = {"linear": 2, "cubic": 4}.get(mode, 1)
    step = _step(n, size, scale, align)
    if step is not None and step.denominator <= families.MAX_PERIOD:
        half = Fraction(1, 2)
        offset = Fraction(0)
        if mode == "nearest-exact":
            offset = half * step
        elif mode != "nearest" and not align:
            offset = half * step - half
        taps = families.sampled(mode, step, offset)
        begin = _first(taps, size)
        # Linear interpolation moves a window that begins before the input, cubic keeps it.
        margin = 1 if mode == "cubic" else 0
        if (np.clip(begin, -margin * 4, n - 1 + margin * 4) == low - margin).all():
            return taps
    first = tuple((low - (mode == "cubic")).tolist())
    weights = None
    if count > 1:
        # As PyTorch: a coordinate that single precision has moved to its neighbour is that neighbour's.
        rests = np.clip(at.astype(np.float64) - low, 0, 1).tolist()
        weights = tuple(
            (1 - rest, rest) if mode == "linear" else families.cubic(rest, families.CUBIC)
            for rest in rests
        )
    return Taps(size, n, first, (count,) * size, 1, "clamp", weights)


def _first(taps: Taps, size: int) -> Any:
    """The first position that each of ``size`` outputs reads, before the border."""
    i = np.arange(size)
    return np.array(taps.first)[i % taps.period] + taps.advance * (i // taps.period)


def _lowest(
    n: int, size: int, scale: float | None, mode: str, align: bool, double: bool, planar: bool
) -> tuple[Any, Any]:
    """Each source coordinate, and the element at or below it, by PyTorch's arithmetic."""
    i = np.arange(size)
    single = not double or (planar and mode.startswith("nearest"))
    kind: Any = np.float32 if single else np.float64
    half = Wide(0.5)
    step = _rounded_step(n, size, scale, align, kind)
    wide = Wide(step)
    if mode == "nearest":
        if planar and size in (n, 2 * n):
            return i, i * n // size
        at = (wide * i).astype(kind)
    elif mode == "nearest-exact":
        if planar:
            at = (wide * (i + half)).astype(np.float64)
        else:
            at = (wide * (i + half) - half).astype(kind) + kind(0.5)
    elif align:
        at = (wide * i).astype(kind)
    elif mode == "linear" and single and not planar:
        at = step * (i.astype(kind) + kind(0.5)) - kind(0.5)
    else:
        at = (wide * (i + half) - half).astype(kind)
    low = np.floor(at.astype(np.float32)).astype(np.int64)
    return at, low if mode == "cubic" else np.clip(low, 0, n - 1)


@lru_cache(maxsize=4096)
def _antialiased(
    n: int, size: int, scale: float | None, radius: int, align: bool, double: bool
) -> Taps:
    """Elements whose centres lie under the kernel, stretched to the scale where that is above 1.

    Their weights add up to 1 over those inside.
    """
    kind: Any = np.float64 if double else np.float32
    rounded = _rounded_step(n, size, scale, align, kind)
    reach = kind(radius) * max(rounded, kind(1))
    at = rounded * (np.arange(size).astype(kind) + kind(0.5))
    low = np.maximum(np.trunc(at - reach + kind(0.5)).astype(np.int64), 0)
    high = np.minimum(np.trunc(at + reach + kind(0.5)).astype(np.int64), n)
    step = _step(n, size, scale, align)
    if step is not None and step.denominator <= families.MAX_PERIOD:
        taps = families.antialiased(Fraction(radius), step)
        begin = _first(taps, size)
        end = begin + np.array(taps.counts)[np.arange(size) % taps.period]
        if (np.maximum(begin, 0) == low).all() and (np.minimum(end, n) == high).all():
            return taps
    stretch = max(float(rounded), 1.0)
    weights = tuple(
        families.kernel_weights(
            radius, [(p + 0.5 - centre) / stretch for p in range(begin, end)],
            families.ANTIALIASED_CUBIC,
        )
        for centre, begin, end in zip(at.tolist(), low.tolist(), high.tolist(), strict=True)
    )  # fmt: skip
    return Taps(
        size, n, tuple(low.tolist()), tuple((high - low).tolist()), 1, "drop", weights, True
    )


# --- at coordinates


@rule("grid_sampler_2d", "grid_sampler_3d", "_grid_sampler_2d_cpu_fallback", "grid_sampler")
def grid_sampler(
    c: Call,
    input: Tensor,
    grid: Tensor,
    interpolation_mode: int = 0,
    padding_mode: int = 0,
    align_corners: bool = False,
) -> int:
    """Each output reads its own coordinates, and the input around where they point."""
    axes = grid.shape[-1]
    out = tuple(c.out.shape)
    values = []
    why = ""
    if (x := c.v(input)) is not None:
        numbers = c.known(grid)
        found = (
            None
            if numbers is None
            else _windows(input, numbers, interpolation_mode, padding_mode, align_corners)
        )
        if found is None:
            x = families.mix(c.g, x, range(2, 2 + axes), out[2:])
            why = "coordinates say where it samples; the whole plane is taken"
        else:
            tables, border, exact = found
            for k, taps in enumerate(tables):
                x = c.g.add(Stencil(2 + k, taps._replace(border=border), out[2 + k]), x)
            why = "" if exact else "rounding decides between neighbours; both are taken"
        values.append(x)
    if (g := c.v(grid)) is not None:
        g = families.reduce(c.g, g, (1 + axes,), False)
        values.append(families.unsqueeze(c.g, g, 1))
    value = c.join(values, out)
    return c.bound(value, "data-dependent", why) if why else value


@rule("cudnn_grid_sampler")
def cudnn_grid_sampler(c: Call, self: Tensor, grid: Tensor) -> int:
    return grid_sampler(c, self, grid, align_corners=True)


def _windows(
    input: Tensor, grid: Any, mode: int, padding: int, align: bool
) -> tuple[list[Taps], Border, bool] | None:
    """What known coordinates read along each axis, where each axis goes its own way; None where not.

    ``mode``: 0 linear, 1 nearest, 2 cubic. ``padding``: 0 zeros, 1 border, 2 reflection. Where lines read the
    same elements at unequal distances, weights are those of the distances' average.
    """
    axes = grid.shape[-1]
    if (mode == 2 and padding == 2) or not np.isfinite(grid).all() or not grid.size:
        return None
    tables = []
    exact = True
    for k in range(axes):
        n, size = input.shape[2 + k], grid.shape[1 + k]
        lines = np.moveaxis(grid[..., axes - 1 - k], 1 + k, 0).reshape(size, -1).astype(np.float64)
        at = (lines + 1) * ((n - 1) / 2) if align else (lines + 1) * (n / 2) - 0.5
        near = 8 * float(np.finfo(grid.dtype).eps) * (n + np.abs(at))
        bounds = []
        for place in (at, at - near, at + near):
            if mode != 2 and padding:
                if padding == 2:
                    place = _reflected(place, n, align)
                place = np.clip(place, 0, n - 1)
            bounds.append(place)
        centres = bounds.pop(0).mean(axis=1)
        bounds = [np.rint(place) if mode == 1 else np.floor(place) for place in bounds]
        low = np.minimum(*bounds).astype(np.int64)
        high = np.maximum(*bounds).astype(np.int64)
        if (low != low[:, :1]).any() or (high != high[:, :1]).any() or np.abs(at).max() > 1 << 30:
            return None
        exact = exact and bool((low == high).all())
        before, after = {0: (0, 1), 1: (0, 0), 2: (1, 2)}[mode]
        begin = low[:, 0] - before
        count = high[:, 0] + after + 1 - begin
        windows = list(zip(begin.tolist(), count.tolist(), strict=True))
        weights = None if mode == 1 else tuple(
            _around(centre, first, many, mode)
            for centre, (first, many) in zip(centres.tolist(), windows, strict=True)
        )  # fmt: skip
        taps = Taps(size, 0, tuple(begin.tolist()), tuple(count.tolist()), weights=weights)
        tables.append(taps)
    return tables, "clamp" if mode == 2 and padding else "drop", exact


def _around(at: float, first: int, count: int, mode: int) -> tuple[float, ...]:
    """Weights of the positions from ``first`` on around a coordinate."""
    if mode == 0:
        return tuple(max(0.0, 1 - abs(p - at)) for p in range(first, first + count))
    low = math.floor(at)
    near = dict(enumerate(families.cubic(at - low, families.CUBIC), low - 1))
    return tuple(near.get(p, 0.0) for p in range(first, first + count))


def _reflected(at: Any, n: int, align: bool) -> Any:
    """Mirrored at the first and last element, or at their outer edges."""
    low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
    if span == 0:
        return np.zeros_like(at)
    away = np.abs(at - low)
    turn = np.floor(away / span)
    rest = away - turn * span
    return np.where(turn % 2 == 0, rest, span - rest) + low


@rule("affine_grid_generator", "cudnn_affine_grid_generator")
def affine_grid_generator(c: Call, theta: Tensor, *size: Any) -> int:
    """Each coordinate reads its own row of the matrix."""
    out = tuple(c.out.shape)
    x = families.reduce(c.g, the(c, theta), (2,), False)
    return c.shaped(families.reshape(c.g, x, (out[0], *(1,) * (len(out) - 2), out[-1])), out)
