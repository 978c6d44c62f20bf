"""``tile_plan``: from any source and an image's shape to a plan of tiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from eyeshot.api import is_onnx
from eyeshot.errors import EyeshotError
from eyeshot.tiling.extents import NotTileable
from eyeshot.tiling.modules import Inner
from eyeshot.tiling.plan import TilePlan
from eyeshot.tiling.planning import MAX_TILES, Planner
from eyeshot.tiling.subject import Subject, shape_of

if TYPE_CHECKING:
    from eyeshot.tiling.approximate import Sampler
    from eyeshot.tiling.models import Model

__all__ = ["tile_plan"]


def tile_plan(
    source: Any,
    input: Any = None,
    *,
    axes: Any = None,
    training: bool | None = False,
    output: str | None = None,
    tile: Sequence[int] | int | None = None,
    memory: str | int | None = None,
    batch: int = 1,
    workers: int = 1,
    approximate: Sequence[int] | int | None = None,
    weights: str | PathLike[str] | None = None,
    device: str | None = None,
    dtype: Any = None,
    trial: bool = True,
    sampler: Sampler | None = None,
) -> TilePlan:
    """Plan tiles of an image that together give exactly what the whole image gives.

    ``source`` and ``axes``: as for :func:`eyeshot.analyze`, a spec too, or a loaded model. ``input``: the
    shape that the network would get if it got the whole image, batch and channels included. ``training``,
    ``weights``, ``device``, ``dtype``: how the network runs. ``output``: the layer that is the result, where
    there are several.

    ``tile``: input positions per axis that one tile accounts for, a multiple of what one output stands for,
    best of the grid; one number for all axes or one each, 0 for the whole axis. ``batch``: tiles that run
    together. ``memory``: instead of a size, what a run may take, such as ``"2GB"`` (10^9 bytes) or
    ``"500MiB"`` (2^20): of one process, with ``workers`` tiles at a time, or of the device's memory. Forwards
    of a few sizes are then run in another process to see what they take, which needs some seconds. With both,
    ``tile`` is checked.

    ``approximate``: go on where tiles can't equal the whole, or with less than they need: each reads so many
    input positions on either side (one number, or one per axis), and the error is estimated at a few
    places: of ``sampler``, a function that gives the network's input for slices of the whole (as a tile's
    ``read``), or else of random numbers.

    ``trial``: where the network has weights, also run it on one crop to see that the graph tells all there is
    to know (constants that depend on the position don't show in it).

    Raises :class:`~eyeshot.NotTileable`, naming the layers, where no tiles equal the whole, and
    :class:`~eyeshot.errors.EyeshotError` for sizes that can't be had and budgets that are too small.
    """
    for name, number in (("batch", batch), ("workers", workers)):
        if not _whole(number) or number < 1:
            raise EyeshotError(f"{name}: expected a whole number of at least 1, got {number!r}")
    if tile is not None and not _whole(tile) and not hasattr(tile, "__iter__"):
        raise EyeshotError(
            f"tile: expected input positions, one number or one per axis, got {tile!r}"
        )
    if memory is not None:
        from eyeshot.tiling.memory import parsed

        memory = parsed(memory)
    options = {"weights": weights, "device": device, "dtype": dtype}
    structure = {"axes": axes, "training": training, "output": output}
    wanted = memory is not None or any(value is not None for value in options.values())
    subject, model, why = _opened(
        source, trial or wanted or approximate is not None, wanted, options, structure
    )
    try:
        report = subject.report(input)
    except EyeshotError as error:
        raise _exported(error, model) from None
    shape = shape_of(report)
    _few(shape, report._sources[0].axes, tile)
    if approximate is None:
        planner, note = Planner(subject, shape), ""
    else:
        planner, note = _approximate(subject, shape, approximate, tile, batch)
    if memory is None:
        plan = planner.plan(tile, batch)
    else:
        if model is None:
            raise EyeshotError(f"memory: what it takes can't be measured: {why}; give tile=")
        plan = _fitted(model, planner, memory, tile, batch, workers)
    notes = [*plan.notes, *((note,) if note else ())]
    if model is None:
        notes += [f"only the structure was looked at: {why}"] if why else []
    elif not plan.exact:
        from eyeshot.tiling.approximate import estimate

        plan = replace(plan, error=estimate(model, plan, sampler))
        if plan.error is None:
            notes.append("one tile is the whole, so that nothing is lost")
    elif trial:
        from eyeshot.tiling.trial import trial as tried

        try:
            found = tried(model, plan)
        except EyeshotError as error:
            if not isinstance(error.__cause__, Inner):
                raise
            notes.append(f"only the structure was looked at: {error.__cause__}")
        else:
            if not found.passed:
                raise NotTileable(found.message)
    return replace(plan, notes=tuple(notes))


def _exported(error: EyeshotError, model: Model | None) -> EyeshotError:
    """An error, with what an ONNX graph was exported for where its operators take nothing else."""
    declared = getattr(getattr(model, "_network", None), "_declared", "")
    if not declared or type(error) is not EyeshotError:
        return error
    return EyeshotError(
        f"{error} (the graph was exported for {declared}; exported with dynamic sizes it takes others)"
    )


def _fitted(
    model: Model, planner: Planner, budget: int, tile: Any, batch: int, workers: int
) -> TilePlan:
    from eyeshot.tiling.memory import Meter, fit

    if tile is not None:
        planner.plan(tile, batch)  # what is wrong with it is told at once
    with Meter(model, planner.shape) as meter:
        return fit(
            meter,
            planner,
            budget,
            tile=tile,
            batch=batch,
            workers=workers,
            fixed_batch=model.fixed_batch,
        )


def _few(shape: Sequence[int], axes: Sequence[int], tile: Any) -> None:
    """Refuse far too many tiles before anything is computed for them; the planner counts them exactly."""
    sizes = (tile,) * len(axes) if _whole(tile) else tile
    if not isinstance(sizes, Sequence) or not all(_whole(size) and size >= 0 for size in sizes):
        return
    if len(sizes) == len(axes):
        pairs = zip(axes, sizes, strict=True)
        count = math.prod(shape[axis] // size if size else 1 for axis, size in pairs)
        if count > 4 * MAX_TILES:
            raise EyeshotError(
                f"tile: some {count} tiles are more than {MAX_TILES}; take larger ones"
            )


def _approximate(
    subject: Subject, shape: tuple[int, ...], approximate: Any, tile: Any, batch: int
) -> tuple[Planner, str]:
    """The planner with the stated halo, or the exact one where that needs no more; and what to say of it."""
    count = len(subject.report(shape)._sources[0].axes)
    halo = (approximate,) * count if _whole(approximate) else approximate
    if not isinstance(halo, Sequence) or not all(_whole(h) and h >= 0 for h in halo):
        raise EyeshotError(
            f"approximate: expected input positions on either side, got {approximate!r}"
        )
    if len(halo) != count:
        raise EyeshotError(f"approximate: {len(halo)} halos for {count} axes")
    stated = "x".join(map(str, dict.fromkeys(halo) if len(set(halo)) == 1 else halo))
    try:
        exact = Planner(subject, shape)
        exact.plan(tile, batch)
    except NotTileable as error:
        planner = Planner(subject, shape, halo)
        return planner, "" if planner.blockers else str(error)
    needed = [extent.halo() for extent in exact.extents]
    text = ", ".join(f"{left} and {right}" for left, right in dict.fromkeys(needed))
    if all(h >= max(pair) for h, pair in zip(halo, needed, strict=True)):
        return (
            exact,
            f"tiles are exact: they need {text} positions on either side, and {stated} was stated",
        )
    return Planner(subject, shape, halo), f"a halo of {stated} was stated; {text} would be exact"


def _opened(
    source: Any,
    wanted: bool,
    needed: bool,
    options: dict[str, Any],
    structure: dict[str, Any],
) -> tuple[Subject, Model | None, str]:
    """The network as it is planned, and as it runs where it is wanted and can; else why it can't.

    ``needed``: that it can't be run is an error.
    """
    if hasattr(source, "subject") and hasattr(source, "fixed_batch"):  # a model already
        return source.subject, source, ""
    why = _structural(source, options["weights"])
    if why and options["weights"] is not None:
        raise EyeshotError(f"weights: {why}; give the module, a reference, or an ONNX file")
    if why or not wanted:
        return Subject(source, **structure), None, why if wanted else ""
    from eyeshot.tiling.models import load

    try:
        model = load(source, **options, **structure)
    except EyeshotError as error:
        if needed:
            raise
        return Subject(source, **structure), None, str(error)
    return model.subject, model, ""


def _structural(source: Any, weights: Any) -> str:
    """Why a source is a structure alone; empty if it has weights, too."""
    from eyeshot.frontends.references import is_reference

    if is_onnx(source) or (isinstance(source, str) and is_reference(source)):
        return ""
    if isinstance(source, Mapping | str | PathLike):
        return "a spec has no weights"
    tensors: Any = getattr(source, "state_dict", dict)().values() if weights is None else ()
    if any(getattr(tensor, "is_meta", False) for tensor in tensors):
        return "the module's weights are on the meta device, without data"
    return ""


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
