"""What is done with a group of tiles: read, run, write, tell what was written; and look at it again later.

This runs in threads here or on the workers of a cluster; what goes in and comes out is a few numbers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eyeshot.errors import EyeshotError
from eyeshot.tiling.plan import Tile, TileAxis, TilePlan

if TYPE_CHECKING:
    from eyeshot.tiling.layout import Item, Layout
    from eyeshot.tiling.models import Model
    from eyeshot.tiling.scaling import Scaling

__all__ = ["Task", "Work", "Written", "crc"]


class Task(NamedTuple):
    """The tiles of one group for one item: to be done, or, with the CRCs of earlier, to be looked at."""

    unit: int
    crcs: tuple[int, ...] | None = None


class Written(NamedTuple):
    """A unit that was written: the CRC of each of its tiles, and the NaNs among what it read."""

    crcs: tuple[int, ...]
    nans: int


@dataclass(frozen=True)
class Work:
    """All that a run does, but for keeping track of it: a job of :mod:`~eyeshot.tiling.engine`.

    A *unit* is one group of the plan's tiles for one item of the layout, so that units are the same ones in
    every run of the plan. Calling it with a task that is to be done returns :class:`Written`; with one that
    is to be looked at, whether all is still as it was written.

    ``journal`` and ``token``: a file beside the output and what its first line has to hold, by which a worker
    sees that it has the same files before it.
    """

    model: Model
    image: Any
    output: Any
    plan: TilePlan
    layout: Layout
    scaling: Scaling
    journal: Path
    token: str

    @cached_property
    def groups(self) -> list[tuple[int, ...]]:
        """The numbers of the tiles that run together."""
        return self.plan.batches()

    @cached_property
    def items(self) -> Sequence[Item]:
        return self.layout.items

    @property
    def units(self) -> int:
        return len(self.items) * len(self.groups)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def unit(self, number: int) -> tuple[Item, list[Tile]]:
        """What a unit consists of."""
        item, group = divmod(number, len(self.groups))
        return self.items[item], [self.plan[index] for index in self.groups[group]]

    def ready(self) -> None:
        """Raise :class:`~eyeshot.errors.EyeshotError` if this machine has other files before it."""
        try:
            with open(self.journal, "rb") as file:
                same = self.token.encode() in file.readline()
        except OSError:
            same = False
        if not same:
            raise EyeshotError(
                f"{self.journal.parent}: the run's files are not there; workers need to see the same files "
                "under the same paths"
            )
        first = tuple(slice(0, min(1, size)) for size in self.layout.shape)
        self.image.read(first)

    def __call__(self, task: Task) -> Written | bool:
        item, tiles = self.unit(task.unit)
        if task.crcs is None:
            return self._done(item, tiles)
        found = [crc(self._read_back(item, tile)) for tile in tiles]
        return found == list(task.crcs)

    def _done(self, item: Item, tiles: Sequence[Tile]) -> Written:
        x, nans = self._input(item, tiles)
        y = self.model(x)
        del x
        self._check(y, tiles)
        crcs = []
        for at, tile in enumerate(tiles):
            where, part = self.layout.placed(item, y[at][tile.crop[1:]], tile.write, self.plan)
            part = np.ascontiguousarray(self.scaling.outward(part), dtype=self.output.dtype)
            self.output.write(where, part)
            crcs.append(crc(part))
        return Written(tuple(crcs), nans)

    def _input(self, item: Item, tiles: Sequence[Tile]) -> tuple[np.ndarray, int]:
        """The crops of all tiles as the model takes them, and the NaNs that these tiles read first."""
        x: np.ndarray | None = None
        nans = 0
        channel = (self.layout.dims or (1,))[0]
        for at, tile in enumerate(tiles):
            raw = self.layout.gather(self.image, item, tile.read)
            nans += self._nans(raw, tile)
            if x is None:
                x = np.empty((len(tiles), *raw.shape), self.model.dtype)
            x[at] = self.scaling.inward(
                raw, self.model.dtype, None if channel is None else channel - 1
            )
        assert x is not None
        return x, nans

    def _nans(self, raw: np.ndarray, tile: Tile) -> int:
        if raw.dtype.kind not in "fc":
            return 0
        own: list[slice] = [slice(None)] * (raw.ndim + 1)
        for axis, at, first in zip(self.plan.axes, tile.place, self._firsts, strict=True):
            begin, end = first[at]
            own[axis.axis] = slice(begin, end)
        return int(np.count_nonzero(np.isnan(raw[tuple(own[1:])])))

    @cached_property
    def _firsts(self) -> list[list[tuple[int, int]]]:
        """Per axis and tile the part of its crop that no tile before it reads: nothing is counted twice."""
        return [_firsts(axis) for axis in self.plan.axes]

    def _check(self, y: np.ndarray, tiles: Sequence[Tile]) -> None:
        """The output of a crop has to be as large as the plan says."""
        crop = tiles[0].crop
        fits = y.ndim == len(crop) and y.shape[0] == len(tiles)
        along = {axis.dim for axis in self.plan.axes}
        for dim in range(1, y.ndim if fits else 0):
            if dim in along:
                fits = fits and all(tile.crop[dim].stop <= y.shape[dim] for tile in tiles)
            else:
                fits = fits and y.shape[dim] == self.plan.out_shape[dim]
        if not fits:
            sizes = "x".join(map(str, tiles[0].shape))
            raise EyeshotError(
                f"the model gave {'x'.join(map(str, y.shape))} for a crop of {sizes}, which is not what the "
                "plan was made for"
            )

    def _read_back(self, item: Item, tile: Tile) -> np.ndarray:
        return np.asarray(self.output.read(self.layout.where(item, tile.write, self.plan)))

    def positions(self, number: int) -> int:
        """The input positions that a unit's tiles account for, which is how far a run has got."""
        _, tiles = self.unit(number)
        return round(sum(math.prod(self._lengths(tile)) for tile in tiles))

    def _lengths(self, tile: Tile) -> Iterator[float]:
        for axis, at in zip(self.plan.axes, tile.place, strict=True):
            begin, end = axis.spans[at].write
            yield float((end - begin) / axis.scale)

    @property
    def all_positions(self) -> int:
        """The positions of all units."""
        return round(
            len(self.items) * math.prod(float(axis.out / axis.scale) for axis in self.plan.axes)
        )


def crc(array: np.ndarray) -> int:
    """The CRC-32 of an array's bytes, row by row."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _firsts(axis: TileAxis) -> list[tuple[int, int]]:
    ends = [0]
    for span in axis.spans:
        ends.append(max(ends[-1], span.read[1]))
    return [
        (max(0, before - span.read[0]), span.read[1] - span.read[0])
        for span, before in zip(axis.spans, ends, strict=False)
    ]
