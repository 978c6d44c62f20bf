"""Findings about maps that don't lie over their input as they seem to: shifted, stretched, or lopsided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from eyeshot.analysis.findings.centring import better_size, centred
from eyeshot.analysis.findings.finding import Finding, Severity, rule
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.positions import Place, is_past, together
from eyeshot.analysis.findings.text import axes, distance, listed, near, percent
from eyeshot.analysis.report import Layer
from eyeshot.core.primitives import Stencil

__all__ = ["align_corners", "asymmetric_field", "shifted_map", "stretched"]

HALF = Fraction(1, 2)
#: A drift of less than this share of the input is not worth a note.
LITTLE = Fraction(1, 100)
#: A field is lopsided from this share of its size on.
LOPSIDED = Fraction(1, 20)
#: Interpolation weights are floats.
NOISE = 1e-6


# --- drift


class Drift(NamedTuple):
    """The drift of one map, as the finding lists it. Equal for two axes that tell the same."""

    layer: str
    drift: Fraction
    unit: Fraction
    length: int
    moves: tuple[tuple[str, Fraction], ...]
    size: tuple[int, Fraction] | None
    most: str
    change: str
    severity: Severity


@rule(
    "shifted-map",
    topic="alignment",
    severity="note",
    summary="The middle of a last map does not lie over the middle of the input.",
)
def shifted_map(net: Network) -> Iterator[Finding]:
    by_source: dict[tuple[str, Severity], dict[int, list[Drift]]] = {}
    for k, (source, axis) in enumerate(net.report._axes):
        for layer in _last(net, k):
            place = net.positions.at(layer._value, k)
            if place is None or not place.drift or _is_time(net, place, k):
                continue
            severity: Severity = "warning" if _displaced(net, layer, k) else "note"
            least = max(HALF, LITTLE * place.length) if severity == "note" else HALF
            if abs(place.drift) < least:
                continue
            moves = net.positions.moves(layer._value, k)
            most = max(moves, key=lambda v: abs(moves[v]), default=layer._value)
            owner = net.owner(most) or layer
            found = Drift(
                layer.name,
                place.drift,
                place.rate,
                place.length,
                _by_layer(net, moves),
                better_size(net.positions, layer._value, k, severity == "warning"),
                owner.name,
                centred(net.graph, most, owner.name),
                severity,
            )
            by_source.setdefault((source.name, severity), {}).setdefault(axis, []).append(found)
    for (name, _), by_axis in by_source.items():
        for dims, drifts in together(by_axis):
            yield _shifted(net, name, dims, drifts)


def _shifted(net: Network, source: str, dims: list[int], drifts: list[Drift]) -> Finding:
    ranked = sorted(drifts, key=lambda each: -abs(each.drift))
    worst = ranked[0]
    # The map itself where its drift has no single step to blame.
    blamed = dict.fromkeys([name for name, _ in worst.moves] + [each.layer for each in ranked])
    layers = [layer for layer in net.layers if layer.name in blamed]
    layers.sort(key=lambda layer: list(blamed).index(layer.name))
    way = "after" if worst.drift > 0 else "before"
    steps = [f"{name} {near(move)}" for name, move in worst.moves]
    apart = distance(worst.drift)
    if worst.severity == "warning":
        cost = (f"What the output says of a place lies {apart} aside of it, "
                f"{near(abs(worst.drift) / worst.unit)} of the output's own units.")  # fmt: skip
    else:
        cost = ("Taken as centred at (i + 1/2) times the jump, units are off by the drift; those at one end "
                f"of the map see {distance(2 * worst.drift)} more of padding than those at the "
                "other.")  # fmt: skip
    return Finding(
        layers=tuple(layer.name for layer in layers),
        message=f"The middle of {worst.layer} lies {apart} {way} the middle of the input "
        f"along {axes(dims)}" + (f": {listed(steps, 6)}" if steps else ""),
        cost=cost,
        remedy=_remedy(worst),
        evidence={
            "input": source,
            "axes": dims,
            "drift": float(worst.drift),
            "maps": [
                {"layer": d.layer, "drift": float(d.drift), "unit": float(d.unit)} for d in ranked
            ],
            "moves": [{"layer": name, "shift": float(move)} for name, move in worst.moves],
            "better_size": None if worst.size is None else worst.size[0],
            "drift_there": None if worst.size is None else float(worst.size[1]),
        },
        exact=net.exact(layers),
        severity=worst.severity,
    )


def _remedy(drift: Drift) -> str:
    change = drift.change
    if len(drift.moves) > 1:
        change += (
            f", and so on for {listed([name for name, _ in drift.moves if name != drift.most])}"
        )
    if drift.size is None:
        return f"{change[:1].upper()}{change[1:]}."
    size, left = drift.size
    where = "the drift is 0" if not left else f"the drift is {near(left)}"
    return f"Use inputs of {size} positions, where {where}; or {change}."


def _last(net: Network, k: int) -> tuple[Layer, ...]:
    """The last maps; none where an output that lies over the input is a map without a place."""
    source, _ = net.report._axes[k]
    for output in net.outputs:
        dim = output._forms[k].dim
        over = dim is not None and output.shape[dim] > 1 and len(output.shape) == len(source.shape)
        if over and net.positions.at(output._value, k) is None:
            return ()
    return net.maps


def _displaced(net: Network, layer: Layer, k: int) -> bool:
    """Whether an output as fine as its input lies aside of it by half a position or more on every way."""
    positions = net.positions
    if layer._value not in {output._value for output in net.outputs}:
        return False
    source = net.report._axes[k][0]
    for j, (other, _) in enumerate(net.report._axes):
        place = positions.at(layer._value, j)
        if other is source and (place is None or place.rate > 1):
            return False
    spread = positions.spreads[layer._value][k]
    if spread is None or spread.least <= 0 <= spread.most:
        return False
    return min(abs(spread.least), abs(spread.most)) >= HALF


def _by_layer(net: Network, moves: dict[int, Fraction]) -> tuple[tuple[str, Fraction], ...]:
    """What each layer adds to the drift, in the order of the network."""
    found: dict[str, Fraction] = {}
    for at, move in sorted(moves.items()):
        layer = net.owner(at)
        assert layer is not None
        found[layer.name] = found.get(layer.name, Fraction()) + move
    return tuple((name, move) for name, move in found.items() if move)


def _is_time(net: Network, place: Place, k: int) -> bool:
    """Whether this axis is read causally: said to be, or the only one and read so."""
    if net.options.causal and net.report._axes[k][1] == net.options.time:
        return True
    return len(net.report._axes) == 1 and is_past(place)


# --- stretched


class Stretch(NamedTuple):
    """A resize with aligned corners along one axis. Equal for two axes that tell the same.

    ``shift``: of its outermost units in input positions, None behind a join of unequal rates.
    """

    layer: str
    n: int
    size: int
    shift: Fraction | None
    units: Fraction


@rule(
    "align-corners",
    topic="alignment",
    severity="note",
    summary="A resize aligns the corners: how far it stretches depends on the size.",
)
def align_corners(net: Network) -> Iterator[Finding]:
    by_source: dict[str, dict[int, list[Stretch]]] = {}
    positions = net.positions
    for v, dim in _aligned(net).items():
        (i,) = net.graph.inputs[v]
        layer = net.owner(v)
        n, size = net.graph.shapes[i][dim], net.graph.shapes[v][dim]
        shift = HALF - Fraction(n, 2 * size)
        for k, (source, axis) in enumerate(net.report._axes):
            if layer is None or not positions.follows(v, dim, k):
                continue
            before, after = positions.at(i, k), positions.at(v, k)
            if after is not None and 1 in (after.rate.numerator, after.rate.denominator):
                continue  # a grid whose corners were aligned all the way: sizes of k * 2^d + 1
            far = None if before is None else abs(shift * before.rate)
            record = Stretch(layer.name, n, size, far, abs(shift) * size / n)
            by_source.setdefault(source.name, {}).setdefault(axis, []).append(record)
    # Two images that one network reads are resized alike.
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, by_axis in by_source.items():
        for dims, found in together(by_axis):
            alike.setdefault((tuple(dims), tuple(found)), []).append(name)
    for (dims, found), names in alike.items():
        yield _stretch(net, names, dims, found)


def _stretch(
    net: Network, sources: Sequence[str], dims: Sequence[int], found: Sequence[Stretch]
) -> Finding:
    ranked = sorted(found, key=lambda each: -each.units)
    worst = ranked[0]
    layers = [layer for layer in net.layers if layer.name in {each.layer for each in found}]
    layers.sort(key=lambda layer: layer.name != worst.layer)
    more = len(layers) - 1
    far = "" if worst.shift is None else f" ({distance(worst.shift)})"
    return Finding(
        layers=tuple(layer.name for layer in layers),
        message=f"{worst.layer} resizes {worst.n} units to {worst.size} along {axes(dims)} with aligned "
        f"corners, by {worst.size - 1}/{worst.n - 1} instead of {near(Fraction(worst.size, worst.n))}: its "
        f"outermost units lie {near(worst.units)} of its own units{far} off the grid"
        + (f"; so do {more} more layer{'s' * (more > 1)}" if more else ""),
        cost="The shift is 0 in the middle and grows towards the borders; the factor is another for every "
        "size of the input, so that tiles, crops and other resolutions give other results.",
        remedy=f"Resize with align_corners=False in {listed(layer.name for layer in layers)} (and train so).",
        evidence={
            "inputs": list(sources),
            "axes": list(dims),
            "resizes": [
                {"layer": s.layer, "from": s.n, "to": s.size, "units": float(s.units),
                 "shift": None if s.shift is None else float(s.shift)}
                for s in ranked
            ],
        },
        exact=net.exact(layers),
    )  # fmt: skip


def _aligned(net: Network) -> dict[int, int]:
    """The resizes that put first on first and last on last, and are no identity, with their dims."""
    found = {}
    for v, prim in enumerate(net.graph.prims):
        if isinstance(prim, Stencil) and prim.taps.weights is not None:
            n = net.graph.shapes[net.graph.inputs[v][0]][prim.dim]
            if 1 < n != prim.size > 1:
                ends = [(_point(prim, 0), 0), (_point(prim, prim.size - 1), n - 1)]
                if all(abs(point - end) < NOISE for point, end in ends):
                    found[v] = prim.dim
    return found


def _point(prim: Stencil, i: int) -> float:
    """Where output ``i`` is interpolated, an index of its input."""
    taps = prim.taps
    assert taps.weights is not None
    first, count = taps.window(i)
    weights = taps.weights[i % taps.period]
    return sum(w * (first + taps.step * t) for t, w in zip(range(count), weights, strict=True))


def stretched(net: Network) -> set[int]:
    """The values that read through a resize with aligned corners."""
    found = set(_aligned(net))
    for v, inputs in enumerate(net.graph.inputs):
        if not found.isdisjoint(inputs):
            found.add(v)
    return found


# --- lopsided


@rule(
    "asymmetric-field",
    topic="alignment",
    severity="note",
    summary="A unit's field reaches much further to one side of where its mass lies.",
)
def asymmetric_field(net: Network) -> Iterator[Finding]:
    for source in net.report._sources:
        by_axis: dict[int, list[tuple[Any, ...]]] = {}
        for k, (of, axis) in enumerate(net.report._axes):
            if of is not source:
                continue
            for layer in _last(net, k):
                place = net.positions.at(layer._value, k)
                spread = net.positions.spreads[layer._value][k]
                if place is None or spread is None or _is_time(net, place, k):
                    continue
                aside = place.drift - spread.mean
                if abs(aside) <= max(place.rate, LOPSIDED * place.size):
                    continue
                by_axis.setdefault(axis, []).append(
                    (layer.name, aside, place.size, _apart(net, layer._value, k))
                )
        for dims, found in together(by_axis):
            yield _asymmetric(net, source.name, dims, found)


def _asymmetric(
    net: Network, source: str, dims: list[int], found: Sequence[tuple[Any, ...]]
) -> Finding:
    name, aside, size, moves = max(found, key=lambda each: abs(each[1]) / each[2])
    before, after = size / 2 - aside, size / 2 + aside
    names = dict.fromkeys([*(layer for layer, _ in moves), *(each[0] for each in found)])
    layers = [layer for layer in net.layers if layer.name in names]
    layers.sort(key=lambda layer: list(names).index(layer.name))
    return Finding(
        layers=tuple(layer.name for layer in layers),
        message=f"The field of {name} reaches {near(before)} input positions before and {near(after)} after "
        f"the centre of its mass along {axes(dims)}",
        cost=f"The middle of the field is {near(abs(aside))} positions ({percent(float(abs(aside) / size))} "
        "of its size) from what the units mostly read: they see context on one side only.",
        remedy=f"Pad alike on both sides in {listed([layer for layer, _ in moves] or [name])}.",
        evidence={
            "input": source,
            "axes": dims,
            "maps": [
                {"layer": each[0], "before": float(each[2] / 2 - each[1]),
                 "after": float(each[2] / 2 + each[1]), "size": float(each[2])}
                for each in found
            ],
            "moves": [{"layer": layer, "shift": float(move)} for layer, move in moves],
        },
        exact=net.exact(layers),
    )  # fmt: skip


def _apart(net: Network, v: int, k: int) -> tuple[tuple[str, Fraction], ...]:
    """What the way that reads most adds to the drift and the way that reads least does not, largest first."""
    moves = net.positions.moves(v, k)
    for at, move in net.positions.moves(v, k, least=True).items():
        moves[at] = moves.get(at, Fraction()) - move
    # Where the ways part is a choice of this look, no move.
    moves = {at: move for at, move in moves.items() if len(net.graph.inputs[at]) == 1}
    return tuple(sorted(_by_layer(net, moves), key=lambda each: -abs(each[1])))
