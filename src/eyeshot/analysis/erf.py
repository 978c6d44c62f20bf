"""An effective receptive field and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.gaussian import Fit, fit_gaussian
from eyeshot.core.terms import Number
from eyeshot.errors import EyeshotError

__all__ = ["SCHEMA", "SHARES", "Erf", "Fit", "Square"]

SCHEMA = "eyeshot.erf/1"
#: The shares of the contribution whose squares are reported, as in Ding et al. 2022.
SHARES = (0.2, 0.3, 0.5, 0.99)
#: Luo et al. 2016: what counts for more than 1 - 95.45 % of the maximum, two standard deviations of a Gaussian.
THRESHOLD = 1 - 0.9545
#: A share that is missed by less than this part is reached: rounding.
ROUNDING = 1e-12

Box = tuple[tuple[Number, Number], ...]
Pairs = tuple[tuple[int, int], ...]


class Square(NamedTuple):
    """The smallest square about the unit's centre that holds ``share`` of the contribution.

    ``side``: its side in pixels, also where it reaches outside the input; ``begin``, ``end``: the part inside,
    per axis. ``area_ratio``: the area of that part over the input's; ``of_field``: over the area of the
    theoretical field inside the input.
    """

    share: float
    side: int
    begin: tuple[int, ...]
    end: tuple[int, ...]
    area_ratio: float
    of_field: float


class Erf:
    """An effective receptive field: how much each position of the input counts for a unit.

    ``map``: float64 array over the input's axes (the dims ``axes`` of the input named ``input``), read-only. By
    the ``protocol`` "mass" it is what the architecture alone gives, with every weight alike (bicubic
    interpolation has weights below 0); by "mean-abs" and "positive" what gradients over ``samples`` images
    give. ``layer``, ``index``: the unit. ``centre``: where it is centred, per axis, pixel k covering [k, k+1].
    ``box``, ``clipped``: its theoretical field, ``[begin, end)`` per axis, on the unbounded canvas and exact
    inside the input. ``closed_form``: the standard deviation per axis that a plain stack's kernels give an
    interior unit, None for other networks. ``interrupted``: whether the run was stopped before its last image.
    ``notes``: sentences on what was chosen.

    The figures are None, or have no entries, where the map is 0 everywhere.
    """

    def __init__(
        self,
        map: Any,
        *,
        title: str,
        layer: str,
        index: Sequence[int],
        input: str,
        axes: Sequence[int],
        centre: Sequence[float],
        box: Box,
        clipped: Pairs,
        protocol: str,
        samples: int = 0,
        interrupted: bool = False,
        notes: Sequence[str] = (),
        closed_form: Sequence[float] | None = None,
    ) -> None:
        array: NDArray[np.float64] = np.array(map, dtype=np.float64)
        if not np.isfinite(array).all():
            raise EyeshotError(f"{layer}: contributions that are not finite")
        for name, values in (("axes", axes), ("centre", centre), ("clipped", clipped)):
            if len(values) != array.ndim:
                raise EyeshotError(
                    f"{name}: one entry for each of the {array.ndim} axes of the map is wanted, "
                    f"got {len(values)}"
                )
        array.flags.writeable = False
        self.__dict__.update(
            map=array,
            title=title,
            layer=layer,
            index=tuple(index),
            input=input,
            axes=tuple(axes),
            centre=tuple(float(c) for c in centre),
            box=tuple((begin, end) for begin, end in box),
            clipped=tuple((begin, end) for begin, end in clipped),
            protocol=protocol,
            samples=samples,
            interrupted=interrupted,
            notes=tuple(notes),
            closed_form=None if closed_form is None else tuple(float(s) for s in closed_form),
        )

    map: NDArray[np.float64]
    title: str
    layer: str
    index: tuple[int, ...]
    input: str
    axes: tuple[int, ...]
    centre: tuple[float, ...]
    box: Box
    clipped: Pairs
    protocol: str
    samples: int
    interrupted: bool
    notes: tuple[str, ...]
    closed_form: tuple[float, ...] | None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("an Erf is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("an Erf is frozen")

    def __repr__(self) -> str:
        at = ",".join(map(str, self.index))
        size = "x".join(map(str, self.map.shape))
        return f"<eyeshot.Erf of {self.layer} at ({at}), {self.input} {size}, {self.protocol}>"

    def __str__(self) -> str:
        from eyeshot.views.effective import to_text

        return to_text([self])

    # --- figures

    @property
    def field_area(self) -> int:
        """How many positions the theoretical field's box has inside the input."""
        return math.prod(end - begin for begin, end in self.clipped)

    @property
    def squares(self) -> tuple[Square, ...]:
        """The high-contribution squares of 20, 30, 50 and 99 % (see :meth:`square`)."""
        if not self.map.sum() > 0:
            return ()
        return tuple(self.square(share) for share in SHARES)

    def square(self, share: float) -> Square:
        """The smallest square about the unit's centre that holds ``share`` of the total contribution.

        The high-contribution area of Ding et al. 2022 (RepLKNet, arXiv 2203.06717, table 10), an interval or a
        cube where the input has one or three axes. The centre is rounded to the nearest half pixel: squares
        about the middle of a pixel have odd sides, 1, 3, 5 …, those about an edge even ones, 2, 4, 6 …; where
        axes differ in this, all are about the pixel after the edge. What lies outside the input is cut off.

        Their script takes the first i >= 1 whose 2i + 1 rows and columns about pixel n // 2 of the map hold
        more than the share; here it is the unit's own centre, "at least" the share, and sides from 1 on.

        Raises :class:`~eyeshot.errors.EyeshotError` for a share outside ]0, 1], or a map that sums to 0.
        """
        if not 0 < share <= 1:
            raise EyeshotError(f"share: expected a number above 0, at most 1, got {share}")
        held, starts, odd = self._shells()
        if not held.size or not held[-1] > 0:
            raise EyeshotError(f"{self.layer}: the unit gets nothing of the input")
        radius = int(np.argmax(held >= share * held[-1] * (1 - ROUNDING)))
        begin = tuple(
            min(max(0, s - radius), n) for s, n in zip(starts, self.map.shape, strict=True)
        )
        end = tuple(
            min(max(0, s + radius + odd), n) for s, n in zip(starts, self.map.shape, strict=True)
        )
        area = math.prod(e - b for b, e in zip(begin, end, strict=True))
        return Square(
            float(share),
            2 * radius + odd,
            begin,
            end,
            area / self.map.size,
            area / self.field_area if self.field_area else math.inf,
        )

    def _shells(self) -> tuple[NDArray[np.float64], tuple[int, ...], int]:
        """The contribution within each radius; per axis where the squares of radius 0 begin; their side.

        A radius of r means r more rows on either side than radius 0 has: one pixel, or none (an edge).
        """
        known: tuple[NDArray[np.float64], tuple[int, ...], int] | None = self.__dict__.get("_held")
        if known is None:
            halves = [math.floor(2 * c + 0.5) for c in self.centre]
            odd = int(any(half % 2 for half in halves))
            starts = tuple(half // 2 for half in halves)
            radii = np.zeros((1,) * self.map.ndim, np.int64)
            for k, (start, n) in enumerate(zip(starts, self.map.shape, strict=True)):
                offset = np.arange(n) - start
                along = np.abs(offset) if odd else np.where(offset < 0, -offset, offset + 1)
                shape = [n if j == k else 1 for j in range(self.map.ndim)]
                radii = np.maximum(radii, along.reshape(shape))
            shells = np.bincount(
                np.broadcast_to(radii, self.map.shape).ravel(), weights=self.map.ravel()
            )
            known = np.cumsum(shells).astype(np.float64), starts, odd
            self.__dict__["_held"] = known
        return known

    @property
    def fit(self) -> Fit | None:
        """The Gaussian that fits the map best; None where none does (see :mod:`eyeshot.analysis.gaussian`)."""
        if "_fit" not in self.__dict__:
            self.__dict__["_fit"] = fit_gaussian(self.map)
        fit: Fit | None = self.__dict__["_fit"]
        return fit

    def _marginals(self) -> list[NDArray[np.float64]]:
        axes = range(self.map.ndim)
        return [self.map.sum(axis=tuple(j for j in axes if j != k)) for k in axes]

    @property
    def fwhm(self) -> tuple[float, ...] | None:
        """Full width at half maximum, per axis, in pixels.

        The map is added up over the other axes; the width lies between the outermost places where this crosses
        half of its maximum, interpolated linearly between the centres of pixels. At the input's border, where
        it is still above half, the width ends.
        """
        if not self.map.sum() > 0:
            return None
        return tuple(_width(marginal) for marginal in self._marginals())

    @property
    def spread(self) -> tuple[float, ...] | None:
        """The standard deviation of the contribution, per axis, in pixels: the map as a distribution."""
        if not self.map.sum() > 0:
            return None
        out = []
        for marginal in self._marginals():
            where = np.arange(len(marginal)) - len(marginal) / 2
            total = marginal.sum()
            middle = (marginal * where).sum() / total
            variance = (marginal * (where - middle) ** 2).sum() / total
            out.append(math.sqrt(max(0.0, float(variance))))
        return tuple(out)

    @property
    def share_of_field(self) -> float:
        """The part of the theoretical field's area (inside the input) that counts.

        Luo et al. 2016 (arXiv 1701.04128): what counts for more than 1 - 95.45 % of the maximum. They compare
        sides, the square roots of areas, for which the share falls with the depth n like 1 / sqrt(n).
        """
        top = self.map.max(initial=0.0)
        if not top > 0 or not self.field_area:
            return 0.0
        return float((self.map > THRESHOLD * top).sum() / self.field_area)

    # --- exports

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values, without the map; the schema ships as ``eyeshot/schema/erf-1.json``."""
        fit = self.fit
        return {
            "schema": SCHEMA,
            "title": self.title,
            "layer": self.layer,
            "index": list(self.index),
            "input": self.input,
            "axes": list(self.axes),
            "shape": list(self.map.shape),
            "centre": list(self.centre),
            "box": [[_finite(begin), _finite(end)] for begin, end in self.box],
            "clipped": [list(pair) for pair in self.clipped],
            "protocol": self.protocol,
            "samples": self.samples,
            "interrupted": self.interrupted,
            "total": float(self.map.sum()),
            "squares": [
                {**square._asdict(), "begin": list(square.begin), "end": list(square.end)}
                for square in self.squares
            ],
            "share_of_field": self.share_of_field,
            "spread": _list(self.spread),
            "closed_form": _list(self.closed_form),
            "fwhm": _list(self.fwhm),
            "fit": None
            if fit is None
            else {**fit._asdict(), "centre": list(fit.centre), "sigma": list(fit.sigma)},
            "notes": list(self.notes),
        }

    def to_json(self, indent: int | None = None) -> str:
        """JSON text of :meth:`to_dict`."""
        import json

        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)


def _width(marginal: NDArray[np.float64]) -> float:
    """See :attr:`Erf.fwhm`."""
    half = float(marginal.max()) / 2
    above = np.flatnonzero(marginal >= half)
    first, last = int(above[0]), int(above[-1])
    low, high = 0.0, float(len(marginal))
    if first > 0:
        before, inside = float(marginal[first - 1]), float(marginal[first])
        low = first + 0.5 - (inside - half) / (inside - before)
    if last < len(marginal) - 1:
        inside, after = float(marginal[last]), float(marginal[last + 1])
        high = last + 0.5 + (inside - half) / (inside - after)
    return high - low


def _finite(number: Number) -> int | None:
    return int(number) if math.isfinite(number) else None


def _list(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values)
