"""Sampling at coordinates: each output says where it reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Stencil, Taps
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = ["weighted_sets"]

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
    found = [
        _places(grid[..., axes - 1 - k], shape[2 + k], mode, padding, align) for k in range(axes)
    ]
    apart = [(_line(places, k), _line(weights, k)) for k, (places, weights) in enumerate(found)]
    if all(places is not None and weights is not None for places, weights in apart):
        for k, (line, counts) in enumerate(apart):
            assert line is not None and counts is not None
            at = weighted_sets(c.g, at, 2 + k, line, counts)
        return [at]
    if grid.size * len(found[0][0]) ** axes > MAX_TABLE:
        raise NoRule("a grid of many positions, each with its own row and column")
    return [_one_by_one(c, at, found)]


def weighted_sets(graph: Graph, x: int, dim: int, places: Array, weights: Array) -> int:
    """Output i reads ``places[i]`` along ``dim``, each with its weight; what a negative one has is lost."""
    size, width = places.shape
    rows: list[dict[int, float]] = []
    for line, counts in zip(places.tolist(), weights.tolist(), strict=True):
        row: dict[int, float] = {}
        for place, count in zip(line, counts, strict=True):
            if place >= 0:
                row[place] = row.get(place, 0.0) + count
        rows.append(dict(sorted(row.items())))
    if all(not row or len(row) == max(row) - min(row) + 1 for row in rows):
        first = tuple(min(row, default=0) for row in rows)
        shares = tuple(tuple(row.values()) for row in rows)
        taps = Taps(size, 0, first, tuple(map(len, rows)), weights=shares)
        return graph.add(Stencil(dim, taps, size), x)
    # Sets with gaps: their elements side by side, then added up.
    flat = places.reshape(-1)
    here = tuple((flat >= 0).astype(int).tolist())
    x = graph.add(
        Stencil(dim, Taps(len(flat), 0, tuple(np.maximum(flat, 0).tolist()), here), len(flat)), x
    )
    shares = tuple(map(tuple, weights.tolist()))
    begins = tuple(range(0, size * width, width))
    taps = Taps(size, size * width, begins, (width,) * size, weights=shares)
    return graph.add(Stencil(dim, taps, size), x)


def _line(places: Array, k: int) -> Array | None:
    """Numbers [taps, N, *sizes] that vary along axis k only, as [size, taps]; None if they don't."""
    lines = np.moveaxis(places, 2 + k, 0)
    lines = lines.reshape(*lines.shape[:2], -1)
    same = (lines == lines[..., :1]).all()
    return lines[..., 0] if same else None


def _one_by_one(c: Call, at: int, found: Sequence[tuple[Array, Array]]) -> int:
    """The batch and all axes in one dim: each output reads the products of what it reads along the axes."""
    shape = c.g.shapes[at]
    axes = len(found)
    taps, batch, *sizes = found[0][0].shape
    order = [1, 0, *range(2, axes + 2)]
    y = families.permute(c.g, at, order)
    y = families.reshape(c.g, y, (shape[1], batch * math.prod(shape[2:])))
    image = np.arange(batch).reshape(batch, *(1,) * axes)
    places, weights = [], []
    for tap in np.ndindex(*(taps,) * axes):
        index, away, weight = image, np.zeros((), bool), np.ones(())
        for k, t in enumerate(tap):
            place, share = found[k][0][t], found[k][1][t]
            index = index * shape[2 + k] + np.maximum(place, 0)
            away = away | (place < 0)
            weight = weight * share
        places.append(np.where(away, -1, index).reshape(-1))
        weights.append(np.broadcast_to(weight, (batch, *sizes)).reshape(-1))
    y = weighted_sets(c.g, y, 1, np.stack(places, -1), np.stack(weights, -1))
    y = families.reshape(c.g, y, (shape[1], batch, *sizes))
    return families.permute(c.g, y, order)


def _places(grid: Array, n: int, mode: str, padding: str, align: bool) -> tuple[Array, Array]:
    """The elements [taps, *grid's shape] around each coordinate, -1 for none, and their weights.

    By the grid's own arithmetic.
    """
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
    rest = x - np.floor(x)
    weights = np.stack({
        "nearest": [np.ones_like(rest)],
        "linear": [1 - rest, rest],
        "cubic": list(families.cubic(rest, families.CUBIC)),
    }[mode])  # fmt: skip
    if padding == "border":
        return np.clip(places, 0, n - 1), weights
    if padding == "reflection":
        inside = np.trunc(_reflected(places, low, high)).astype(np.int64)
        return np.clip(inside, 0, n - 1), weights
    return np.where((places < 0) | (places >= n), -1, places), weights


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
