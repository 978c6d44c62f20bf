"""The five primitives: an operator is what its output elements read.

Each class states one way of reading and the shape that comes of it. The engines
(:mod:`~eyeshot.core.canvas`, :mod:`~eyeshot.core.image`) evaluate these statements and know
nothing of operators; :mod:`~eyeshot.core.families` lowers operators to them.

They are named tuples because graphs hold hundreds of thousands: cheap to make, immutable.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from eyeshot.errors import FieldError

__all__ = [
    "MAX_SIZE",
    "Border",
    "Concat",
    "Input",
    "Join",
    "Mix",
    "Primitive",
    "Rearrange",
    "Shape",
    "Stencil",
    "Taps",
]

Shape = tuple[int, ...]

#: No tensor dim is longer; coordinates then stay far from any overflow.
MAX_SIZE = 1 << 40

Border = Literal["drop", "clamp", "reflect", "wrap", "linear"]
"""What happens to a read outside ``0 … n-1``.

``drop``: nothing is read (zero padding). ``clamp``: the nearest element (replicate padding).
``reflect``: mirrored, without repeating the edge. ``wrap``: modulo n. ``linear``: the window's first
position is clamped, then each of its positions (PyTorch's linear interpolation clamps the coordinate
at 0 *before* it takes the two neighbours, so the first outputs read elements 0 and 1).
"""


class Taps(NamedTuple):
    """Which positions along one dim each output index reads, given by one period.

    Output ``i`` reads ``first[i % period] + advance * (i // period) + step * t`` for
    ``0 <= t < counts[i % period]``; so ``taps(i + period) == taps(i) + advance``.
    ``border`` says what a read outside the dim means.

    ``weights`` says how much each of its reads counts, phase by phase, where they don't count alike; the
    weights of a phase add up to 1, or to less where a part is lost. Where ``renormalized``, only what is read
    inside the dim counts (an average that leaves padding out), else what falls outside is lost.
    """

    period: int
    advance: int
    first: tuple[int, ...]
    counts: tuple[int, ...]
    step: int = 1
    border: Border = "drop"
    weights: tuple[tuple[float, ...], ...] | None = None
    renormalized: bool = False

    def window(self, i: int) -> tuple[int, int]:
        """First position and number of positions that output ``i`` reads, before the border."""
        turn, phase = divmod(i, self.period)
        return self.first[phase] + self.advance * turn, self.counts[phase]

    def reach(self, size: int) -> tuple[int, int] | None:
        """Smallest and largest position that outputs ``0 … size-1`` read; None if they read none."""
        if size <= self.period:  # a table, which may be long
            read = [
                (f, f + self.step * (n - 1))
                for f, n in zip(self.first[:size], self.counts, strict=False)
                if n
            ]
            return (min(f for f, _ in read), max(end for _, end in read)) if read else None
        low: int | None = None
        high = 0
        for phase in range(min(self.period, size)):
            if not self.counts[phase]:
                continue
            last = phase + (size - 1 - phase) // self.period * self.period
            for i in (phase, last):
                begin, count = self.window(i)
                end = begin + self.step * (count - 1)
                if low is None:
                    low, high = begin, end
                low, high = min(low, begin, end), max(high, begin, end)
        return None if low is None else (low, high)


class Input(NamedTuple):
    """An input of the network (``name`` given) or a constant, which reads nothing (``name`` None)."""

    shape: Shape
    name: str | None = None
    axes: tuple[int, ...] = ()

    def out_shape(self, shapes: list[Shape]) -> Shape:
        return self.shape


class Stencil(NamedTuple):
    """Each output reads a few positions along ``dim``; the dim then has ``size`` positions."""

    dim: int
    taps: Taps
    size: int

    def out_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        return (*shape[: self.dim], self.size, *shape[self.dim + 1 :])


class Mix(NamedTuple):
    """Each output reads all positions along ``dims``, which then have ``sizes`` positions.

    ``groups`` (one dim only): output block g reads input block g. ``causal`` (one dim only): output i
    reads positions ``0 … i``; the size stays.
    """

    dims: tuple[int, ...]
    sizes: tuple[int, ...]
    groups: int = 1
    causal: bool = False

    def out_shape(self, shapes: list[Shape]) -> Shape:
        out = list(shapes[0])
        for dim, size in zip(self.dims, self.sizes, strict=True):
            out[dim] = size
        return tuple(out)


class Rearrange(NamedTuple):
    """Each output reads one element: reshape to ``split``, permute by ``order``, reshape to ``shape``.

    Reshapes are row-major. Where ``expand`` is given, size-1 dims are broadcast to it after the
    permutation. Sizes alone do not tell which of several dims of size 1 is which; where it is known,
    ``parts`` says how many dims each input dim is split into (0: a size-1 dim goes) and ``merged`` of how
    many each output dim is made (0: a new dim of size 1).
    """

    split: Shape
    order: tuple[int, ...]
    shape: Shape
    expand: Shape | None = None
    parts: tuple[int, ...] | None = None
    merged: tuple[int, ...] | None = None

    def out_shape(self, shapes: list[Shape]) -> Shape:
        return self.shape


class Join(NamedTuple):
    """Each output reads the same element of every input, sizes broadcast as in NumPy."""

    def out_shape(self, shapes: list[Shape]) -> Shape:
        first = shapes[0]
        if all(shape == first for shape in shapes):
            return first
        out: list[int] = []
        for k in range(-max(map(len, shapes)), 0):
            sizes = {shape[k] for shape in shapes if -k <= len(shape)} - {1}
            if len(sizes) > 1:
                raise FieldError("inputs", f"shapes {text(shapes)} don't broadcast")
            out.append(sizes.pop() if sizes else 1)
        return tuple(out)


class Concat(NamedTuple):
    """Each output reads one element of one input: the inputs lie one after another along ``dim``."""

    dim: int

    def out_shape(self, shapes: list[Shape]) -> Shape:
        first = shapes[0]
        dim = self.dim
        for shape in shapes[1:]:
            if shape[:dim] != first[:dim] or shape[dim + 1 :] != first[dim + 1 :]:
                raise FieldError(
                    "inputs",
                    f"shapes {text(shapes)} differ in more than dim {dim}, along which they join",
                )
        return (*first[:dim], sum(shape[dim] for shape in shapes), *first[dim + 1 :])


Primitive = Input | Stencil | Mix | Rearrange | Join | Concat


def text(shapes: list[Shape]) -> str:
    """Shapes as people write them: ``1x3x8x8, 1x3x4x4``."""
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)


def verify(prim: Primitive, shapes: list[Shape], out: Shape) -> str | None:
    """What is wrong with a primitive applied to inputs of these shapes, or None."""
    kind = type(prim)
    arity = 0 if kind is Input else 1
    if len(shapes) != arity and (kind not in (Join, Concat) or not shapes):
        return f"takes {arity} inputs, has {len(shapes)}"
    if out and (min(out) < 1 or max(out) > MAX_SIZE):
        return f"has a size outside 1 … {MAX_SIZE}: {text([out])}"
    match prim:
        case Stencil(dim, taps, _):
            if not 0 <= dim < len(shapes[0]):
                return f"dim {dim} is not in {text([out])}"
            if not taps.period == len(taps.first) == len(taps.counts) or taps.step < 1:
                return "taps do not give one window per phase"
            if taps.weights is not None and tuple(map(len, taps.weights)) != taps.counts:
                return "taps do not give one weight per read"
        case Input(_, name, axes):
            if name is None and axes:
                return "a constant has no axes"
            if len(set(axes)) != len(axes) or any(not 0 <= a < len(out) for a in axes):
                return f"axes {axes} are not dims of {text([out])}"
        case Mix(dims, sizes, groups, causal):
            if len(set(dims)) != len(dims) or any(not 0 <= d < len(out) for d in dims):
                return f"dims {dims} are not in {text([out])}"
            if (groups > 1 or causal) and len(dims) != 1:
                return "groups and causal mixing take one dim"
            if groups > 1 and (shapes[0][dims[0]] % groups or sizes[0] % groups):
                return (
                    f"sizes {shapes[0][dims[0]]} and {sizes[0]} do not divide into {groups} groups"
                )
            if causal and sizes[0] != shapes[0][dims[0]]:
                return "causal mixing keeps the size"
        case Rearrange(split, order, shape, expand, parts, merged):
            if math.prod(split) != math.prod(shapes[0]):
                return f"{text([split])} has not as many elements as {text(shapes)}"
            if sorted(order) != list(range(len(split))):
                return f"order {order} is no permutation"
            moved = tuple(split[k] for k in order)
            if expand is not None:
                if len(expand) != len(moved) or any(
                    m not in (1, e) for m, e in zip(moved, expand, strict=True)
                ):
                    return f"{text([moved])} does not broadcast to {text([expand])}"
                moved = expand
            if math.prod(shape) != math.prod(moved):
                return f"{text([shape])} has not as many elements as {text([moved])}"
            for whole, counts, pieces in ((shapes[0], parts, split), (shape, merged, moved)):
                if counts is not None and not _adds_up(whole, counts, pieces):
                    return f"{counts} of {text([pieces])} do not make {text([whole])}"
        case Concat(dim):
            if not 0 <= dim < len(out):
                return f"dim {dim} is not in {text([out])}"
    return None


def _adds_up(whole: Shape, counts: tuple[int, ...], pieces: Shape) -> bool:
    """Whether consecutive runs of ``pieces``, so many to each, multiply to the sizes of ``whole``."""
    if len(counts) != len(whole) or sum(counts) != len(pieces):
        return False
    at = 0
    for size, count in zip(whole, counts, strict=True):
        if math.prod(pieces[at : at + count]) != size:
            return False
        at += count
    return True
