"""From a network and an input to a plan of tiles, each of which is proved on the crop that it reads.

A tile's crop begins on the grid and ends where the whole does, modulo the grid: whatever a network makes of its
input's size (an odd row that a pooling leaves out, a padding to the next multiple), it then makes of the crop's
too. The network is analysed at every size of crop, and has to treat it like the whole, with no edge of the crop
in sight of a tile's units (:mod:`~eyeshot.tiling.crops`). Where an edge is, crops are enlarged by the grid. A
network that runs otherwise on crops may want a coarser grid than its strides do. Where nothing helps there is
no plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from eyeshot.analysis.findings.blockers import KINDS, Blocker, blockers
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import axes as axes_text
from eyeshot.analysis.report import Layer, Report
from eyeshot.errors import EyeshotError
from eyeshot.tiling.crops import Walk, difference
from eyeshot.tiling.extents import Extent, NotTileable, extents
from eyeshot.tiling.plan import Span, TileAxis, TilePlan
from eyeshot.tiling.subject import Subject, shape_of

__all__ = ["TILES", "Planner", "refusal"]

#: Tile sizes where none is asked for, by the number of axes.
TILES = {1: 1 << 16, 2: 1 << 10, 3: 1 << 7}
#: By how many grids crops are enlarged until they do.
GROWTH = (0, 1, 2, 4, 8, 16, 32)
#: By how many where the network runs otherwise on them, as it may on the smallest.
ENOUGH = 4
MAX_TILES = 1 << 24


#: By what grids are multiplied where a network asks what its input's size is a multiple of.
COARSER = (2, 4, 8, 16, 32, 64)


class Mismatch(NamedTuple):
    """Why a tile's crop does not do; ``otherwise``: the network runs otherwise on crops of that size."""

    reason: str
    otherwise: bool = False


class Planner:
    """Plans for one network and one input shape, for one size of tile after another.

    ``halo``, per axis: plan with this stated halo instead of the exact one (an approximation).
    Raises :class:`NotTileable`, naming the layers, where tiles can't equal the whole.
    """

    def __init__(
        self, subject: Subject, input: object = None, halo: Sequence[int] | None = None
    ) -> None:
        self.subject = subject
        self.report = subject.report(input)
        self.shape = shape_of(self.report)
        self.output = subject.output(self.report)
        self.stated = None if halo is None else tuple(halo)
        source = self.report._sources[0]
        if not source.axes:
            raise EyeshotError(f"{source.name} has no axes to lay tiles along")
        if halo is not None and len(halo) != len(source.axes):
            raise EyeshotError(f"a halo for {len(halo)} axes, of {len(source.axes)}")
        self.blockers = _blockers(self.report, self.output)
        if self.blockers and halo is None:
            raise NotTileable(refusal(self.blockers))
        self.walk = Walk(self.report, self.output)
        self.extents = extents(self.report, self.output, halo, self.walk)

    @property
    def axes(self) -> tuple[int, ...]:
        """The dims of the input along which tiles lie."""
        return tuple(extent.axis for extent in self.extents)

    def steps(self) -> tuple[int, ...]:
        """What a tile's size has to be a multiple of, per axis: a whole number of outputs."""
        return tuple(extent.scale.denominator for extent in self.extents)

    def plan(self, tile: Sequence[int] | int | None = None, batch: int = 1) -> TilePlan:
        """The plan for tiles of ``tile`` input positions per axis (0: the whole axis), or one for all."""
        wanted = self._sizes(tile)
        made = self._grown(self.extents, wanted, batch, GROWTH)
        if isinstance(made, Mismatch) and made.otherwise:
            for times in COARSER:
                coarser = [replace(e, grid=e.grid * times) for e in self.extents]
                if all(e.grid >= e.size for e in coarser):
                    break
                other = self._grown(coarser, wanted, batch, GROWTH[:2])
                if not isinstance(other, Mismatch):
                    return other
        if isinstance(made, Mismatch):
            raise NotTileable(f"crops of the input can't stand for the whole: {made.reason}")
        return made

    def _grown(
        self, extents: Sequence[Extent], wanted: Sequence[int], batch: int, growth: Sequence[int]
    ) -> TilePlan | Mismatch:
        """The plan with crops on the extents' grids, as long as they have to be."""
        before = None
        found = Mismatch("")
        for grids in growth:
            spans = [
                _spans(extent, size, grids) for extent, size in zip(extents, wanted, strict=True)
            ]
            if spans == before or (found.otherwise and grids > ENOUGH):
                break
            mismatch = self._mismatch(spans)
            if mismatch is None:
                return self._made(extents, wanted, spans, batch, grids)
            found, before = mismatch, spans
        return found

    def _sizes(self, tile: Sequence[int] | int | None) -> tuple[int, ...]:
        count = len(self.extents)
        if tile is None:
            usual = TILES.get(count, 64)
            return tuple(
                0 if usual >= e.size else math.ceil(usual / e.grid) * e.grid for e in self.extents
            )
        sizes = (tile,) * count if isinstance(tile, int) else tuple(tile)
        if len(sizes) != count:
            raise EyeshotError(f"tile: {len(sizes)} sizes for {count} axes")
        for size, extent, step in zip(sizes, self.extents, self.steps(), strict=True):
            if not isinstance(size, int) or isinstance(size, bool) or size < 0:
                raise EyeshotError(f"tile: expected a number of input positions, got {size!r}")
            if size % step:
                raise EyeshotError(
                    f"tile: {size} is no whole number of outputs along axis {extent.axis}; "
                    f"take a multiple of {step}"
                )
        counts = [
            math.ceil(e.out / max(Fraction(1), s * e.scale)) if s else 1
            for s, e in zip(sizes, self.extents, strict=True)
        ]
        if math.prod(counts) > MAX_TILES:
            raise EyeshotError(f"tile: {math.prod(counts)} tiles are more than {MAX_TILES}")
        return tuple(0 if s >= e.size else s for s, e in zip(sizes, self.extents, strict=True))

    def _mismatch(self, spans: Sequence[Sequence[Span]]) -> Mismatch | None:
        """Why one of the crops does not do; None if all tiles read there what they read in the whole."""
        longest = [max(e - b for (b, e), _, _ in some) for some in spans]
        for k, (extent, some) in enumerate(zip(self.extents, spans, strict=True)):
            for length in sorted({e - b for (b, e), _, _ in some}):
                shape = list(self.shape)
                for other, size in zip(self.extents, longest, strict=True):
                    shape[other.axis] = size
                shape[extent.axis] = length
                found = self._crop(
                    k, tuple(shape), [s for s in some if s.read[1] - s.read[0] == length]
                )
                if found is not None:
                    return found
        shortest = list(self.shape)
        for extent, some in zip(self.extents, spans, strict=True):
            shortest[extent.axis] = min(e - b for (b, e), _, _ in some)
        return self._crop(0, tuple(shortest), [])

    def _crop(self, k: int, shape: tuple[int, ...], spans: Sequence[Span]) -> Mismatch | None:
        """Why a crop of this shape does not do for tiles of axis ``k``."""
        if shape == self.shape:
            return None
        where = "x".join(map(str, shape[min(self.axes) :]))
        whole = "x".join(map(str, self.shape[min(self.axes) :]))
        extent = self.extents[k]
        try:
            report = self.subject.report(shape, exact=True)
            output = self.subject.output(report)
            if self.stated is not None:
                found = extents(report, output, self.stated)
                if tuple((e.dim, e.canvas) for e in found) != tuple(
                    (e.dim, e.canvas) for e in self.extents
                ):
                    return Mismatch(f"{whole} and {where} positions are not treated alike")
            else:
                walk = Walk(report, output)
                other = difference(self.walk, walk)
                if other is not None:
                    return Mismatch(
                        f"on a crop of {where} positions {other}, unlike on the whole of {whole}",
                        True,
                    )
        except EyeshotError as error:
            return Mismatch(f"at {where}: {error}", True)
        out = output.shape[extent.dim]
        if any(first < 0 or last > out for _, (first, last), _ in spans):
            return Mismatch(
                f"{where} positions give {out} outputs along axis {extent.axis}, too few for a tile"
            )
        if self.stated is None and spans:
            edges = walk.edges([e.dim for e in self.extents])[k]
            for (begin, end), (first, last), _ in spans:
                if (begin > 0 and edges.left[first:last].any()) or (
                    end < extent.size and edges.right[first:last].any()
                ):
                    return Mismatch(
                        f"the edge of a crop of {where} positions shows along axis {extent.axis}"
                    )
        return None

    def _made(
        self,
        extents: Sequence[Extent],
        sizes: Sequence[int],
        spans: Sequence[Sequence[Span]],
        batch: int,
        grids: int,
    ) -> TilePlan:
        axes = []
        for extent, size, some in zip(extents, sizes, spans, strict=True):
            left, right = extent.halo()
            axes.append(
                TileAxis(
                    axis=extent.axis,
                    dim=extent.dim,
                    size=extent.size,
                    out=extent.out,
                    scale=extent.scale,
                    offset=_offset(extent),
                    grid=extent.grid,
                    halo=(left, right),
                    unit_halo=extent.unit_halo(),
                    margin=_margin(extent, left, right, grids),
                    tile=size,
                    spans=tuple(some),
                )
            )
        out = list(self.output.shape)
        return TilePlan(
            title=self.subject.title or "network",
            input=self.report._sources[0].name,
            output=self.output.name,
            shape=self.shape,
            out_shape=tuple(out),
            axes=tuple(axes),
            batch=batch,
            exact=self.stated is None,
            blockers=tuple(b.layer.name for b in self.blockers) if self.stated is not None else (),
        )


def refusal(found: Sequence[Blocker]) -> str:
    """Why there are no tiles: the first layers of every kind, what they do, and what can replace them."""
    lines = []
    for kind in dict.fromkeys(b.kind for b in found):
        some = [b for b in found if b.kind == kind]
        first = some[0].layer
        dims = sorted({first._report._axes[k][1] for b in some for k in b.fields})
        names = ", ".join(b.layer.name for b in some[:4])
        more = f" and {len(some) - 4} more" if len(some) > 4 else ""
        lines.append(
            f"{names}{more} ({first.op}) {KINDS[kind].does.format(axes=axes_text(dims))}. "
            f"{KINDS[kind].instead}"
        )
    return f"no tiles equal the whole: {' '.join(lines)}"


def _blockers(report: Report, output: Layer) -> list[Blocker]:
    return blockers(Network(report), [output], range(len(report._axes)))


def _spans(extent: Extent, tile: int, grids: int) -> list[Span]:
    """The tiles along one axis, their crops enlarged by so many grids on either side."""
    step = int(tile * extent.scale)
    if not step or step >= extent.out:
        return [Span((0, extent.size), (0, extent.out), (0, extent.out))]
    grid, residue = extent.grid, extent.size % extent.grid
    found = []
    for begin in range(0, extent.out, step):
        end = min(begin + step, extent.out)
        low, high = extent.reads(begin, end)
        if low >= high:  # nothing but what the network makes of itself: any place will do
            low, high = _clip(begin / extent.scale, extent), _clip(end / extent.scale, extent)
        low = max(0, low // grid * grid - grids * grid)
        high += (residue - high) % grid + grids * grid
        # So long that the crop has all of the outputs.
        least = math.ceil((end - low * extent.scale) / extent.scale)
        high = max(high, low + least + (residue - low - least) % grid)
        high = min(high, extent.size)
        first = begin - int(low * extent.scale)
        found.append(Span((low, high), (first, first + end - begin), (begin, end)))
    return found


def _clip(at: Fraction, extent: Extent) -> int:
    return min(max(0, math.floor(at)), extent.size)


def _margin(extent: Extent, left: int, right: int, grids: int) -> tuple[int, int]:
    """A tile's halo brought to the grid, so that crops begin on it and end like the whole, and enlarged."""
    grid = extent.grid
    more = grids * grid
    return left + -left % grid + more, right + (extent.size - right) % grid + more


def _offset(extent: Extent) -> Fraction:
    """The centre of the first output's field, less that of ``1 / scale`` positions from the input's begin."""
    begin, end = extent.canvas.at(0)
    span = min(lo for lo in extent.canvas.begin), max(hi for hi in extent.canvas.end)
    centre = Fraction(int(span[0] + span[1]), 2) if begin < end else Fraction(0)
    return centre - Fraction(extent.canvas.advance, 2)
