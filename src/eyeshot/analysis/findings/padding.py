"""Findings about how much of what is read is padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from eyeshot.analysis.findings.finding import Finding, Severity, rule
from eyeshot.analysis.findings.kernels import Kernel, Window, averages, convolutions
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import listed, percent
from eyeshot.analysis.report import Layer
from eyeshot.core.adjoint import units
from eyeshot.core.patches import Patch
from eyeshot.core.primitives import Stencil
from eyeshot.core.windows import spread
from eyeshot.errors import EyeshotError

__all__ = ["kernel_exceeds_input", "mostly_padding"]

#: A smaller share of all weights than this is a note.
LITTLE = 0.01


@rule(
    "kernel-exceeds-input",
    topic="padding",
    severity="warning",
    summary="Taps of a kernel never land inside its input: their weights only meet padding.",
)
def kernel_exceeds_input(net: Network) -> Iterator[Finding]:
    kernels = convolutions(net)
    dead = [kernel for kernel in kernels if kernel.dead.any()]
    if dead:
        yield _dead_weights(net, kernels, dead)
    diluted = [kernel for kernel in averages(net) if kernel.dead.any()]
    if diluted:
        yield _diluted(net, diluted)


def _dead_weights(net: Network, kernels: list[Kernel], dead: list[Kernel]) -> Finding:
    dead.sort(key=lambda k: (-(k.weights or 0) * k.share, -k.share))
    worst = dead[0]
    lost = sum(round(k.weights * k.share) for k in dead if k.weights)
    total = sum(k.weights or 0 for k in kernels)
    known = all(k.weights for k in kernels)
    many = len(dead) > 1
    message = f"{_taps(worst)} of {worst.layer.name} ({_form(net, worst)}) never meet its input"
    if many:
        message += f"; nor do taps of {len(dead) - 1} more convolution{'s' * (len(dead) > 2)}"
    cost = f"{percent(worst.share)} of its weights only ever multiply padding: they learn nothing."
    if known:
        share = percent(lost / total)
        cost = f"{lost:,} of the {total:,} weights of all convolutions ({share}) only ever multiply padding: "
        cost += "they learn nothing, and cost memory and time."
    needed = _needed(net, dead)
    remedy = []
    if needed:
        size = "×".join(str(each["size"]) for each in needed)
        remedy.append(f"inputs of {size}, unless resized on the way, use every tap")
    if not worst.transposed and worst.share < 1:
        remedy.append(f"a kernel of {_cut(worst)} in {worst.layer.name} computes the same")
    remedy.append(f"less striding before {'them' if many else 'it'}, or less dilation, uses more")
    return Finding(
        layers=tuple(call.name for k in dead for call in k.calls),
        message=message,
        cost=cost,
        remedy=f"{'; '.join(remedy).capitalize()}.",
        evidence={
            "dead_weights": lost if known else None,
            "weights": total if known else None,
            "needed_input": needed,
            "kernels": [_evidence(k) for k in dead],
        },
        exact=not any(v in net.graph.bounds for k in dead for c in k.calls for v in net.made(c)),
        severity="note" if known and lost < LITTLE * total else None,
    )


def _diluted(net: Network, pools: list[Kernel]) -> Finding:
    pools.sort(key=lambda k: -k.share)
    worst = pools[0]
    return Finding(
        layers=tuple(k.layer.name for k in pools),
        message=f"{_taps(worst)} of {worst.layer.name} ({_form(net, worst)}) are padding in every window",
        cost=f"Its averages are at most {percent(1 - worst.share)} of those of the map: zeros count too.",
        remedy=f"Leave padding out of the average of {worst.layer.name} (count_include_pad=False), or give it "
        f"a kernel of {_cut(worst)}.",
        evidence={"kernels": [_evidence(k) for k in pools]},
        severity="note",
    )


def _taps(kernel: Kernel) -> str:
    count = int(kernel.dead.sum())
    return f"{count:,} of the {kernel.dead.size:,} taps"


def _form(net: Network, kernel: Kernel) -> str:
    """``3×3, dilation 18, on a map of 14×14``."""
    shape = "×".join(str(w.kernel) for w in kernel.windows)
    steps = {w.taps.step for w in kernel.windows}
    dilated = "" if steps == {1} or kernel.transposed else f", dilation {listed(map(str, steps))}"
    sizes = "×".join(str(w.size) for w in kernel.windows)
    where = "" if len(kernel.windows) > 1 else f" along dim {kernel.windows[0].dim}"
    return f"{shape}{dilated}, on {sizes} positions{where}"


def _cut(kernel: Kernel) -> str:
    """The kernel without the taps that are dead at its ends."""
    sizes = []
    for window in kernel.windows:
        live = np.flatnonzero(window.used())
        sizes.append(str(live[-1] - live[0] + 1) if live.size else "0")
    return "×".join(sizes)


def _evidence(kernel: Kernel) -> dict[str, Any]:
    return {
        "layer": kernel.layer.name,
        "op": kernel.layer.op,
        "dead_taps": int(kernel.dead.sum()),
        "taps": kernel.dead.size,
        "share": kernel.share,
        "weights": kernel.weights,
        "dims": [
            {
                "dim": w.dim,
                "size": w.size,
                "span": w.span,
                "taps": w.kernel,
                "dead": w.used().count(False),
                "needed_size": w.enough(),
            }
            for w in kernel.windows
        ],
    }


def _needed(net: Network, dead: list[Kernel]) -> list[dict[str, Any]]:
    """Sizes of the input, per axis, at which every tap lands inside; none where they can't be told.

    Through windows alone a map of n positions, ``jump`` apart, has m where the input is (m - n)·jump larger.
    """
    if not all(_scales(net, window.value) for kernel in dead for window in kernel.windows):
        return []
    found: dict[tuple[str, int], int] = {}
    for kernel in dead:
        for window in kernel.windows:
            at, jump = _jump(net, window)
            if at is None or jump is None:
                return []
            more = math.ceil((window.enough() - window.size) * jump)
            found[at] = max(found.get(at, 0), more)
    out = []
    for source in net.report._sources:
        for axis in source.axes:
            size = source.shape[axis] + found.get((source.name, axis), 0)
            out.append({"input": source.name, "axis": axis, "size": size})
    return out


def _jump(net: Network, window: Window) -> tuple[tuple[str, int] | None, int | Fraction | None]:
    """The axis that the positions under a window follow, and how far apart they are."""
    if window.value in net.sources:
        return (net.sources[window.value], window.dim), 1
    layer = net.layer(window.value)
    forms = [] if layer is None else [f for f in layer._forms if f.dim == window.dim]
    if layer is None or len(forms) != 1:
        return None, None
    source, axis = layer._report._axes[forms[0].k]
    return (source.name, axis), forms[0].jump


def _scales(net: Network, value: int) -> bool:
    """Whether a tensor grows with the input: made without resampling, or pooling to a given size."""
    graph = net.graph
    seen = {value}
    stack = [value]
    while stack:
        v = stack.pop()
        prim = graph.prims[v]
        if type(prim) is Stencil:
            taps, owner = prim.taps, net.owner(v)
            # Of what repeats an edge only padding; nearest interpolation does so too, to any size.
            periodic = taps.border == "drop" and taps.advance == 1
            if taps.weights is not None or not (taps.period == 1 or periodic):
                return False
            if taps.border in ("clamp", "linear") and taps.advance != 1:
                return False
            n = graph.shapes[graph.inputs[v][0]][prim.dim]
            if taps.counts == (1,) and taps.advance == 1 and prim.size < n:
                return False  # a slice, which may end anywhere
            if owner is not None and "adaptive" in owner.op.lower():
                return False
        fresh = set(graph.inputs[v]) - seen
        seen |= fresh
        stack += fresh
    return True


# --- mostly padding

#: A map is reported from this mean share on, and is a warning where each unit looked at has so much.
MEAN, EVERY = 0.5, 0.95
#: A walk that meets more positions than this takes longer than a check should.
MAX_POSITIONS = 1 << 26
#: A mass below this is rounding.
NOISE = 1e-12


@rule(
    "mostly-padding",
    topic="padding",
    severity="note",
    summary="More than half of what a last map's units count is padding.",
)
def mostly_padding(net: Network) -> Iterator[Finding]:
    padded = _padded(net)
    if not padded:
        return
    found: dict[Severity, list[tuple[Layer, dict[int, float], dict[str, Any]]]] = {}
    for layer in net.maps:
        # What an upper bound counts is none: no share of it says anything.
        if layer.status == "bound" or _reaching(layer) <= MEAN:
            continue
        _afford(net, layer)
        lost = _lost(net, layer, [(0, layer.shape[d]) for d in layer.unit_dims], padded)
        mean = sum(lost.values())
        if mean <= MEAN:
            continue
        evidence = {"layer": layer.name, "shape": list(layer.shape), "mean": mean}
        single = {
            name: sum(_lost(net, layer, [(i, i + 1) for i in at], padded).values())
            for name, at in _places(layer).items()
        }
        least = min(single.values())
        severity: Severity = "warning" if least > EVERY else "note"
        found.setdefault(severity, []).append((layer, lost, {**evidence, "units": single}))
    for severity, maps in found.items():
        yield _mostly(net, severity, sorted(maps, key=lambda each: -each[2]["mean"]))


def _mostly(
    net: Network, severity: Severity, maps: Sequence[tuple[Layer, dict[int, float], dict[str, Any]]]
) -> Finding:
    layer, lost, evidence = maps[0]
    blame: dict[str, float] = {}
    for v, share in lost.items():
        owner = net.owner(v)
        if owner is not None:
            blame[owner.name] = blame.get(owner.name, 0.0) + share
    worst = sorted(blame, key=lambda name: -blame[name])[:5]
    sizes = "×".join(str(layer.shape[d]) for d in layer.unit_dims)
    single = evidence["units"]
    middle, corner = _share(single["middle"]), _share(max(single.values()))
    message = (
        f"{_share(evidence['mean'])} of what the units of {layer.name} ({sizes}) count is padding"
    )
    if middle != corner:
        message += f": {middle} in the middle, up to {corner} at the border"
    if len(maps) > 1:
        message += f"; {len(maps) - 1} more of the last maps count more than half of it"
    cost = (
        "What follows adds up more zeros than input, the more the nearer a unit is to the border."
    )
    if severity == "warning":
        rest = percent(1 - min(single.values()))
        cost = f"Even the unit that counts the input most counts it with {rest}: depth and parameters go into "
        cost += "zeros."
    return Finding(
        layers=tuple(dict.fromkeys([*(each[0].name for each in maps), *worst])),
        message=message,
        cost=cost,
        remedy=f"Larger inputs, or less striding before the last layers; most is lost in {listed(worst)}: "
        "there a smaller kernel or dilation, or reflected padding, loses less.",
        evidence={
            "maps": [each[2] for each in maps],
            "lost_in": {name: blame[name] for name in worst},
        },
        exact=net.exact([each[0] for each in maps]),
        severity=severity,
    )


def _share(value: float) -> str:
    return "more than 99 %" if value > 0.99 else percent(value)


def _padded(net: Network) -> list[int]:
    """The windows that reach out of what they read, to where zeros are; a maximum leaves those out."""
    graph = net.graph
    found = []
    for v, prim in enumerate(graph.prims):
        if type(prim) is Stencil and prim.taps.border == "drop" and not prim.taps.renormalized:
            reach = prim.taps.reach(prim.size)
            n = graph.shapes[graph.inputs[v][0]][prim.dim]
            outside = reach is not None and (reach[0] < 0 or reach[1] >= n)
            if outside and not _maximal(net.owner(v)):
                found.append(v)
    return found


def _maximal(layer: Layer | None) -> bool:
    op = "" if layer is None else layer.op.lower()
    return "max" in op and "pool" in op


def _afford(net: Network, layer: Layer) -> None:
    """Refuse a walk that is too long."""
    count = sum(math.prod(net.graph.shapes[v][2:]) for v in net.ancestors([layer]))
    if count > MAX_POSITIONS:
        raise EyeshotError(
            f"the maps before {layer.name} have {count} positions, more than {MAX_POSITIONS}"
        )


def _reaching(layer: Layer) -> float:
    """The share of units whose boxes reach out of the input; those of others have no padding."""
    if layer.is_global:
        return 1.0
    sizes = {(s.name, a): s.shape[a] for s in layer._report._sources for a in s.axes}
    inside = 1.0
    for field in layer.fields:
        if field.canvas is None:
            return 1.0
        period, advance, begin, end = field.canvas
        n = sizes[field.input, field.axis]
        if advance < 1:
            return 1.0
        count = 0
        for phase in range(min(period, field.n)):
            turns = -(-(field.n - phase) // period)
            first = max(0, -math.floor(begin[phase] / advance))
            last = min(turns - 1, math.floor((n - end[phase]) / advance))
            count += max(0, last - first + 1)
        inside *= count / field.n
    return 1 - inside


def _places(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The unit in the middle, one in a corner, and on a map of two axes one in the middle of each border."""
    extents = [layer.shape[d] for d in layer.unit_dims]
    found = {"middle": layer.middle}
    if max(extents) > 1:
        found["corner"] = (0,) * len(extents)
    if len(extents) == 2 and min(extents) > 2:
        (middle, other), (rows, columns) = layer.middle, extents
        found["top"], found["bottom"] = (0, other), (rows - 1, other)
        found["left"], found["right"] = (middle, 0), (middle, columns - 1)
    return found


def _lost(
    net: Network, layer: Layer, box: Sequence[tuple[int, int]], padded: list[int]
) -> dict[int, float]:
    """By window, the share of the mass of a box of units that falls into its padding.

    What falls on constants, or on places that nothing is written to, is not part of it.
    """
    graph, alive = net.graph, net.alive
    start = units(layer.shape, dict(zip(layer.unit_dims, box, strict=True)), boolean=False)
    watched = [v for v in padded if v <= layer._value]
    held = net.adjoint.passing({layer._value: start}, watched)
    lost: dict[int, float] = {}
    for v in watched:
        patch, prim = held.get(v), graph.prims[v]
        if patch is None:
            continue
        assert type(prim) is Stencil
        state = alive[v]
        if not isinstance(state, bool):
            marks = zip(patch.begin, patch.end, state.shape, strict=True)
            inside = state[tuple(slice(b, e) if n > 1 else slice(None) for b, e, n in marks)]
            patch = patch._replace(array=patch.array * inside)
        (x,) = graph.inputs[v]
        kept = spread(patch, prim.dim, prim.taps, graph.shapes[x][prim.dim])
        share = _total(patch) - (0.0 if kept is None else _total(kept))
        if share > NOISE:
            lost[v] = share
    return lost


def _total(patch: Patch) -> float:
    return float(patch.sum(range(patch.array.ndim)).sum())
