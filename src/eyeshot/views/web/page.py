"""A report as the data of the web page: JSON values from which the box of any unit follows at once.

The report itself is in it word for word (``eyeshot.report/1``). Beside it stands what its canvas maps leave
open, so that the page shows exactly what ``layer.box`` and ``layer.boxes`` say: hulls inside the input where
they are more than the clipped canvas, hulls without a closed form, centres, and the steps from layer to layer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import eyeshot
from eyeshot.analysis.placed import Placed
from eyeshot.analysis.report import Layer, Report
from eyeshot.analysis.search import middles
from eyeshot.errors import EyeshotError
from eyeshot.views.web.relations import Relations
from eyeshot.views.web.tables import ENDLESS, MAX_UNITS, Hulls, Ints, Tables, canonical, same

if TYPE_CHECKING:
    from eyeshot.analysis.findings import Check

__all__ = ["SCHEMA", "page"]

SCHEMA = "eyeshot.page/1"


def page(
    report: Report,
    *,
    check: Check | None = None,
    rate: float | None = None,
    image: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The page's data as JSON values; the schema ships as ``eyeshot/schema/page-1.json``.

    ``check``: the findings to show beside the layers. ``rate``: samples a second, where an axis is time.
    ``image``: what lies behind the input, of :func:`~eyeshot.views.web.backdrop.backdrop`.
    """
    tables = Tables()
    relations = Relations(report, tables)
    fields = _Fields(tables)
    layers = [_layer(number, layer, relations, fields) for number, layer in enumerate(report)]
    return {
        "schema": SCHEMA,
        "version": eyeshot.__version__,
        "title": report.title,
        "rate": rate,
        "report": report.to_dict(),
        "outputs": [report._names[layer.name] for layer in report.outputs],
        "groups": _groups(report),
        "layers": layers,
        "relations": relations.relations,
        "tables": tables.tables,
        "findings": None if check is None else check.to_dict(),
        "image": image,
    }


def _layer(number: int, layer: Layer, relations: Relations, fields: _Fields) -> dict[str, Any]:
    """What the report leaves open about one layer, in the order of its fields.

    ``units``: the tensor dims that units are indexed by. ``parents``: ``[layer or -1 - input, relation]``.
    Per field ``box``, ``inside`` and ``middle``: see :class:`_Fields`. ``path``, where the name does not say
    it: of the modules that the layer lies in, with its own name there.
    """
    path = layer._report._graph.paths.get(layer.name)
    where = {} if path is None else {"path": path}
    _counted(layer)
    units = list(layer.unit_dims)
    parents = relations.of(number, layer)
    return {**where, "units": units, "parents": parents, "fields": fields.of(layer)}


def _groups(report: Report) -> list[list[str]]:
    """Modules and their classes. A file may know none, and have the last operator in its place."""
    last = {(mark.value, mark.op) for mark in report._marks}
    return [
        [mark.name, mark.op]
        for mark in report._groups.values()
        if (mark.value, mark.op) not in last
    ]


def _counted(layer: Layer) -> None:
    """Refuses numbers that a browser would round."""
    for field in layer.fields:
        canvas = field.canvas
        if canvas is not None:
            ends = [abs(end) for end in (*canvas.begin, *canvas.end) if math.isfinite(end)]
            if (
                max(ends, default=0) + abs(canvas.advance) * (field.n // canvas.period + 1)
                > ENDLESS
            ):
                raise EyeshotError(
                    f"{layer.name}: its boxes pass {ENDLESS}, more than a page can count exactly"
                )


class _Fields:
    """What is written of fields, ``[box, inside, middle]`` each; what follows from the same is found once.

    ``box``: the number of the table with the hulls on the unbounded canvas, ``"canvas"`` where the report's
    canvas says all. ``inside``: that of the exact hulls inside the input, ``"clip"`` where these are the box
    clipped to the input. ``middle``: of twice the centres, ``"box"`` where they are the middle of the canvas,
    or else of the box. None: not in the page, for it would be too long.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._insides: dict[tuple[Any, ...], int | str | None] = {}
        self._units: dict[tuple[int, ...], list[Ints]] = {}

    def of(self, layer: Layer) -> list[list[Any]]:
        """Those of one layer."""
        placed = Placed.of(layer)
        several = range(len(layer.fields))
        lengths = [placed.length(k) for k in several]
        if max((*placed.extents, *lengths), default=0) > MAX_UNITS:
            # Too many units to look at one by one.
            return [_unseen(placed, k) for k in several]
        return [self._field(placed, k) for k in several]

    def _field(self, placed: Placed, k: int) -> list[Any]:
        try:
            exact = placed.exact(k, local=False)
            if placed.plain(k):
                return ["canvas", self._inside(placed, k, *exact), "box"]
            return self._looked_at(placed, k, exact)
        except EyeshotError:
            return _unseen(placed, k)

    def _inside(self, placed: Placed, k: int, lo: Ints, hi: Ints) -> int | str | None:
        """Of a field that the canvas says all of."""
        form = placed.layer._forms[k]
        units = placed.dims.index(form.dim)
        n, length = placed.extents[units], placed.length(k)
        key = (form.canvas, units, n, length, lo.shape, lo.tobytes(), hi.tobytes())
        if key not in self._insides:
            at = self._units.get(placed.extents)
            if at is None:
                at = self._units[placed.extents] = placed.all_units()
            box = placed.canvas_along(k, at)
            clip = same(_clipped(*box, length), (lo, hi))
            self._insides[key] = "clip" if clip else self._tables.add(lo, hi)
        return self._insides[key]

    def _looked_at(self, placed: Placed, k: int, exact: Hulls) -> list[Any]:
        """Unit by unit."""
        at = placed.all_units()
        box: int | str | None = "canvas"
        length = placed.length(k)
        hulls = placed.box(k, at)
        along = placed.canvas_along(k, at) if placed.closed(k) else hulls
        if not placed.closed(k) or not same(along, hulls):
            box = self._tables.add(*hulls)
        inside: int | str | None = "clip"
        if not same(_clipped(*hulls, length), exact):
            inside = self._tables.add(*exact)
        middle = placed.middle(k, at)
        centre: int | str | None = "box"
        drawn = np.broadcast_arrays(middles(*canonical(*along), length), middle)
        if not np.array_equal(drawn[0], drawn[1], equal_nan=True):
            centre = self._tables.numbers(_doubled(middle))
        return [box, inside, centre]


def _unseen(placed: Placed, k: int) -> list[Any]:
    """Of a layer with too many units to look at one by one: the canvas, where it surely says all."""
    return ["canvas", None, "box"] if placed.plain(k) else [None, None, None]


def _clipped(lo: NDArray[np.int64], hi: NDArray[np.int64], length: int) -> tuple[Any, Any]:
    reads = lo < hi
    return np.where(reads, np.clip(lo, 0, length), 0), np.where(reads, np.clip(hi, 0, length), 0)


def _doubled(middle: NDArray[np.float64]) -> NDArray[np.int64]:
    """Centres are multiples of one half; ``ENDLESS`` where there is none."""
    return np.where(np.isnan(middle), ENDLESS, np.nan_to_num(middle) * 2).astype(np.int64)
