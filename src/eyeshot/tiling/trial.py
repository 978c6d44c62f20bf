"""A trial of a plan on random numbers: does a crop really give what a larger window gives at the same place?

A graph tells which inputs an output reads, not which constants: a network that mixes in coordinates, a table
of positions cut to the input's size, or noise has the fields of one that tiles, and doesn't. So a crop with the
margins of the plan, and the least of a tile between them, is run by itself and inside of a window, off its
corner and away from its borders. In float64 where the network can, so that nothing passes for rounding; but
as it is where the plan has a budget of memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.plan import TileAxis, TilePlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eyeshot.tiling.models import Model

__all__ = ["TOLERANCE", "Trial", "trial"]

#: Differences that pass for rounding, of the outputs' scale. Other sizes take other kernels, which add in
#: another order: over a hundred layers that makes some 1e-15 in float64 and 1e-6 to 1e-5 in float32, where
#: coordinates and tables make more than 1e-3. The formats of half the width keep 11 and 8 bits.
TOLERANCE = {"float64": 1e-10, "float32": 5e-5, "float16": 3e-2, "bfloat16": 2e-1}
#: Input positions per axis that the tile in a trial has at least, by the number of axes.
LEAST = {1: 64, 2: 16}
#: By how much tiles are enlarged where a network fails on small ones.
GROWTH = 4
#: Weights of more bytes are not copied to float64.
MAX_WEIGHTS = 1 << 28
#: Layers of more elements altogether are not looked at for a name.
MAX_ELEMENTS = 1 << 26


@dataclass(frozen=True)
class Trial:
    """What a trial found: the largest absolute difference and the outputs' largest magnitude.

    ``passed``: the difference is rounding. ``message``: one line, also where it passed. ``dtype``: what was
    computed in; ``crop`` and ``window``: shapes of the inputs.
    """

    error: float
    scale: float
    passed: bool
    message: str
    dtype: str
    crop: tuple[int, ...]
    window: tuple[int, ...]


class Place(NamedTuple):
    """Along one axis: ``crop`` positions from ``shift`` on in a window of ``window``.

    Units ``[begin, end)`` of the crop's output are units ``[begin + by, end + by)`` of the window's.
    """

    axis: int
    dim: int
    crop: int
    window: int
    shift: int
    begin: int
    end: int
    by: int


def trial(model: Model, plan: TilePlan, seed: int = 0) -> Trial:
    """Run one crop by itself and inside of a larger window, and compare.

    ``seed``: of the random numbers that go in. Where the network draws some of its own, or mixes samples of a
    batch (and ``plan.batch`` is more than one), that shows too.

    Raises :class:`~eyeshot.errors.EyeshotError` where the network fails on the plan's own crops.
    """
    # In float64 a layer may take many times what was measured, as where it copies its input per tap.
    runner = _precise(model) if plan.memory is None else model
    failure: EyeshotError | None = None
    found: Trial | None = None
    for places in _attempts(plan):
        try:
            found, runner = _found(model, runner, plan, places, seed)
        except EyeshotError as error:
            failure = error
            continue
        if found.passed or _stands(model, plan, found):
            break
    if found is None:
        assert failure is not None
        raise EyeshotError(f"a crop of the plan can't be run: {failure}") from failure
    return found


def _found(
    model: Model, runner: Model, plan: TilePlan, places: Sequence[Place], seed: int
) -> tuple[Trial, Model]:
    """What a trial finds, and what it ran on: the model itself, where in float64 it fails."""
    try:
        return _compared(runner, plan, places, seed), runner
    except EyeshotError:
        if runner is model:
            raise
    return _compared(model, plan, places, seed), model


def _precise(model: Model) -> Model:
    """The model in float64, where it can be cast and that costs little."""
    if model.compute not in ("float32", "float16", "bfloat16") or model.weight_bytes > MAX_WEIGHTS:
        return model
    try:
        return model.cast("float64")
    except Exception:  # an ONNX graph, or what PyTorch can't cast
        return model


# --- where


def _attempts(plan: TilePlan) -> Iterator[tuple[Place, ...]]:
    """Places for tiles of the least size, then larger ones, at last the plan's own."""
    least = LEAST.get(len(plan.axes), 8)
    done: set[tuple[Place, ...]] = set()
    while True:
        places = tuple(_place(axis, least) for axis in plan.axes)
        if places not in done:
            done.add(places)
            yield places
        if least >= max(axis.size for axis in plan.axes):
            return
        least *= GROWTH


def _place(axis: TileAxis, least: int) -> Place:
    """Where the crop lies along one axis, for a tile of at least so many positions."""
    grid = math.lcm(axis.grid, axis.scale.denominator)
    small = math.ceil(least / grid) * grid
    spans = axis.spans
    inner = [s for s in spans if s.read[0] > 0 and s.read[1] < axis.size]
    # Next to a border of the image it is the last one, since positions are counted from the other.
    span = inner[len(inner) // 2] if inner else spans[-1]
    (begin, end), (first, last), _ = span
    length = end - begin
    # A tile is made smaller by what it has in the middle: its margins stay.
    kept = (last - first) / axis.scale
    # Where padding alone makes outputs, these stand for more than there is.
    less = max(0, min(math.floor(kept), length) - small) // grid * grid
    crop, last = length - less, last - int(less * axis.scale)
    # In the window it has so much more beside it, as far as there is that much in the image.
    left = min(small, begin)
    right = min(small, axis.size - end)
    window = left + crop + right
    return Place(axis.axis, axis.dim, crop, window, left, first, last, int(left * axis.scale))


def _stands(model: Model, plan: TilePlan, found: Trial) -> bool:
    """Whether the network does the same on inputs as small as these as on the whole: runs the same layers."""
    try:
        shapes = (plan.shape, found.window, found.crop)
        reports = [model.subject.report(shape, exact=True) for shape in shapes]
    except EyeshotError:
        return False
    whole, *others = ([(layer.name, layer.op) for layer in report] for report in reports)
    return all(rows == whole for rows in others)


# --- numbers


def _compared(model: Model, plan: TilePlan, places: Sequence[Place], seed: int) -> Trial:
    shape = list(plan.shape)
    for p in places:
        shape[p.axis] = p.window
    rng = np.random.default_rng(seed)
    x = _random(model, tuple(shape), rng)
    part = x[_slices(x.ndim, {p.axis: (p.shift, p.shift + p.crop) for p in places})]
    tried = _tried(model, x, part)
    whole, alone = tried
    there = {p.dim: (p.begin + p.by, p.end + p.by) for p in places}
    here = {p.dim: (p.begin, p.end) for p in places}
    a = alone[_slices(alone.ndim, here)]
    b = whole[_slices(whole.ndim, there)]
    crop, window = tuple(part.shape), tuple(x.shape)
    if a.shape != b.shape:
        shapes = f"{_by(alone.shape)} and {_by(whole.shape)}"
        why = f"crops of {_by(crop)} and {_by(window)} give outputs of {shapes}, which don't fit"
        return Trial(math.inf, 0.0, False, why, _dtype(model), crop, window)
    tolerance = TOLERANCE.get(_dtype(model), TOLERANCE["float32"])
    error, scale = _difference(a, b), _scale(b)
    told = f"a crop of {_by(crop)} in a window of {_by(window)}, in {_dtype(model)}"
    if error <= tolerance * scale:
        batch = _batched(model, plan, part, alone, rng)
        if batch <= tolerance * _scale(alone):
            why = f"{told}: largest difference {error:.1e} of {scale:.2g}"
            return Trial(error, scale, True, why, _dtype(model), crop, window)
        why = (
            "the network mixes the samples of a batch: with another crop beside it, one gives other numbers "
            f"(by {batch:.2g} of {scale:.2g}); run tiles one at a time, batch=1"
        )
        return Trial(batch, scale, False, why, _dtype(model), crop, window)
    cause = _cause(model, x, part, whole, places)
    why = f"tiles don't give what the whole gives, though all layers' reads would allow it: {cause} ({told}: "
    why += f"difference {error:.2g}, outputs up to {scale:.2g})"
    return Trial(error, scale, False, why, _dtype(model), crop, window)


def _dtype(model: Model) -> str:
    return model.compute


def _random(model: Model, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """Random input: normal numbers, bytes of images, or tokens."""
    kind = model.dtype
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(kind)
    most = min(np.iinfo(kind).max + 1, 256 if kind.itemsize == 1 else model.tokens)
    return rng.integers(0, most, shape).astype(kind)


def _tried(model: Model, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
    return [model(x) for x in inputs]


def _batched(
    model: Model, plan: TilePlan, part: NDArray[Any], alone: NDArray[Any], rng: np.random.Generator
) -> float:
    """How far a crop's output is off with another crop beside it in the batch."""
    if plan.batch < 2 or any(axis.axis == 0 for axis in plan.axes):
        return 0.0
    beside = _random(model, tuple(part.shape), rng)
    return _difference(model(np.concatenate([part, beside]))[: len(alone)], alone)


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest absolute difference; what is NaN, or the same infinity, on both sides is equal."""
    if a.dtype.kind == "b":
        a, b = a.astype(np.int8), b.astype(np.int8)
    if a.dtype.kind in "iu":
        a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(a.astype(np.result_type(a, np.float32)) - b)
    same = (a == b) | ((a != a) & (b != b))
    off = np.where(same, 0, np.where(np.isfinite(off), off, np.inf))
    return float(off.max(initial=0))


def _scale(x: NDArray[Any]) -> float:
    finite = np.abs(x[np.isfinite(x)].astype(np.result_type(x.dtype, np.float32)))
    return float(finite.max(initial=0))


def _slices(ndim: int, along: dict[int, tuple[int, int]]) -> tuple[slice, ...]:
    return tuple(slice(*along[d]) if d in along else slice(None) for d in range(ndim))


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


# --- why


def _cause(
    model: Model, x: NDArray[Any], part: NDArray[Any], whole: NDArray[Any], places: Sequence[Place]
) -> str:
    """What it may come from, with the first layer at which it shows if that can be told."""
    again = _difference(model(x), whole) > TOLERANCE["float64"] * _scale(whole)
    try:
        layer = _layer(model, x, x if again else part, [] if again else places)
    except Exception:  # no more than a hint
        layer = ""
    at = f", first at {layer}" if layer else ""
    if again:
        return f"it gives other numbers each time for one input{at}: something in it is random"
    return (
        f"something in it depends on the position or on the input's size{at}, such as coordinates "
        "or a table of positions"
    )


def _layer(model: Model, x: NDArray[Any], part: NDArray[Any], places: Sequence[Place]) -> str:
    """The first layer whose units differ between two inputs, of those that read the same."""
    from eyeshot.tiling.extents import extents

    reports = [model.subject.report((1, *a.shape[1:])) for a in (x, part)]
    if sum(math.prod(layer.shape) for layer in reports[0]) > MAX_ELEMENTS:
        return ""
    # What is random takes other numbers where it is looked for, and else the same.
    rows = [model.rows(a[:1], seed) for a, seed in ((x, 0), (part, 0 if places else 1))]
    for layer in reports[0]:
        name = layer.name
        if name not in rows[1] or name not in rows[0]:
            continue
        a, b = rows[0][name], rows[1][name]
        if places:
            try:
                pairs = [extents(report, report[name]) for report in reports]
            except EyeshotError:
                continue
            for one, other, p in zip(*pairs, places, strict=True):
                a, b = _matched(a, b, one, other, p)
        if a.shape == b.shape and a.size:
            tolerance = TOLERANCE.get(model.compute, TOLERANCE["float32"])
            if _difference(a, b) > tolerance * max(_scale(a), _scale(b)):
                return f"{name} ({layer.op})"
    return ""


def _matched(
    a: NDArray[Any], b: NDArray[Any], one: Any, other: Any, place: Place
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Along one axis, the units of a window and of a crop in it that read the same positions."""
    by = place.shift * one.scale
    if by.denominator != 1:
        return a[:0], b[:0]
    at = np.arange(other.out)
    there = at + int(by)
    at, there = at[there < one.out], there[there < one.out]
    same = (one.low[there] == other.low[at] + place.shift) & (
        one.high[there] == other.high[at] + place.shift
    )
    return np.take(a, there[same], one.dim), np.take(b, at[same], other.dim)
