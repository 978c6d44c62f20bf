"""A plan of tiles: per axis where to read, what to keep of a crop's output, and where it belongs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, overload

__all__ = ["Estimate", "Measured", "Memory", "Span", "Tile", "TileAxis", "TilePlan"]

SCHEMA = "eyeshot.tile/1"

Slices = tuple[slice, ...]


class Span(NamedTuple):
    """One tile along one axis: reads ``[read)`` of the input, keeps ``[crop)`` of the crop's output as
    ``[write)``.

    Pairs are half-open.
    """

    read: tuple[int, int]
    crop: tuple[int, int]
    write: tuple[int, int]


class Tile(NamedTuple):
    """One tile, as slices over all dims: ``out[tile.write] = model(x[tile.read])[tile.crop]``.

    ``index``: its number; ``place``: its number along each axis.
    """

    index: int  # type: ignore[assignment]
    place: tuple[int, ...]
    read: Slices
    crop: Slices
    write: Slices

    @property
    def shape(self) -> tuple[int, ...]:
        """The input positions that are read, per axis."""
        return tuple(s.stop - s.start for s in self.read if s.stop is not None)

    def __repr__(self) -> str:
        read, crop, write = map(_slices, (self.read, self.crop, self.write))
        return f"Tile {self.index} at {self.place}: out[{write}] = model(x[{read}])[{crop}]"


@dataclass(frozen=True)
class TileAxis:
    """The tiles along one axis; positions are input elements unless said otherwise.

    ``axis`` is the dim of the input, ``dim`` that of the output; ``size`` input positions give ``out``
    outputs. ``scale``: outputs per input position; ``offset``: the first output's centre less that of the
    output that would lie there if the map began where the input does (0 for padded networks, positive for
    valid ones). ``grid``: what tile edges should be multiples of. ``halo``: what a tile on the grid reads
    beyond itself, left and right; ``unit_halo``: the same of the worst single unit, for tiles off the grid.
    ``margin``: the halo brought to the grid, which is what crops inside the image have. ``tile``: a tile's
    size, 0 if it is the whole.
    """

    axis: int
    dim: int
    size: int
    out: int
    scale: Fraction
    offset: Fraction
    grid: int
    halo: tuple[int, int]
    unit_halo: tuple[int, int]
    margin: tuple[int, int]
    tile: int
    spans: tuple[Span, ...] = field(repr=False)

    @property
    def crop(self) -> int:
        """The longest crop that is read."""
        return max(end - begin for (begin, end), _, _ in self.spans)

    @property
    def read(self) -> int:
        """The positions that all tiles read together, those that several read counted several times."""
        return sum(end - begin for (begin, end), _, _ in self.spans)

    def to_dict(self) -> dict[str, Any]:
        """The axis as JSON values; its tiles are given by ``tiles`` and the lists of begins and ends."""
        return {
            "axis": self.axis,
            "dim": self.dim,
            "size": self.size,
            "out": self.out,
            "scale": [self.scale.numerator, self.scale.denominator],
            "offset": float(self.offset),
            "grid": self.grid,
            "halo": list(self.halo),
            "unit_halo": list(self.unit_halo),
            "margin": list(self.margin),
            "tile": self.tile,
            "spans": [[*span.read, *span.crop, *span.write] for span in self.spans],
        }

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> TileAxis:
        """The axis that :meth:`to_dict` tells of."""
        return cls(
            axis=held["axis"],
            dim=held["dim"],
            size=held["size"],
            out=held["out"],
            scale=Fraction(*held["scale"]),
            offset=Fraction(held["offset"]),
            grid=held["grid"],
            halo=tuple(held["halo"]),
            unit_halo=tuple(held["unit_halo"]),
            margin=tuple(held["margin"]),
            tile=held["tile"],
            spans=tuple(Span((a, b), (c, d), (e, f)) for a, b, c, d, e, f in held["spans"]),
        )


class Measured(NamedTuple):
    """What ``workers`` forwards at once took on inputs of ``shape``: bytes beyond the base, at their peak."""

    shape: tuple[int, ...]
    workers: int
    peak: int
    seconds: float


@dataclass(frozen=True)
class Memory:
    """What a run of a plan takes, in bytes, on ``device`` (for ``"cpu"`` of one process with all its threads).

    ``base``: with the libraries and the model loaded. ``measured``: forwards that were run to tell. A forward
    is taken to need ``fixed`` bytes and ``slope`` more for every input position of its batch of crops, and
    the arrays beside it ``arrays`` per position. ``peak``: all of it for ``workers`` at once, with the safety
    margin. ``least``: the same for the smallest tile. ``budget``: what was allowed.
    """

    device: str
    budget: int
    base: int
    measured: tuple[Measured, ...]
    fixed: int
    slope: float
    arrays: float
    workers: int
    peak: int
    least: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        held = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return held | {"measured": [{**m._asdict(), "shape": list(m.shape)} for m in self.measured]}

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> Memory:
        """What :meth:`to_dict` tells of."""
        measured = (Measured(**m | {"shape": tuple(m["shape"])}) for m in held["measured"])
        return cls(**held | {"measured": tuple(measured)})


@dataclass(frozen=True)
class Estimate:
    """How far tiles that don't equal the whole were from it at ``samples`` places.

    ``largest`` and ``mean``: of the absolute differences. ``spread``: the standard deviation of the outputs
    that they were compared with. ``data``: ``"image"`` or ``"random"``. ``window``: input positions, per
    axis, of what stood for the whole; ``whole``: it was the whole.
    """

    samples: int
    largest: float
    mean: float
    spread: float
    data: str
    window: tuple[int, ...]
    whole: bool

    @property
    def relative(self) -> float:
        """The largest difference in units of the spread."""
        return self.largest / self.spread if self.spread else math.inf if self.largest else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        held = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return held | {"window": list(self.window)}

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> Estimate:
        """What :meth:`to_dict` tells of."""
        return cls(**held | {"window": tuple(held["window"])})


@dataclass(frozen=True)
class TilePlan(Sequence[Tile]):
    """Tiles that together give what the whole input gives: a sequence of :class:`Tile`, row by row.

    ``shape`` is the input's and ``out_shape`` the output's, batch and channels included. ``exact``: tiles
    equal the whole; otherwise ``halo`` was stated by the user and ``blockers`` are the layers that see more.
    ``batch``: how many tiles of equal shape are to run at once. ``notes``: what is worth knowing, one line
    each. ``memory``: what was measured where a budget was given. ``error``: how far an approximation was from
    the whole.
    """

    title: str
    input: str
    output: str
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    axes: tuple[TileAxis, ...]
    batch: int = 1
    exact: bool = True
    blockers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    memory: Memory | None = None
    error: Estimate | None = None

    def __repr__(self) -> str:
        sizes = _by(axis.tile or axis.size for axis in self.axes)
        crops = _by(axis.crop for axis in self.axes)
        what = f"{len(self)} tiles of {sizes}" if len(self) > 1 else "1 tile"
        stated = "" if self.exact else ", approximate"
        return (
            f"<TilePlan of {self.title}: {_by(self.shape)} to {_by(self.out_shape)} in {what} "
            f"(crops up to {crops}, overhead {self.overhead:.2f}{stated})>"
        )

    def __str__(self) -> str:
        from eyeshot.views.tiles import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        from eyeshot.views.tiles import to_html

        return to_html(self)

    def __len__(self) -> int:
        return math.prod(len(axis.spans) for axis in self.axes)

    @property
    def places(self) -> tuple[int, ...]:
        """How many tiles there are along each axis."""
        return tuple(len(axis.spans) for axis in self.axes)

    @overload
    def __getitem__(self, index: int) -> Tile: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Tile, ...]: ...

    def __getitem__(self, index: int | slice) -> Tile | tuple[Tile, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(len(self))[index])
        index = range(len(self))[index]
        place = []
        rest = index
        for count in reversed(self.places):
            rest, at = divmod(rest, count)
            place.append(at)
        return self._tile(index, tuple(reversed(place)))

    def __iter__(self) -> Iterator[Tile]:
        places = itertools.product(*(range(n) for n in self.places))
        return (self._tile(i, place) for i, place in enumerate(places))

    def _tile(self, index: int, place: tuple[int, ...]) -> Tile:
        read = [slice(None)] * len(self.shape)
        crop = [slice(None)] * len(self.out_shape)
        write = [slice(None)] * len(self.out_shape)
        for axis, at in zip(self.axes, place, strict=True):
            span = axis.spans[at]
            read[axis.axis] = slice(*span.read)
            crop[axis.dim] = slice(*span.crop)
            write[axis.dim] = slice(*span.write)
        return Tile(index, place, tuple(read), tuple(crop), tuple(write))

    def batches(self) -> list[tuple[int, ...]]:
        """The tiles' numbers in groups of at most ``batch``, of crops of one shape; always the same ones."""
        groups: list[tuple[int, ...]] = []
        open_: dict[tuple[int, ...], list[int]] = {}
        for tile in self:
            group = open_.setdefault(tile.shape, [])
            group.append(tile.index)
            if len(group) == self.batch:
                groups.append(tuple(group))
                del open_[tile.shape]
        groups += [tuple(group) for group in open_.values()]
        return sorted(groups)

    @property
    def overhead(self) -> float:
        """Positions read by all tiles together, per position of the input: at least about 1."""
        return math.prod(axis.read / axis.size for axis in self.axes)

    @property
    def crop(self) -> tuple[int, ...]:
        """The shape of the largest crop, batch and channels included (of one sample)."""
        shape = list(self.shape)
        for axis in self.axes:
            shape[axis.axis] = axis.crop
        return tuple(shape)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values; :meth:`from_dict` reads them."""
        return {
            "schema": SCHEMA,
            "title": self.title,
            "input": self.input,
            "output": self.output,
            "shape": list(self.shape),
            "out_shape": list(self.out_shape),
            "exact": self.exact,
            "blockers": list(self.blockers),
            "notes": list(self.notes),
            "batch": self.batch,
            "tiles": len(self),
            "overhead": self.overhead,
            "memory": None if self.memory is None else self.memory.to_dict(),
            "error": None if self.error is None else self.error.to_dict(),
            "axes": [axis.to_dict() for axis in self.axes],
        }

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> TilePlan:
        """The plan that :meth:`to_dict` tells of."""
        return cls(
            title=held["title"],
            input=held["input"],
            output=held["output"],
            shape=tuple(held["shape"]),
            out_shape=tuple(held["out_shape"]),
            axes=tuple(TileAxis.from_dict(axis) for axis in held["axes"]),
            batch=held["batch"],
            exact=held["exact"],
            blockers=tuple(held["blockers"]),
            notes=tuple(held["notes"]),
            memory=None if held.get("memory") is None else Memory.from_dict(held["memory"]),
            error=None if held.get("error") is None else Estimate.from_dict(held["error"]),
        )


def _by(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))


def _slices(slices: Slices) -> str:
    """Slices as they are written in brackets."""
    return ", ".join(":" if s.stop is None else f"{s.start}:{s.stop}" for s in slices)
