"""A plan's numbers in the terms of other tools, which cut, crop and pad in ways of their own.

Most of them crop equally on both sides and know no grid, so that each gets the smallest numbers that keep its
crops on the grid and leave out all that a crop's edge spoils. What even so remains different from the whole is
told in a line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from eyeshot.tiling.plan import TileAxis, TilePlan

__all__ = ["terms"]


def terms(plan: TilePlan) -> dict[str, dict[str, Any]]:
    """By tool: ``values`` (its parameters by name, lists are per axis of the plan), ``exact`` and ``note``.

    ``exact``: with these values the tool gives what the whole image gives (of the plan's size). ``values`` is
    empty where the tool can't run such tiles. Positions are input elements, but for bioimage.io's ``halo``,
    which counts outputs.
    """
    return {
        "bioimage.io": _bioimage(plan),
        "CSBDeep": _csbdeep(plan),
        "dask map_overlap": _dask(plan),
        "MONAI": _monai(plan),
        "Real-ESRGAN": _sr(plan),
        "torchio": _torchio(plan),
    }


def _bioimage(plan: TilePlan) -> dict[str, Any]:
    """``halo``: outputs that are cropped off a block's output, on both sides; blocks advance by the rest."""
    halos = []
    for axis in plan.axes:
        left, right = axis.halo
        need = max(left * axis.scale, right * axis.scale - _lacking(axis))
        step = axis.grid * axis.scale
        halos.append(int(math.ceil(max(need, Fraction(0)) / step) * step))
    sizes = [axis.grid for axis in plan.axes]
    values = {"halo": halos, "step": sizes, "offset": [-_rounded(_lacking(a)) for a in plan.axes]}
    if not any(halos) and _even(plan):
        return _told(plan, values, True, "")
    why = "blocks at the image's borders are padded with numbers from outside, where the network pads by itself"
    if not _even(plan):
        why += f"; {_odd(plan)}"
    return _told(plan, values, False, why)


def _csbdeep(plan: TilePlan) -> dict[str, Any]:
    """``axes_tile_overlap``: on either side, which CSBDeep rounds up to whole blocks of ``axes_div_by``."""
    if not _same_size(plan):
        return _unable("its tiles' outputs have the size of their inputs")
    values = {
        "axes_tile_overlap": [max(axis.halo) for axis in plan.axes],
        "axes_div_by": [axis.grid for axis in plan.axes],
    }
    if _even(plan):
        return _told(plan, values, True, "")
    return _told(
        plan,
        values,
        False,
        "the image is padded to a multiple of axes_div_by, which changes what lies at its far ends",
    )


def _dask(plan: TilePlan) -> dict[str, Any]:
    """``depth``: on either side; chunks of a multiple of the grid begin on it."""
    if not _same_size(plan):
        return _unable("its trimmed chunks have the size of the ones that went in")
    values = {
        "depth": [_border(axis) for axis in plan.axes],
        "boundary": "none",
        "chunks": [_tile(axis) for axis in plan.axes],
    }
    return _told(plan, values, _even(plan), "" if _even(plan) else _odd(plan))


def _monai(plan: TilePlan) -> dict[str, Any]:
    """``overlap``: a fraction of ``roi_size``; windows advance by the whole part of the rest."""
    if any(_lacking(axis) for axis in plan.axes):
        return _unable("its windows' outputs have the size of their inputs, or a multiple of it")
    rois, overlaps = [], []
    for axis in plan.axes:
        roi = min(axis.size, _tile(axis) + 2 * _border(axis))
        rois.append(roi)
        overlaps.append(_fraction(roi, _tile(axis)) if roi < axis.size else 0.0)
    values = {"roi_size": rois, "overlap": overlaps}
    if not any(overlaps) and _even(plan):
        return _told(plan, values, True, "")
    blended = (
        f"windows are averaged where they overlap: what lies up to {_by(_border(a) for a in plan.axes)} from a "
        "window's edge is spoiled and mixed in, whatever the overlap (mode='gaussian' gives it less weight)"
    )
    return _told(plan, values, False, blended if _even(plan) else f"{blended}; {_odd(plan)}")


def _sr(plan: TilePlan) -> dict[str, Any]:
    """``tile_pad``: on either side of ``tile``, but none beyond the image."""
    whole = all(axis.scale.denominator == 1 for axis in plan.axes)
    if len(plan.axes) != 2 or not whole or any(map(_lacking, plan.axes)):
        return _unable("it runs 2-D networks whose outputs are a whole multiple of their inputs")
    if len({axis.scale for axis in plan.axes}) > 1:
        return _unable("it has one scale for both axes")
    grid = math.lcm(*(axis.grid for axis in plan.axes))
    pad = max(_up(max(axis.halo), grid) for axis in plan.axes)
    values = {
        "tile": _up(max(axis.tile or axis.size for axis in plan.axes), grid),
        "tile_pad": pad,
        "pre_pad": 0,
    }
    # What it pads the image to by itself, by reflection.
    multiple = {1: 4, 2: 2}.get(int(plan.axes[0].scale), 1)
    why = [] if _even(plan) else [_odd(plan)]
    if any(axis.size % multiple for axis in plan.axes):
        why.append(f"the image is padded to a multiple of {multiple}, which changes its far ends")
    return _told(plan, values, not why, "; ".join(why))


def _torchio(plan: TilePlan) -> dict[str, Any]:
    """``patch_overlap``: even; half of it is cropped off on every side but the image's own."""
    if not _same_size(plan):
        return _unable("its patches' outputs have the size of their inputs")
    if len(plan.axes) > 3:
        return _unable("it has three axes")
    sizes, overlaps = [], []
    for axis in plan.axes:
        overlap = 2 * _border(axis)
        sizes.append(min(axis.size, _tile(axis) + overlap))
        overlaps.append(overlap if sizes[-1] < axis.size else 0)
    values = {"patch_size": sizes, "patch_overlap": overlaps, "overlap_mode": "crop"}
    if _even(plan):
        return _told(plan, values, True, "")
    return _told(plan, values, False, f"the last patch begins off the grid, since {_odd(plan)}")


def _told(plan: TilePlan, values: dict[str, Any], exact: bool, note: str) -> dict[str, Any]:
    if not plan.exact:
        exact, note = (
            False,
            "; ".join(["the halo was stated and is not exact", *([note] if note else [])]),
        )
    return {"values": values, "exact": exact, "note": note}


def _unable(why: str) -> dict[str, Any]:
    return {"values": {}, "exact": False, "note": f"can't run these tiles: {why}"}


def _lacking(axis: TileAxis) -> Fraction:
    """The outputs that an input has fewer than its positions would give, as unpadded convolutions make it."""
    return axis.size * axis.scale - axis.out


def _same_size(plan: TilePlan) -> bool:
    return all(axis.scale == 1 and axis.out == axis.size for axis in plan.axes)


def _even(plan: TilePlan) -> bool:
    """Whether the image ends on the grid, so that what begins at its end does, too."""
    return all(axis.size % axis.grid == 0 for axis in plan.axes)


def _odd(plan: TilePlan) -> str:
    odd = [axis for axis in plan.axes if axis.size % axis.grid]
    sizes = " and ".join(str(n) for n in dict.fromkeys(axis.size for axis in odd))
    grids = " and ".join(str(n) for n in dict.fromkeys(axis.grid for axis in odd))
    return f"the image's {sizes} is no multiple of {grids}"


def _border(axis: TileAxis) -> int:
    """What is read on either side of a tile so that both ends are on the grid."""
    return _up(max(axis.halo), axis.grid)


def _tile(axis: TileAxis) -> int:
    return _up(axis.tile or axis.size, axis.grid)


def _up(number: int, grid: int) -> int:
    return -(-number // grid) * grid


def _fraction(roi: int, advance: int) -> float:
    """The shortest fraction by which windows of ``roi`` advance by just this: ``int(roi * (1 - overlap))``."""
    for digits in range(1, 16):
        for rest in (advance, advance + 0.5):
            overlap = round(1 - rest / roi, digits)
            if 0 <= overlap < 1 and int(roi * (1 - overlap)) == advance:
                return overlap
    return 1 - (advance + 0.5) / roi


def _rounded(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


def _by(sizes: Sequence[int] | Any) -> str:
    return "x".join(map(str, sizes))
