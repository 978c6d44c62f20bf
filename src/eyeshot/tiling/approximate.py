"""How far tiles with a stated halo are from the whole: some of them are compared with a much larger window.

The window around a tile is given to the network at once, and the tile's own outputs are taken from both.
Where the network reads the whole image, the window's outputs aren't the whole's either, unless the window is
the whole; that is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.plan import Estimate, Tile, TileAxis, TilePlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eyeshot.tiling.models import Model

__all__ = ["Sampler", "estimate"]

#: Input positions of a window.
WINDOW = 1 << 20
#: A tile's crop is at most so much of its window, else smaller tiles stand for the plan's.
SHARE = 4

#: The model's input [N, C, *S] at these slices of the whole.
Sampler = Callable[[tuple[slice, ...]], "NDArray[Any]"]


def estimate(
    model: Model,
    plan: TilePlan,
    image_sampler: Sampler | None = None,
    samples: int = 4,
    seed: int = 0,
    positions: int = WINDOW,
) -> Estimate | None:
    """The error of a plan's tiles at places drawn at random; None where one tile is the whole.

    ``image_sampler``: gives the model's input for slices of the whole input, as in ``tile.read``; without it
    the numbers are random (normal, each by itself). ``positions``: of the window, at most, as far as a tile
    and some of what is around it fit.

    Raises :class:`~eyeshot.errors.EyeshotError` where the network fails.
    """
    if plan.memory is not None:  # so much is known to fit
        known = plan.batch * plan.memory.workers * _positions(plan)
        positions = min(positions, known)
    plan = _smaller(model, plan, positions // SHARE)
    if len(plan) == 1:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(plan), size=min(samples, len(plan)), replace=False)
    references, differences = [], []
    window: tuple[slice, ...] = ()
    for index in sorted(int(i) for i in chosen):
        tile = plan[index]
        window = _window(plan, tile, positions)
        x = _data(model, plan, window, image_sampler, rng)
        there = _within(plan, tile, window)
        whole = model(x)[there].astype(np.float64)
        alone = model(np.ascontiguousarray(x[_relative(plan, tile.read, window)]))[tile.crop]
        references.append(whole.ravel())
        differences.append(np.abs(alone.astype(np.float64) - whole).ravel())
    all_of_it = np.concatenate(differences)
    sizes = tuple(window[axis.axis].stop - window[axis.axis].start for axis in plan.axes)
    return Estimate(
        samples=len(differences),
        largest=float(all_of_it.max()),
        mean=float(all_of_it.mean()),
        spread=float(np.concatenate(references).std()),
        data="random" if image_sampler is None else "image",
        window=sizes,
        whole=sizes == tuple(axis.size for axis in plan.axes),
    )


def _smaller(model: Model, plan: TilePlan, most: int) -> TilePlan:
    """The plan, or one like it with tiles so small that their crops have at most so many positions."""
    from eyeshot.tiling.planning import Planner

    if _positions(plan) <= most:
        return plan
    edge = max(axis.tile or axis.size for axis in plan.axes)
    halo = None if plan.exact else [max(axis.halo) for axis in plan.axes]
    best = plan
    planner: Planner | None = None
    while edge > 1 and _positions(best) > most:
        edge //= 2
        sizes = []
        for axis in plan.axes:
            size = min(axis.tile or axis.size, max(1, edge // axis.grid) * axis.grid)
            sizes.append(0 if size >= axis.size else size)
        try:
            planner = planner or Planner(model.subject, plan.shape, halo)
            best = planner.plan(sizes, plan.batch)
        except EyeshotError:
            return best
        if all(size in (0, axis.grid) for size, axis in zip(sizes, plan.axes, strict=True)):
            break
    return best


def _positions(plan: TilePlan) -> int:
    return math.prod(plan.crop[axis.axis] for axis in plan.axes)


def _window(plan: TilePlan, tile: Tile, positions: int) -> tuple[slice, ...]:
    """A tile's crop enlarged on all sides to so many positions, or to the whole; on the grid as crops are."""

    def enlarged(by: int) -> list[tuple[int, int]]:
        found = []
        for axis in plan.axes:
            read, step = tile.read[axis.axis], math.ceil(by / axis.grid) * axis.grid
            found.append((max(0, read.start - step), min(axis.size, read.stop + step)))
        return found

    low, high = 1, max(axis.size for axis in plan.axes)
    while low < high:
        middle = (low + high + 1) // 2
        if math.prod(end - begin for begin, end in enlarged(middle)) <= positions:
            low = middle
        else:
            high = middle - 1
    found = [slice(None)] * len(plan.shape)
    for axis, (begin, end) in zip(plan.axes, enlarged(low), strict=True):
        found[axis.axis] = slice(begin, end)
    return tuple(found)


def _relative(plan: TilePlan, place: Sequence[slice], window: Sequence[slice]) -> tuple[slice, ...]:
    """Input slices of the whole, within a window of it."""
    found = list(place)
    for axis in plan.axes:
        begin = window[axis.axis].start
        found[axis.axis] = slice(place[axis.axis].start - begin, place[axis.axis].stop - begin)
    return tuple(found)


def _within(plan: TilePlan, tile: Tile, window: Sequence[slice]) -> tuple[slice, ...]:
    """Where a tile's outputs are in a window's."""
    found = list(tile.write)
    for axis in plan.axes:
        begin = _outputs(axis, window[axis.axis].start)
        found[axis.dim] = slice(
            tile.write[axis.dim].start - begin, tile.write[axis.dim].stop - begin
        )
    return tuple(found)


def _outputs(axis: TileAxis, position: int) -> int:
    """The output that lies at a position on the grid."""
    return int(position * axis.scale)


def _data(
    model: Model,
    plan: TilePlan,
    window: tuple[slice, ...],
    sampler: Sampler | None,
    rng: np.random.Generator,
) -> NDArray[Any]:
    shape = list(plan.shape)
    for axis in plan.axes:
        place = window[axis.axis]
        shape[axis.axis] = place.stop - place.start
    if sampler is None:
        return rng.standard_normal(shape).astype(model.dtype)
    found = np.asarray(sampler(window))
    if found.shape != tuple(shape):
        expected, got = ("x".join(map(str, s)) for s in (shape, found.shape))
        raise EyeshotError(f"the sample of the image is {got}, where {expected} was asked for")
    return found.astype(model.dtype, copy=False)
