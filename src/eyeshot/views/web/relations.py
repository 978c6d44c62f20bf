"""What each layer reads of the layers that it is made from: the steps that the page's way through follows.

Between a layer and its parents lie a few primitives. They are analysed as a network of their own, with the
parents in the place of the inputs; fields are relative to the parents' units. Layers of one kind and size share
their analysis. The page goes from a unit down such steps, uniting and clipping what is read on every map, so
that a way to any layer costs no more than its steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from eyeshot.analysis.placed import Placed
from eyeshot.analysis.report import Layer, Report
from eyeshot.core.canvas import Source, State
from eyeshot.core.graph import Graph, LayerMark
from eyeshot.core.image import Image, Span
from eyeshot.core.primitives import Concat, Input, Mix, Rearrange, Stencil
from eyeshot.errors import EyeshotError
from eyeshot.views.web.tables import MAX_UNITS, Hulls, Ints, Tables, canonical, same

__all__ = ["Relations"]

Key = tuple[Any, ...]


class Relations:
    """The relations of a page; equal ones are kept once.

    One relation is ``{"parts", …}``. Flags that are true where they are there: ``mixes``, each channel of the
    layer reads all of the parent's; ``picks``, it reads some of them only; ``differs``, not all of them read
    the same, as where the layer lays several parents' channels side by side. (Channels: whatever tells no units
    apart; so do the places in a window where windows are units.) ``unsure``: of a parent without unit dims,
    some units may read nothing.

    Its parts, one per unit dim of the parent: ``of``, that tensor dim of the parent; ``dim``, the tensor dim of
    the layer along which units move over it, or None; ``canvas``, as a field's in ``eyeshot.report/1``, or
    None; ``table``, the number of a table over the tensor dims ``units`` where the canvas is None or not all;
    ``inside``, likewise of the exact hulls inside the parent where they are more than the clipped ones;
    ``step``, the distance of what is read where only every step-th element is; ``loose``, where what is read
    may be less than its hull in another way; ``unsure``, where there are too many units to tell; ``global``,
    whether all of the parent's dim is read besides; ``missing``, where the page does not know.
    """

    def __init__(self, report: Report, tables: Tables) -> None:
        self.relations: list[dict[str, Any]] = []
        self._report = report
        self._tables = tables
        self._numbers: dict[str, int] = {}
        self._analysed: dict[Key, list[int]] = {}
        self._dims: dict[int, tuple[int, ...]] = {s.value: s.axes for s in report._sources}
        self._last = {source.value: -1 - k for k, source in enumerate(report._sources)}
        self._ends = {mark.value for mark in report._marks} | set(self._last)
        self._fed = _reached(report._graph, self._last)

    def of(self, number: int, layer: Layer) -> list[list[int]]:
        """``[parent, relation]`` for each parent of a layer; layers are to be asked in their order.

        A parent is the number of a layer, or -1 - k for input k. Layers that share a tensor follow each other.
        """
        value = layer._value
        last = self._last.get(value)
        if last is not None:
            # Another name of the same tensor: unit by unit.
            found = [[last, self._add({"parts": [_same(d) for d in self._axes(value)]})]]
        else:
            found = self._parents(layer)
        self._last[value] = number
        return found

    def _axes(self, value: int) -> tuple[int, ...]:
        """The dims of a tensor that tell its units apart; those of an input are its axes."""
        dims = self._dims.get(value)
        if dims is None:
            dims = self._dims[value] = Layer(self._report, LayerMark("", "", value)).unit_dims
        return dims

    def _behind(self, value: int) -> tuple[list[int], list[int]]:
        """The values that a layer's tensor is made of, itself last, and the parents' behind them."""
        made, ends = {value}, set()
        stack = [value]
        while stack:
            v = stack.pop()
            if v not in self._fed:
                continue  # it reads nothing: a constant
            for source in self._report._graph.inputs[v]:
                if source in self._ends and source in self._fed:
                    ends.add(source)
                elif source not in made:
                    made.add(source)
                    stack.append(source)
        return sorted(made), sorted(ends)

    def _parents(self, layer: Layer) -> list[list[int]]:
        graph = self._report._graph
        made, ends = self._behind(layer._value)
        key, axes = self._key(made, ends), [self._axes(v) for v in ends]
        numbers = self._analysed.get(key)
        if numbers is None:
            small = _Small(graph, made, ends, axes, self._fed, self._axes(layer._value))
            numbers = [
                self._add(relation) for relation in _Between(small, self._tables).relations()
            ]
            self._analysed[key] = numbers
        return [[self._last[v], n] for v, n in zip(ends, numbers, strict=True) if v in self._last]

    def _key(self, made: list[int], ends: list[int]) -> Key:
        """Equal for equal small graphs."""
        graph = self._report._graph
        place = {v: k for k, v in enumerate(sorted({*made, *ends}))}
        return (
            self._axes(made[-1]),
            tuple((place[v], graph.shapes[v], self._axes(v)) for v in ends),
            tuple(
                (
                    place[v],
                    graph.prims[v] if v in self._fed else graph.shapes[v],
                    tuple([place[i] for i in graph.inputs[v]]) if v in self._fed else (),
                    v in graph.bounds,
                )
                for v in made
            ),
        )

    def _add(self, relation: dict[str, Any]) -> int:
        key = repr(relation)
        if key not in self._numbers:
            self._numbers[key] = len(self.relations)
            self.relations.append(relation)
        return self._numbers[key]


def _same(dim: int) -> dict[str, Any]:
    canvas = {"period": 1, "advance": 1, "begin": [0], "end": [1]}
    return {"of": dim, "dim": dim, "canvas": canvas, "table": None, "global": False}


def _reached(graph: Graph, sources: Iterable[int]) -> set[int]:
    """The values that are made from any of the sources, these included."""
    found = set(sources)
    for v, inputs in enumerate(graph.inputs):
        if not found.isdisjoint(inputs):
            found.add(v)
    return found


class _Small(NamedTuple):
    """Which values of the graph make a layer, and of which parents' units."""

    graph: Graph
    made: list[int]
    ends: list[int]
    axes: list[tuple[int, ...]]
    fed: set[int]
    units: tuple[int, ...]


class _Between:
    """The few primitives between a layer and its parents, as a network whose inputs are the parents."""

    def __init__(self, of: _Small, tables: Tables) -> None:
        whole = of.graph
        small, place = Graph(), {}
        sources = []
        for v in sorted({*of.made, *of.ends}):
            shape = whole.shapes[v]
            if v in of.ends:
                axes = of.axes[of.ends.index(v)]
                place[v] = small.add(Input(shape, str(v), axes))
                sources.append(Source(place[v], str(v), shape, axes))
            elif v not in of.fed:
                place[v] = small.add(Input(shape))
            else:
                place[v] = small.add(whole.prims[v], *[place[i] for i in whole.inputs[v]])
                if v in whole.bounds:
                    small.bounds[place[v]] = whole.bounds[v]
        self._graph = small
        self._sources = sources
        self._tables = tables
        self._busy = any(type(prim) is not Input for prim in small.prims)
        value = place[of.made[-1]]
        # The other values are asked for their dims where these may have moved.
        moves = any(type(prim) is Rearrange for prim in small.prims)
        moves = moves or len({len(shape) for shape in small.shapes}) > 1
        others = range(value) if moves else ()
        marks = [LayerMark(str(v), "", v) for v in (*others, value)]
        self._report = Report(small, sources, marks)
        self._layer = self._report[-1]
        self._moves = moves
        own = self._layer.unit_dims
        #: Dims that tell the layer's units apart, though not all of them those of the parents.
        self._units = tuple(sorted({*own, *of.units}))
        self._more = [d for d in of.units if d not in own]
        self._spans: Any = None

    def relations(self) -> list[dict[str, Any]]:
        """One for each parent."""
        steps: dict[str, list[dict[str, Any]]] = {source.name: [] for source in self._sources}
        for k, field in enumerate(self._layer.fields):
            steps[field.input].append(self._part(k))
        flags = self._flags()
        return [
            {
                "parts": steps[source.name],
                **flags,
                **self._mixes(source.value),
                **({} if source.axes or not self._drops() else {"unsure": True}),
            }
            for source in self._sources
        ]

    # --- which dims follow the parents' units

    def _state(self, v: int) -> State | None:
        return self._report._states.get(v)

    def _follows(self, v: int, dim: int, k: int | None = None) -> bool:
        """Whether units of a parent (along field ``k``) are told apart along this dim of a value."""
        state = self._state(v) if self._moves else None
        if state is None:
            fields = (
                [(s, a) for s, a in self._report._axes] if k is None else [self._report._axes[k]]
            )
            return any(axis == dim for _, axis in fields)
        factors = {factor for factor, _ in state.dims[dim]}
        fields_ = state.fields if k is None else (state.fields[k],)
        return any(tag in factors for field in fields_ for tag, _ in field.tags)

    def _flags(self) -> dict[str, bool]:
        """What becomes of the dims that tell no units apart: channels, mostly."""
        graph = self._graph
        found: dict[str, bool] = {}
        for v, prim in enumerate(graph.prims):
            if type(prim) is Stencil and not self._follows(graph.inputs[v][0], prim.dim):
                if graph.shapes[graph.inputs[v][0]][prim.dim] > 1:
                    found["picks"] = True
            elif type(prim) is Concat and not self._follows(v, prim.dim):
                found["differs"] = True
        if self._varies():
            found["differs"] = True
        if self._moves:
            state = self._layer._state
            tags = {tag for field in state.fields for tag, _ in field.tags}
            for dim in self._units:
                group = state.dims[dim]
                if any(size > 1 and factor not in tags for factor, size in group):
                    # Units that lay in channels before, as a pixel shuffle's.
                    found["picks"] = True
        return found

    def _drops(self) -> bool:
        """Whether some units may read nothing but padding."""
        graph = self._graph
        for v, prim in enumerate(graph.prims):
            if type(prim) is Concat:
                return True
            if type(prim) is Stencil and prim.taps.border == "drop":
                reach = prim.taps.reach(prim.size)
                n = graph.shapes[graph.inputs[v][0]][prim.dim]
                if reach is None or reach[0] < 0 or reach[1] >= n or not min(prim.taps.counts):
                    return True
        return False

    def _varies(self) -> bool:
        """Whether what is read differs along dims of the layer that tell no units apart."""
        state = self._layer._state
        others = [d for d in range(len(state.dims)) if d not in self._units]
        return any(self._uses(k, others) for k in range(len(state.fields)))

    def _uses(self, k: int, dims: Iterable[int]) -> bool:
        """Whether what is read in field ``k`` may differ along these dims of the layer."""
        state = self._layer._state
        factors = [factor for dim in dims for factor, size in state.dims[dim] if size > 1]
        field = state.fields[k]
        if field.terms is None:
            return any(tag in factors for tag, _ in field.tags)
        return any(term.uses(factor) for term in field.terms for factor in factors)

    def _mixes(self, source: int) -> dict[str, bool]:
        """Whether all ways from a parent to the layer mix its channels."""
        graph = self._graph
        apart = {source}
        for v, prim in enumerate(graph.prims):
            if apart.isdisjoint(graph.inputs[v]):
                continue
            if type(prim) is Mix and prim.groups == 1 and not prim.causal:
                shape = graph.shapes[graph.inputs[v][0]]
                if any(
                    shape[d] > 1 and not self._follows(graph.inputs[v][0], d) for d in prim.dims
                ):
                    continue
            apart.add(v)
        return {} if self._layer._value in apart else {"mixes": True}

    # --- what is read along one dim

    def _part(self, k: int) -> dict[str, Any]:
        field = self._layer.fields[k]
        part: dict[str, Any] = {"of": field.axis, "dim": field.dim, "canvas": None, "table": None}
        part["global"] = field.is_global
        part["units"] = list(self._layer.unit_dims)
        apart = bool(self._more) and self._uses(k, self._more)
        if apart:
            part["units"] = list(self._units)
        elif field.canvas is not None:
            part["canvas"] = field.to_dict()["canvas"]
        self._texture(k, part)
        try:
            lengths = [source.shape[axis] for source, axis in self._report._axes]
            if max([*lengths, *(self._layer.shape[d] for d in self._units)]) > MAX_UNITS:
                raise EyeshotError("too many units to look at one by one")
            if apart:
                self._looked(k, part)
            else:
                self._hulls(k, part)
        except EyeshotError:
            known = part["canvas"] is not None and Placed.of(self._layer).plain(k)
            part["unsure" if known else "missing"] = True
        if part["table"] is None and "inside" not in part:
            del part["units"]
        return part

    def _looked(self, k: int, part: dict[str, Any]) -> None:
        """Unit by unit, where dims tell units apart that are one to the parents' axes."""
        if self._spans is None:
            value = self._layer._value
            self._spans = Image(self._graph, self._sources).run({value: self._units})[value]
        span = self._spans[k].local
        if span is not None:
            self._table(part, "table", *self._over(span, self._units))

    def _hulls(self, k: int, part: dict[str, Any]) -> None:
        placed = Placed.of(self._layer)
        at = placed.all_units()
        span = self._report._spans(self._layer._value)[k].local
        if span is None:
            if placed.closed(k):
                self._table(part, "inside", *_nothing(len(at)))
            return
        exact = self._over(span, self._layer.unit_dims)
        box = placed.canvas(k, at) if placed.closed(k) else exact
        if not placed.closed(k) or not same(placed.canvas_along(k, at), box):
            self._table(part, "table", *box)
        if not same(_stepped(*box, placed.length(k), part.get("step", 1)), exact):
            self._table(part, "inside", *exact)

    def _table(self, part: dict[str, Any], key: str, lo: Ints, hi: Ints) -> None:
        part[key] = self._tables.add(lo, hi)
        if part[key] is None:
            part["missing"] = True

    def _over(self, span: Span, units: tuple[int, ...]) -> Hulls:
        """Hulls over the unit dims, united over all others."""
        others = tuple(d for d in range(span.lo.ndim) if d not in units)
        return span.lo.min(axis=others), span.hi.max(axis=others)

    def _texture(self, k: int, part: dict[str, Any]) -> None:
        """Whether what is read along a dim is all of its hull: ``step`` or ``loose`` where it may be less."""
        graph = self._graph
        along = [
            prim
            for v, prim in enumerate(graph.prims)
            if type(prim) is Stencil and self._follows(graph.inputs[v][0], prim.dim, k)
        ]
        gaps = [prim.taps for prim in along if not _dense(prim)]
        wraps = any(prim.taps.border == "wrap" and max(prim.taps.counts) > 1 for prim in along)
        if wraps or (len(along) > 1 and (gaps or self._branches())):
            part["loose"] = True
        elif any(taps.step > 1 and max(taps.counts) > 1 for taps in gaps):
            (taps,) = gaps
            canvas = part["canvas"]
            if self._moves or taps.border != "drop" or canvas is None:
                part["loose"] = True
            else:
                part["step"] = taps.step

    def _branches(self) -> bool:
        """Whether several ways lead from one value to the layer."""
        used: set[int] = set()
        for v, inputs in enumerate(self._graph.inputs):
            for source in inputs:
                if source in used and type(self._graph.prims[v]) is not Input:
                    return True
                used.add(source)
        return False


def _nothing(rank: int) -> Hulls:
    empty = np.zeros((1,) * rank, np.int64)
    return empty, empty


def _dense(prim: Stencil) -> bool:
    """Whether each output reads all between its first and last, and outputs side by side all between them."""
    taps = prim.taps
    if taps.step > 1 and max(taps.counts) > 1:
        return False
    ends = [f + n for f, n in zip(taps.first, taps.counts, strict=True)]
    nexts = [*taps.first[1:], taps.first[0] + taps.advance]
    return (
        all(after <= end for after, end in zip(nexts, ends, strict=True)) and min(taps.counts) > 0
    )


def _stepped(lo: Ints, hi: Ints, length: int, step: int) -> Hulls:
    """The hulls of what lies inside, of reads at every ``step``-th element from ``lo`` to ``hi - 1``."""
    reads = lo < hi
    low = lo + step * -(np.minimum(lo, 0) // step)
    high = hi - step * -(-np.maximum(hi - length, 0) // step)
    if step == 1:
        low, high = np.clip(lo, 0, length), np.clip(hi, 0, length)
    return canonical(np.where(reads, low, 0), np.where(reads, high, 0))
