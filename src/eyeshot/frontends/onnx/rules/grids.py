"""Sampling at coordinates: each output says where it reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.core import families
from eyeshot.core.primitives import Stencil, Taps
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = []

Array = NDArray[Any]

#: Known coordinates become tables of at most so many positions.
MAX_TABLE = 1 << 20


@rule("GridSample")
def grid_sample(c: Call, x: Value, grid: Value) -> int:
    """Each output reads its own coordinates, and the input around where they point."""
    axes = x.rank - 2
    if axes < 1 or grid.rank != x.rank or grid.shape[-1] != axes or grid.shape[0] != x.shape[0]:
        raise c.fail(f"a grid of {list(grid.shape)} for {list(x.shape)}")
    out = (*x.shape[:2], *grid.shape[1:-1])
    values = []
    why = ""
    if (at := c.v(x)) is not None:
        numbers = c.constant(grid)
        if numbers is None or not np.isfinite(numbers).all():
            at = families.mix(c.g, at, range(2, x.rank), out[2:])
            why = "coordinates say where it samples; the whole plane is taken"
            values.append(at)
        else:
            values += _sampled(c, at, numbers)
    if (g := c.v(grid)) is not None:
        g = families.reduce(c.g, g, (1 + axes,), False)
        values.append(families.unsqueeze(c.g, g, 1))
    value = c.join(values, out)
    return c.bound(value, "data-dependent", why) if why else value


def _sampled(c: Call, at: int, grid: Array) -> list[int]:
    """What known coordinates read: axis by axis where each goes its own way, else element by element."""
    shape = c.g.shapes[at]
    axes = len(shape) - 2
    mode = c.attr("mode", "linear").removeprefix("bi")
    padding, align = c.attr("padding_mode", "zeros"), bool(c.attr("align_corners", 0))
    if mode not in ("linear", "nearest", "cubic"):
        raise c.fail(f"mode {mode!r}")
    if padding not in ("zeros", "border", "reflection"):
        raise c.fail(f"padding_mode {padding!r}")
    # Coordinates come last axis first.
    places = [
        _places(grid[..., axes - 1 - k], shape[2 + k], mode, padding, align) for k in range(axes)
    ]
    apart = [_line(p, k) for k, p in enumerate(places)]
    if all(line is not None for line in apart):
        for k, line in enumerate(apart):
            assert line is not None
            at = families.gathered_sets(c.g, at, 2 + k, line.tolist())
        return [at]
    if grid.size * len(places[0]) ** axes > MAX_TABLE:
        raise NoRule("a grid of many positions, each with its own row and column")
    return _one_by_one(c, at, places)


def _line(places: Array, k: int) -> Array | None:
    """Places [taps, N, *sizes] that vary along axis k only, as [size, taps]; None if they don't."""
    lines = np.moveaxis(places, 2 + k, 0)
    lines = lines.reshape(*lines.shape[:2], -1)
    same = (lines == lines[..., :1]).all()
    return lines[..., 0] if same else None


def _one_by_one(c: Call, at: int, places: Sequence[Array]) -> list[int]:
    """The batch and all axes in one dim; for each tap there is one element, or none."""
    shape = c.g.shapes[at]
    axes, sizes = len(places), places[0].shape[2:]
    taps, batch = places[0].shape[:2]
    order = [1, 0, *range(2, axes + 2)]
    flat = families.reshape(
        c.g, families.permute(c.g, at, order), (shape[1], batch * math.prod(shape[2:]))
    )
    first = np.arange(batch).reshape(batch, *(1,) * axes)
    values = []
    for tap in np.ndindex(*(taps,) * axes):
        index, away = first, np.zeros((), bool)
        for k, t in enumerate(tap):
            index = index * shape[2 + k] + np.maximum(places[k][t], 0)
            away = away | (places[k][t] < 0)
        index = np.broadcast_to(index, (batch, *sizes)).reshape(-1)
        count = np.broadcast_to(~away, (batch, *sizes)).reshape(-1).astype(int)
        table = Taps(len(index), 0, tuple(index.tolist()), tuple(count.tolist()))
        y = c.g.add(Stencil(1, table, len(index)), flat)
        y = families.reshape(c.g, y, (shape[1], batch, *sizes))
        values.append(families.permute(c.g, y, order))
    return values


def _places(grid: Array, n: int, mode: str, padding: str, align: bool) -> Array:
    """The elements [taps, *grid's shape] around each coordinate, -1 for none, by the grid's own arithmetic."""
    kind = grid.dtype.type if grid.dtype in (np.float32, np.float64) else np.float32
    grid = grid.astype(kind)
    one, two = kind(1), kind(2)
    with np.errstate(all="ignore"):
        whole, edges = (grid + one) / two * kind(n - 1), ((grid + one) * kind(n) - one) / two
    x = whole if align else edges
    x = np.clip(x, -(2.0**30), 2.0**30).astype(np.float64)
    if mode == "nearest":
        x = np.rint(x)
    low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
    outside = (x < low) | (x > high)
    if padding == "reflection":
        x = np.where(outside, _reflected(x, low, high), x)
    first = (np.trunc if mode == "nearest" else np.floor)(x).astype(np.int64)
    steps = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[mode]
    places = np.stack([first + step for step in steps])
    if padding == "border":
        return np.clip(places, 0, n - 1)
    if padding == "reflection":
        return np.clip(np.trunc(_reflected(places, low, high)).astype(np.int64), 0, n - 1)
    return np.where((places < 0) | (places >= n), -1, places)


def _reflected(x: Array, low: float, high: float) -> Array:
    """Mirrored at both ends until between them."""
    span = high - low
    if span == 0:
        return np.full(np.shape(x), low)
    away = np.where(x < low, low - x, x - high)
    turns = np.floor(away / span)
    rest = away - turns * span
    inward = (turns % 2 == 0) == (x < low)
    return np.where((x < low) | (x > high), np.where(inward, low + rest, high - rest), x)


@rule("AffineGrid")
def affine_grid(c: Call, theta: Value, size: Value) -> int:
    """Each coordinate reads its own row of the matrix."""
    sizes = c.ints(size) or []
    axes = len(sizes) - 2
    if theta.shape != (*sizes[:1], axes, axes + 1):
        raise c.fail(f"matrices {list(theta.shape)} for a grid of {sizes}")
    out = c.shape_of((sizes[0], *sizes[2:], axes))
    rows = families.reduce(c.g, c.operand(theta), (2,), False)
    return c.shaped(families.reshape(c.g, rows, (sizes[0], *(1,) * axes, axes)), out)
