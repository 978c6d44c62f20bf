"""Layers that tie a unit to a whole axis, or to the input's size, so that no crop of the input will do."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.report import Layer
from eyeshot.core.canvas import Canvas, State
from eyeshot.core.primitives import Mix, Stencil

__all__ = ["KINDS", "Blocker", "Kind", "blockers", "dim_along", "kind_of", "owners"]


class Kind(NamedTuple):
    """One way of doing so: what it does, with ``{axes}``, and what can replace it."""

    does: str
    instead: str


#: By name, in the order in which they are told.
KINDS: dict[str, Kind] = {
    "pooling": Kind(
        "reduces the whole of {axes}",
        "Pool a window of fixed size instead (stride 1, or dilated convolutions for context), or compute the "
        "reduction once over the whole input and hand it to every piece.",
    ),
    "norm": Kind(
        "takes its statistics over the whole of {axes}",
        "Use statistics that don't depend on the input: batch norm in eval mode, the same norm with statistics "
        "frozen after training, or a norm over channels alone.",
    ),
    "attention": Kind(
        "attends to the whole of {axes}",
        "Attend within windows of fixed size, or to a fixed number of neighbours.",
    ),
    "causal attention": Kind(
        "attends to all that is before along {axes}",
        "Keep the keys and values of what has passed (a cache), or attend to a fixed number of past positions.",
    ),
    "recurrence": Kind(
        "carries a state along the whole of {axes}",
        "Carry the state over from piece to piece, or use dilated causal convolutions.",
    ),
    "two-way recurrence": Kind(
        "runs along the whole of {axes} in both directions",
        "Run it in one direction and carry its state over, or use dilated convolutions on both sides.",
    ),
    "running": Kind(
        "accumulates along the whole of {axes}",
        "Carry the running value over from piece to piece, or accumulate over a window of fixed size.",
    ),
    "linear": Kind(
        "has a weight for every position along {axes}",
        "Replace it by a convolution, or by a 1x1 convolution behind a pooling window of fixed size.",
    ),
    "transform": Kind(
        "transforms the whole of {axes}",
        "Transform windows of fixed size (a short-time transform), or convolve with kernels of fixed size.",
    ),
    "sorting": Kind(
        "orders the whole of {axes}",
        "Select within windows of fixed size.",
    ),
    "rate": Kind(
        "resamples {axes} at a rate that depends on the input's size",
        "Resample by a whole factor (scale_factor=2) with align_corners=False, on inputs that are multiples of "
        "the strides; pool with a fixed kernel and stride.",
    ),
    "circular": Kind(
        "wraps around the ends of {axes}",
        "Pad with zeros, by reflection or by repetition: these only change what lies at the real border.",
    ),
    "order": Kind(
        "reads fixed positions of {axes}",
        "Read positions relative to the unit's own.",
    ),
    "mixing": Kind(
        "reads the whole of {axes}",
        "Read a window of fixed size.",
    ),
}

#: The kind that words of an operator's name stand for; the first that is found counts.
_WORDS = (
    ("norm", r"norm|whiten"),
    ("recurrence", r"lstm|gru|rnn"),
    ("attention", r"attention|attn|transformer|softmax|matmul|bmm|einsum|baddbmm"),
    ("transform", r"fft|dct|stft|dft|hilbert"),
    ("running", r"cum"),
    ("sorting", r"sort|topk|top_k|median|kthvalue|quantile|unique"),
    ("linear", r"linear|gemm|addmm|^mm$|dense|^fc"),
    ("pooling", r"pool|mean|sum|max|min|var|std|reduce|prod|any|all|count"),
)


class Blocker(NamedTuple):
    """A layer, its kind (a key of ``KINDS``), and the fields, by number, that it reads whole."""

    layer: Layer
    kind: str
    fields: tuple[int, ...]


def kind_of(op: str, causal: bool = False, both_ways: bool = False) -> str:
    """The kind of an operator that reads a whole axis, or, ``causal``, all that is before."""
    name = op.lower()
    kind = next((kind for kind, words in _WORDS if re.search(words, name)), "mixing")
    if kind == "recurrence" and both_ways:
        return "two-way recurrence"
    if causal:
        return {"attention": "causal attention", "recurrence": "recurrence"}.get(kind, "running")
    return kind


def blockers(net: Network, ends: Iterable[Layer], fields: Collection[int]) -> list[Blocker]:
    """What reads any of ``fields`` whole on the way from the inputs to ``ends``, in the order in which it runs.

    Closed forms only: every mixing and every stencil whose taps leave no grid is asked whether its dims still
    tell positions of the axis apart. That is told of each alone, however much lies before it.
    """
    graph = net.graph
    ends = list(ends)
    needed = net.ancestors(ends)
    inside = set(needed)
    # Without a closed form at the end all mixings are asked.
    spread = any(
        _whole(layer, k) or layer._forms[k].raw.terms is None for layer in ends for k in fields
    )
    suspects: list[int] = []
    for v in needed:
        prim = graph.prims[v]
        if isinstance(prim, Mix):
            shape = graph.shapes[graph.inputs[v][0]]
            if spread and prim.groups == 1 and any(shape[d] > 1 for d in prim.dims):
                suspects.append(v)
        elif isinstance(prim, Stencil) and _ungridded(net, v, prim):
            suspects.append(v)
    if not suspects:
        return []
    by_value = owners(net, inside)
    states = Canvas(graph, list(net.report._sources)).run({graph.inputs[v][0] for v in suspects})
    found: dict[tuple[int, str], list[int]] = {}
    layers: dict[int, Layer] = {}
    for v in suspects:
        state = states[graph.inputs[v][0]]
        held = [k for k in fields if _holds(graph.prims[v], state, k)]
        layer = by_value.get(v) or net.layers[-1]
        kind = _kind(net, layer, v)
        if not held or kind is None:
            continue
        layers[layer._value] = layer
        known = found.setdefault((layer._value, kind), [])
        known += [k for k in held if k not in known]
    # Where the walk above saw nothing (no closed form on the way), the layer at which it first shows.
    seen = {k for held in found.values() for k in held}
    for k in fields:
        if k not in seen and any(_whole(layer, k) for layer in ends):
            for layer in _first(net, inside, k):
                layers[layer._value] = layer
                found.setdefault((layer._value, kind_of(layer.op)), []).append(k)
    return [
        Blocker(layers[value], kind, tuple(sorted(held)))
        for (value, kind), held in sorted(found.items())
    ]


def dim_along(layer: Layer, k: int) -> int | None:
    """The dim of a layer that follows axis ``k``, or is as long as it where all of it is read by all.

    Sizes of fields, which may take long without a closed form, are not asked for.
    """
    form = layer._forms[k]
    source, axis = layer._report._axes[k]
    if form.dim is not None:
        return form.dim
    as_long = len(layer.shape) == len(source.shape) and layer.shape[axis] == source.shape[axis] > 1
    return axis if as_long and form.raw.reads else None


def owners(net: Network, inside: Collection[int]) -> dict[int, Layer]:
    """By value the first layer among ``inside`` in whose course it is made."""
    found: dict[int, Layer] = {}
    for layer in net.layers:
        stack = [layer._value] if layer._value in inside else []
        while stack:
            v = stack.pop()
            # What an earlier layer was made with has been followed to its end.
            if v not in found:
                found[v] = layer
                stack += [
                    i for i in net.graph.inputs[v] if i not in net.sources and net.layer(i) is None
                ]
    return found


def _whole(layer: Layer, k: int) -> bool:
    """Whether a layer's closed form reads an axis whole, or without end."""
    form = layer._forms[k]
    return form.raw.terms is not None and (
        form.is_global
        or any(math.inf in term.hi or -math.inf in term.lo for term in form.raw.terms)
    )


def _first(net: Network, inside: Collection[int], k: int) -> list[Layer]:
    """The layers that read an axis whole while none of those before them does."""
    return [
        layer
        for layer in net.layers
        if layer._value in inside
        and _whole(layer, k)
        and not any(_whole(parent, k) for parent in net.parents(layer))
    ]


def _ungridded(net: Network, v: int, prim: Stencil) -> bool:
    """Whether a stencil's taps leave no grid on which pieces could lie."""
    taps, size = prim.taps, prim.size
    n = net.graph.shapes[net.graph.inputs[v][0]][prim.dim]
    if n < 2 or size < 2:
        return False
    if taps.border == "wrap":
        reach = taps.reach(size)
        return reach is not None and (reach[0] < 0 or reach[1] >= n)
    if taps.advance < 0:
        return True
    if taps.advance == 0:
        # A mask leaves out elements and moves none: those of attention lie over tables of positions.
        return taps.period == size and taps.first != tuple(range(size))
    if taps.advance > 1 and taps.period > 1 and 2 * taps.period > size:
        return True
    owner = net.owner(v)
    return size != n and owner is not None and "adaptive" in owner.op


def _kind(net: Network, layer: Layer, v: int) -> str | None:
    """The kind of what ``v`` does for ``layer``; None for a part of something that is told elsewhere."""
    prim = net.graph.prims[v]
    made = [net.graph.prims[u] for u in net.made(layer)]
    causal = any(isinstance(p, Mix) and p.causal for p in made)
    back = any(isinstance(p, Stencil) and p.taps.advance < 0 for p in made)
    if isinstance(prim, Mix):
        return kind_of(layer.op, prim.causal, back)
    assert isinstance(prim, Stencil)
    if prim.taps.border == "wrap":
        return "circular"
    if prim.taps.advance < 0:
        return None if causal else "order"
    return "rate" if prim.taps.advance else "order"


def _holds(prim: object, state: State, k: int) -> bool:
    """Whether a mixing leaves nothing that tells positions of axis ``k`` apart, or a stencil reads along it."""
    field = state.fields[k]
    follows = {f for f, rank in field.tags if rank is not None}
    if isinstance(prim, Stencil):
        return any(f in follows and n > 1 for f, n in state.dims[prim.dim])
    assert isinstance(prim, Mix)
    gone = {f for d in prim.dims for f, n in state.dims[d] if n > 1}
    if prim.causal or field.terms is None:
        return bool(follows & gone) and (prim.causal or follows <= gone)
    moving = [
        {f for f, _, _ in term.deps if f in follows} for term in field.terms if not term.whole
    ]
    return any(moved and moved <= gone for moved in moving)
