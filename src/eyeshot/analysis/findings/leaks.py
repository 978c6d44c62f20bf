"""Findings about what reads what it must not: the future, or another sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from eyeshot.analysis.findings.blockers import (
    Blocker,
    blockers,
    dim_along,
    kind_of,
    owners,
)
from eyeshot.analysis.findings.finding import Finding, Severity, rule
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import listed
from eyeshot.analysis.report import Layer
from eyeshot.analysis.touched import over
from eyeshot.core.image import Hulls, Image
from eyeshot.core.primitives import Mix, Stencil

__all__ = ["mixes_samples", "reads_future"]


# --- the future


class Ahead(NamedTuple):
    """How far a layer's units read beyond their own time: the most of all units, and the first that does so.

    Below 0 where all of them could come earlier.
    It reads ``[begin, end)`` and should read nothing from ``due`` on. Without a ``unit`` the layer has no time
    of its own, and counts as if it were due with the first position.
    """

    most: int
    unit: int | None
    begin: int
    end: int
    due: int


@rule(
    "reads-future",
    topic="leaks",
    severity="error",
    summary="A unit reads input positions that come after its own time.",
    wants="causal",
)
def reads_future(net: Network) -> Iterator[Finding]:
    for k, (source, axis) in enumerate(net.report._axes):
        if axis != net.options.time:
            continue
        look = _Lookahead(net, k)
        leaks: dict[int, list[tuple[Layer, Ahead]]] = {}
        for layer, used in _timed(net, k):
            found = look.proved(layer, used)
            if found is not None and found.most > 0:
                leaks.setdefault(look.blamed(layer)._value, []).append((layer, found))
        for value, cases in leaks.items():
            blamed = net.layer(value)
            assert blamed is not None
            yield _leak(net, look, blamed, cases, source.name, axis)


class _Lookahead:
    """Lookaheads along field ``k``, each worked out once."""

    def __init__(self, net: Network, k: int) -> None:
        self.net = net
        self.k = k
        self.length: int = net.report._axes[k][0].shape[net.report._axes[k][1]]
        self._known: dict[int, Ahead | None] = {}
        self._tensors: dict[int, Layer] = {}
        self._owners: dict[int, Layer] = {}

    def of(self, layer: Layer) -> Ahead | None:
        """Of all units, by closed form where there is one; None where nothing of the axis is read."""
        if layer._value not in self._known:
            self._known[layer._value] = self._of(layer)
        return self._known[layer._value]

    def most(self, layer: Layer) -> int:
        """Never less than 0. Where a layer is longer than the input its last unit may stand for the input's,

        as behind padding on the left, in place of its first: the later of both counts.
        """
        found = self.of(layer)
        if found is None:
            return 0
        return max(0, found.most + max(0, self.excess(layer)))

    def excess(self, layer: Layer) -> int:
        """How many positions more than the input a layer's units stand for."""
        field = layer.fields[self.k]
        return math.floor(field.n * field.jump) - self.length if field.jump else 0

    def proved(self, layer: Layer, used: np.ndarray | None) -> Ahead | None:
        """The same of the units in ``used`` (None: all), held against the exact hulls inside this input."""
        if used is not None and not used.all():
            return self._exact(layer, used)
        found = self.of(layer)
        if found is None or found.most <= 0 or found.unit is None or not self._closed(layer):
            return found
        at = tuple(found.unit if d == self.dim(layer) else layer.shape[d] // 2
                   for d in layer.unit_dims)  # fmt: skip
        low, high = self.net.report.unit(layer.name, at).clipped[self.k]
        return found if low < high == found.end else self._exact(layer, None)

    def bounded(self, layer: Layer) -> bool:
        """Whether its units read ahead by as much on a longer input."""
        canvas = layer.fields[self.k].canvas
        return self._closed(layer) and canvas is not None and math.isfinite(max(canvas.end))

    def blamed(self, layer: Layer) -> Layer:
        """The layer on the way to ``layer`` that reads ahead while nothing that it reads does.

        Tensor by tensor: what a layer gives may lose its ends before another reads it.
        """
        self._tell_apart(layer)
        value = layer._value
        while True:
            before = [v for v in self.net.graph.inputs[value] if self.most_of(v) > 0]
            if not before:
                return self._owners.get(value, layer)
            value = max(before, key=self.most_of)

    def adding(self, layer: Layer, first: Layer) -> list[str]:
        """The layers between ``first`` and ``layer`` that read farther ahead than what they read."""
        self._tell_apart(layer)
        inputs = self.net.graph.inputs
        found = [
            self._owners[v].name
            for v in self._tensors
            if v > first._value
            and v in self._owners
            and self.excess(self._tensors[v]) <= 0
            and self.most_of(v) > max(map(self.most_of, inputs[v]), default=0)
        ]
        return list(dict.fromkeys(found))

    def most_of(self, value: int) -> int:
        tensor = self._tensors.get(value)
        return 0 if tensor is None else self.most(tensor)

    def _tell_apart(self, layer: Layer) -> None:
        """All tensors that ``layer`` is made from, as layers without a name."""
        values = set(self.net.ancestors([layer])) - set(self.net.sources)
        self._tensors = self.net.tensors(values)
        self._owners = owners(self.net, values)

    def dim(self, layer: Layer) -> int | None:
        """The dim of a layer that is time."""
        return dim_along(layer, self.k)

    def _closed(self, layer: Layer) -> bool:
        field, form = layer.fields[self.k], layer._forms[self.k]
        return bool(
            field.canvas is not None and field.jump and not field.is_global and not form.raw.folds
        )

    def _of(self, layer: Layer) -> Ahead | None:
        field = layer.fields[self.k]
        if not self._closed(layer):
            return self._exact(layer, None)
        assert field.canvas is not None and field.jump is not None
        # Units of one phase are alike: the first has most of the input before it.
        hulls = [field.canvas.at(i) for i in range(min(field.canvas.period, field.n))]
        # Of a past or future without end only what there is of it is read.
        begins = [int(max(low, 0)) if low < high else self.length for low, high in hulls]
        ends = [int(min(high, self.length)) if low < high else -self.length for low, high in hulls]
        return self._latest(begins, ends, Fraction(field.jump), self._shift(layer))

    def _shift(self, layer: Layer) -> int:
        """By how much units lie later than ``i·jump``: what unpadded windows cut off lies before the first."""
        field = layer.fields[self.k]
        assert field.canvas is not None and field.jump is not None
        begin, _ = field.canvas.at(0)
        return max(0, self.length - math.ceil(field.n * field.jump)) if begin >= 0 else 0

    def _exact(self, layer: Layer, used: np.ndarray | None) -> Ahead | None:
        """By the hulls inside this input."""
        field, dim = layer.fields[self.k], self.dim(layer)
        report = layer._report
        if layer._value not in report._image:
            report._spans(min(mark.value for mark in report._marks))  # those of all at once
        low, high = layer._united(report._hulls(layer._value)[self.k])
        if not (low < high).any():
            return None
        begins = np.where(low < high, low, self.length)
        ends = np.where(low < high, high, -self.length)
        if dim is None:
            end = int(ends.max())
            return Ahead(end - 1, None, int(begins.min()), end, 1)
        others = tuple(d for d in range(ends.ndim) if d != dim)
        begins = np.broadcast_to(begins.min(axis=others), layer.shape[dim])
        ends = np.broadcast_to(ends.max(axis=others), layer.shape[dim])
        if used is not None:
            ends = np.where(used, ends, -self.length)
        jump = Fraction(field.jump or Fraction(self.length, layer.shape[dim]))
        return self._latest(begins, ends, jump, self._shift(layer) if self._closed(layer) else 0)

    def _latest(self, begins: Any, ends: Any, jump: Fraction, shift: int) -> Ahead:
        """The unit that reads farthest beyond its own hop ``[i·jump, (i+1)·jump)``."""
        begins, ends = np.asarray(begins, np.int64), np.asarray(ends, np.int64)
        turns = np.arange(1, len(ends) + 1, dtype=np.int64)
        due = -(-turns * jump.numerator // jump.denominator) + shift
        late = ends - due
        at = int(late.argmax())
        return Ahead(int(late[at]), at, int(begins[at]), int(ends[at]), int(due[at]))


def _timed(net: Network, k: int) -> Iterator[tuple[Layer, np.ndarray | None]]:
    """The outputs with a unit for every step of the axis, or else what they were made of; which are used."""
    outputs = {layer._value for layer in net.outputs}
    seen: set[int] = set()
    stack = list(outputs)
    found: dict[int, Layer] = {}
    while stack:
        v = stack.pop()
        if v in seen or v in net.sources:
            continue
        seen.add(v)
        layer = net.layer(v)
        dim = None if layer is None else dim_along(layer, k)
        if layer is not None and dim is not None and layer.shape[dim] > 1:
            found[v] = layer
        else:
            stack += net.graph.inputs[v]
    for v, layer in sorted(found.items()):
        if v in outputs:
            yield layer, None
        elif v in net.used:
            dim = dim_along(layer, k)
            assert dim is not None
            yield layer, over(net.used[v], (dim,)).dense((layer.shape[dim],))


def _leak(
    net: Network,
    look: _Lookahead,
    blamed: Layer,
    cases: list[tuple[Layer, Ahead]],
    name: str,
    axis: int,
) -> Finding:
    layer, most = max(cases, key=lambda case: case[1].most)
    own = look.of(blamed)
    assert own is not None
    everything = layer.fields[look.k].is_global or (
        most.most >= look.length - 1 and not look.bounded(layer)
    )
    mask = _maskable(net, blamed)
    positions = f"{most.most} input position{'s' * (most.most != 1)}"
    reads = "all of the future" if everything else f"{positions} ahead of its own time"
    message = f"A unit of {layer.name} reads {reads}"
    if layer._value != blamed._value:
        message += f", from {blamed.name} ({blamed.op}) on"
    else:
        message += f" ({blamed.op})"
    if most.unit is not None:
        message += (
            f": unit {most.unit} reads up to position {most.end - 1}, its own is {most.due - 1}"
        )
    if mask:
        message += ", unless a mask of -inf hides that numerically"
    more = look.adding(layer, blamed)
    others = {case.name: None if everything else ahead.most for case, ahead in cases}
    severity: Severity | None = "warning" if mask else None
    evidence: dict[str, Any] = {
        "input": name,
        "axis": axis,
        "lookahead": None if everything else most.most,
        "outputs": others,
        "unit": most.unit,
        "reads": [most.begin, most.end],
        "due": most.due,
        "adds": more,
        "mask_may_hide": mask,
    }
    late = "until the input ends" if everything else f"{positions} late"
    return Finding(
        layers=tuple(dict.fromkeys([blamed.name, *more])),
        message=message,
        cost=f"Run live it answers {late}; trained to predict what comes, it is shown what it is to predict.",
        remedy=_remedy(net, look, blamed),
        evidence=evidence,
        exact=net.exact([blamed, layer]),
        severity=severity,
    )


def _maskable(net: Network, blamed: Layer) -> bool:
    """Whether a layer attends, and so may hide by a mask what its arithmetic reads."""
    return kind_of(blamed.op) == "attention"


def _remedy(net: Network, look: _Lookahead, blamed: Layer) -> str:
    """What to change in the layer to blame, by the way in which it reads."""
    prims = [net.graph.prims[v] for v in net.made(blamed)]
    mixes = any(isinstance(p, Mix) and p.causal for p in prims)
    backwards = any(isinstance(p, Stencil) and p.taps.advance < 0 for p in prims)
    dim = look.dim(blamed)
    windows = [p for p in prims if isinstance(p, Stencil) and p.dim == dim]
    kind = kind_of(blamed.op, both_ways=backwards)
    if mixes and backwards:
        return "Run it in one direction only (bidirectional=False)."
    if any(p.taps.border == "wrap" for p in windows):
        return "Pad with zeros on the left instead of around the end."
    if any(p.taps.border == "reflect" for p in windows):
        return "Pad with zeros or by repetition on the left: a reflection is of what comes later."
    grown = [p.taps for p in windows if max(p.taps.counts) > 1 and p.taps.period == 1]
    jump = blamed.fields[look.k].jump
    before = [p.fields[look.k].jump for p in net.parents(blamed)]
    hop = max((Fraction(j) for j in before if j), default=Fraction(1))
    if not blamed.fields[look.k].is_global:
        if grown:
            taps = grown[-1]
            span = taps.step * (taps.counts[0] - 1)
            left = max(0, span + 1 - taps.advance)
            return (
                f"Pad {left} on the left and nothing on the right "
                f"((kernel - 1) * dilation = {span} for its kernel of {taps.counts[0]}"
                + (", less stride - 1)." if taps.advance > 1 else ").")
            )
        for prim, n in net.stencils(blamed):
            # A pad on both sides, of which the one at the end makes room for what comes later.
            moved = prim.taps.period == prim.taps.advance == 1 and prim.taps.counts == (1,)
            if moved and prim.taps.first[0] < 0 and prim.size > n:
                return f"Pad {prim.size - n} at the beginning and nothing at the end."
        if jump and hop > Fraction(jump) and look.most(blamed) < hop:
            return (
                f"It gives {hop / Fraction(jump)} outputs for each unit of {hop} input positions, the first of "
                f"them early: delay them by {math.ceil(hop - Fraction(jump))}, or allow for that latency."
            )
        if any(p.taps.period > 1 for p in windows):
            return (
                "Cut nothing off the beginning of what it gives (padding=0), and what is too long off the end; "
                "interpolate by repetition (nearest)."
            )
    return {
        "attention": "Tell it that it is causal (is_causal=True, beside the mask if there is one): later "
        "keys then have no part in it. Whether a mask hides them in numbers shows only on the real network.",
        "norm": "Normalise every position by itself, over its channels (a layer norm), or by frozen statistics "
        "(batch norm in eval mode).",
        "pooling": "Reduce over the past only: a running mean, or a window that is padded on the left.",
    }.get(kind, "Let unit i read nothing after its own time: shift what it gives to later units.")


# --- other samples


@rule(
    "mixes-samples",
    topic="leaks",
    severity="error",
    summary="An output of one sample reads another sample of the batch.",
)
def mixes_samples(net: Network) -> Iterator[Finding]:
    # Dim 0 is a batch where it has one element (the network is then traced with two) or two dims lie behind
    # it that are no axes or lie before them: of images of 3 channels and no batch it is the channels.
    if not all(s.shape[:1] == (1,) or min(s.axes, default=0) >= 2 for s in net.report._sources):
        return
    if net.batched is None:
        return
    batch = Network(net.batched)
    samples = _Samples(batch)
    leaks: dict[str, tuple[Layer, list[Layer]]] = {}
    for layer in batch.outputs:
        # A scalar, such as a loss, is meant for all samples together.
        if math.prod(layer.shape) > 1 and samples.mixes(layer):
            first = _culprit(samples, layer)
            leaks.setdefault(first.op, (first, []))[1].append(layer)
    for blamed, outputs in leaks.values():
        # An operator that is not known reads everything, other samples too: that is no sign of a leak.
        if batch.exact([blamed, *outputs]):
            yield _mixing(batch, blamed, outputs)


class _Samples:
    """Which layers mix samples, asked element by element where the closed form does not rule it out.

    A layer that is put together from one sample after another has no dim that follows them.
    """

    def __init__(self, batch: Network) -> None:
        self.batch = batch
        self._hulls: dict[int, tuple[Hulls, ...]] = {}

    def mixes(self, layer: Layer) -> bool:
        """Whether some element reads more than one sample, or another than its own."""
        if all(field.size <= 1 and not field.is_global for field in layer.fields):
            return _swapped(layer)
        spans = [hulls.total() for hulls in self._elements(layer)]
        return any(bool((s.hi - s.lo > 1).any()) for s in spans if s is not None)

    def _elements(self, layer: Layer) -> tuple[Hulls, ...]:
        if layer._value not in self._hulls:
            report = self.batch.report
            wanted = {v: tuple(range(len(report._graph.shapes[v]))) for v in
                      (layer._value, *(x._value for x in self.batch.layers))}  # fmt: skip
            self._hulls.update(Image(report._graph, report._sources).run(wanted))
        return self._hulls[layer._value]


def _swapped(layer: Layer) -> bool:
    for k, field in enumerate(layer.fields):
        source, axis = layer._report._axes[k]
        count = source.shape[axis]
        if field.dim is None or layer.shape[field.dim] != count:
            continue
        if field.canvas == (1, 1, (0,), (1,)):
            continue
        low, high = layer._united(layer._report._hulls(layer._value)[k])
        own = np.arange(count).reshape([-1 if d == field.dim else 1 for d in range(low.ndim)])
        if ((low < high) & (low != own)).any():
            return True
    return False


def _culprit(samples: _Samples, layer: Layer) -> Layer:
    """The first layer on the way to ``layer`` that mixes samples."""
    while True:
        before = [parent for parent in samples.batch.parents(layer) if samples.mixes(parent)]
        if not before:
            return layer
        layer = before[0]


def _alike(batch: Network, blamed: Layer, outputs: Iterable[Layer]) -> list[Layer]:
    """All layers that mix in the way in which the one to blame does, itself first."""
    found: list[Blocker] = blockers(batch, outputs, range(len(batch.report._axes)))
    kind = next((b.kind for b in found if b.layer._value == blamed._value), None)
    return [blamed, *(b.layer for b in found if b.kind == kind and b.layer._value != blamed._value)]


def _mixing(batch: Network, blamed: Layer, outputs: list[Layer]) -> Finding:
    count = batch.report._sources[0].shape[0]
    alike = _alike(batch, blamed, outputs)
    norm = _batch_norm(blamed.op)
    names = [layer.name for layer in outputs]
    apart = any(
        layer.shape[0] == count
        or any(field.dim is not None and field.n > 1 for field in layer.fields)
        for layer in outputs
    )
    reads = (
        f"A unit of {listed(names)} reads a sample of the batch that is not its own"
        if apart
        else f"{listed(names)} has no dim that tells the {count} samples of a batch apart"
    )
    message = f"{reads}, through {blamed.name} ({blamed.op})"
    if len(alike) > 1:
        message += f" and {len(alike) - 1} more like it"
    if norm:
        cost = (
            "What a sample gives depends on its batch, as batch norm in training has it by design."
        )
        remedy = "Evaluate in eval mode (frozen statistics); to train without it, use group or layer norm."
    else:
        cost = "What a sample gives depends on which others stand in its batch, and on how many."
        remedy = (
            "Keep dim 0 apart in it. If dim 0 is no batch but an axis, say so: axes=(0,) for sequences that "
            "come time first."
        )
    severity: Severity | None = "warning" if norm or not apart else None
    return Finding(
        layers=tuple(layer.name for layer in alike),
        message=message,
        cost=cost,
        remedy=remedy,
        evidence={
            "samples": count,
            "outputs": names,
            "op": blamed.op,
            "count": len(alike),
            "by_design": norm,
        },
        severity=severity,
    )


def _batch_norm(op: str) -> bool:
    """Whether an operator is a batch norm, under any framework's name."""
    return "batchnorm" in op.lower().replace("_", "")
