"""Findings about layers that no output reads, and outputs that read nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.analysis.findings.finding import Finding, rule
from eyeshot.analysis.findings.lines import Gaps, gaps, phrase
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import listed, percent
from eyeshot.analysis.report import Layer
from eyeshot.analysis.touched import over
from eyeshot.core.adjoint import Adjoint, units

__all__ = ["dead_outputs", "unused_layers"]


#: Parts of the names of operators that have weights, in all frontends.
WEIGHTED = ("conv", "linear", "gemm", "mm", "matmul", "norm", "attention", "lstm", "gru", "rnn")


# --- outputs that read nothing


@rule(
    "dead-outputs",
    topic="coverage",
    severity="error",
    summary="Units of an output, or of a last map, read nothing of any input: they are constants.",
)
def dead_outputs(net: Network) -> Iterator[Finding]:
    found: dict[tuple[Any, ...], list[tuple[Layer, NDArray[np.bool_]]]] = {}
    ends = dict.fromkeys((*net.outputs, *net.maps))
    silent = all(layer._value not in net.reading for layer in net.outputs)
    for layer in ends:
        dead = _dead(net, layer)
        # A constant beside other outputs is meant to be one: anchors, a table of positions.
        if dead is None or (dead.all() and not silent and not _leads(net, layer)):
            continue
        blamed = tuple(_origins(net, layer))
        found.setdefault((blamed, dead.shape, dead.tobytes()), []).append((layer, dead))
    for (blamed, *_), group in found.items():
        layers, dead = [layer for layer, _ in group], group[0][1]
        count, total = int(dead.sum()), dead.size
        patterns = _along(layers[0], dead)
        where = "; ".join(
            f"{phrase(each)} along dim{'s' * (len(dims) > 1)} {listed(map(str, dims))}"
            for each, dims in _alike(patterns)
        )
        remedy, fault = _revive(net, blamed)
        if not fault and count < total and not any(layer in net.outputs for layer in layers):
            continue  # padded on the way, to be read by what follows
        yield Finding(
            layers=tuple(dict.fromkeys(layer.name for layer in (*blamed, *layers))),
            message=f"{count} of {total} units of {listed(x.name for x in layers)} read nothing of any input"
            + (f": {where}" if where and count < total else ""),
            cost=f"{percent(count / total)} of the map is the same for every input.",
            remedy=remedy,
            evidence={
                "outputs": [layer.name for layer in layers],
                "dead_units": count,
                "units": total,
                "share": count / total,
                "patterns": [{"dim": dim, **each.to_dict()} for dim, each in patterns],
            },
            # What an upper bound doesn't read isn't read.
            exact=True,
            severity=None if fault or count == total else "note",
        )


def _dead(net: Network, layer: Layer) -> NDArray[np.bool_] | None:
    """Which units read nothing of any input, all channels united: bool array over the unit dims."""
    dims = layer.unit_dims
    patch = net.reading.get(layer._value)
    shape = tuple(layer.shape[d] for d in dims)
    if patch is None:
        return np.ones(shape, bool)
    alive = over(patch, dims)
    if alive.begin == (0,) * len(dims) and alive.end == shape and alive.array.all():
        return None
    return ~alive.dense(shape)


def _leads(net: Network, layer: Layer) -> bool:
    """Whether any input of the network stands before this layer, read or not."""
    seen: set[int] = set()
    stack = [layer._value]
    while stack:
        v = stack.pop()
        if v in net.sources:
            return True
        if v not in seen:
            seen.add(v)
            stack += net.graph.inputs[v]
    return False


def _origins(net: Network, layer: Layer) -> list[Layer]:
    """The layers in which what is dead arises: dead in part, made from layers that are alive everywhere."""
    found: dict[int, Layer] = {}
    seen: set[int] = set()
    stack = [layer]
    while stack:
        at = stack.pop()
        if at._value in seen:
            continue
        seen.add(at._value)
        nothing = at._value not in net.reading
        behind = [
            parent
            for parent in net.parents(at)
            # A constant beside what reads the input is not at fault.
            if (nothing or parent._value in net.reading) and _dead(net, parent) is not None
        ]
        stack += behind
        if not behind:
            found[at._value] = at
    return [found[v] for v in sorted(found)]


def _along(layer: Layer, dead: NDArray[np.bool_]) -> list[tuple[int, Gaps]]:
    """Per unit dim the lines that are dead as a whole, and their pattern."""
    found = []
    for k, dim in enumerate(layer.unit_dims):
        others = tuple(j for j in range(dead.ndim) if j != k)
        pattern = gaps(np.asarray(dead.all(axis=others)))
        if pattern is not None:
            found.append((dim, pattern))
    return found


def _alike(patterns: Iterable[tuple[int, Gaps]]) -> list[tuple[Gaps, list[int]]]:
    """Equal patterns together, with their dims."""
    found: dict[Gaps, list[int]] = {}
    for dim, each in patterns:
        found.setdefault(each, []).append(dim)
    return list(found.items())


def _revive(net: Network, blamed: Iterable[Layer]) -> tuple[str, bool]:
    """What to change in the layers where dead units arise; whether some window there is at fault.

    Padding and placing alone put constants where they are wanted.
    """
    said: list[str] = []
    fault = False
    for layer in blamed:
        for prim, n in net.stencils(layer):
            taps = prim.taps
            reach = taps.reach(prim.size)
            if taps.period == 1 and taps.border == "drop":
                span = taps.step * (taps.counts[0] - 1)
                before, after = -taps.first[0], 0 if reach is None else reach[1] - (n - 1)
                if max(before, after) > span:
                    fault |= span > 0 or taps.advance > 1 or "conv" in layer.op.lower()
                    said.append(
                        f"Pad {layer.name} by at most {span} (now {before} before and {after} after)."
                    )
            elif taps.period > 1 and taps.advance == 1:
                fault = True
                kernel = sum(taps.counts)
                if 0 in taps.counts and kernel < taps.period:
                    said.append(
                        f"Give {layer.name} a kernel of at least its stride {taps.period} (it has {kernel})."
                    )
                elif 0 in taps.counts:
                    said.append(
                        f"Give {layer.name} a dilation that shares no factor with its stride {taps.period}."
                    )
                else:
                    said.append(f"Lower output_padding of {layer.name}, or widen its kernel.")
    text = " ".join(dict.fromkeys(said))
    return text or f"See what {listed(layer.name for layer in blamed)} puts there.", fault


# --- layers that nothing reads


@rule(
    "unused-layers",
    topic="coverage",
    severity="warning",
    summary="Layers are computed, and no output reads them.",
)
def unused_layers(net: Network) -> Iterator[Finding]:
    branches = _branches(net)
    constants = _as_constants(net, [layer for branch in branches for layer in branch])
    left = [[layer for layer in branch if layer._value not in constants] for branch in branches]
    unused = [branch for branch in left if any(map(_has_weights, branch))]
    layers = [layer for branch in unused for layer in branch]
    if not layers:
        return
    within = {layer._value for layer in layers}
    # Where what is unused branches off comes first.
    roots = [layer for layer in layers if within.isdisjoint(net.inputs(layer))]
    names = [layer.name for layer in (*roots, *(x for x in layers if x not in roots))]
    share = len(names) / len(net.layers)
    # Other calls of the same modules may be read, and train their weights.
    kept = {net.called(layer) for layer in net.layers if layer._value in net.used}
    trained = all(net.called(layer) in kept for layer in layers if _has_weights(layer))
    yield Finding(
        layers=tuple(names),
        message=f"No output reads {listed(names)}: {len(names)} of {len(net.layers)} layers ({percent(share)}) "
        "are computed for nothing",
        cost="Time and memory; their weights learn from their other calls alone."
        if trained
        else "Time and memory; and their weights get no gradient.",
        remedy=f"Take {'it' if len(names) == 1 else 'them'} out, or return what "
        f"{listed(x.name for x in roots)} should lead to.",
        evidence={
            "unused": len(names),
            "layers": len(net.layers),
            "share": share,
            "branches": len(unused),
            "begins": [layer.name for layer in roots],
        },
        exact=True,
        severity="note" if trained else None,
    )


def _as_constants(net: Network, layers: list[Layer]) -> set[int]:
    """Of layers, by value, those of which outputs read what reads no input: another finding is about these."""
    if not layers:
        return set()
    every = Adjoint(net.graph, range(len(net.graph.prims)))
    starts = {end._value: units(end.shape, {}, boolean=True) for end in net.outputs}
    passed = every.passing(starts, {layer._value for layer in layers})
    return {v for v, patch in passed.items() if patch.array.any()}


def _branches(net: Network) -> list[list[Layer]]:
    """Layers that read the input and that no output reads, those made from one another together."""
    found: list[list[Layer]] = []
    for layer in net.layers:
        if layer._value not in net.reading or layer._value in net.used:
            continue
        inputs = net.inputs(layer)
        joined = [branch for branch in found if any(each._value in inputs for each in branch)]
        found = [branch for branch in found if branch not in joined]
        found.append([*(each for branch in joined for each in branch), layer])
    return found


def _has_weights(layer: Layer) -> bool:
    """Whether an operator is one that has weights; what else is dropped, such as the sorted values beside the
    order that was asked for, costs nothing worth a word.
    """
    return any(word in layer.op.lower() for word in WEIGHTED)
