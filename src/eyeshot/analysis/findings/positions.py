"""Where the units of every tensor sit on the input, and which step of the network moved them there.

Unit ``i`` of a map of ``n`` units covers its share of the map, ``[i, i+1)`` of ``n``, and the map lies over the
input. So the middle of the map belongs over the middle of the input; what lies between the two is the map's
*drift*. The hulls of a closed form are centred, on average over one period, on a line ``offset + rate * i``;
its value at the middle of the map, ``offset + rate * (n - 1) / 2``, is exact, and what one operator adds to it
is its own drift. Along every way from the input these add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from eyeshot.analysis.report import Canvas, Layer, Report
from eyeshot.core.canvas import State
from eyeshot.core.graph import Graph, LayerMark
from eyeshot.core.primitives import Concat, Input, Mix, Primitive, Stencil, Taps

if TYPE_CHECKING:
    from eyeshot.analysis.findings.network import Network

__all__ = ["Line", "Place", "Positions", "Spread", "is_past", "line", "together"]

T = TypeVar("T")

#: A weight below this is rounding.
NOISE = 1e-9


class Line(NamedTuple):
    """Centres of hulls, on average over one period: unit ``i`` at ``offset + rate * i``."""

    rate: Fraction
    offset: Fraction


def line(canvas: Canvas) -> Line | None:
    """The line through a closed form; None where hulls are empty, endless, or don't move on."""
    period, advance, begin, end = canvas
    if advance <= 0 or not all(
        math.isfinite(b) and math.isfinite(e) and b < e for b, e in zip(begin, end, strict=True)
    ):
        return None
    rate = Fraction(advance, period)
    middle = Fraction(int(sum(begin) + sum(end)), 2 * period)
    return Line(rate, middle - rate * Fraction(period - 1, 2))


class Place(NamedTuple):
    """Where a tensor's units sit along one input axis of ``length`` positions.

    ``dim``: the tensor's dim that follows the axis by ``n`` units (alone, or flattened with other axes).
    ``size``: the mean extent of a hull. ``drift``: the middle of the map, less the middle of the input.
    """

    dim: int
    n: int
    length: int
    rate: Fraction
    offset: Fraction
    size: Fraction
    drift: Fraction
    canvas: Canvas

    def centre(self, i: int) -> Fraction:
        """Where the line has unit ``i``."""
        return self.offset + self.rate * i


def is_past(place: Place) -> bool:
    """Whether units end where they stand and reach back from there: a causal way to read time.

    A stack of kernels of 3 at stride 2 does so too; it reaches back by less than one unit of its own.
    """
    period, _, begin, end = place.canvas
    return (place.size > 2 * place.rate or place.rate == 1) and all(
        end[p] <= place.rate * (p + 1) and begin[p] < place.rate * p for p in range(period)
    )


class Spread(NamedTuple):
    """Drifts along the ways from the input: the least and the largest of them, and their mean by mass."""

    least: Fraction
    most: Fraction
    mean: Fraction


def together(by_axis: Mapping[int, list[T]]) -> list[tuple[list[int], list[T]]]:
    """Axes that tell the same, together: what is told of each goes with the axes of which it is."""
    found: list[tuple[list[int], list[T]]] = []
    for axis, records in by_axis.items():
        for dims, same in found:
            if same == records:
                dims.append(axis)
                break
        else:
            found.append(([axis], records))
    return found


#: Value, move, and the steps before.
Steps = tuple[int, Fraction, "Steps | None"]


class Positions:
    """The places of all values of a network, per (input, axis) ``k``; each is worked out when asked for."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.graph = net.graph
        self.count = len(net.report._axes)
        self._places: dict[tuple[int, int], Place | None] = {}
        self._before: dict[tuple[int, int, bool], int | None] = {}
        self._walked: dict[tuple[int, int, bool], tuple[Place | None, Steps | None]] = {}
        self._same: dict[Any, Place | None] = {}

    @cached_property
    def _layers(self) -> Report:
        """Every value as a layer, of the graph without reads that count nothing."""
        graph = _trimmed(self.graph)
        marks = [LayerMark(str(v), "", v) for v in range(len(graph.prims))]
        return Report(graph, self.net.report._sources, marks)

    def at(self, v: int, k: int) -> Place | None:
        """Where units of ``v`` sit along axis ``k``; None where there is no closed form."""
        key = (v, k)
        if key not in self._places:
            self._places[key] = self._place(v, k)
        return self._places[key]

    def follows(self, v: int, dim: int, k: int) -> bool:
        """Whether the dim ``dim`` of ``v`` moves along axis ``k``."""
        state = self._layers._states[v]
        ranked = {factor for factor, rank in state.fields[k].tags if rank is not None}
        return any(factor in ranked for factor, _ in state.dims[dim])

    @cached_property
    def _windowed(self) -> list[tuple[bool, ...]]:
        """Per value and axis, whether tokens of one window were mixed on the way, as by windowed attention.

        They share what they read and are told apart by themselves alone: the middle of their hulls is that of
        their windows, and of all windows that these met, which is no place of theirs. (A patch that is mixed
        together with its channels becomes one unit, and has a place.)
        """
        graph, states = self.graph, self._layers._states
        none = (False,) * self.count
        out: list[tuple[bool, ...]] = []
        for v, (prim, inputs) in enumerate(zip(graph.prims, graph.inputs, strict=True)):
            marks = none
            for i in inputs:
                if out[i] is not marks and out[i] != none:
                    marks = tuple(a or b for a, b in zip(marks, out[i], strict=True))
            if type(prim) in (Mix, Stencil):
                mixed = _tokens(states[inputs[0]], states[v], cast(Mix | Stencil, prim))
                if any(mixed):
                    marks = tuple([a or b for a, b in zip(marks, mixed, strict=True)])
            out.append(marks)
        return out

    def _place(self, v: int, k: int) -> Place | None:
        state = self._layers._states[v]
        raw = state.fields[k]
        if not raw.terms or self._windowed[v][k]:
            return None
        # Most values read as the one before them does.
        key = (k, raw.terms, raw.tags, state.dims)
        if key not in self._same:
            self._same[key] = self._found(v, k)
        return self._same[key]

    def _found(self, v: int, k: int) -> Place | None:
        layer = Layer(self._layers, LayerMark("", "", v))
        form = layer._forms[k]
        canvas = form.canvas
        if canvas is None or form.dim is None:
            return None
        n = layer.shape[form.dim]
        if sum(other.dim == form.dim for other in layer._forms) > 1:
            canvas, n = _unflattened(canvas, n)
        found = line(canvas)
        if found is None or n < 2 or canvas.period > n:
            return None
        source, axis = self._layers._axes[k]
        length = source.shape[axis]
        extent = Fraction(int(sum(canvas.end) - sum(canvas.begin)), canvas.period)
        drift = found.offset + found.rate * Fraction(n - 1, 2) - Fraction(length, 2)
        return Place(form.dim, n, length, *found, extent, drift, canvas)

    # --- the way to the input

    def before(self, v: int, k: int, least: bool = False) -> int | None:
        """The value that ``v`` has its place from: of several, the one with the same drift, or the widest.

        ``least``: always the one whose units read least.
        """
        inputs = self.graph.inputs[v]
        if len(inputs) == 1:
            return inputs[0]
        key = (v, k, least)
        if key not in self._before:
            self._before[key] = self._chosen(v, k, least)
        return self._before[key]

    def _chosen(self, v: int, k: int, least: bool) -> int | None:
        inputs = self.graph.inputs[v]
        here = self.at(v, k)
        found = [(place, i) for i in inputs if (place := self.at(i, k)) is not None]
        if here is None or not found:
            return None
        if least:
            return min(found, key=lambda each: (each[0].size, each[1]))[1]
        same = [(place, i) for place, i in found if place.drift == here.drift] or found
        return max(same, key=lambda each: (each[0].size, -each[1]))[1]

    def way(self, v: int, k: int, least: bool = False) -> Iterator[tuple[int, Place]]:
        """From ``v`` back to an input: the values that have a place, and these."""
        at: int | None = v
        while at is not None:
            place = self.at(at, k)
            if place is not None:
                yield at, place
            at = self.before(at, k, least)

    def moves(self, v: int, k: int, least: bool = False) -> dict[int, Fraction]:
        """By value, what it adds to the drift on the way from the input to ``v``: those that add anything."""
        found = {}
        steps = self._steps(v, k, least)
        while steps is not None:
            at, move, steps = steps
            found[at] = move
        return found

    def _steps(self, v: int, k: int, least: bool) -> Steps | None:
        """The moves on the way to ``v``, the last one first; ways that meet share theirs."""
        known = self._walked
        new = []
        at: int | None = v
        while at is not None and (at, k, least) not in known:
            new.append(at)
            at = self.before(at, k, least)
        last, steps = (None, None) if at is None else known[at, k, least]
        for u in reversed(new):
            place = self.at(u, k)
            if place is not None:
                if last is not None and last is not place and last.drift != place.drift:
                    steps = (u, place.drift - last.drift, steps)
                last = place
            known[u, k, least] = last, steps
        return steps

    # --- all ways at once

    @cached_property
    def spreads(self) -> list[list[Spread | None]]:
        """Per value and axis the drifts along all ways from the input; None where a step has no place.

        Masses are shared as in :meth:`Report.unit`: evenly among the tensors of a join that read the input, by
        their channels among those of a concatenation.
        """
        graph, count = self.graph, self.count
        out: list[list[Spread | None]] = []
        origins = {s.value: k for k, s in enumerate(self.net.report._sources)}
        sources = self.net.report._sources
        for v, (prim, inputs) in enumerate(zip(graph.prims, graph.inputs, strict=True)):
            if type(prim) is Input or v in origins:
                nil = Spread(Fraction(), Fraction(), Fraction())
                out.append([
                    nil if v in origins and sources[origins[v]] is source else None
                    for source, _ in self.net.report._axes
                ])  # fmt: skip
            elif len(inputs) == 1:
                (i,) = inputs
                out.append([self._stepped(out[i][k], i, v, k) for k in range(count)])
            else:
                out.append([self._joined(prim, inputs, v, k, out) for k in range(count)])
        return out

    def _stepped(self, before: Spread | None, i: int, v: int, k: int) -> Spread | None:
        """Through one operator, which moves all ways alike."""
        if before is None or type(self.graph.prims[v]) is not Stencil:
            # A mix or a rearrangement leaves the line where it is, or takes it away.
            return before
        here, there = self.at(v, k), self.at(i, k)
        if here is None or there is None:
            return None
        if here is there or here.drift == there.drift:
            return before
        move = here.drift - there.drift
        return Spread(*(drift + move for drift in before))

    def _joined(
        self,
        prim: Primitive,
        inputs: tuple[int, ...],
        v: int,
        k: int,
        known: list[list[Spread | None]],
    ) -> Spread | None:
        shares = [
            (
                known[i][k],
                self.graph.shapes[i][prim.dim] if isinstance(prim, Concat) else 1,
            )
            for i in inputs
            if self.at(i, k) is not None
        ]
        held = [(spread, weight) for spread, weight in shares if spread is not None]
        if self.at(v, k) is None or not held or len(held) < len(shares):
            return None
        if all(spread == held[0][0] for spread, _ in held):
            return held[0][0]
        total = sum(weight for _, weight in held)
        return Spread(
            min(spread.least for spread, _ in held),
            max(spread.most for spread, _ in held),
            sum((spread.mean * weight for spread, weight in held), Fraction()) / total,
        )


def _unflattened(canvas: Canvas, n: int) -> tuple[Canvas, int]:
    """One of several axes that a dim of ``n`` units follows row by row: the closed form of its own units."""
    period, advance, begin, end = canvas
    if advance and len(set(begin)) == len(set(end)) == 1:
        return Canvas(1, advance, begin[:1], end[:1]), n // period
    if not advance and period > 1:
        step = begin[1] - begin[0]
        if all(begin[p] - begin[0] == end[p] - end[0] == step * p for p in range(period)):
            return Canvas(1, int(step), begin[:1], end[:1]), period
    return canvas, n


def _tokens(before: State, after: State, prim: Mix | Stencil) -> list[bool]:
    """Per axis, whether an operator mixed a part of the axis only, and nothing but positions."""
    if isinstance(prim, Stencil):
        # Blocks that share one window, and keep their number.
        taps = prim.taps
        blocks = taps.period == taps.advance > 1 and taps.weights is None and max(taps.counts) > 1
        factors = [f for f, _ in after.dims[prim.dim]] if blocks else []
        return [any(field.uses(f) for f in factors) for field in after.fields]
    out = []
    for old, new in zip(before.fields, after.fields, strict=True):
        follows = {factor for factor, rank in old.tags if rank is not None}
        partly = any(not term.whole and term.deps for term in new.terms or ())
        out.append(
            partly
            and any(
                any(f in follows and n > 1 for f, n in before.dims[dim])
                and all(n == 1 or _followed(before, f) for f, n in before.dims[dim])
                for dim in prim.dims
            )
        )
    return out


def _followed(state: State, factor: int) -> bool:
    return any(field.tagged(factor) for field in state.fields)


# --- reads that count nothing


def _trimmed(graph: Graph) -> Graph:
    """The graph, with interpolations that don't read the neighbours to which they give no weight.

    A point that lies on an element is read with its neighbour all the same, which moves the hull, not the
    point: at odd factors one phase would otherwise seem to lie aside.
    """
    found: dict[int, Primitive] = {}
    for v, prim in enumerate(graph.prims):
        if isinstance(prim, Stencil) and prim.taps.weights is not None:
            taps = _without_zeros(prim.taps)
            if taps is not None:
                found[v] = prim._replace(taps=taps)
    if not found:
        return graph
    out = Graph()
    out.prims = [found.get(v, prim) for v, prim in enumerate(graph.prims)]
    out.inputs, out.shapes, out.layers = graph.inputs, graph.shapes, graph.layers
    out.outputs, out.bounds, out.notes = graph.outputs, graph.bounds, graph.notes
    return out


def _without_zeros(taps: Taps) -> Taps | None:
    """The same taps less those at either end that count nothing; None where there are none."""
    assert taps.weights is not None
    first, counts = list(taps.first), list(taps.counts)
    for p, weights in enumerate(taps.weights):
        held = [t for t, weight in enumerate(weights) if abs(weight) > NOISE]
        if held and len(held) < len(weights):
            first[p] += taps.step * held[0]
            counts[p] = held[-1] - held[0] + 1
    if counts == list(taps.counts):
        return None
    return taps._replace(first=tuple(first), counts=tuple(counts), weights=None)
