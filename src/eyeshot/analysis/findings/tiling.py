"""Findings about what keeps a network from running on tiles, or piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from eyeshot.analysis.findings.blockers import KINDS, Blocker, blockers, dim_along
from eyeshot.analysis.findings.finding import Finding, Severity, rule
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import axes, listed
from eyeshot.analysis.report import Layer
from eyeshot.errors import EyeshotError

__all__ = ["blocks_streaming", "blocks_tiling", "is_dense"]


@rule(
    "blocks-tiling",
    topic="tiling",
    severity="note",
    summary="A layer ties the outputs to the whole input, so that tiles can't equal it.",
)
def blocks_tiling(net: Network) -> Iterator[Finding]:
    declared = net.options.tileable
    fields = range(len(net.report._axes))
    ends = [layer for layer in net.outputs if is_dense(layer)]
    if not declared and (not ends or len(fields) < 2):
        return  # one axis alone is run piece by piece: blocks-streaming
    found = blockers(net, ends or net.outputs, fields)
    severity: Severity | None = "error" if declared else None
    for kind, some in _grouped(found).items():
        yield _finding(net, kind, some, "tile", severity)
    if declared and not ends and not found:
        yield _placeless(
            net,
            f"each of the {len(fields)} axes",
            "tiles",
            "Return a map: one output dim for every axis of the input.",
        )


@rule(
    "blocks-streaming",
    topic="tiling",
    severity="note",
    summary="A layer ties the outputs to all of the past or the future, so that pieces can't equal the whole.",
)
def blocks_streaming(net: Network) -> Iterator[Finding]:
    declared = net.options.streamable
    time = net.options.time
    known = {axis for _, axis in net.report._axes}
    if time is None and len(known) == 1:
        (time,) = known
    per_input = {source.name: len(source.axes) for source in net.report._sources}
    if not declared and max(per_input.values(), default=0) != 1:
        return
    if time is None:
        raise EyeshotError(f"streamable: which of the input's axes {sorted(known)} is time?")
    fields = [k for k, (_, axis) in enumerate(net.report._axes) if axis == time]
    ends = [layer for layer in net.outputs if any(_follows(layer, k) for k in fields)]
    if not declared and not ends:
        return
    found = blockers(net, ends or net.outputs, fields)
    severity: Severity | None = "error" if declared else None
    for kind, some in _grouped(found).items():
        yield _finding(net, kind, some, "piece", severity)
    if declared and not ends and not found:
        yield _placeless(
            net, axes([time]), "pieces", "Return one output for every step of the input."
        )


def _placeless(net: Network, along: str, pieces: str, remedy: str) -> Finding:
    """Outputs in which pieces have no place, whatever they give."""
    return Finding(
        layers=tuple(layer.name for layer in net.outputs),
        message=f"No output has a dim along {along}: {pieces} have no place in it",
        cost=f"What {pieces} give can't be put together to what the whole input gives.",
        remedy=remedy,
        evidence={"outputs": [_output(layer) for layer in net.outputs]},
        exact=net.exact(net.outputs),
        severity="error",
    )


def _follows(layer: Layer, k: int) -> bool:
    """Whether a layer has a dim for an axis."""
    dim = dim_along(layer, k)
    return dim is not None and layer.shape[dim] > 1


def is_dense(layer: Layer) -> bool:
    """Whether every axis of the inputs that a layer reads has a dim of its own in it."""
    read = [k for k, form in enumerate(layer._forms) if form.raw.reads]
    dims: dict[str, list[int | None]] = {}
    for k in read:
        source, _ = layer._report._axes[k]
        dims.setdefault(source.name, []).append(dim_along(layer, k) if _follows(layer, k) else None)
    return bool(read) and all(
        None not in some and len(set(some)) == len(some) for some in dims.values()
    )


def _output(layer: Layer) -> dict[str, Any]:
    return {"layer": layer.name, "shape": list(layer.shape)}


def _grouped(found: Iterable[Blocker]) -> dict[str, list[Blocker]]:
    """By kind; those of one kind in the order in which they run."""
    out: dict[str, list[Blocker]] = {kind: [] for kind in KINDS}
    for each in found:
        out[each.kind].append(each)
    return {kind: some for kind, some in out.items() if some}


def _finding(
    net: Network, kind: str, some: list[Blocker], piece: str, severity: Severity | None
) -> Finding:
    first = some[0].layer
    fields = sorted({k for each in some for k in each.fields})
    dims = sorted({net.report._axes[k][1] for k in fields})
    does = KINDS[kind].does.format(axes=axes(dims))
    message = f"{first.name} ({first.op}) {does}"
    evidence: dict[str, Any] = {
        "kind": kind,
        "axes": dims,
        "count": len(some),
        "ops": sorted({each.layer.op for each in some}),
    }
    if kind == "rate":
        sizes = _resized(net, first, fields[0])
        message += f" ({sizes[0]} positions become {sizes[1]})"
        evidence["resized"] = sizes
    if len(some) > 1:
        message += f", as {_others(some)}"
    if kind in ("rate", "circular", "order"):
        cost = (
            f"A {piece} of the input is not treated as the same part of the whole is: its values are "
            "others, whatever the overlap."
        )
    else:
        count = evidence["layers_behind"] = _behind(net, some)
        cost = (
            f"Every output behind it depends on all of the input ({count} of {len(net.layers)} layers"
            f"): a {piece} gives other values than the whole, whatever the overlap."
        )
    return Finding(
        layers=tuple(each.layer.name for each in some),
        message=message,
        cost=cost,
        remedy=KINDS[kind].instead,
        evidence=evidence,
        exact=net.exact([each.layer for each in some]),
        severity=severity,
    )


def _resized(net: Network, layer: Layer, k: int) -> list[int]:
    """The sizes along an axis before and behind a layer."""
    before = [p._forms[k].n for p in net.parents(layer) if p._forms[k].raw.reads]
    source, axis = net.report._axes[k]
    return [max(before, default=source.shape[axis]), layer._forms[k].n]


def _others(some: list[Blocker]) -> str:
    """``as does layer2.norm``, ``as do 12 other layers``."""
    if len(some) == 2:
        return f"does {some[1].layer.name}"
    if len(some) <= 4:
        return f"do {listed(each.layer.name for each in some[1:])}"
    return f"do {len(some) - 1} other layers"


def _behind(net: Network, some: Iterable[Blocker]) -> int:
    """How many layers depend on any of these, themselves included."""
    reached = {each.layer._value for each in some}
    for v, inputs in enumerate(net.graph.inputs):
        if not reached.isdisjoint(inputs):
            reached.add(v)
    return sum(layer._value in reached for layer in net.layers)
