"""Findings about positions of the input that nothing reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from eyeshot.analysis.findings.finding import Finding, rule
from eyeshot.analysis.findings.lines import Gaps, Marks, gaps, missing, phrase
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import axes, listed, percent, sizes
from eyeshot.analysis.report import Layer
from eyeshot.analysis.touched import over
from eyeshot.core.adjoint import units
from eyeshot.core.canvas import Source
from eyeshot.core.primitives import text

__all__ = ["unread_input"]


@rule(
    "unread-input",
    topic="coverage",
    severity="warning",
    summary="Positions of the input are read by no unit of any output.",
)
def unread_input(net: Network) -> Iterator[Finding]:
    for source in net.report._sources:
        patch = net.used.get(source.value)
        if patch is None:
            yield _ignored(net, source.value)
            continue
        alike: dict[tuple[Any, ...], dict[int, Gaps]] = {}
        for dim, n in enumerate(source.shape):
            lines = missing(patch, dim, source.shape)
            pattern = gaps(lines) if n > 1 else None
            if pattern is not None:
                blamed = tuple(_losers(net, source.value, dim, lines))
                key = (blamed, dim in source.axes, *pattern[2:])
                alike.setdefault(key, {})[dim] = pattern
        for (blamed, *_), patterns in alike.items():
            yield _unread(net, source, blamed, patterns)


def _ignored(net: Network, source: int) -> Finding:
    """An input of which nothing is read."""
    name, shape = net.sources[source], net.graph.shapes[source]
    readers = [layer.name for layer in net.layers if source in net.inputs(layer)]
    return Finding(
        layers=tuple(readers),
        message=f"No output reads anything of the input {name} ({text([shape])})",
        cost="It can be anything: it changes no result.",
        remedy=f"Drop the input {name}, or join it to what leads to an output.",
        evidence={"input": name, "shape": list(shape), "read": 0, "share": 1.0},
        exact=True,
    )


def _losers(net: Network, source: int, dim: int, lines: Marks) -> list[Layer]:
    """The layers that leave out these positions of an input, though all of their own units are read."""
    found: dict[int, Layer] = {}
    shape = net.graph.shapes
    field = _place(net, source, dim)
    stack = [(source, dim, lines)]
    seen: set[int] = set()
    while stack:
        value, at, lost = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        for layer in net.children.get(value, []):
            # What it would read if all of it were read.
            whole = units(layer.shape, {}, boolean=True)
            arrived = net.adjoint.run(layer._value, whole, net.inputs(layer)).get(value)
            left = lost & missing(arrived, at, shape[value])
            if left.any():
                found[layer._value] = layer
            along = None if field is None else layer._forms[field].dim
            if along is not None and (lost & ~left).any():
                patch = net.used[layer._value]
                deeper = missing(patch, along, layer.shape)
                if deeper.any():
                    stack.append((layer._value, along, deeper))
    return [found[v] for v in sorted(found)]


def _place(net: Network, source: int, dim: int) -> int | None:
    """Which field of every layer is about this dim of this input; None where it is no axis."""
    for k, (each, axis) in enumerate(net.report._axes):
        if each.value == source and axis == dim:
            return k
    return None


def _unread(
    net: Network, source: Source, blamed: tuple[Layer, ...], patterns: dict[int, Gaps]
) -> Finding:
    """Positions that nothing reads, in the same pattern along these dims."""
    dims = list(patterns)
    pattern = patterns[dims[0]]
    field = _place(net, source.value, dims[0])
    jump = max([_jump(layer, field) for layer in blamed], default=0)
    box = over(net.used[source.value], sorted({*source.axes, *dims}))
    extents = tuple(e - b for b, e in zip(box.begin, box.end, strict=True))
    read = int(np.broadcast_to(box.array, extents).sum())
    share = 1 - read / math.prod(source.shape[d] for d in sorted({*source.axes, *dims}))
    where = (
        axes(dims) if field is not None else f"dim{'s' * (len(dims) > 1)} {listed(map(str, dims))}"
    )
    of = "" if len(net.sources) == 1 else f" of {source.name}"
    counts = dict.fromkeys(f"{each.lost} of {each.size}" for each in patterns.values())
    leave = f"leave{'s' * (len(blamed) == 1)} them out"
    by = f": {listed(layer.name for layer in blamed)} {leave}" if blamed else ""
    return Finding(
        layers=tuple(layer.name for layer in blamed),
        message=f"No output reads {phrase(pattern)} along {where}{of} ({', '.join(counts)}){by}",
        cost=f"{percent(share)} of the input changes no result"
        + ("; detail finer than the gaps is lost or aliased." if pattern.period else "."),
        remedy=_fill(net, blamed, patterns, jump),
        evidence={
            "input": source.name,
            "axes": dims,
            "share": share,
            "jump": float(jump) or None,
            "patterns": [each.to_dict() for each in patterns.values()],
        },
        exact=True,
        severity="note" if pattern.lost == pattern.end < jump else None,
    )


def _jump(layer: Layer, field: int | None) -> int | Fraction:
    return 0 if field is None else layer.jump[field] or 0


def _fill(
    net: Network, blamed: tuple[Layer, ...], patterns: dict[int, Gaps], jump: int | Fraction
) -> str:
    """What to change so that all of it is read."""
    strided = [
        (layer, prim.taps)
        for layer in blamed
        for prim, _ in net.stencils(layer)
        if prim.taps.advance > prim.taps.period
    ]
    if strided and all(each.lost == each.end < jump for each in patterns.values()):
        less = sizes([each.size - each.end for each in patterns.values()])
        more = sizes([each.size - each.end + jump for each in patterns.values()])
        return f"Crop the input to {less}, which changes no result, or give it {more}: one more window fits."
    said: list[str] = []
    for layer, taps in strided:
        if taps.border in ("clamp", "linear"):
            said.append(
                f"Let {layer.name} average (antialias, area or a pool), not pick positions."
            )
        elif taps.period == 1 and math.gcd(taps.step, taps.advance) > 1:
            said.append(
                f"Give {layer.name} a dilation that shares no factor with its stride {taps.advance}."
            )
        elif taps.period == 1 and taps.counts[0] < taps.advance:
            said.append(
                f"Give {layer.name} a kernel of at least its stride {taps.advance} (it has {taps.counts[0]}), "
                "or pool before it."
            )
    return " ".join(dict.fromkeys(said)) or "Leave them out of the input, or let a layer read them."
