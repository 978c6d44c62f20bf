"""Findings about how much a network can see, and layers that add nothing to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from eyeshot.analysis.findings.finding import Finding, rule
from eyeshot.analysis.findings.inputrange import input_range, width_into
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.sight import Sight, seen, sight
from eyeshot.analysis.findings.text import axes, listed, number, percent, sizes
from eyeshot.analysis.report import Layer
from eyeshot.analysis.touched import over
from eyeshot.core.adjoint import units
from eyeshot.core.terms import Number
from eyeshot.errors import EyeshotError

__all__ = ["anchor_mismatch", "field_below_input", "field_below_object", "unproductive_layers"]


# --- layers that add no context

#: A smaller share of the layers with windows than this is a note.
FEW = 0.1


class Window(NamedTuple):
    """A layer with weights that widens fields along axes ``ks``; the numbers are per such axis.

    ``smallest``: the width of the narrowest path into it. ``positions``: how many positions the map that it
    reads has. ``idle``: whether it can add context nowhere.
    """

    layer: Layer
    ks: tuple[int, ...]
    smallest: tuple[int, ...]
    positions: tuple[int, ...]
    idle: bool


@rule(
    "unproductive-layers",
    topic="context",
    severity="warning",
    summary="Layers with windows that can't add context: what comes into them covers the input already.",
)
def unproductive_layers(net: Network) -> Iterator[Finding]:
    windows = [window for layer in net.weighted if (window := _window(net, layer))]
    # Weights that several maps share are not idle where one of these has room for them.
    at_work = {net.called(window.layer) for window in windows if not window.idle}
    idle = [window for window in windows if net.called(window.layer) not in at_work]
    if not idle:
        return
    lengths = _lengths(net)
    busy = {window.layer._value for window in windows if not window.idle}
    behind = {w.layer._value: _behind(net, w.layer) for w in idle}
    border = next((w for w in idle if busy.isdisjoint(behind[w.layer._value])), None)
    first = border or idle[0]
    maps = [layer for layer in net.weighted if layer.unit_dims]  # a classifier's head is none
    if border is None:
        after = [w.layer for w in idle]
        cost = f"The windows of {len(idle)} of {len(maps)} layers with weights find nothing that is not known"
        cost += " already; what comes behind them still adds context."
    else:
        after = [layer for layer in maps if layer._value in behind[first.layer._value]]
        cost = f"From {first.layer.name} on, {len(after)} of {len(maps)} layers with weights cost "
        cost += "parameters and time, but there is nothing wider left for them to find."
    # A pyramid's coarse levels are meant for what is large: its fine ones do without them.
    spared = any(all(end._value not in found for found in behind.values()) for end in net.maps)
    few = len(idle) < FEW * len(windows)
    by_field = [w for w in idle if min(w.positions) > 1]
    shown = sizes([lengths[k] for k in first.ks])
    if len(first.ks) < len(lengths):
        shown += f" along {axes(sorted({net.report._axes[k][1] for k in first.ks}))}"
    if first in by_field:
        why = f"the narrowest path into {first.layer.name} has read {sizes(first.smallest)} positions already"
    else:
        why = f"the map that {first.layer.name} reads has one position, with nothing but padding around it"
    yield Finding(
        layers=tuple(w.layer.name for w in (first, *(w for w in idle if w is not first))),
        message=f"At an input of {shown}, {len(idle)} of {len(windows)} layers with windows can't add context: "
        f"{why}",
        cost=cost,
        remedy=_remedy(net, idle, first),
        evidence={
            "axes": sorted({net.report._axes[k][1] for w in idle for k in w.ks}),
            "input": lengths,
            "border": None if border is None else border.layer.name,
            "behind": len(after),
            "weighted": len(maps),
            "windows": len(windows),
            "by_field": len(by_field),
            "by_map": len(idle) - len(by_field),
            "given_more_than_the_input": sum(_given_more(net, layer) for layer in maps),
            "range": [each.to_dict() for each in input_range(net)],
            "layers": [_evidence(net, w, lengths) for w in idle],
        },
        exact=net.exact([w.layer for w in idle]),
        severity="note" if spared or few else None,
    )


def _lengths(net: Network) -> list[int]:
    return [source.shape[axis] for source, axis in net.report._axes]


def _behind(net: Network, layer: Layer) -> set[int]:
    """The values of ``layer`` and of all layers made from it."""
    found = {layer._value}
    for other in net.layers:
        if other._value > layer._value and not found.isdisjoint(net.inputs(other)):
            found.add(other._value)
    return found


def _window(net: Network, layer: Layer) -> Window | None:
    """None for a layer that widens nothing: 1x1 convolutions, linear layers, what upsamples."""
    ks, smallest, positions = [], [], []
    idle = True
    for k, length in enumerate(_lengths(net)):
        before, after = width_into(net, layer, k), net.paths.width(layer._value, k)
        if before is None or after is None:
            # Its window is not known to be idle, so it is not.
            idle = False
            continue
        if not 0 < before < after < math.inf:
            continue
        n = max([parent._forms[k].n for parent in _reading(net, layer, k)], default=length)
        if layer._forms[k].n > n:
            return None
        ks.append(k)
        smallest.append(int(before))
        positions.append(n)
        idle = idle and (before > length or n == 1)
    if not ks:
        return None
    return Window(layer, tuple(ks), tuple(smallest), tuple(positions), idle)


def _reading(net: Network, layer: Layer, k: int) -> list[Layer]:
    """The layers that ``layer`` is made from and that read axis ``k``."""
    return [parent for parent in net.parents(layer) if parent._forms[k].raw.reads]


def _evidence(net: Network, window: Window, lengths: Sequence[int]) -> dict[str, Any]:
    covers = [
        net.paths.covers(v, k, lengths[k])
        for k in window.ks
        for v in net.inputs(window.layer)
        if net.paths.width(v, k)
    ]
    whole = False if False in covers else None if None in covers else True
    return {
        "layer": window.layer.name,
        "smallest": list(window.smallest),
        "largest": [
            _finite(max([p.size[k] for p in _reading(net, window.layer, k)], default=1))
            for k in window.ks
        ],
        "map": list(window.positions),
        "every_unit_reads_all": whole,
    }


def _given_more(net: Network, layer: Layer) -> bool:
    """Whether the narrowest path into a layer, with a window or not, is wider than the input on all axes."""
    widths = [width_into(net, layer, k) for k in range(len(net.report._axes))]
    return all(
        width is not None and length < width < math.inf
        for width, length in zip(widths, _lengths(net), strict=True)
    )


def _finite(size: Number) -> int | None:
    return int(size) if math.isfinite(size) else None


def _remedy(net: Network, idle: Sequence[Window], first: Window) -> str:
    """An input that is large enough, and the strides that make it too small."""
    needed = []
    for k, each in enumerate(input_range(net)):
        # A map of one position gets a second when the input grows by its jump.
        jumps = [
            parent.jump[k] or 0
            for w in idle
            if k in w.ks and w.positions[w.ks.index(k)] == 1
            for parent in net.parents(w.layer)
        ]
        grown = [each.size + math.ceil(max(jumps))] if jumps else []
        narrow = [w.smallest[w.ks.index(k)] for w in idle if k in w.ks]
        if narrow:
            needed.append(max([each.smallest or 0, *narrow, *grown]))
    strided = []
    for layer in net.layers:
        if layer._value < first.layer._value and any(
            _strides(net, layer, k) for k in range(len(layer.fields))
        ):
            strided.append(layer.name)
    strides = (
        f"give up strides before it ({listed(strided, 2)}), which divides all fields behind them; or "
        if strided
        else ""
    )
    return (
        f"Give it inputs of {sizes(needed)} or more; or {strides}end it before "
        f"{first.layer.name}, and put its head there."
    )


def _strides(net: Network, layer: Layer, k: int) -> bool:
    jump = layer.jump[k]
    before = [parent.jump[k] for parent in net.parents(layer)] or [1]
    return jump is not None and all(b is not None and 0 < b < jump for b in before)


# --- what is never seen whole


@rule(
    "field-below-input",
    topic="context",
    severity="note",
    summary="No unit of an output sees the whole input.",
)
def field_below_input(net: Network) -> Iterator[Finding]:
    found: dict[tuple[tuple[str, int, int, int, int], ...], list[Layer]] = {}
    for layer in net.outputs:
        if _end_to_end(net, layer):
            continue
        # Each input by itself.
        by_source: dict[str, list[tuple[str, int, int, int, int]]] = {}
        for k, ((source, axis), form) in enumerate(
            zip(net.report._axes, layer._forms, strict=True)
        ):
            if (
                not (form.raw.terms is not None and form.is_global)
                and not layer.fields[k].is_global
                and 0 < layer.fields[k].size < source.shape[axis]
            ):
                short = (source.name, axis, k, int(layer.fields[k].size), source.shape[axis])
                by_source.setdefault(source.name, []).append(short)
        for each in by_source.values():
            found.setdefault(tuple(each), []).append(layer)
    for shorts, layers in found.items():
        ks = [k for _, _, k, _, _ in shorts]
        field, length = [s for *_, s, _ in shorts], [n for *_, n in shorts]
        names = listed(layer.name for layer in layers)
        who = f"A unit of {names} sees" if len(layers) == 1 else f"Units of {names} see"
        yield Finding(
            layers=tuple(layer.name for layer in layers),
            message=f"{who} at most {sizes(field)} of {sizes(length)} positions along "
            f"{axes([axis for _, axis, *_ in shorts])}{_of(net, shorts[0][0])}",
            cost=f"Whatever depends on two things {sizes(field)} or more positions apart can't be learnt.",
            remedy=_widen(net, layers[0], ks[0], length[0] - field[0]),
            evidence={
                "input": shorts[0][0],
                "axes": [axis for _, axis, *_ in shorts],
                "size": field,
                "length": length,
                "share": [size / n for size, n in zip(field, length, strict=True)],
            },
            exact=net.exact(layers),
        )


def _of(net: Network, source: str) -> str:
    """Which input is meant, where there are several."""
    return f" of {source}" if len(net.report._sources) > 1 else ""


def _end_to_end(net: Network, layer: Layer) -> bool:
    """Whether its unit in the middle reads both ends of all axes: one walk, where hulls of all take long."""
    if all(form.raw.terms is not None for form in layer._forms) and layer.unit_dims:
        return False
    at = {dim: (i, i + 1) for dim, i in zip(layer.unit_dims, layer.middle, strict=True)}
    start = {layer._value: units(layer.shape, at, boolean=True)}
    read = net.adjoint.passing(start, net.sources)
    for source, axis in net.report._axes:
        if source.value not in read:
            return False
        line = over(read[source.value], (axis,)).dense((source.shape[axis],))
        if not line[0] or not line[-1]:
            return False
    return True


def _widen(net: Network, layer: Layer, k: int, missing: int) -> str:
    """How many windows of 3 positions make up for what is missing, where each does the most."""
    best: int | Fraction = 0
    where = None
    stack, seen_values = [layer], set()
    while stack:
        at = stack.pop()
        if at._value not in seen_values:
            seen_values.add(at._value)
            stack += net.parents(at)
            # A mirrored map has a jump below 0.
            jump = at.jump[k] or 0
            jump = max(jump, -jump)
            if jump and (jump, at._value) > (best, -1 if where is None else where._value):
                best, where = jump, at
    if where is None:
        return "Add layers with windows, strides or dilation."
    count = math.ceil(missing / (2 * best))
    enough = (
        "one makes up for it"
        if count == 1
        else f"{count} of them, or dilations that add up to {count}, make up for it"
    )
    return (
        f"A 3-wide layer after {where.name} (jump {number(best)}) widens the field by {number(2 * best)}, with "
        f"dilation d by {number(2 * best)}·d: {enough}; or add global context."
    )


# --- objects


class Level(NamedTuple):
    """An output and what it sees whole along the axes of one input."""

    layer: Layer
    sights: tuple[Sight, ...]


@rule(
    "field-below-object",
    topic="context",
    severity="error",
    summary="An object of the size that was given is seen whole by no unit, or not wherever it lies.",
    wants="object",
)
def field_below_object(net: Network) -> Iterator[Finding]:
    for source in net.report._sources:
        ks = [k for k, (each, _) in enumerate(net.report._axes) if each is source]
        lengths = [(net.options.object or ())[k] for k in ks]
        inside = [source.shape[net.report._axes[k][1]] for k in ks]
        if any(a > b for a, b in zip(lengths, inside, strict=True)):
            raise EyeshotError(
                f"object: {sizes(lengths)} is larger than the input's {sizes(inside)}"
            )
        outputs = [o for o in net.outputs if any(o._forms[k].raw.reads for k in ks)]
        levels = []
        for layer in outputs:
            sights = [sight(layer, k) for k in ks]
            if None in sights:
                return  # where its units look is not known
            levels.append(Level(layer, tuple([s for s in sights if s is not None])))
        share = seen([level.sights for level in levels], lengths)
        if not levels or share == 1:
            continue
        yield _short_sight(net, levels, ks, lengths, share)


def _short_sight(
    net: Network,
    levels: Sequence[Level],
    ks: Sequence[int],
    lengths: Sequence[int],
    share: Fraction,
) -> Finding:
    evidence: list[dict[str, Any]] = [
        {
            "output": level.layer.name,
            "size": [_finite(level.layer.fields[k].size) for k in ks],
            "everywhere": [each.everywhere for each in level.sights],
            "somewhere": [each.somewhere for each in level.sights],
        }
        for level in levels
    ]
    order = sorted(range(len(levels)), key=lambda i: evidence[i]["everywhere"], reverse=True)
    best = levels[order[0]]
    all_over = [each.everywhere for each in best.sights]
    least = (
        f"one of up to {sizes(all_over)}"
        if min(all_over)
        else "some positions are read by no unit, so none"
    )
    somewhere = sizes([each.somewhere for each in best.sights])
    name = net.report._axes[ks[0]][0].name
    what = sizes(lengths) + (f" in {name}" if len(net.report._sources) > 1 else "")
    if share == 0:
        message = (
            f"No unit of any output sees an object of {what} whole: the largest is {somewhere}"
        )
        cost = (
            "It is recognised by its parts alone; its extent and what is at both ends never meet."
        )
    else:
        message = (
            f"An object of {what} is not seen whole at {percent(float(1 - share))} of its places; "
            f"{least} everywhere"
        )
        cost = "There it is recognised by its parts alone; what is at both ends never meets."
    k = next(i for i, each in enumerate(best.sights) if each.everywhere < lengths[i])
    return Finding(
        layers=tuple(levels[i].layer.name for i in order),
        message=message,
        cost=cost,
        remedy=_widen(net, best.layer, ks[k], lengths[k] - best.sights[k].everywhere),
        evidence={
            "axes": [net.report._axes[k][1] for k in ks],
            "object": list(lengths),
            "share": float(share),
            "levels": [evidence[i] for i in order],
        },
        # Boxes are never too small, so what is in none of them is not seen, also where they are bounds.
        exact=True,
        severity="error" if share == 0 else "warning",
    )


# --- anchors


@rule(
    "anchor-mismatch",
    topic="context",
    severity="error",
    summary="A detection level's anchors are larger than what its units see, or leave gaps between them.",
    wants="anchors",
)
def anchor_mismatch(net: Network) -> Iterator[Finding]:
    for name, anchors in net.options.anchors.items():
        layer = net.report[name]
        # An axis that gates or attention read whole is seen whole.
        ks = [k for k, field in enumerate(layer.fields) if field.n and field.size > 0]
        local = [k for k in ks if not layer.fields[k].is_global]
        facts = {
            "level": name,
            "axes": [net.report._axes[k][1] for k in ks],
            "anchors": [[anchor[k] for k in ks] for anchor in anchors],
            "size": [_finite(layer.fields[k].size) for k in ks],
            "jump": [None if (j := layer.jump[k]) is None else float(j) for k in ks],
        }
        yield from _too_large(net, layer, local, anchors, facts)
        yield from _too_sparse(net, layer, ks, anchors, facts)


def _too_large(
    net: Network,
    layer: Layer,
    ks: Sequence[int],
    anchors: Sequence[Sequence[int]],
    facts: dict[str, Any],
) -> Iterator[Finding]:
    """Anchors larger than the field, and those that it holds only where a unit happens to lie right."""
    size = {k: layer.fields[k].size for k in ks}
    spread = {k: _everywhere(layer, k) for k in ks}
    over = [a for a in anchors if any(a[k] > size[k] for k in ks)]
    partly = [
        a
        for a in anchors
        if a not in over and any(a[k] > least for k in ks if (least := spread[k]) is not None)
    ]
    if over:
        worst = max(over, key=lambda a: max(a[k] - size[k] for k in ks))
        k = max(ks, key=lambda k: worst[k] - size[k])
        yield Finding(
            layers=(layer.name,),
            message=f"Anchors of {_shown(over, ks)} are larger than the {sizes([size[k] for k in ks])} "
            f"positions that a unit of {layer.name} sees",
            cost="Where such an object ends must be guessed: its edges lie outside of all that the unit reads.",
            remedy=_widen(net, layer, k, worst[k] - int(size[k])),
            evidence={**facts, "concerned": [[a[k] for k in ks] for a in over]},
            exact=True,  # fields are never too small
            severity="error",
        )
    if partly:
        whole = [spread[k] or 0 for k in ks]
        yield Finding(
            layers=(layer.name,),
            message=f"Objects of {_shown(partly, ks)}, the anchors of {layer.name}, are not seen whole "
            f"wherever they lie: up to {sizes(whole)} is",
            cost="Objects that lie between two units are cut off at one end for both of them.",
            remedy="Give these anchors to a coarser level, or widen the field by the jump.",
            evidence={
                **facts,
                "everywhere": whole,
                "concerned": [[a[k] for k in ks] for a in partly],
            },
            exact=True,
            severity="warning",
        )


def _everywhere(layer: Layer, k: int) -> int | None:
    """The largest object seen whole wherever it lies, away from borders; None where there is no closed form.

    The worst place for an object is to begin just before a unit does. It is then held best by the last unit of
    some phase that begins there or before: in a plain network r - j + 1.
    """
    canvas = layer._forms[k].canvas
    if canvas is None or canvas.advance <= 0:
        return None
    hulls = [
        (int(low), int(high))
        for low, high in zip(canvas.begin, canvas.end, strict=True)
        if low < high and math.isfinite(low) and math.isfinite(high)
    ]
    if len(hulls) < canvas.period:
        return None
    step = canvas.advance
    return min(
        max(high + (place - low) // step * step - place for low, high in hulls)
        for place in [low - 1 for low, _ in hulls]
    )


def _too_sparse(
    net: Network,
    layer: Layer,
    ks: Sequence[int],
    anchors: Sequence[Sequence[int]],
    facts: dict[str, Any],
) -> Iterator[Finding]:
    """Positions between neighbouring anchors that none covers, not the largest either."""
    jumps = {k: jump for k in ks if (jump := layer.jump[k])}
    covered = max(
        math.prod(min(1.0, anchor[k] / float(jump)) for k, jump in jumps.items())
        for anchor in anchors
    )
    if covered < 1:
        yield Finding(
            layers=(layer.name,),
            message=f"Units of {layer.name} lie {sizes(list(jumps.values()))} positions apart, more than its "
            f"anchors of {_shown(anchors, list(jumps))} measure: {percent(1 - covered)} of the input lies "
            "in none",
            cost="A small object there overlaps no anchor, so that no unit is trained to find it.",
            remedy=f"Put these anchors on a level whose jump is at most {_shown(anchors, list(jumps))}, or "
            f"give {layer.name} larger ones.",
            evidence={**facts, "uncovered": 1 - covered},
            exact=net.exact([layer]),
            severity="warning",
        )


def _shown(anchors: Sequence[Sequence[int]], ks: Sequence[int]) -> str:
    return listed([sizes([anchor[k] for k in ks]) for anchor in anchors], 5)
