"""The part of the input that is enough to compute one unit, and the proof that it is.

A crop begins at multiples of all the strides on the way, so that every layer's units fall where they fell,
and its size leaves the same rest as the input's. That it serves is proved on the graph: the network is traced
at the crop's shape, and the unit that lies in the same place there must read the same elements with the same
mass, with the same share in padding. What a graph can't show, constants that depend on the position or the
size, is left to :mod:`eyeshot.gradients.measure`, which compares the unit's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from eyeshot.analysis.field import Form
from eyeshot.analysis.report import Layer, Report
from eyeshot.analysis.unit import Unit
from eyeshot.core.canvas import Source
from eyeshot.core.graph import Graph, LayerMark
from eyeshot.core.primitives import Input
from eyeshot.errors import EyeshotError
from eyeshot.frontends.torch.capture import Narrow, Place, Traced, traced
from eyeshot.frontends.torch.inputs import Arguments, Slot

__all__ = ["Crop", "batched_along", "find"]

#: Masses that differ by no more are equal: sums in another order.
NOISE = 1e-12
#: A crop of a larger part of the input's area is not worth its proof.
WORTH = 0.8
#: Nor is a cut of a layer that keeps more of it.
NARROW = 0.85


#: ``[begin, end)`` per axis of the input.
Window = tuple[tuple[int, int], ...]


class Crop(NamedTuple):
    """``window``: ``[begin, end)`` per axis of the input; ``unit``: the unit's index in the cropped network.

    ``narrows``: what is cut from layers on the way, as the unit needs less and less of them. ``why``: empty, or
    why the window is the whole input.
    """

    window: Window
    unit: tuple[int, ...]
    narrows: tuple[Narrow, ...] = ()
    why: str = ""


def find(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    place: Place,
    calls: Mapping[str, tuple[str, int]],
    layer: Layer,
    index: tuple[int, ...],
) -> Crop | str:
    """A crop that gives the unit as the whole input does, or why there is none.

    ``calls``: the modules that layers are the output of, as :func:`locate` found them.
    """
    report = layer._report
    if layer.status != "exact":
        return "its field is only known as an upper bound"
    if layer.is_global:
        return "it reads the whole input"
    if any(form.canvas is None for form in layer._forms):
        return "its field has no closed form"
    sizes = [source.shape[axis] for source, axis in report._axes]
    unit = report.unit(layer.name, index)
    needed: list[tuple[int, int]] = []
    for (begin, end), (low, high), n in zip(unit.box, unit.clipped, sizes, strict=True):
        if begin >= end or low >= high:
            return "it reads nothing"
        needed.append((int(max(0, min(begin, low))), int(min(n, max(end, high)))))
    why = "its field covers most of the input"
    worth = WORTH * math.prod(sizes)
    windows = [w for w in _windows(layer, tuple(needed), sizes) if _area(w) <= worth]
    whole = tuple((0, n) for n in sizes)
    for window in (*windows, whole):
        narrows = _narrows(layer, unit.box, window, calls) if place.kind == "call" else ([], None)
        for chosen, origin in (narrows, ([], None)):
            if not chosen and (window == whole or origin is not None):
                continue
            moved = _moved(layer, index, origin or [begin for begin, _ in window])
            if moved is None:
                why = why if window == whole else "the unit has no counterpart in a crop"
                continue
            reason = why if window == whole else ""
            crop = Crop(window, tuple(moved), tuple(chosen), reason)
            try:
                fault = _fault(module, arguments, training, place, layer, unit, crop)
            except EyeshotError as error:
                fault = str(error)
            except Exception as error:  # what the module says of a shape that it was not made for
                text = " ".join(str(error).split())[:120]
                fault = f"the module raised {type(error).__name__} at the crop's shape: {text}"
            if not fault:
                return crop
            why = why if window == whole else fault
    return why


def _narrows(
    layer: Layer, box: Any, window: Window, calls: Mapping[str, tuple[str, int]]
) -> tuple[list[Narrow], list[int] | None]:
    """What can be cut from layers that all ways to the unit lead through, and where the last cut begins.

    A unit there is needed only if its box lies in the unit's.
    """
    report = layer._report
    graph = report._graph
    on_the_way = _ancestors(graph, layer._value)
    marks = [m for m in report._marks if m.value in on_the_way]
    gates = _gates(graph, on_the_way, layer._value)
    names: dict[int, str] = {}
    for mark in (*report._marks, *report._groups.values()):
        if mark.value in gates and mark.name in calls:
            names[mark.value] = mark.name
    origin = [begin for begin, _ in window]
    extent: list[float] = [end - begin for begin, end in window]
    found: list[Narrow] = []
    for value, name in sorted(names.items()):
        gate = Layer(report, LayerMark(name, "", value))
        after = [*(Layer(report, m) for m in marks if m.value > value), layer]
        cuts = [
            _cut(form, [one._forms[k] for one in after], box[k], origin[k])
            for k, form in enumerate(gate._forms)
        ]
        slices = tuple(cut.slice for cut in cuts if cut is not None)
        if len({dim for dim, _, _ in slices}) < len(origin):
            continue
        kept = math.prod(cut.extent for cut in cuts if cut is not None)
        if kept > NARROW * math.prod(extent):
            continue
        found.append(Narrow(*calls[name], slices))
        origin = [cut.origin for cut in cuts if cut is not None]
        extent = [cut.extent for cut in cuts if cut is not None]
    return found, origin if found else None


class _Cut(NamedTuple):
    """``slice``: (dim, begin, end) of a layer as it comes up in the crop; on the input it begins at ``origin``
    and is ``extent`` long."""

    slice: tuple[int, int, int]
    origin: int
    extent: float


def _cut(form: Form, after: Sequence[Form], box: tuple[Any, Any], origin: int) -> _Cut | None:
    """What a unit with this box may need of a layer along one axis; None where that can't be said.

    It begins at a multiple of the strides of what comes ``after``. ``origin``: where the layer begins by now.
    """
    canvas = form.canvas
    if canvas is None or form.dim is None or canvas.period != 1 or canvas.advance < 1:
        return None
    jump, step = canvas.advance, 1
    for other in after:
        if other.canvas is None or other.canvas.period != 1:
            return None
        if other.canvas.advance:
            step = math.lcm(step, abs(other.canvas.advance))
    step = max(1, step // jump)
    first = max(0, math.ceil((box[0] - canvas.begin[0]) / jump)) // step * step
    last = min(form.layer.shape[form.dim], math.floor((box[1] - canvas.end[0]) / jump) + 1)
    before, rest = divmod(origin, jump)
    if rest or first < before or last <= first:
        return None
    return _Cut((form.dim, first - before, last - before), first * jump, (last - first) * jump)


def _gates(graph: Graph, on_the_way: set[int], value: int) -> set[int]:
    """The values that every way from an input to ``value`` leads through."""
    moving = set(graph.sources) & on_the_way
    last: dict[int, int] = {}
    for v in sorted(on_the_way):
        if not moving.isdisjoint(graph.inputs[v]):
            moving.add(v)
            for i in graph.inputs[v]:
                last[i] = v
    gates = set()
    far = 0
    for v in sorted(moving):
        if far <= v < value and v not in graph.sources:
            gates.add(v)
        far = max(far, last.get(v, 0))
    return gates


def _area(window: Window) -> int:
    return math.prod(end - begin for begin, end in window)


def _windows(layer: Layer, needed: Window, sizes: Sequence[int]) -> Iterator[Window]:
    """Windows around what is needed, smallest first: ends as tight as can be, then as the whole input ends."""
    before: list[Window] = []
    for steps in _steps(layer):
        for tight in (True, False):
            window = []
            for (begin, end), n, step in zip(needed, sizes, steps, strict=True):
                last = end if tight else n - (n - end) // step * step
                window.append((begin // step * step, last))
            if (one := tuple(window)) not in before:
                before.append(one)
                yield one


def _steps(layer: Layer) -> Iterator[list[int]]:
    """Per axis the least common multiple of the strides: of the layers on the way, then of all layers."""
    report = layer._report
    on_the_way = _ancestors(report._graph, layer._value)
    for chosen in (
        [Layer(report, mark) for mark in report._marks if mark.value in on_the_way],
        list(report),
    ):
        steps = [1] * len(report._axes)
        for one in (*chosen, layer):
            for k, form in enumerate(one._forms):
                canvas = form.canvas
                if canvas is not None and canvas.advance:
                    steps[k] = math.lcm(steps[k], abs(canvas.advance))
        yield steps


def _ancestors(graph: Graph, value: int) -> set[int]:
    """The values that ``value`` is made of, itself included."""
    found = {value}
    for v in range(value, -1, -1):
        if v in found:
            found.update(graph.inputs[v])
    return found


def _moved(layer: Layer, index: tuple[int, ...], begin: Sequence[int]) -> list[int] | None:
    """The unit's index once the input begins at ``begin``."""
    dims = layer.unit_dims
    shifts: dict[int, int] = {}
    for form, first in zip(layer._forms, begin, strict=True):
        canvas = form.canvas
        if canvas is None or form.dim is None or not canvas.advance:
            if first:
                return None
            continue
        shift, rest = divmod(first * canvas.period, canvas.advance)
        if rest or shifts.setdefault(form.dim, shift) != shift:
            return None
    moved = [i - shifts.get(dim, 0) for i, dim in zip(index, dims, strict=True)]
    return moved if all(i >= 0 for i in moved) else None


def _fault(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    place: Place,
    layer: Layer,
    whole: Unit,
    crop: Crop,
) -> str:
    """Why the unit in the crop is not the unit in the whole, as far as the graph shows; empty if it is."""

    def cropped(slot: Slot) -> Slot:
        shape = list(slot.shape)
        for axis, (begin, end) in zip(slot.axes, crop.window, strict=True):
            shape[axis] = end - begin
        return slot._replace(shape=tuple(shape), tensor=None)

    given = Arguments(*arguments.filled(cropped))
    small = _reported(traced(module, given, training, place, crop.narrows), layer, place)
    (one,) = small
    if one.unit_dims != layer.unit_dims or len(one.shape) != len(layer.shape):
        return "the layer has another form in a crop"
    if any(i >= one.shape[dim] for i, dim in zip(crop.unit, one.unit_dims, strict=True)):
        return "the unit has no counterpart in a crop"
    if one.status != "exact" or one.is_global:
        return "it reads the whole crop"
    part = small.unit(one.name, crop.unit)
    shift = [begin for begin, _ in crop.window]
    moved = tuple((b + s, e + s) for (b, e), s in zip(part.clipped, shift, strict=True))
    if moved != whole.clipped:
        return "in a crop it reads another part"
    same = np.array_equal(whole.mask_in_box, part.mask_in_box) and np.allclose(
        whole.mass_in_box, part.mass_in_box, rtol=0, atol=NOISE
    )
    if not same or abs(whole.share_in_padding - part.share_in_padding) > NOISE:
        return "in a crop it reads the same part in another way"
    return ""


def _reported(found: Traced, layer: Layer, place: Place) -> Report:
    """A report with the one layer."""
    graph = found.graph
    sources = []
    for v in graph.sources:
        prim = graph.prims[v]
        assert isinstance(prim, Input) and prim.name is not None
        sources.append(Source(v, prim.name, prim.shape, prim.axes))
    return Report(graph, sources, [LayerMark(layer.name, place.op, found.value)])


def batched_along(
    module: torch.nn.Module,
    arguments: Arguments,
    training: bool | None,
    place: Place,
    layer: Layer,
) -> int | None:
    """The layer's dim along which the samples of a batch lie, if each is computed from itself alone.

    The same algebra tells: with the batch as the input's only axis, every unit's field is its own sample.
    None where samples mix, or the layer holds them in another way.
    """

    def twice(slot: Slot) -> Slot:
        return slot._replace(shape=(2, *slot.shape[1:]), axes=(0,), tensor=None)

    try:
        found = traced(module, Arguments(*arguments.filled(twice)), training, place)
        (one,) = _reported(found, layer, place)
        (form,) = one._forms
        dim = form.dim
        fields = one.fields
    except Exception:
        return None
    shape = list(one.shape)
    if dim is None or shape[dim] != 2 or one.status != "exact" or one.is_global:
        return None
    shape[dim] = 1
    plain = fields[0].canvas
    if tuple(shape) != layer.shape or plain is None or tuple(plain) != (1, 1, (0,), (1,)):
        return None
    return None if dim in layer.unit_dims else dim
