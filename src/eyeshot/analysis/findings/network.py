"""What rules ask about a network: its layers as a graph, its last maps, what is alive and what is used.

Everything is worked out when it is first asked for, and once for all rules.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from eyeshot.analysis.findings.paths import Paths
from eyeshot.analysis.report import Layer, Report
from eyeshot.core.adjoint import Adjoint, units
from eyeshot.core.forward import Alive, touched
from eyeshot.core.graph import Graph, LayerMark
from eyeshot.core.patches import Patch
from eyeshot.core.primitives import Mix, Stencil

if TYPE_CHECKING:
    from eyeshot.analysis.field import Form
    from eyeshot.analysis.findings.positions import Positions

__all__ = ["Network", "Options"]

#: In the names of operators with weights, beside convolutions, whatever the framework.
MIXING = ("linear", "gemm", "matmul", "addmm", "bmm", "attention", "rnn", "lstm", "gru")


class Options(NamedTuple):
    """What the user says about the network, which no graph tells.

    ``object``: the size of what it is to see, per axis of the input or one for all. ``anchors``: by the name of
    a detection level's layer one or several such sizes, each per axis. ``causal``: it is meant not to read the
    future; ``time`` is then the dim of the input that is time, None where there is one axis only.
    ``tileable``, ``streamable``: it is meant to run on tiles, or piece by piece.
    """

    object: tuple[int, ...] | None = None
    anchors: Mapping[str, tuple[tuple[int, ...], ...]] = {}
    causal: bool = False
    time: int | None = None
    tileable: bool = False
    streamable: bool = False


class Network:
    """A report, and facts about its graph.

    ``batched`` makes the report of what two samples read of each other: fields along the batch dim of
    the same network, or None where that can't be told.
    """

    def __init__(
        self,
        report: Report,
        options: Options | None = None,
        batched: Callable[[], Report | None] = lambda: None,
    ) -> None:
        self.report = report
        self.options = options or Options()
        self._batched = batched

    @property
    def graph(self) -> Graph:
        return self.report._graph

    @cached_property
    def batched(self) -> Report | None:
        return self._batched()

    # --- layers and values

    @cached_property
    def _marked(self) -> dict[int, Layer]:
        """By value its first layer, in the order of the values. Others share it: they change no field."""
        found: dict[int, Layer] = {}
        for layer in self.report:
            found.setdefault(layer._value, layer)
        return dict(sorted(found.items()))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """One layer for each tensor, in the order in which they are made."""
        return tuple(self._marked.values())

    @cached_property
    def _values(self) -> list[int]:
        return list(self._marked)

    @cached_property
    def sources(self) -> dict[int, str]:
        """The values that are inputs of the network, or stand in their place, by name."""
        return {source.value: source.name for source in self.report._sources}

    def layer(self, value: int) -> Layer | None:
        """The layer whose tensor ``value`` is."""
        return self._marked.get(value)

    def owner(self, value: int) -> Layer | None:
        """The layer in the course of which ``value`` is made; None for what is made after the last."""
        at = bisect_left(self._values, value)
        return self._marked[self._values[at]] if at < len(self._values) else None

    def made(self, layer: Layer) -> list[int]:
        """The values made for ``layer`` from its inputs, its own tensor last."""
        return self._behind(layer)[0]

    def inputs(self, layer: Layer) -> list[int]:
        """The tensors that ``layer`` is made from: those of other layers, and the network's inputs."""
        return self._behind(layer)[1]

    def parents(self, layer: Layer) -> list[Layer]:
        """The layers that ``layer`` is made from."""
        return [self._marked[v] for v in self.inputs(layer) if v in self._marked]

    def stencils(self, layer: Layer) -> Iterator[tuple[Stencil, int]]:
        """The stencils that ``layer`` is made of, each with the size of the dim that it reads."""
        for v in self.made(layer):
            prim = self.graph.prims[v]
            if isinstance(prim, Stencil):
                yield prim, self.graph.shapes[self.graph.inputs[v][0]][prim.dim]

    def ancestors(self, ends: Iterable[Layer]) -> list[int]:
        """The values that ``ends`` are made from, themselves included, in their order."""
        seen = {layer._value for layer in ends}
        stack = list(seen)
        while stack:
            v = stack.pop()
            if v not in self.sources:
                new = set(self.graph.inputs[v]) - seen
                seen |= new
                stack += new
        return sorted(seen)

    def _behind(self, layer: Layer) -> tuple[list[int], list[int]]:
        known: dict[int, tuple[list[int], list[int]]] = self.__dict__.setdefault("_walked", {})
        found = known.get(layer._value)
        if found is None:
            own, ends = {layer._value}, set()
            stack = [layer._value]
            while stack:
                for v in self.graph.inputs[stack.pop()]:
                    if v in self._marked or v in self.sources:
                        ends.add(v)
                    elif v not in own:
                        own.add(v)
                        stack.append(v)
            found = known[layer._value] = (sorted(own), sorted(ends))
        return found

    def tensors(self, values: Iterable[int]) -> dict[int, Layer]:
        """Any values of the graph with their fields, as layers without a name."""
        wanted = sorted(set(values))
        marks = [LayerMark(str(v), "", v) for v in wanted]
        other = Report(self.graph, self.report._sources, marks)
        return {v: other[str(v)] for v in wanted}

    @cached_property
    def positions(self) -> Positions:
        """Where the units of every tensor sit on the input."""
        from eyeshot.analysis.findings.positions import Positions

        return Positions(self)

    # --- outputs

    @cached_property
    def outputs(self) -> tuple[Layer, ...]:
        """The network's outputs; where there are none among the layers, what no layer reads."""
        named = {self._marked[layer._value]._value for layer in self.report.outputs}
        if not named:
            named = set(self._marked) - {v for layer in self.layers for v in self.inputs(layer)}
        return tuple(layer for v, layer in self._marked.items() if v in named)

    @cached_property
    def maps(self) -> tuple[Layer, ...]:
        """The last maps: outputs that are maps, or what was pooled or flattened on the way to them.

        A classifier's last map is what its global pooling reads.
        """
        found: dict[int, Layer] = {}
        seen: set[int] = set()
        stack = [layer._value for layer in self.outputs]
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            layer = self._marked.get(v)
            if layer is not None and is_map(layer):
                found[v] = layer
            else:
                stack += self.graph.inputs[v]
        return tuple(layer for _, layer in sorted(found.items()))

    # --- what is read

    @cached_property
    def adjoint(self) -> Adjoint:
        """The engine of the report's own units, shared with them."""
        walks = self.report._walks
        if "adjoint" not in walks:
            walks["adjoint"] = Adjoint(self.graph)
        found: Adjoint = walks["adjoint"]
        return found

    @property
    def alive(self) -> Alive:
        """Which elements read any of the network's inputs."""
        return self.adjoint.alive

    @cached_property
    def used(self) -> dict[int, Patch]:
        """By value of layers and inputs: which of its elements the outputs read. Others are not used at all."""
        starts = {layer._value: units(layer.shape, {}, boolean=True) for layer in self.outputs}
        return _held(self.adjoint.passing(starts, {*self._marked, *self.sources}))

    @cached_property
    def reading(self) -> dict[int, Patch]:
        """By value: which of its elements read any of the inputs, padding left out. Others read nothing."""
        shapes = self.graph.shapes
        marks = {v: units(shapes[v], {}, boolean=True) for v in self.sources}
        return _held(touched(self.graph, marks))

    @cached_property
    def children(self) -> dict[int, list[Layer]]:
        """By value of layers and inputs: the layers made from it that the outputs read."""
        found: dict[int, list[Layer]] = {}
        for layer in self.layers:
            if layer._value in self.used:
                for v in self.inputs(layer):
                    found.setdefault(v, []).append(layer)
        return found

    @cached_property
    def paths(self) -> Paths:
        """The narrowest paths from the inputs into layers with weights, and through them, where not bounded."""
        values: set[int] = set()
        for layer in self.weighted:
            if not all(field.bound for field in layer._state.fields if field.reads):
                values |= {layer._value, *self.inputs(layer)}
        return Paths(self.report, values)

    @cached_property
    def weighted(self) -> tuple[Layer, ...]:
        """The layers with weights, as their operators' names tell: convolutions, linear layers, recurrences.

        Of the others only those that mix all that they read: interpolation is called linear, too.
        """
        return tuple(
            layer
            for layer in self.layers
            if "conv" in (op := layer.op.lower())
            or (any(word in op for word in MIXING) and not self._hands_on(layer))
        )

    def called(self, layer: Layer) -> str:
        """The name of the first call of what a layer calls.

        A module that runs several times has a layer for each call: ``conv``, ``conv_1``, …; they share weights.
        """
        name = re.sub(r"_\d+$", "", layer.name)
        return name if self._ops.get(name) == layer.op else layer.name

    @cached_property
    def _ops(self) -> dict[str, str]:
        return {layer.name: layer.op for layer in self.report}

    def _hands_on(self, layer: Layer) -> bool:
        """Whether some of what a layer reads reaches its tensor unmixed, or it reads nothing."""
        ends = set(self.inputs(layer))
        stack, seen = [layer._value], {layer._value}
        while stack:
            v = stack.pop()
            if type(self.graph.prims[v]) is not Mix:
                for source in self.graph.inputs[v]:
                    if source in ends:
                        return True
                    if source not in seen:
                        seen.add(source)
                        stack.append(source)
        return not ends

    def exact(self, layers: Iterable[Layer]) -> bool:
        """Whether what these layers read is known exactly."""
        return all(layer.status == "exact" for layer in layers)


def _held(patches: dict[int, Patch]) -> dict[int, Patch]:
    """Those that mark anything: nothing of a window that lies in padding along one dim is left along others."""
    return {v: patch for v, patch in patches.items() if patch.array.any()}


def is_map(layer: Layer) -> bool:
    """Whether units follow all axes of an input, each along a dim of its own, by closed forms that end.

    So a map of one unit is one, and tokens in a row are none. Of the forms alone: a field would look for global
    context, which takes a look at every unit where there is no closed form.
    """
    followed: dict[str, list[int | None]] = {}
    for form, (source, _) in zip(layer._forms, layer._report._axes, strict=True):
        followed.setdefault(source.name, []).append(form.dim if _ends(layer, form) else None)
    return any(None not in dims and len(set(dims)) == len(dims) for dims in followed.values())


def _ends(layer: Layer, form: Form) -> bool:
    if form.dim is None:
        return False
    if form.canvas is None:
        return layer.shape[form.dim] == 1
    return all(map(math.isfinite, (*form.canvas.begin, *form.canvas.end)))
