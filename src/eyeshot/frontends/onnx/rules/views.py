"""Views and moves: reshapes, permutations, slices, parts put together and taken apart, padding and tiles.

Numbers that decide only the shape are not read. Where they depend on data, the shape that the file declares is
taken; a slice that may begin anywhere then reads whatever it may show.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any

from eyeshot.core import families
from eyeshot.core.primitives import Border, Input, Rearrange, Shape, Stencil
from eyeshot.frontends.onnx.calls import MAX_RANK, Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = [
    "DEPENDENT",
    "DEPENDS",
    "MAX_POSITIONS",
    "axes_of",
    "axis_of",
    "declared",
    "empty",
    "sizes_of",
]

#: The code of bounds where data decides what is read, and the reason.
DEPENDENT = "data-dependent"
DEPENDS = "which elements are read depends on the input; all that may be chosen are taken as read"

#: Positions are written down up to this many.
MAX_POSITIONS = 1 << 18


def axis_of(c: Call, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise c.fail(f"axis {axis} is not among {rank} dims")
    return axis % rank


def axes_of(c: Call, axes: Sequence[int], rank: int) -> list[int]:
    """Several axes counted from the front, none of them twice."""
    dims = [axis_of(c, axis, rank) for axis in axes]
    if len(set(dims)) < len(dims):
        raise c.fail(f"axes {list(axes)} name one dim twice")
    return dims


def empty(c: Call, shape: Sequence[int], x: Value) -> Value:
    """A tensor without elements, of the type of ``x``."""
    return Value(None, c.shape_of(tuple(shape)), x.dtype)


def declared(c: Call, k: int = 0) -> Shape:
    """The shape of an output as onnx infers it or the file declares it. Raises NoRule if it is not known."""
    found = c.walker.inferred(c)
    made = found[k] if k < len(found) else None
    if made is None:
        raise NoRule("what decides the shape depends on data, or is not in the file")
    return made[0]


def sizes_of(c: Call, given: Value | None) -> list[int] | None:
    """The numbers of a parameter, two for each dim at most; None if they are not known."""
    if given is not None and given.size > 2 * MAX_RANK:
        raise c.fail(f"{given.size} numbers for the dims of a tensor")
    numbers = c.known(given)
    return None if numbers is None else [int(n) for n in numbers.reshape(-1)]


# --- shapes


@rule("Identity")
def identity(c: Call, x: Any) -> Any:
    """A tensor, a sequence or an optional one, as it is."""
    return x


@rule("Reshape")
def reshape(c: Call, x: Value, shape: Value | None = None) -> Any:
    """0 keeps a dim (unless ``allowzero``), -1 is what is left. Until opset 4 the shape is an attribute."""
    sizes = list(c.attr("shape", ())) if shape is None else sizes_of(c, shape)
    if sizes is None:
        sizes = list(declared(c))
    else:
        _fill(c, sizes, x)
    if math.prod(sizes) != x.size:
        raise c.fail(f"{sizes} does not fit {x.size} elements, {list(x.shape)}")
    out = c.shape_of(tuple(sizes))
    return families.reshape(c.g, c.operand(x), out) if x.size else empty(c, out, x)


def _fill(c: Call, sizes: list[int], x: Value) -> None:
    """Puts sizes in the place of 0 and -1."""
    if not c.attr("allowzero", 0):
        for k, n in enumerate(sizes):
            if not n:
                if k >= x.rank:
                    raise c.fail(f"{sizes} keeps dim {k} of {list(x.shape)}, which has no such")
                sizes[k] = x.shape[k]
    if sizes.count(-1) > 1 or (sizes and min(sizes) < -1):
        raise c.fail(f"the shape {sizes}")
    if -1 in sizes:
        k = sizes.index(-1)
        rest = math.prod(sizes[:k] + sizes[k + 1 :])
        if x.size % rest if rest else x.size:
            raise c.fail(f"{sizes} does not fit {x.size} elements")
        sizes[k] = x.size // rest if rest else 0


@rule("Flatten")
def flatten(c: Call, x: Value) -> Any:
    axis = c.attr("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise c.fail(f"axis {axis} is not among {x.rank} dims")
    shape = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    if not x.size:
        return empty(c, shape, x)
    return families.reshape(c.g, c.operand(x), c.shape_of(shape))


@rule("Transpose")
def transpose(c: Call, x: Value) -> Any:
    order = c.attr("perm", tuple(reversed(range(x.rank))))
    if sorted(order) != list(range(x.rank)):
        raise c.fail(f"perm {list(order)} is no order of {x.rank} dims")
    if not x.size:
        return empty(c, [x.shape[d] for d in order], x)
    return families.permute(c.g, c.operand(x), order)


def _axes(c: Call, axes: Value | None) -> list[int] | None:
    """From an attribute until opset 12, from an input since."""
    given = c.attr("axes")
    return list(given) if given is not None else c.ints(axes)


@rule("Squeeze")
def squeeze(c: Call, x: Value, axes: Value | None = None) -> Any:
    given = _axes(c, axes)
    dims = [k for k, n in enumerate(x.shape) if n == 1]
    if given is not None:
        dims = axes_of(c, given, x.rank)
    if any(x.shape[d] != 1 for d in dims):
        raise c.fail(f"dims {dims} of {list(x.shape)} are not all of size 1")
    if not x.size:
        return empty(c, [n for d, n in enumerate(x.shape) if d not in dims], x)
    return families.squeeze(c.g, c.operand(x), dims) if dims else c.operand(x)


@rule("Unsqueeze")
def unsqueeze(c: Call, x: Value, axes: Value | None = None) -> Any:
    given = _axes(c, axes) or []
    rank = x.rank + len(given)
    dims = sorted(axes_of(c, given, rank))
    if not x.size:
        shape = list(x.shape)
        for d in dims:
            shape.insert(d, 1)
        return empty(c, shape, x)
    at = c.operand(x)
    for d in dims:
        at = families.unsqueeze(c.g, at, d)
    return at


@rule("Expand")
def expand(c: Call, x: Value, shape: Value) -> Any:
    """Broadcast with a shape, in both directions."""
    given = sizes_of(c, shape)
    sizes = declared(c) if given is None else c.shape_of(tuple(given))
    rank = max(len(sizes), x.rank)
    old = (1,) * (rank - x.rank) + x.shape
    new = (1,) * (rank - len(sizes)) + sizes
    if any(a != b and 1 not in (a, b) for a, b in zip(old, new, strict=True)):
        raise c.fail(f"{list(x.shape)} does not broadcast with {list(sizes)}")
    out = [b if a == 1 else a for a, b in zip(old, new, strict=True)]
    return c.shaped(c.operand(x), out) if math.prod(out) else empty(c, out, x)


@rule("Tile")
def tile(c: Call, x: Value, repeats: Value, axis: Value | None = None) -> Any:
    """Copies along each dim; until opset 5 along one, which is the third input."""
    given = sizes_of(c, repeats)
    if axis is not None:
        times = [1] * x.rank
        along = c.ints(axis)
        if given is None or not along or len(given) != 1:
            raise NoRule("what decides the shape depends on data")
        times[axis_of(c, along[0], x.rank)] = given[0]
    elif given is None:
        wide = declared(c)
        times = [m // n if n else 0 for m, n in zip(wide, x.shape, strict=True)]
    else:
        times = given
    if len(times) != x.rank or (times and min(times) < 0):
        raise c.fail(f"repeats {times} for {x.rank} dims")
    out = c.shape_of(tuple(n * r for n, r in zip(x.shape, times, strict=True)))
    if not math.prod(out):
        return empty(c, out, x)
    at = c.operand(x)
    if out == x.shape:
        return at
    # Each dim seen as (copies, elements).
    split = tuple(m for n in x.shape for m in (1, n))
    wide = tuple(m for n, r in zip(x.shape, times, strict=True) for m in (r, n))
    return c.g.add(Rearrange(split, tuple(range(len(split))), out, wide), at)


# --- parts


@rule("Concat")
def concat(c: Call, *inputs: Value) -> Any:
    """Until opset 3 along the channels, if nothing else is said."""
    axis = axis_of(c, c.attr("axis", 1), inputs[0].rank)
    # Empty tensors, with which loops begin, add nothing.
    parts = [x for x in inputs if axis >= x.rank or x.shape[axis]] or [inputs[0]]
    if not all(x.size for x in parts):
        shape = list(parts[0].shape)
        if any(x.rank != len(shape) for x in parts):
            raise c.fail("the inputs differ in rank")
        shape[axis] = sum(x.shape[axis] for x in parts)
        return empty(c, shape, inputs[0])
    if len(parts) == 1:
        return parts[0]
    return families.concat(c.g, [c.operand(x) for x in parts], axis)


@rule("Split")
def split(c: Call, x: Value, sizes: Value | None = None) -> list[Any]:
    """Parts of given sizes, an attribute until opset 12; else equal ones, of which the last may be smaller."""
    axis = axis_of(c, c.attr("axis", 0), x.rank)
    n = x.shape[axis]
    given: list[int] | None = list(c.attr("split", ()))
    if not given and sizes is not None:
        if sizes.size < len(c.node.output):
            raise c.fail(f"{sizes.size} sizes for {len(c.node.output)} parts")
        numbers = c.known(sizes)
        if numbers is None:
            given = [declared(c, k)[axis] for k in range(len(c.node.output))]
        else:
            given = [int(n) for n in numbers.reshape(-1)]
    elif not given:
        count = c.attr("num_outputs", len(c.node.output))
        if not 0 < count <= len(c.node.output):
            raise c.fail(f"{count} parts for {len(c.node.output)} outputs")
        each = -(-n // count)
        given = [each] * (count - 1) + [n - each * (count - 1)]
    if sum(given) != n or min(given, default=0) < 0 or len(given) < len(c.node.output):
        raise c.fail(f"parts of {reprlib.repr(given)} do not make {n}")
    start = 0
    out: list[Any] = []
    for size in given[: len(c.node.output)]:
        if size and x.size:
            out.append(families.narrow(c.g, c.operand(x), axis, start, start + size))
        else:
            out.append(empty(c, (*x.shape[:axis], size, *x.shape[axis + 1 :]), x))
        start += size
    return out


@rule("Slice", "DynamicSlice")
def slice_(
    c: Call,
    x: Value,
    starts: Value | None = None,
    ends: Value | None = None,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Any:
    """Until opset 9 the ends are attributes. What lies outside is clamped."""
    first, last = c.attr("starts"), c.attr("ends")
    first = sizes_of(c, starts) if first is None else list(first)
    last = sizes_of(c, ends) if last is None else list(last)
    along = c.attr("axes")
    along = list(along) if along is not None else None if axes is None else sizes_of(c, axes)
    by = None if steps is None else sizes_of(c, steps)
    if (first is None and starts is None) or (last is None and ends is None):
        raise c.fail("a slice without starts or ends")
    unknown = first is None or last is None or (by is None and steps is not None)
    if unknown or (along is None and axes is not None):
        if axes is None and along is None:
            along = list(range(len(first) if first is not None else starts.size if starts else 0))
        return _somewhere(c, x, along, steps is None or (by is not None and min(by, default=1) > 0))
    assert first is not None and last is not None
    dims = axes_of(c, range(len(first)) if along is None else along, x.rank)
    by = by or [1] * len(first)
    if not len(first) == len(last) == len(dims) == len(by):
        raise c.fail("starts, ends, axes and steps are not equally many")
    shape = list(x.shape)
    places = []
    for dim, start, end, step in zip(dims, first, last, by, strict=True):
        if not step:
            raise c.fail("a slice in steps of 0")
        places.append(_places(x.shape[dim], start, end, step))
        shape[dim] = len(places[-1])
    if not math.prod(shape):
        return empty(c, shape, x)
    at = c.operand(x)
    for dim, taken in zip(dims, places, strict=True):
        if len(taken) < x.shape[dim] or taken.step < 0:
            step = taken.step if len(taken) > 1 else 1
            taps = families.window(1, step, 1, -taken[0])
            at = c.g.add(Stencil(dim, taps, len(taken)), at)
    return at


def _places(n: int, start: int, end: int, step: int) -> range:
    """The positions that a slice of n elements takes."""
    start += n if start < 0 else 0
    end += n if end < 0 else 0
    if step > 0:
        return range(min(max(start, 0), n), min(max(end, 0), n), step)
    # Unlike Python, a start before the first element is the first element.
    return range(min(max(start, 0), n - 1), min(max(end, -1), n - 1), step)


def _somewhere(c: Call, x: Value, axes: list[int] | None, forwards: bool) -> Any:
    """A slice along some axes (None: any) whose place depends on data, of a size that is known all the same."""
    out = declared(c)
    if not math.prod(out):
        return empty(c, out, x)
    dims: Sequence[int] = range(x.rank) if axes is None else axes_of(c, axes, x.rank)
    # A slice as long as its dim is all of it, unless it is turned round.
    moved = [d for d in dims if not forwards or out[d] != x.shape[d]]
    values = []
    if (at := c.v(x)) is not None:
        values.append(families.mix(c.g, at, moved, [out[d] for d in moved]) if moved else at)
    if others := [at for y in c.inputs[1:] if y is not None and (at := c.v(y)) is not None]:
        values.append(families.opaque(c.g, others, out))
    return c.bound(c.join(values, out), DEPENDENT, DEPENDS)


# --- padding

#: What lies beyond the border, by mode.
_BORDERS: dict[str, Border] = {"reflect": "reflect", "edge": "clamp", "wrap": "wrap"}


@rule("Pad")
def pad(
    c: Call,
    x: Value,
    pads: Value | None = None,
    fill: Value | None = None,
    axes: Value | None = None,
) -> Any:
    """Negative widths crop. Until opset 10 the widths are an attribute, in opset 1 by another name."""
    widths = c.attr("pads", c.attr("paddings"))
    widths = list(widths) if widths is not None else sizes_of(c, pads)
    if widths is None:
        if pads is None:
            raise c.fail("a pad without its widths")
        return _padded_somewhere(c, x)
    given = c.ints(axes)
    dims = list(range(x.rank)) if given is None else axes_of(c, given, x.rank)
    if len(widths) != 2 * len(dims):
        raise c.fail(f"{len(widths)} widths for {len(dims)} dims")
    mode = c.attr("mode", "constant")
    if mode != "constant" and mode not in _BORDERS:
        raise c.fail(f"the mode {mode!r}")
    pairs = list(zip(widths[: len(dims)], widths[len(dims) :], strict=True))
    shape = list(x.shape)
    for dim, (begin, end) in zip(dims, pairs, strict=True):
        shape[dim] += begin + end
    out = c.shape_of(tuple(shape))
    if not math.prod(out):
        return empty(c, out, x)
    if mode == "constant":
        return _filled(c, x, dims, pairs, out, None if fill is None else c.v(fill))
    at = c.operand(x)
    for dim, (begin, end) in zip(dims, pairs, strict=True):
        at = _bordered(c, at, dim, begin, end, _BORDERS[mode])
    return at


def _filled(
    c: Call, x: Value, dims: list[int], pairs: list[tuple[int, int]], out: Shape, fill: int | None
) -> int:
    """Padded with one number, which may be read too: it lies around what was there, dim by dim."""
    g = c.g
    if not x.size:
        return c.shaped(_scalar(c, fill) if fill is not None else g.add(Input(())), out)
    at = c.operand(x)
    if fill is None:
        for dim, pair in zip(dims, pairs, strict=True):
            at = families.pad(g, at, (pair,), "drop", dim)
        return at
    fill = _scalar(c, fill)
    for dim, (begin, end) in zip(dims, pairs, strict=True):
        n = g.shapes[at][dim]
        size = n + begin + end
        # What is left of it lies between these places of the output.
        start, stop = min(max(begin, 0), size), max(min(begin + n, size), 0)
        pieces = []
        around = list(g.shapes[at])
        for many, piece in ((start, None), (stop - start, at), (size - max(stop, start), None)):
            if many < 1:
                continue
            if piece is None:
                around[dim] = many
                pieces.append(c.shaped(fill, around))
            else:
                pieces.append(families.narrow(g, piece, dim, start - begin, stop - begin))
        at = families.concat(g, pieces, dim) if len(pieces) > 1 else pieces[0]
    return at


def _scalar(c: Call, x: int) -> int:
    return families.reshape(c.g, x, ())


def _bordered(c: Call, at: int, dim: int, begin: int, end: int, border: Border) -> int:
    """One dim cropped, then padded with its own elements."""
    n = c.g.shapes[at][dim]
    start, stop = max(-begin, 0), n - max(-end, 0)
    if start >= stop:
        raise c.fail(f"nothing is left of {n} elements to pad with")
    at = families.narrow(c.g, at, dim, start, stop)
    n, begin, end = stop - start, max(begin, 0), max(end, 0)
    most = {"reflect": n - 1, "wrap": n}.get(border, begin + end)
    if max(begin, end) <= most:
        return families.pad(c.g, at, ((begin, end),), border, dim)
    # Beyond its length the tensor is mirrored, or begins, again and again.
    if n + begin + end > MAX_POSITIONS:
        raise NoRule(f"{begin + end} elements of padding around {n}")
    places = range(-begin, n + end)
    if border == "wrap":
        return families.pick(c.g, at, dim, [p % n for p in places])
    turn = 2 * (n - 1) or 1
    return families.pick(c.g, at, dim, [min(p % turn, -p % turn) for p in places])


def _padded_somewhere(c: Call, x: Value) -> Any:
    """Padded by widths that depend on data, to a size that is known all the same."""
    out = declared(c)
    if not math.prod(out):
        return empty(c, out, x)
    reads = [at for _, at in c.reads()]
    return c.bound(families.opaque(c.g, reads, out), DEPENDENT, DEPENDS)
