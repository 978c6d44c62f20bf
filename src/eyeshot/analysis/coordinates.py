"""Where units sit on the input, and which units a position of the input meets: arrays of any number at once.

Two conventions of a coordinate, each named: ``half-pixel``, where pixel k covers [k, k+1] and is centred at
k + 0.5 (images in OpenGL, PyTorch's ``align_corners=False``, and all numbers of a report), and ``pixel-index``,
where pixel k lies at k (NumPy indices, OpenCV's key points, the formula of Araujo et al., Distill 2019). The
second is exactly 0.5 less.

Where the hulls of units have a closed form along one index it answers for any number of positions; the other
fields are looked up in arrays of all hulls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.placed import Placed
from eyeshot.analysis.search import FAR, Line, brute_nearest, brute_seeing, middles
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.report import Layer, Report
    from eyeshot.core.canvas import Source

__all__ = [
    "CONVENTIONS",
    "boxes_at",
    "centres",
    "nearest",
    "of_layers",
    "seeing",
    "seeing_mask",
    "slices",
    "transfer",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hulls = tuple[Ints, Ints]
#: What a convention's coordinates are less than ours.
CONVENTIONS = {"half-pixel": 0.0, "pixel-index": 0.5}
#: Further out than this no coordinate of a report lies.
OUTSIDE = 2.0**60


# --- what comes in


def _shift(convention: str) -> float:
    if convention not in CONVENTIONS:
        known = " or ".join(repr(name) for name in CONVENTIONS)
        raise EyeshotError(f"there is no convention {convention!r}; choose {known}")
    return CONVENTIONS[convention]


def _fields(layer: Layer, name: str | None, one: bool) -> list[int]:
    """The numbers of the fields on the input ``name``; None stands for all, or for the only one."""
    names = [source.name for source in layer._report._sources]
    if name is None and one and len(names) > 1:
        raise EyeshotError(
            f"the network has several inputs; choose one: input=, of {', '.join(names)}"
        )
    if name is not None and name not in names:
        raise EyeshotError(f"there is no input {name!r}; the inputs are {', '.join(names)}")
    axes = layer._report._axes
    return [k for k, (source, _) in enumerate(axes) if name is None or source.name == name]


def _source(layer: Layer, name: str | None) -> Source:
    """The input ``name``, or the only one."""
    sources = layer._report._sources
    return next(source for source in sources if name in (None, source.name))


def _array(value: Any, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, tensors on a device or with a gradient
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise EyeshotError(f"{what}: not an array: {why}") from None
    if array.dtype.kind not in "iuf":
        raise EyeshotError(f"{what}: numbers are wanted, not an array of {array.dtype}")
    return array


def _extents(layer: Layer) -> tuple[int, ...]:
    return tuple(layer.shape[d] for d in layer.unit_dims)


def _columns(layer: Layer, index: Any) -> tuple[list[Ints], tuple[int, ...]]:
    """One array per unit dim, which broadcast to the shape that is returned with them."""
    extents = _extents(layer)
    if index is None:
        placed = Placed.of(layer)
        placed.afford(len(layer.fields))
        return placed.all_units(), extents
    array = _array(index, f"{layer.name}: index")
    if array.ndim == 0 and len(extents) == 1:
        array = array.reshape(1)
    if array.ndim == 0 or array.shape[-1] != len(extents):
        raise EyeshotError(
            f"{layer.name}: a unit has {len(extents)} indices (dims {layer.unit_dims} of {layer.shape}), "
            f"got an array of shape {array.shape}"
        )
    if array.dtype.kind == "f" and array.size:
        raise EyeshotError(f"{layer.name}: index: whole numbers are wanted, not {array.dtype}")
    columns = []
    for k, n in enumerate(extents):
        column = array[..., k]
        outside = (column < 0) | (column >= n)
        if outside.any():
            raise IndexError(
                f"{layer.name}: index {int(column[outside].flat[0])} is outside 0 … {n - 1}"
            )
        columns.append(column.astype(np.int64))
    return columns, array.shape[:-1]


def _positions(layer: Layer, position: Any, count: int, convention: str) -> Floats:
    """Positions as float64 [..., axes], in our convention."""
    shift = _shift(convention)
    array = _array(position, f"{layer.name}: position")
    if array.ndim == 0 and count == 1:
        array = array.reshape(1)
    if array.ndim == 0 or array.shape[-1] != count:
        raise EyeshotError(
            f"{layer.name}: a position has {count} coordinates, one per axis of the input, "
            f"got an array of shape {array.shape}"
        )
    places = array.astype(np.float64) + shift
    if not np.isfinite(places).all():
        raise EyeshotError(f"{layer.name}: a position that is not finite")
    return np.clip(places, -OUTSIDE, OUTSIDE)


# --- units to positions


def centres(
    layer: Layer, index: Any = None, convention: str = "half-pixel", input: str | None = None
) -> Floats:
    """See :meth:`Layer.centres`."""
    shift = _shift(convention)
    fields = _fields(layer, input, one=False)
    at, shape = _columns(layer, index)
    placed = Placed.of(layer)
    blind = placed.blind(fields, at)
    out = np.empty((*shape, len(fields)))
    for column, k in enumerate(fields):
        middle = placed.middle(k, at) - shift
        hidden = blind.get(layer.fields[k].input)
        out[..., column] = middle if hidden is None else np.where(hidden, np.nan, middle)
    return out


def boxes_at(
    layer: Layer, index: Any = None, clipped: bool = False, input: str | None = None
) -> Ints:
    """See :meth:`Layer.boxes_at`."""
    fields = _fields(layer, input, one=False)
    at, shape = _columns(layer, index)
    placed = Placed.of(layer)
    blind = {} if clipped else placed.blind(fields, at)
    out = np.empty((*shape, len(fields), 2), np.int64)
    for column, k in enumerate(fields):
        lo, hi = placed.looked_up(k, at) if clipped else placed.box(k, at)
        lo, hi = _cut(lo, hi, placed.length(k))
        reads = lo < hi
        hidden = blind.get(layer.fields[k].input)
        if hidden is not None:
            reads = reads & ~hidden
        out[..., column, 0] = np.where(reads, lo, 0)
        out[..., column, 1] = np.where(reads, hi, 0)
    return out


def _cut(lo: Ints, hi: Ints, length: int) -> Hulls:
    """Infinite ends cut off where the axis ends; nothing is left of a past that ends before it."""
    past, future = lo == -FAR, hi == FAR
    if not past.any() and not future.any():
        return lo, hi
    return np.where(past, 0, lo), np.where(future, length, hi)


def slices(layer: Layer, index: Any = (), input: str | None = None) -> tuple[slice, ...]:
    """See :meth:`Layer.slices`."""
    _fields(layer, input, one=True)
    box = boxes_at(layer, index, clipped=True, input=input)
    if index is None or box.ndim != 2:
        raise EyeshotError(f"{layer.name}: slices are of one unit; boxes_at gives those of many")
    return tuple(slice(int(begin), int(end)) for begin, end in box)


# --- positions to units


class Group(NamedTuple):
    """Unit dims whose indices can only be found together, and the hulls or centres over all their units."""

    dims: tuple[int, ...]
    fields: tuple[int, ...]
    arrays: tuple[tuple[NDArray[Any], ...], ...]


Arrays = Callable[[int], tuple[NDArray[Any], ...]]


def _groups(lines: Mapping[int, Any], fields: list[int], arrays: Arrays) -> list[Group]:
    """The fields without a line, with all dims and fields that hang together with them.

    ``arrays`` gives a field's values over the unit dims, with size 1 along those that make no difference.
    """
    tables = {k: arrays(k) for k in fields if k not in lines}
    sets: list[tuple[set[int], list[int]]] = []
    for k, found in tables.items():
        dims = {d for d, n in enumerate(found[0].shape) if n > 1}
        near = [each for each in sets if each[0] & dims]
        sets = [each for each in sets if not each[0] & dims]
        members = [k, *(m for each in near for m in each[1])]
        sets.append((reduce(set.union, (each[0] for each in near), dims), members))
    out = []
    for dims, members in sets:
        order = tuple(sorted(dims))
        held = [k for k, (dim, _, _) in lines.items() if dim in dims]
        every = sorted([*members, *held])
        cut = []
        for k in every:
            found = tables[k] if k in tables else arrays(k)
            cut.append(tuple(a.reshape([a.shape[d] for d in order]) for a in found))
        out.append(Group(order, tuple(every), tuple(cut)))
    return out


def _split(placed: Placed, fields: list[int], use: Callable[[int], bool]) -> dict[int, Any]:
    """The lines of the fields that have one and may use it: (unit dim, factor of it, line)."""
    lines = {}
    for k in fields:
        if placed.closed(k) and use(k):
            found = placed.line(k)
            if found is not None:
                lines[k] = found
    return lines


def _search(
    placed: Placed,
    fields: list[int],
    lines: dict[int, Any],
    arrays: Arrays,
    alone: Callable[[Line, int, int], tuple[Ints, ...]],
    together: Callable[[Group], list[tuple[Ints, ...]]],
    rest: Callable[[int], tuple[Ints, ...]],
) -> tuple[list[tuple[Ints, ...]], list[Group]]:
    """Per unit dim the answer: arrays of indices, of each factor alone or of several dims together.

    ``alone(line, field, size)`` answers for one factor, ``together(group)`` for the dims of a group, and
    ``rest(size)`` for a factor that follows no axis of the input.
    """
    groups = _groups(lines, fields, arrays)
    # Two fields that follow one factor are looked at together, like those without a line.
    for dim, at in {(dim, at) for dim, at, _ in lines.values() if dim is not None}:
        same = [k for k, (d, a, _) in lines.items() if (d, a) == (dim, at)]
        if len(same) > 1 and not any(dim in group.dims for group in groups):
            kept = {k: line for k, line in lines.items() if line[0] != dim}
            return _search(placed, fields, kept, arrays, alone, together, rest)
    answers: dict[int, tuple[Ints, ...]] = {}
    for group in groups:
        if group.dims:
            answers.update(zip(group.dims, together(group), strict=True))
    for dim, factors in enumerate(placed.factors):
        if dim in answers:
            continue
        whole: tuple[Ints, ...] | None = None
        for at, (_, size) in enumerate(factors):
            found = None
            for k, (d, a, line) in lines.items():
                if (d, a) == (dim, at):
                    found = alone(line, k, size)
            if found is None:
                found = rest(size)
            if whole is not None:  # the first factor is the slowest
                found = tuple(w * size + f for w, f in zip(whole, found, strict=True))
            whole = found
        answers[dim] = rest(1) if whole is None else whole
    return [answers[dim] for dim in range(len(placed.dims))], groups


def nearest(
    layer: Layer, position: Any, convention: str = "half-pixel", input: str | None = None
) -> Ints:
    """See :meth:`Layer.nearest`."""
    fields = _fields(layer, input, one=True)
    places = _positions(layer, position, len(fields), convention)
    placed = Placed.of(layer)
    flat = places.reshape(-1, len(fields))
    columns = {k: flat[:, at] for at, k in enumerate(fields)}

    def arrays(k: int) -> tuple[NDArray[Any], ...]:
        middle = placed.middle(k, placed.all_units())
        return (middle.reshape(middle.shape or (1,) * len(placed.dims)),)

    def alone(line: Line, k: int, size: int) -> tuple[Ints, ...]:
        return (checked(line.nearest(columns[k], size, placed.length(k))),)

    def together(group: Group) -> list[tuple[Ints, ...]]:
        extents = [placed.extents[d] for d in group.dims]
        tables = [np.broadcast_to(found[0], extents) for found in group.arrays]
        found = brute_nearest(tables, [columns[k] for k in group.fields])
        return [(checked(column),) for column in found]

    def checked(found: Ints) -> Ints:
        if found.size and found.min() < 0:
            raise EyeshotError(f"{layer.name}: no unit reads anything of the input")
        return found

    def rest(size: int) -> tuple[Ints, ...]:
        return (np.zeros(len(flat), np.int64),)

    lines = _split(placed, fields, lambda k: not placed.bent(k))
    answers, groups = _search(placed, fields, lines, arrays, alone, together, rest)
    shared = [values[0] for group in groups if not group.dims for values in group.arrays]
    shared += [middles(line.lo, line.hi, 1) for dim, _, line in lines.values() if dim is None]
    if any(np.isnan(value).all() for value in shared):
        raise EyeshotError(f"{layer.name}: no unit reads anything of the input")
    out = np.empty((len(flat), len(answers)), np.int64)
    for dim, (found,) in enumerate(answers):
        out[:, dim] = found
    return out.reshape(*places.shape[:-1], len(answers))


def seeing(
    layer: Layer,
    position: Any,
    clipped: bool = False,
    convention: str = "half-pixel",
    input: str | None = None,
) -> Ints:
    """See :meth:`Layer.seeing`."""
    fields = _fields(layer, input, one=True)
    places = _positions(layer, position, len(fields), convention)
    placed = Placed.of(layer)
    flat = np.floor(places.reshape(-1, len(fields))).astype(np.int64)
    columns = {k: flat[:, at] for at, k in enumerate(fields)}

    def arrays(k: int) -> tuple[NDArray[Any], ...]:
        if clipped:
            return placed.exact(k, False)
        ends = np.broadcast_arrays(*placed.box(k, placed.all_units()))
        return tuple(end.reshape(end.shape or (1,) * len(placed.dims)) for end in ends)

    seen = np.ones(len(flat), bool)

    def checked(first: Ints, last: Ints) -> tuple[Ints, ...]:
        np.logical_and(seen, first <= last, out=seen)
        return first, last

    def alone(line: Line, k: int, size: int) -> tuple[Ints, ...]:
        return checked(*line.seeing(columns[k], size))

    def together(group: Group) -> list[tuple[Ints, ...]]:
        extents = [placed.extents[d] for d in group.dims]
        tables = [
            (np.broadcast_to(lo, extents), np.broadcast_to(hi, extents)) for lo, hi in group.arrays
        ]
        return [checked(*each) for each in brute_seeing(tables, [columns[k] for k in group.fields])]

    def rest(size: int) -> tuple[Ints, ...]:
        return np.zeros(len(flat), np.int64), np.full(len(flat), size - 1)

    lines = _split(placed, fields, lambda k: not clipped and not layer._forms[k].raw.folds)
    answers, groups = _search(placed, fields, lines, arrays, alone, together, rest)
    for group in groups:
        if not group.dims:
            for k, (lo, hi) in zip(group.fields, group.arrays, strict=True):
                seen &= (lo.flat[0] <= columns[k]) & (columns[k] < hi.flat[0])
    for k, (dim, _, line) in lines.items():
        if dim is None:
            seen &= (line.lo[0] <= columns[k]) & (columns[k] < line.hi[0])
    out = np.zeros((len(flat), len(answers), 2), np.int64)
    for dim, (first, last) in enumerate(answers):
        out[:, dim, 0] = np.where(seen, first, 0)
        out[:, dim, 1] = np.where(seen, last + 1, 0)
    return out.reshape(*places.shape[:-1], len(answers), 2)


def seeing_mask(
    layer: Layer, position: Any, convention: str = "half-pixel", input: str | None = None
) -> NDArray[np.bool_]:
    """See :meth:`Layer.seeing_mask`."""
    from eyeshot.analysis.touched import over
    from eyeshot.core.forward import touched
    from eyeshot.core.patches import Patch

    fields = _fields(layer, input, one=True)
    places = _positions(layer, position, len(fields), convention)
    if places.ndim != 1:
        raise EyeshotError(f"{layer.name}: a mask is of one position; seeing answers for many")
    source = _source(layer, input)
    begin, end = [0] * len(source.shape), list(source.shape)
    for axis, p in zip(source.axes, np.floor(places), strict=True):
        if not 0 <= p < source.shape[axis]:
            raise EyeshotError(
                f"{layer.name}: position {int(p)} is outside 0 … {source.shape[axis] - 1} "
                f"(axis {axis} of {source.name})"
            )
        begin[axis], end[axis] = int(p), int(p) + 1
    marks = Patch(tuple(begin), tuple(end), np.ones((1,) * len(begin), bool))
    found = touched(layer._report._graph, {source.value: marks}).get(layer._value)
    if found is None:
        return np.zeros(_extents(layer), bool)
    mask: NDArray[np.bool_] = over(found, layer.unit_dims).dense(_extents(layer))
    return mask


# --- several layers


def of_layers(
    report: Report, layers: Any, work: Callable[[Layer, Any], NDArray[Any]]
) -> dict[str, Any]:
    """``work(layer, index)`` by layer name; ``layers`` are names, a mapping to indices, or None for all."""
    if layers is None:
        return {layer.name: work(layer, None) for layer in report if layer.unit_dims}
    if isinstance(layers, Mapping):
        return {name: work(report[name], index) for name, index in layers.items()}
    names = [layers] if isinstance(layers, str | int) else list(layers)
    found = [(name, report[name]) for name in names]
    return {(n if isinstance(n, str) else layer.name): work(layer, None) for n, layer in found}


def transfer(
    report: Report, index: Any, source: str | int, target: str | int, input: str | None
) -> Ints:
    """See :meth:`Report.transfer`."""
    layer = report[source]
    _fields(layer, input, one=True)
    places = centres(layer, index, input=input)
    if np.isnan(places).any():
        raise EyeshotError(f"{source}: a unit that reads nothing of the input has no place on it")
    return nearest(report[target], places, input=input)
