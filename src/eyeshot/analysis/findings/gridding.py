"""Findings about what units read unevenly: holes in their fields, and phases that read more than others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from eyeshot.analysis.field import Canvas
from eyeshot.analysis.findings.finding import Finding, rule
from eyeshot.analysis.findings.kernels import plain
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import listed, number, percent, sizes
from eyeshot.analysis.report import Layer, Report
from eyeshot.analysis.touched import over
from eyeshot.core.adjoint import Adjoint, units
from eyeshot.core.canvas import Source
from eyeshot.core.graph import Graph, LayerMark
from eyeshot.core.primitives import Stencil, Taps

__all__ = ["holes", "uneven_reading"]

#: Units next to each other whose fields are looked at: the phases of a decoder differ.
MAX_PHASES = 4
#: Dilations that are tried above the one that surely leaves no gap.
MAX_TRIES = 64


# --- holes


class _Hollow(NamedTuple):
    """A unit of ``layer`` ``at`` an index that never reads ``unread`` of the ``total`` positions in its box."""

    layer: Layer
    at: tuple[int, ...]
    unread: int
    total: int


@rule(
    "holes",
    topic="coverage",
    severity="warning",
    summary="Units never read some of the positions inside their field: dilated windows leave gaps.",
)
def holes(net: Network) -> Iterator[Finding]:
    graph = net.graph
    gaps = _gaps(graph, net.report._sources)
    if not gaps:
        return
    found: dict[tuple[tuple[int, int], ...], list[_Hollow]] = {}
    for layer in net.maps:
        behind = _behind(graph, layer._value)
        if behind.isdisjoint(gaps):
            continue
        worst = max(
            (_hollow(net, net.adjoint, layer, index) for index in _phases(layer)),
            key=lambda unit: unit.unread / max(unit.total, 1),
        )
        if worst.unread:
            steps = _closing(net, worst, behind)
            if steps:
                found.setdefault(tuple(sorted(steps.items())), []).append(worst)
    for fixes, group in found.items():
        yield _holes(net, dict(fixes), group)


def _gaps(graph: Graph, sources: list[Source]) -> dict[int, int]:
    """Windows whose taps lie farther apart than what they read reaches: by value the most that they may."""
    dilated = {
        v: prim
        for v, prim in enumerate(graph.prims)
        if isinstance(prim, Stencil) and prim.taps.step > 1 and max(prim.taps.counts) > 1
    }
    if not dilated:
        return {}
    marks = [LayerMark(str(v), "", graph.inputs[v][0]) for v in dilated]
    read = Report(_copied(graph, max(dilated)), sources, marks)
    found: dict[int, int] = {}
    for v, prim in dilated.items():
        for form in read[str(v)]._forms:
            if form.dim == prim.dim and form.canvas is not None:
                most = _reach(form.canvas, prim.taps.step)
                if most < prim.taps.step:
                    found[v] = min(most, found.get(v, most))
    return found


def _reach(canvas: Canvas, step: int) -> int:
    """The largest dilation up to ``step`` that leaves no gap that reading every unit would not leave."""
    if canvas.advance < 0:  # mirrored
        begin, end = (tuple(-at for at in ends) for ends in (canvas.end, canvas.begin))
        canvas = Canvas(canvas.period, -canvas.advance, begin, end)
    for dilation in range(step, 1, -1):
        if all(
            canvas.at(i + dilation)[0] <= max(canvas.at(i)[1], canvas.at(i + 1)[0])
            for i in range(canvas.period)
        ):
            return dilation
    return 1


def _behind(graph: Graph, value: int) -> set[int]:
    """All that a value is made from."""
    found = {value}
    for v in range(value, -1, -1):
        if v in found:
            found.update(graph.inputs[v])
    return found


def _phases(layer: Layer) -> list[tuple[int, ...]]:
    """The middle unit, and a few that follow it where phases differ."""
    periods = [form.canvas.period for form in layer._forms if form.canvas is not None]
    middle = layer.middle
    return [
        tuple(min(i + k, layer.shape[d] - 1) for i, d in zip(middle, layer.unit_dims, strict=True))
        for k in range(min(max(periods, default=1), MAX_PHASES))
    ]


def _hollow(net: Network, adjoint: Adjoint, layer: Layer, index: tuple[int, ...]) -> _Hollow:
    """What a unit leaves out of its clipped box, less what nothing at all reads: that is another finding."""
    at = {d: (i, i + 1) for d, i in zip(layer.unit_dims, index, strict=True)}
    start = units(layer.shape, at, boolean=True)
    sources = [source for source in net.report._sources if source.axes]
    arrived = adjoint.run(layer._value, start, [source.value for source in sources])
    unread = total = 0
    for source in sources:
        patch = arrived.get(source.value)
        box = None if patch is None else over(patch, source.axes).trimmed(range(len(source.axes)))
        if box is None:
            continue
        extents = [end - begin for begin, end in zip(box.begin, box.end, strict=True)]
        total += math.prod(extents)
        if box.array.all() or source.value not in net.used:
            continue
        used = over(net.used[source.value], source.axes)
        for dim, (begin, end) in enumerate(zip(box.begin, box.end, strict=True)):
            used = used.grown(dim, min(begin, used.begin[dim]), max(end, used.end[dim]))
            cut = used.cut(dim, begin, end)
            assert cut is not None
            used = cut
        left = np.broadcast_to(used.array & ~box.array, extents)
        unread += int(left.sum())
    return _Hollow(layer, index, unread, total)


def _closing(net: Network, unit: _Hollow, behind: set[int]) -> dict[int, int]:
    """The dilations that have to change for a unit's holes to close, and the largest that do it.

    First every gap is closed, from the input on, as fields shrink with each; then each layer gets its own
    dilation back where no hole comes of it, else the largest of which none does. Empty where holes stay: they
    are not those of dilated windows.
    """
    graph, sources = net.graph, net.report._sources

    def left(steps: Mapping[int, int]) -> int:
        adjoint = Adjoint(_dilated(graph, steps))
        return _hollow(net, adjoint, unit.layer, unit.at).unread

    steps: dict[int, int] = {}
    while True:
        gaps = _gaps(_dilated(graph, steps), sources)
        gap = next((v for v in gaps if v in behind), None)
        if gap is None:
            break
        steps[gap] = gaps[gap]
    others = left(steps)
    if others >= unit.unread:
        return {}
    by_layer: dict[str, list[int]] = {}
    for v in sorted(steps):
        by_layer.setdefault(_name(net, v), []).append(v)
    for group in by_layer.values():
        own = {v: _step(graph, v) for v in group}
        least, wide = max(steps[v] for v in group), max(own.values())
        for most in (wide, *range(min(wide - 1, least + MAX_TRIES), least, -1)):
            tried = steps | {v: max(steps[v], min(most, own[v])) for v in group}
            if left(tried) <= others:
                steps = tried
                break
    return {v: step for v, step in steps.items() if step < _step(graph, v)}


def _name(net: Network, v: int) -> str:
    owner = net.owner(v)
    return str(v) if owner is None else owner.name


def _step(graph: Graph, v: int) -> int:
    prim = graph.prims[v]
    assert isinstance(prim, Stencil)
    return prim.taps.step


def _dilated(graph: Graph, steps: Mapping[int, int]) -> Graph:
    """The graph with other dilations in these stencils; windows keep to their place, tensors their sizes.

    What is padded before by a layer of its own counts as the window's: it would be another with the dilation.
    """
    other = _copied(graph, len(graph.prims))
    for v, step in steps.items():
        prim = graph.prims[v]
        assert isinstance(prim, Stencil)
        taps = prim.taps
        before = _padding(graph, v, prim.dim)
        first = tuple(round((at - before) * step / taps.step) + before for at in taps.first)
        other.prims[v] = prim._replace(taps=taps._replace(first=first, step=step))
    return other


def _padding(graph: Graph, v: int, dim: int) -> int:
    """How much was put before the beginning of what ``v`` reads, less what was cropped."""
    found = 0
    (v,) = graph.inputs[v]
    while plain(graph, v):
        prim = graph.prims[v]
        if isinstance(prim, Stencil) and prim.dim == dim:
            found -= prim.taps.first[0]
        (v,) = graph.inputs[v]
    return found


def _copied(graph: Graph, end: int) -> Graph:
    """The first ``end`` values of a graph."""
    other = Graph()
    other.prims, other.inputs, other.shapes = (
        graph.prims[:end],
        graph.inputs[:end],
        graph.shapes[:end],
    )
    return other


def _holes(net: Network, steps: Mapping[int, int], group: list[_Hollow]) -> Finding:
    worst = max(group, key=lambda unit: unit.unread / unit.total)
    old: dict[str, list[int]] = {}
    new: dict[str, list[int]] = {}
    for v, step in steps.items():
        old.setdefault(_name(net, v), []).append(_step(net.graph, v))
        new.setdefault(_name(net, v), []).append(step)
    shown = listed([f"{name} ({sizes(each)})" for name, each in old.items()])
    changes = listed(
        [f"{name} {sizes(new[name])} instead of {sizes(old[name])}" for name in old], 9
    )
    share = worst.unread / worst.total
    maps = [unit.layer for unit in group]
    return Finding(
        layers=(*old, *(layer.name for layer in maps if layer.name not in old)),
        message=f"A unit of {worst.layer.name} never reads {worst.unread} of the {worst.total} input positions "
        f"in its box ({percent(share)}): what lies before can't fill the dilation of {shown}",
        cost="Neighbouring units read different positions (gridding): each misses fine detail that the next "
        "one has.",
        remedy=f"Largest dilations without a hole: {changes}.",
        evidence={
            "maps": [layer.name for layer in maps],
            "unit": list(worst.at),
            "unread": worst.unread,
            "box": worst.total,
            "share": share,
            "dilation": old,
            "largest_without": new,
        },
        exact=net.exact(maps),
    )


# --- phases that read more than others


class _Uneven(NamedTuple):
    """Windows laid down one beside another: how many fall on each phase, by axis."""

    stride: tuple[int, ...]
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]


@rule(
    "uneven-reading",
    topic="coverage",
    severity="warning",
    summary="Units of an upsampled map read different numbers of positions, phase by phase: a checkerboard.",
)
def uneven_reading(net: Network) -> Iterator[Finding]:
    found: dict[_Uneven, list[Layer]] = {}
    for layer in net.layers:
        if layer._value not in net.used:
            continue
        stencils = [
            (v, prim)
            for v in net.made(layer)
            if isinstance(prim := net.graph.prims[v], Stencil) and _laid_down(prim.taps)
        ]
        seen = [(v, prim) for v, prim in stencils if _shows(net, layer, v, prim)]
        if seen and not _divided(net, layer):
            taps = [prim.taps for _, prim in seen]
            key = _Uneven(
                tuple(t.period for t in taps),
                tuple(sum(t.counts) for t in taps),
                tuple(t.step for t in taps),
                tuple(t.counts for t in taps),
            )
            found.setdefault(key, []).append(layer)
    for key, layers in found.items():
        most = math.prod(map(max, key.counts))
        least = math.prod(map(min, key.counts))
        kernel = [-(-k // s) * s for k, s in zip(key.kernel, key.stride, strict=True)]
        names = [layer.name for layer in layers]
        padding = _cropped(net, layers[0], key, kernel)
        yield Finding(
            layers=tuple(names),
            message=f"Some units of {listed(names)} read {most} positions and others {least}: the kernel "
            f"({sizes(key.kernel)}) is no multiple of the stride ({sizes(key.stride)})",
            cost=f"A checkerboard of period {sizes(key.stride)}: with even weights some units are "
            f"{number(most / least)} times as strong as others; training has to undo it.",
            remedy=f"Take kernel {sizes(kernel)}{padding}, or resize and convolve.",
            evidence={
                "kernel": list(key.kernel),
                "stride": list(key.stride),
                "counts": [list(each) for each in key.counts],
                "shares": [[n / sum(each) for n in each] for each in key.counts],
                "most": most,
                "least": least,
                "ratio": most / least,
            },
            exact=True,
        )


def _laid_down(taps: Taps) -> bool:
    """Whether windows are added up where they fall, some phases getting more of them than others.

    Transposed windows move by 1 from period to period, which no average over unequal windows does; columns
    (``scattered``) are the only windows with a period that leave padding out and have no weights.
    """
    return (
        taps.period > 1
        and taps.weights is None
        and (taps.advance == 1 or taps.renormalized)
        and min(taps.counts) > 0
        and len(set(taps.counts)) > 1
    )


def _shows(net: Network, layer: Layer, v: int, prim: Stencil) -> bool:
    """Whether units of some last map stand on different phases.

    Units that lie a whole number of windows apart all read them alike, and the pattern is gone.
    """
    graph = net.graph
    value = graph.inputs[v][0]
    ends = {each._value: each for each in (*net.maps, *net.outputs)}
    marks = [LayerMark(each.name, "", each._value) for each in ends.values()]
    laid = Report(graph, [Source(value, "laid", graph.shapes[value], (prim.dim,))], marks)
    for end in laid:
        (form,) = end._forms
        if form.dim is None or end._state.fields[0].terms == ():
            continue
        canvas = form.canvas
        if canvas is None or canvas.advance % (prim.taps.advance * canvas.period):
            return True
    return False


def _divided(net: Network, layer: Layer) -> bool:
    """Whether the sum is divided by what reads no input, as columns are by how many fall on each place."""
    return any(
        "div" in child.op.lower() and net.inputs(child) == [layer._value]
        for child in net.children.get(layer._value, [])
    )


def _cropped(net: Network, layer: Layer, key: _Uneven, kernel: Iterable[int]) -> str:
    """The padding with which another kernel gives the same size; nothing where there is no such."""
    pads = []
    for v in net.made(layer):
        prim = net.graph.prims[v]
        if isinstance(prim, Stencil) and _laid_down(prim.taps):
            n = net.graph.shapes[net.graph.inputs[v][0]][prim.dim]
            pads.append((n - 1) * prim.taps.period - prim.size)
    if set(key.dilation) != {1} or len(pads) != len(key.kernel):
        return ""
    crops = [k + rest for k, rest in zip(kernel, pads, strict=True)]
    if min(crops) < 0:
        return ""
    extra = [crop % 2 for crop in crops]
    padding = [(crop + more) // 2 for crop, more in zip(crops, extra, strict=True)]
    also = f", output_padding {sizes(extra)}" if any(extra) else ", output_padding 0"
    return f" with padding {sizes(padding)}{also}"
