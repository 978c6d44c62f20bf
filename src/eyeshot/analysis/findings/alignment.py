"""Findings about branches that don't meet: joined maps whose units lie over different places of the input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from eyeshot.analysis.findings.centring import centred
from eyeshot.analysis.findings.drift import stretched
from eyeshot.analysis.findings.finding import Finding, Severity, rule
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.positions import Place, is_past, together
from eyeshot.analysis.findings.text import axes, distance, listed, near
from eyeshot.analysis.report import Layer
from eyeshot.core.primitives import Concat, Join, Mix, Rearrange, Stencil

__all__ = ["misaligned_branches", "unequal_rates"]

#: From this share of the joined map's own unit on a shift is more than the rounding of a grid.
HALF = Fraction(1, 2)
#: Periods up to which the ends of two branches are compared unit by unit.
MAX_PERIOD = 1 << 12


#: A place and its value.
Tensor = tuple[Place, int]


class Meeting(NamedTuple):
    """Two of the tensors of a join, along one input axis: ``one`` reads at least as much as ``other``."""

    join: int
    one: int
    other: int
    a: Place
    b: Place

    @property
    def shift(self) -> Fraction:
        """How far the units of ``one`` lie behind those of ``other`` in the middle, in input positions."""
        return self.a.drift - self.b.drift

    @property
    def unit(self) -> Fraction:
        """The joined map's own unit in input positions."""
        return min(self.a.rate, self.b.rate)


class Record(NamedTuple):
    """A join as the finding lists it. Equal for two axes that tell the same."""

    layer: str
    one: str
    other: str
    first: Fraction
    last: Fraction
    unit: Fraction
    moves: tuple[tuple[str, Fraction], ...]
    remedy: str = ""
    changed: str = ""

    @property
    def shift(self) -> Fraction:
        return max(self.first, self.last, key=abs)

    @property
    def units(self) -> Fraction:
        return abs(self.shift) / self.unit


@rule(
    "misaligned-branches",
    topic="alignment",
    severity="warning",
    summary="Branches are joined whose units lie a constant way apart on the input.",
)
def misaligned_branches(net: Network) -> Iterator[Finding]:
    graph, places = net.graph, net.positions
    # By input, severity and kinds of the steps that shift; per axis the joins.
    groups: dict[tuple[str, Severity, frozenset[Any]], dict[int, list[Record]]] = {}
    for k, (source, axis) in enumerate(net.report._axes):
        for meeting in _meetings(net, k):
            shift, join = meeting.shift, net.owner(meeting.join)
            if meeting.a.rate != meeting.b.rate or not shift or join is None:
                continue
            if _ends_meet(net, meeting, k):
                continue
            moves = places.moves(meeting.one, k)
            for v, move in places.moves(meeting.other, k).items():
                moves[v] = moves.get(v, Fraction()) - move
            moves = {v: move for v, move in moves.items() if move}
            if sum(moves.values()) != shift:
                moves = {}  # a step has no place of its own
            blame = max(moves, key=lambda v: abs(moves[v]), default=meeting.join)
            changed = _name(net, blame)
            remedy = centred(graph, blame, changed)
            record = Record(join.name, _branch(net, meeting.one), _branch(net, meeting.other),
                            shift, shift, meeting.unit, _by_layer(net, moves), remedy, changed)  # fmt: skip
            severity: Severity = "warning" if record.units >= HALF else "note"
            key = (source.name, severity, frozenset(_kind(net, v) for v in moves))
            held = groups.setdefault(key, {}).setdefault(axis, [])
            if record not in held:
                held.append(record)
    for (name, level, _), by_axis in groups.items():
        for dims, records in together(by_axis):
            yield _misaligned(net, name, dims, records, level)


def _misaligned(
    net: Network,
    source: str,
    dims: list[int],
    records: list[Record],
    severity: Severity,
) -> Finding:
    ranked = sorted(records, key=lambda each: -abs(each.shift))
    worst = ranked[0]
    way = "after" if worst.shift > 0 else "before"
    blamed = [name for name, _ in worst.moves]
    layers = _distinct(net, [*blamed, *(r.layer for r in ranked)])
    others = [name for name in blamed if name != worst.changed]
    more = len(ranked) - 1
    apart = distance(worst.shift)
    return Finding(
        layers=tuple(layer.name for layer in layers),
        message=f"At {worst.layer} the units of {worst.one} lie {apart} {way} those of "
        f"{worst.other} along {axes(dims)}, {near(worst.units)} of the joined map's units"
        + (f"; so at {more} more join{'s' * (more > 1)}" if more else ""),
        cost=f"Each joined unit mixes places of the input that lie {apart} apart; later layers "
        "spend kernels on moving one back, and what is sharp on the input is displaced.",
        remedy=f"{_capital(worst.remedy)}"
        + (f", and so on for {listed(others)}" if others else "")
        + ".",
        evidence={
            "input": source,
            "axes": dims,
            "shift": float(worst.shift),
            "units": float(worst.units),
            "joins": [
                {"layer": r.layer, "shifted": r.one, "against": r.other, "shift": float(r.shift),
                 "unit": float(r.unit)}
                for r in ranked
            ],
            "moves": [{"layer": name, "shift": float(move)} for name, move in worst.moves],
        },
        exact=net.exact(layers),
        severity=severity,
    )  # fmt: skip


@rule(
    "unequal-rates",
    topic="alignment",
    severity="warning",
    summary="Branches are joined whose units move over the input at different steps.",
)
def unequal_rates(net: Network) -> Iterator[Finding]:
    by_source: dict[str, dict[int, list[Record]]] = {}
    bent = stretched(net)
    for k, (source, axis) in enumerate(net.report._axes):
        for meeting in _meetings(net, k):
            a, b = meeting.a, meeting.b
            join = net.owner(meeting.join)
            if a.rate == b.rate or join is None or {meeting.one, meeting.other} & bent:
                continue
            ends = (a.centre(0) - b.centre(0), a.centre(a.n - 1) - b.centre(b.n - 1))
            if max(map(abs, ends)) < HALF * meeting.unit:
                continue
            record = Record(join.name, _branch(net, meeting.one), _branch(net, meeting.other),
                            *ends, meeting.unit, _rates(net, meeting, k))  # fmt: skip
            held = by_source.setdefault(source.name, {}).setdefault(axis, [])
            if record not in held:
                held.append(record)
    for name, by_axis in by_source.items():
        for dims, records in together(by_axis):
            yield _unequal(net, name, dims, records)


def _unequal(net: Network, source: str, dims: list[int], records: list[Record]) -> Finding:
    ranked = sorted(records, key=lambda each: -abs(each.shift))
    worst = ranked[0]
    layers = _distinct(net, [*(name for name, _ in worst.moves), *(r.layer for r in ranked)])
    (_, rate), (_, other) = worst.moves[-2:]
    more = len(ranked) - 1
    blamed = listed(dict.fromkeys(name for name, _ in worst.moves[:-2])) or worst.layer
    return Finding(
        layers=tuple(layer.name for layer in layers),
        message=f"At {worst.layer} a unit of {worst.one} is {near(rate)} input positions wide along "
        f"{axes(dims)} and one of {worst.other} {near(other)}: the first units lie {near(abs(worst.first))} "
        f"apart and the last ones {near(abs(worst.last))}, {near(worst.units)} of the joined map's "
        "units" + (f"; so at {more} more join{'s' * (more > 1)}" if more else ""),
        cost="No convolution makes up for a shift that grows along the map, and every size of the input has "
        "another.",
        remedy=f"Enlarge by the factor that was taken away, on inputs that it divides (pad them), in place of "
        f"resizing to a size in {blamed}.",
        evidence={
            "input": source,
            "axes": dims,
            "threshold_units": float(HALF),
            "joins": [
                {"layer": r.layer, "branches": [r.one, r.other], "rates": [float(m) for _, m in r.moves[-2:]],
                 "shift_first": float(r.first), "shift_last": float(r.last), "unit": float(r.unit)}
                for r in ranked
            ],
        },
        exact=net.exact(layers),
    )  # fmt: skip


# --- what meets


def _meetings(net: Network, k: int) -> Iterator[Meeting]:
    """At every join, along axis ``k``, the two tensors that lie farthest apart."""
    graph, places = net.graph, net.positions
    for v, prim in enumerate(graph.prims):
        inputs = dict.fromkeys(graph.inputs[v])
        if len(inputs) < 2 or not isinstance(prim, (Join, Concat)):
            continue
        # By the dim counted from the last: a tensor of fewer dims is broadcast.
        shape = graph.shapes[v]
        found: dict[tuple[int, int], list[Tensor]] = {}
        for i in inputs:
            place = places.at(i, k)
            if place is None:
                continue
            dim = place.dim - len(graph.shapes[i]) + len(shape)
            if graph.shapes[i][place.dim] == shape[dim] and not (
                isinstance(prim, Concat) and prim.dim == dim
            ):
                found.setdefault((dim, place.n), []).append((place, i))
        for held in found.values():
            pair = _farthest(net, held, isinstance(prim, Concat))
            if pair is not None:
                # What reads less tells better where the map is meant to lie.
                (b, other), (a, one) = sorted(pair, key=lambda each: (each[0].size, each[1]))
                yield Meeting(v, one, other, a, b)


def _farthest(net: Network, held: Sequence[Tensor], concat: bool) -> tuple[Tensor, Tensor] | None:
    """Two tensors that differ most in rate, or else in drift; None where they all agree."""
    if len({(place.rate, place.drift) for place, _ in held}) < 2:
        return None
    # Parts of one tensor side by side are meant to differ: neighbours, phases, differences.
    by_root: dict[int, list[Tensor]] = {}
    for place, i in held:
        by_root.setdefault(_root(net, i, concat), []).append((place, i))
    held = [parts[0] for parts in by_root.values() if len({p.drift for p, _ in parts}) == 1]
    if len({(place.rate, place.drift) for place, _ in held}) < 2:
        return None
    low, high = (pick(held, key=lambda each: each[0].rate) for pick in (min, max))
    if low[0].rate == high[0].rate:
        low, high = (pick(held, key=lambda each: each[0].drift) for pick in (min, max))
    return low, high


def _root(net: Network, v: int, mixed: bool) -> int:
    """The tensor that ``v`` is picked, cropped, padded or moved from; ``mixed``: through channel mixing too."""
    graph = net.graph
    while True:
        prim = graph.prims[v]
        picked = isinstance(prim, Stencil) and prim.taps.period == 1 and prim.taps.counts == (1,)
        alone = isinstance(prim, Join) and len(graph.inputs[v]) == 1
        if not (
            picked or alone or isinstance(prim, Rearrange) or (mixed and isinstance(prim, Mix))
        ):
            return v
        (v,) = graph.inputs[v]


def _ends_meet(net: Network, meeting: Meeting, k: int) -> bool:
    """Whether this is time: each unit's two fields end where it stands, and reach into different pasts."""
    if net.options.causal and net.report._axes[k][1] == net.options.time:
        return True
    if len(net.report._axes) > 1 or not is_past(meeting.a):
        return False
    a, b = meeting.a.canvas, meeting.b.canvas
    period = math.lcm(a.period, b.period)
    return period <= MAX_PERIOD and all(a.at(i)[1] == b.at(i)[1] for i in range(period))


# --- names and numbers


def _name(net: Network, v: int) -> str:
    """The layer in which ``v`` is made."""
    layer = net.owner(v)
    return "" if layer is None else layer.name


def _branch(net: Network, v: int) -> str:
    """The layer, or the input, that ``v`` is; of what is made within the join's layer, what it is made from."""
    while v not in net.sources and net.layer(v) is None and len(net.graph.inputs[v]) == 1:
        (v,) = net.graph.inputs[v]
    return net.sources.get(v) or _name(net, v)


def _kind(net: Network, v: int) -> tuple[Any, ...]:
    """What kind of step ``v`` is, so that layers of one kind make one finding."""
    prim, layer = net.graph.prims[v], net.owner(v)
    taps = prim.taps if isinstance(prim, Stencil) else None
    return (
        layer.op if layer else "",
        type(prim).__name__,
        taps and (taps.period, taps.advance, len(taps.counts), max(taps.counts) > 1),
    )


def _by_layer(net: Network, moves: dict[int, Fraction]) -> tuple[tuple[str, Fraction], ...]:
    """Shifts added up by layer, largest first."""
    found: dict[str, Fraction] = {}
    for v, move in sorted(moves.items()):
        name = _name(net, v)
        found[name] = found.get(name, Fraction()) + move
    return tuple(sorted(((n, m) for n, m in found.items() if m), key=lambda each: -abs(each[1])))


def _rates(net: Network, meeting: Meeting, k: int) -> tuple[tuple[str, Fraction], ...]:
    """The layers that change the step of one branch only by no whole factor, and the two steps."""
    places = net.positions
    steps = []
    for v in (meeting.one, meeting.other):
        way = list(places.way(v, k))
        steps.append({
            at: here.rate / before.rate
            for (at, here), (_, before) in pairwise(way)
            if here.rate != before.rate
        })  # fmt: skip
    own = {**steps[0], **steps[1]}
    odd = [
        (_name(net, v), factor)
        for v, factor in own.items()
        if not (v in steps[0] and v in steps[1]) and factor.numerator > 1 < factor.denominator
    ]
    return (*odd, (_branch(net, meeting.one), meeting.a.rate),
            (_branch(net, meeting.other), meeting.b.rate))  # fmt: skip


def _distinct(net: Network, names: Sequence[str]) -> list[Layer]:
    """The layers of these names, each once; inputs are none."""
    known = {layer.name: layer for layer in net.layers}
    return [known[name] for name in dict.fromkeys(names) if name in known]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
