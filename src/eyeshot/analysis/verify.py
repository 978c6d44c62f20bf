"""The proof: a report's hulls compared with what poisoning the real network shows.

A probe spoils the positions ``[begin, end)`` of one input along one axis, everywhere along all other dims. One
pass of the network shows for every unit of every layer whether it turned dirty. With ``[b, e)`` a unit's hull,

- it must stay clean if the hull lies outside the probe (exact fields and upper bounds alike);
- it must turn dirty if ``b`` or ``e - 1`` is spoilt (exact fields).

The network is run by a :class:`Runner`, of which each framework brings its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from eyeshot.analysis.report import Layer, Report
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

__all__ = [
    "Disagreement",
    "Probe",
    "Runner",
    "Target",
    "Verification",
    "default_probes",
    "targets",
    "verify",
]

#: Probes unless another number is asked for: fewer the more numbers a pass computes, so that it takes about a
#: minute at most on two cores (a ResNet-50 at 224 computes 38 million, and gets 29).
PROBES = range(24, 257)
EFFORT = 1_100_000_000
#: Without a choice of layers at most so many are compared, and so many boxes in all.
MAX_LAYERS = 400
MAX_BOXES = 1 << 24
#: So many disagreements are traced to the real hull by bisection; others are only counted.
MAX_SHOWN = 12


class Probe(NamedTuple):
    """Positions ``[begin, end)`` of an input along one axis, to be spoilt."""

    input: str
    axis: int
    begin: int
    end: int


class Target(NamedTuple):
    """A layer to be watched: a unit is dirty if any of its elements along the other dims is."""

    name: str
    shape: tuple[int, ...]
    unit_dims: tuple[int, ...]


class Runner(Protocol):
    """Runs a network on spoilt inputs."""

    @property
    def dtype(self) -> str:
        """The floating-point type that the network runs in."""

    @property
    def passes(self) -> int:
        """Forward passes so far."""

    @property
    def notes(self) -> Sequence[str]:
        """What readers of the result should know of how the network was run."""

    @property
    def batch(self) -> int:
        """Probes per pass."""

    def dirty(
        self, probes: Sequence[Probe], *, harder: bool = False
    ) -> Iterator[Mapping[str, Bools]]:
        """For each probe the dirty units of every target: arrays [*unit dims], by layer name.

        A layer that did not come up in a pass is left out. ``harder``: try all kinds of poison that there are.
        """

    def hidden(self, layer: str) -> bool:
        """Whether the layer runs after an operator that can swallow poison, such as a comparison."""


class Disagreement(NamedTuple):
    """A unit whose reported hull along one axis is not the network's.

    ``unit``: its indices along the layer's unit dims. ``units``: how many such units of the layer were seen.
    """

    layer: str
    unit: tuple[int, ...]
    input: str
    axis: int
    reported: tuple[int, int]
    real: tuple[int, int]
    units: int = 1

    def __str__(self) -> str:
        unit = f"unit {', '.join(map(str, self.unit))}" if self.unit else "the unit"
        others = f" ({self.units} units of this layer)" if self.units > 1 else ""
        return (
            f"{self.layer}: {unit}, axis {self.axis} of {self.input}: "
            f"eyeshot {_box(self.reported)}, the module {_box(self.real)}{others}"
        )


@dataclass(frozen=True)
class Verification:
    """What was tried, and whether the report agrees with the network.

    ``units`` counts the units compared; ``ends`` is how many ends of their hulls there are over all axes, and
    ``pinned`` how many of these the probes placed exactly (the position read, nothing beyond it). ``bounds``
    counts the layers that are upper bounds, of which only what lies outside is checked. ``not_shown`` counts
    ends that no poison could show behind an operator that swallows it.
    """

    title: str
    layers: tuple[str, ...]
    units: int
    probes: int
    passes: int
    batch: int
    dtype: str
    seconds: float
    ends: int
    pinned: int
    bounds: int
    not_shown: int
    disagreements: tuple[Disagreement, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that was tried agreed."""
        return not self.disagreements

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "ok": self.ok,
            "title": self.title,
            "layers": list(self.layers),
            "units": self.units,
            "probes": self.probes,
            "passes": self.passes,
            "batch": self.batch,
            "dtype": self.dtype,
            "seconds": round(self.seconds, 3),
            "ends": self.ends,
            "pinned": self.pinned,
            "bounds": self.bounds,
            "not_shown": self.not_shown,
            "disagreements": [
                {
                    **d._asdict(),
                    "unit": list(d.unit),
                    "reported": list(d.reported),
                    "real": list(d.real),
                }
                for d in self.disagreements
            ],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        title = f"{self.title}: " if self.title else ""
        ends = "no exact hull among them"
        if self.ends:
            share = (
                f"{self.pinned:,} of {self.ends:,}"
                if self.pinned < self.ends
                else f"all {self.ends:,}"
            )
            ends = f"{share} ends of exact hulls placed to the position"
        lines = [
            f"{title}{'agrees' if self.ok else 'DISAGREES'}",
            f"{_count(self.probes, 'probe')} in {_count(self.passes, 'forward pass')} "
            f"({self.dtype}, {self.batch} at a time), {self.seconds:.1f} s",
            f"{_count(len(self.layers), 'layer')}, {_count(self.units, 'unit')}; {ends}",
        ]
        if self.bounds:
            lines.append(
                f"{_count(self.bounds, 'layer')} only bounded, and checked from outside alone"
            )
        if self.not_shown:
            lines.append(
                f"{_count(self.not_shown, 'end')} not shown, behind operators that swallow poison"
            )
        lines += map(str, self.disagreements)
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 'es' if what.endswith('s') else 's'}"


def _box(hull: tuple[int, int]) -> str:
    return f"[{hull[0]}, {hull[1]})" if hull[0] < hull[1] else "nothing"


# --- what is compared


class _Watched:
    """One layer's hulls, and how far probes have confirmed them."""

    def __init__(self, layer: Layer) -> None:
        import numpy as np

        boxes = layer.boxes()
        self.name = layer.name
        self.shape = boxes.shape[:-2]
        self.fields = {(f.input, f.axis): k for k, f in enumerate(layer.fields)}
        self.exact = [f.status == "exact" for f in layer.fields]
        self.periods = [f.canvas.period if f.canvas is not None else 1 for f in layer.fields]
        self.begin: Ints = boxes[..., 0]
        self.end: Ints = boxes[..., 1]
        self.reads: Bools = self.begin < self.end
        # Per end: whether it was seen to be read by itself, and whether all beyond it left the unit clean.
        self.touched: Bools = np.zeros(boxes.shape, dtype=bool)
        self.beyond: Bools = np.zeros(boxes.shape, dtype=bool)

    def expect(self, probe: Probe) -> tuple[Bools, Bools] | None:
        """(may be dirty, must be dirty) per unit."""
        k = self.fields.get((probe.input, probe.axis))
        if k is None:
            return None
        b, e, reads = self.begin[..., k], self.end[..., k], self.reads[..., k]
        may = reads & (b < probe.end) & (e > probe.begin)
        first = (b >= probe.begin) & (b < probe.end)
        last = (e > probe.begin) & (e <= probe.end)
        must = reads & (first | last) if self.exact[k] else _none(may)
        return may, must

    def confirm(self, probe: Probe, dirty: Bools) -> None:
        """Note what a probe that agrees says of the hulls' ends."""
        k = self.fields[probe.input, probe.axis]
        b, e = self.begin[..., k], self.end[..., k]
        # The spoilt positions inside the hull are its first alone, or its last alone.
        self.touched[..., k, 0] |= dirty & (probe.begin <= b) & (probe.end == b + 1)
        self.touched[..., k, 1] |= dirty & (probe.begin == e - 1) & (probe.end >= e)
        one = dirty & (e - b == 1)
        self.touched[..., k, 0] |= one
        self.touched[..., k, 1] |= one
        if probe.begin == 0:
            self.beyond[..., k, 0] |= ~dirty & (probe.end == b)
        self.beyond[..., k, 1] |= ~dirty & (probe.begin == e)

    def ends(self, lengths: Mapping[tuple[str, int], int]) -> tuple[int, int]:
        """(how many ends exact hulls have, how many of them are placed)."""
        total = placed = 0
        for (source, axis), k in self.fields.items():
            if not self.exact[k]:
                continue
            reads = self.reads[..., k]
            total += 2 * int(reads.sum())
            n = lengths[source, axis]
            low = self.touched[..., k, 0] & (self.beyond[..., k, 0] | (self.begin[..., k] == 0))
            high = self.touched[..., k, 1] & (self.beyond[..., k, 1] | (self.end[..., k] == n))
            placed += int((low & reads).sum()) + int((high & reads).sum())
        return total, placed


def _none(array: Bools) -> Bools:
    import numpy as np

    return np.zeros_like(array)


def default_probes(elements: int) -> int:
    """The number of probes for a network all of whose tensors together have so many elements."""
    return min(max(EFFORT // max(1, elements), PROBES[0]), PROBES[-1])


def targets(report: Report, layers: str | None = None) -> tuple[list[Target], list[str]]:
    """The layers to compare, the outputs always among them, and notes on what was left out.

    ``layers``: a glob that names must match; by default all, or an even sample where there are very many.
    """
    outputs = {layer.name for layer in report.outputs}
    notes: list[str] = []
    chosen = list(report)
    if layers is not None:
        chosen = [layer for layer in report if fnmatchcase(layer.name, layers)]
        if not chosen:
            raise EyeshotError(f"layers: no layer is named like {layers!r}")
    inner = [layer for layer in chosen if layer.name not in outputs]
    room = MAX_BOXES - sum(_boxes(layer) for layer in report.outputs)
    kept = set(outputs)
    for layer in _spread(inner):
        need = _boxes(layer)
        if len(kept) < MAX_LAYERS + len(outputs) and need <= room:
            kept.add(layer.name)
            room -= need
    left = len({layer.name for layer in inner} - kept)
    if left:
        notes.append(
            f"{_count(left, 'layer')} left out, as there are too many; choose some by name"
        )
    return [Target(x.name, x.shape, x.unit_dims) for x in report if x.name in kept], notes


def _boxes(layer: Layer) -> int:
    return len(layer.fields) * math.prod(layer.shape[d] for d in layer.unit_dims)


def _spread(items: Sequence[Any]) -> list[Any]:
    """The same items in an order of which any first ones lie evenly among them: last, middle, quarters."""
    out: list[Any] = []
    seen: set[int] = set()
    n = len(items)
    steps = 1
    while len(out) < n:
        for k in range(1, steps + 1, 2 if steps > 1 else 1):
            at = n * k // steps - 1
            if at >= 0 and at not in seen:
                seen.add(at)
                out.append(items[at])
        steps *= 2
        if steps > 2 * n:
            out += [items[k] for k in range(n) if k not in seen]
            break
    return out


# --- which probes


def _plan(
    watched: Sequence[_Watched], lengths: Mapping[tuple[str, int], int], budget: int, seed: int
) -> list[Probe]:
    """Every cut and every line if that is within the budget, else those that sampled units ask for."""
    everything: dict[Probe, None] = {}
    if sum(3 * n for n in lengths.values()) <= 4 * budget:
        for (source, axis), n in lengths.items():
            for p in range(n):
                everything[Probe(source, axis, 0, p + 1)] = None
                everything[Probe(source, axis, p, n)] = None
                everything[Probe(source, axis, p, p + 1)] = None
        if len(everything) <= budget:
            return list(everything)
    queues: list[Iterator[Probe]] = []
    for layer in [*watched[-1:], *_spread(watched[:-1])]:
        for (source, axis), k in layer.fields.items():
            queues.append(_asked(layer, k, source, axis, lengths[source, axis], seed))
    found: dict[Probe, None] = {}
    while queues and len(found) < budget:
        for queue in list(queues):
            # The next one that is new, so that no layer's turn is lost to what it shares with others.
            fresh = next((probe for probe in queue if probe not in found), None)
            if fresh is None:
                queues.remove(queue)
                continue
            found[fresh] = None
            if len(found) >= budget:
                break
    return list(found)


def _asked(layer: _Watched, k: int, source: str, axis: int, n: int, seed: int) -> Iterator[Probe]:
    """Probes for sampled units of one layer along one axis: everything outside the hull, and its two ends."""
    hulls: dict[tuple[int, int], None] = {}
    for unit in _units(layer.shape, layer.periods[k], seed):
        if layer.reads[(*unit, k)]:
            hulls[int(layer.begin[(*unit, k)]), int(layer.end[(*unit, k)])] = None
    for b, e in hulls:
        yield from _around(source, axis, n, b, e)


def _around(source: str, axis: int, n: int, b: int, e: int) -> Iterator[Probe]:
    if b > 0:
        yield Probe(source, axis, 0, b)
    yield Probe(source, axis, b, b + 1)
    if e < n:
        yield Probe(source, axis, e, n)
    if e - 1 > b:
        yield Probe(source, axis, e - 1, e)


def _units(shape: tuple[int, ...], period: int, seed: int) -> Iterator[tuple[int, ...]]:
    """The middle, corners and their neighbours, edges, the other phases about the middle, then random ones."""
    import numpy as np

    if 0 in shape:
        return
    rng = np.random.default_rng(seed)
    middle = tuple(n // 2 for n in shape)
    yield middle
    yield tuple(n - 1 for n in shape)
    yield tuple(0 for _ in shape)
    yield tuple(min(1, n - 1) for n in shape)
    yield tuple(max(0, n - 2) for n in shape)
    for dim, n in enumerate(shape):
        for place in (0, n - 1):
            yield (*middle[:dim], place, *middle[dim + 1 :])
    for shift in range(1, min(period, 64)):
        yield tuple(min(m + shift, n - 1) for m, n in zip(middle, shape, strict=True))
    for _ in range(16):
        yield tuple(int(rng.integers(n)) for n in shape)


# --- the comparison


def verify(
    report: Report,
    runner: Runner,
    chosen: Iterable[Target],
    probes: int,
    seed: int = 0,
    notes: Iterable[str] = (),
    progress: Callable[[int, int], None] | None = None,
    started: float | None = None,
    title: str = "",
) -> Verification:
    """Probe the network that ``runner`` runs, and compare what turns dirty with ``report``."""
    started = time.monotonic() if started is None else started
    watched = {target.name: _Watched(report[target.name]) for target in chosen}
    lengths = {
        (source["name"], axis): source["shape"][axis]
        for source in report.inputs
        for axis in source["axes"]
    }
    plan = _plan(list(watched.values()), lengths, probes, seed)
    wrong: dict[tuple[str, str, int], Bools] = {}
    unseen: list[tuple[Probe, dict[str, Bools]]] = []
    missed: set[str] = set(watched)
    for done, (probe, dirty) in enumerate(zip(plan, runner.dirty(plan), strict=True)):
        late: dict[str, Bools] = {}
        for name, seen in dirty.items():
            layer = watched[name]
            expected = layer.expect(probe)
            missed.discard(name)
            if expected is None:
                continue
            may, must = expected
            extra, lacking = seen & ~may, must & ~seen
            if extra.any():
                _add(wrong, (name, probe.input, probe.axis), extra)
            if lacking.any():
                late[name] = lacking
            layer.confirm(probe, seen)
        if late:
            unseen.append((probe, late))
        if progress is not None:
            progress(done + 1, len(plan))
    not_shown = 0
    while unseen:
        # A field known to be wrong needs no second look.
        again: list[tuple[Probe, dict[str, Bools]]] = []
        while unseen and len(again) < runner.batch:
            probe, late = unseen.pop(0)
            doubtful = {}
            for name, lacking in late.items():
                if (name, probe.input, probe.axis) in wrong:
                    _add(wrong, (name, probe.input, probe.axis), lacking)
                else:
                    doubtful[name] = lacking
            if doubtful:
                again.append((probe, doubtful))
        for (probe, late), dirty in zip(
            again, runner.dirty([probe for probe, _ in again], harder=True), strict=True
        ):
            for name, lacking in late.items():
                if name not in dirty:
                    continue
                watched[name].confirm(probe, dirty[name] & lacking)
                still = lacking & ~dirty[name]
                if still.any() and not runner.hidden(name):
                    _add(wrong, (name, probe.input, probe.axis), still)
                else:
                    not_shown += int(still.sum())
    total = placed = units_compared = 0
    for name, layer in watched.items():
        if name in missed:
            continue
        units_compared += math.prod(layer.shape)
        a, b = layer.ends(lengths)
        total, placed = total + a, placed + b
    notes = [*notes, *runner.notes]
    notes += [f"{name} did not come up in the real runs" for name in sorted(missed)[:5]]
    found = _located(wrong, watched, lengths, runner)
    if len(wrong) > MAX_SHOWN:
        notes.append(f"{_count(len(wrong) - MAX_SHOWN, 'more disagreement')}, not located")
    return Verification(
        title or report.title,
        tuple(name for name in watched if name not in missed),
        units_compared,
        len(plan),
        runner.passes,
        runner.batch,
        runner.dtype,
        time.monotonic() - started,
        total,
        placed,
        sum(not all(layer.exact) for layer in watched.values()),
        not_shown,
        tuple(found),
        tuple(notes),
    )


def _add(found: dict[Any, Bools], key: tuple[str, str, int], units: Bools) -> None:
    found[key] = found[key] | units if key in found else units


def _located(
    wrong: Mapping[tuple[str, str, int], Bools],
    watched: Mapping[str, _Watched],
    lengths: Mapping[tuple[str, int], int],
    runner: Runner,
) -> list[Disagreement]:
    """The real hull of one unit of every layer and axis that disagrees, by bisection with half spaces.

    ``[0, p)`` leaves a unit clean for all p up to the begin of its hull, for none beyond; likewise ``[p, n)``.
    """
    import numpy as np

    order = {name: k for k, name in enumerate(watched)}
    keys = sorted(wrong, key=lambda key: order[key[0]])[:MAX_SHOWN]
    units = {key: tuple(int(i) for i in np.argwhere(wrong[key])[0]) for key in keys}
    # Largest p known to leave the unit clean, and smallest known not to: for begin; mirrored for end.
    low = {key: [0, lengths[key[1], key[2]] + 1] for key in keys}
    high = {key: [0, lengths[key[1], key[2]] + 1] for key in keys}
    while True:
        asked: list[tuple[tuple[str, str, int], list[int], int, Probe]] = []
        for key in keys:
            name, source, axis = key
            n = lengths[source, axis]
            for bracket, from_start in ((low[key], True), (high[key], False)):
                clean, spoilt = bracket
                if spoilt - clean > 1:
                    p = (clean + spoilt) // 2
                    probe = (
                        Probe(source, axis, 0, p) if from_start else Probe(source, axis, n - p, n)
                    )
                    asked.append((key, bracket, p, probe))
        if not asked:
            break
        probes = list(dict.fromkeys(probe for *_, probe in asked))
        answers = dict(zip(probes, runner.dirty(probes), strict=True))
        for key, bracket, p, probe in asked:
            answer = answers[probe].get(key[0])
            bracket[1 if answer is None or answer[units[key]] else 0] = p
    found = []
    for key in keys:
        name, source, axis = key
        layer, n, unit = watched[name], lengths[source, axis], units[key]
        k = layer.fields[source, axis]
        b, e = low[key][0], n - high[key][0]
        real = (b, e) if b < e else (0, 0)
        reported = (int(layer.begin[(*unit, k)]), int(layer.end[(*unit, k)]))
        inside = b >= e or (reported[0] <= b and e <= reported[1])
        if reported == real or (inside and not layer.exact[k]):
            continue  # only one of several kinds of poison disagreed
        found.append(Disagreement(name, unit, source, axis, reported, real, int(wrong[key].sum())))
    return found
