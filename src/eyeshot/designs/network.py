"""A spec as layers that can be changed, and written back in the form in which it was given."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from eyeshot.analysis.report import Field, Report
from eyeshot.core.canvas import Source
from eyeshot.core.graph import Graph, LayerMark
from eyeshot.core.primitives import Input
from eyeshot.errors import EyeshotError
from eyeshot.frontends.spec.operators import (
    OPERATORS,
    POINTWISE,
    Conv,
    ConvTranspose,
    Operator,
    Pool,
    Window,
    padding_pairs,
    pairs,
    per_axis,
)

__all__ = ["GLOBAL", "Alone", "Entry", "Local", "Network", "Option", "plain", "repadded"]

Shape = tuple[int, ...]
Pair = tuple[int, int]
#: What is repeated and removed together with the layer before it.
FOLLOWING = frozenset(
    [*POINTWISE, "group_norm", "instance_norm", "layer_norm", "rms_norm", "local_response_norm"]
)


#: Of a layer that reads a whole axis and no part of it more than another.
GLOBAL: Literal["global"] = "global"


class Local(NamedTuple):
    """What one layer's units read of its own input: ``[begin, end)`` of each phase, ``advance`` a period."""

    period: int
    advance: int
    begin: tuple[int, ...]
    end: tuple[int, ...]


class Alone(NamedTuple):
    """One layer alone: the shape that it makes, and along each axis what it reads (None: nothing plain)."""

    shape: Shape
    axes: tuple[Local | Literal["global"] | None, ...]


class Entry(NamedTuple):
    """One layer of a spec: its operator, what it reads, and the value that stands in the file."""

    name: str
    op: str
    struct: Operator
    reads: tuple[str, ...]
    raw: Any


class Option(NamedTuple):
    """What one layer may be: numbers per axis, its padding as the spec writes it, and how often it is there.

    ``copies``: extra copies before the layer, 0 for none; -1: the layer is removed.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str | tuple[Pair, ...]
    copies: int = 0

    @property
    def reach(self) -> tuple[int, ...]:
        """How far apart along each axis the first and the last element lie that it reads, copies together."""
        times = 1 + self.copies
        return tuple(times * d * (k - 1) for k, d in zip(self.kernel, self.dilation, strict=True))

    def pads(self, sizes: Sequence[int]) -> list[Pair]:
        """Padding per axis in front of maps of these sizes."""
        given = self.padding if isinstance(self.padding, str) else list(map(list, self.padding))
        return padding_pairs(given, sizes, self.kernel, self.stride, self.dilation)


def plain(value: Any) -> Any:
    """A copy of a spec in plain values: tuples become lists, integers of other libraries Python's."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return operator.index(value)
    return value


def repadded(pads: Pair, before: int, after: int) -> Pair | None:
    """Padding of the same kind, where a window's reach ``dilation * (kernel - 1)`` changes, if there is one.

    None stays none, all of it on one side stays there, and half on both sides stays half (the odd one at the
    end, as in PyTorch). Any other padding grows or shrinks so that the output's size stays as it is.
    """
    begin, end = pads
    total = begin + end
    if before == after or (total == 0 and before > 0):
        return pads
    if total == before > 0 and end == 0:
        return (after, 0)
    if total == before > 1 and begin == 0:
        return (0, after)
    total += after - before
    if total < 0:
        return None
    if abs(begin - end) < 2:
        return (total // 2, total - total // 2)
    begin += (after - before) // 2
    return (begin, total - begin) if begin >= 0 and total >= begin else None


class Network:
    """The layers of a spec, at one size of its input.

    ``spec`` is valid and ``report`` is its report. Layers are in the order of the file, ``order`` is one in
    which they can be made.
    """

    def __init__(self, spec: Any, report: Report) -> None:
        self.spec = plain(spec)
        self.report = report
        layers = self.spec.get("layers")
        # A short-form stack may have a layer of this name.
        self.full = isinstance(layers, dict) or (
            isinstance(layers, list) and not all(isinstance(each, int) for each in layers)
        )
        self.inputs = [entry["name"] for entry in report.inputs]
        self.shapes: dict[str, Shape] = {
            entry["name"]: tuple(entry["shape"]) for entry in report.inputs
        }
        self.shapes.update({layer.name: layer.shape for layer in report})
        self._known: dict[Any, Alone | None] = {}
        self.order = [layer.name for layer in report]
        self.entries: dict[str, Entry] = {}
        previous = self.inputs[0]
        for name, raw in self._given():
            self.entries[name] = _entry(name, raw, previous)
            previous = name
        self.readers: dict[str, list[str]] = {name: [] for name in self.shapes}
        for entry in self.entries.values():
            for read in dict.fromkeys(entry.reads):
                self.readers[read].append(entry.name)
        declared = self.spec.get("outputs") if self.full else None
        if declared is None:
            self.outputs = [name for name in self.order if not self.readers[name]]
        else:
            self.outputs = [declared] if isinstance(declared, str) else list(declared)

    def _given(self) -> list[tuple[str, Any]]:
        layers = self.spec["layers"] if self.full else self.spec
        if isinstance(layers, dict):
            return list(layers.items())
        return [
            (each["name"], {key: value for key, value in each.items() if key != "name"})
            for each in layers
        ]

    # --- what can be asked of a layer

    def axes(self, name: str) -> int:
        """How many axes the tensor that a layer reads has."""
        return len(self.shapes[self.entries[name].reads[0]]) - 2

    def own(self, name: str) -> Option | None:
        """What a layer is now; None for one that is no window."""
        entry, axes = self.entries[name], self.axes(name)
        struct = entry.struct
        if not isinstance(struct, Conv | Pool | Window):
            return None
        kernel = per_axis("kernel", struct.kernel, axes)
        if isinstance(struct, Window):
            pad = (struct.padding, struct.padding)
            return Option(kernel, (struct.stride,) * axes, (1,) * axes, (pad,) * axes)
        stride = kernel if struct.stride is None else per_axis("stride", struct.stride, axes)
        padding = struct.padding
        return Option(
            kernel,
            stride,
            per_axis("dilation", struct.dilation, axes),
            padding if isinstance(padding, str) else tuple(pairs("padding", padding, axes)),
        )

    def alone(self, name: str, sizes: tuple[int, ...], pick: Option | None = None) -> Alone | None:
        """A layer that reads one tensor, behind a map of these sizes; None where it does not fit there."""
        key = (name, sizes, pick)
        if key not in self._known:
            self._known[key] = self._alone(name, sizes, pick)
        return self._known[key]

    def _alone(self, name: str, sizes: tuple[int, ...], pick: Option | None) -> Alone | None:
        entry = self.entries[name]
        struct = entry.struct
        if pick is not None:
            struct = _entry(name, self._written(entry, pick), "").struct
        shape = (*self.shapes[entry.reads[0]][:2], *sizes)
        axes = tuple(range(2, len(shape)))
        graph = Graph()
        x = graph.add(Input(shape, "x", axes))
        try:
            y = struct.build(graph, [x])
            made = Report(graph, [Source(x, "x", shape, axes)], [LayerMark("y", entry.op, y)])["y"]
        except EyeshotError:
            return None
        if len(made.shape) != len(shape):
            return Alone(made.shape, ())
        return Alone(made.shape, tuple(_local(field) for field in made.fields))

    def weights(self, name: str, kernel: Sequence[int] | None = None) -> int:
        """How many weights the kernels of a convolution have, those of ``kernel`` instead of its own."""
        struct = self.entries[name].struct
        if not isinstance(struct, Conv | ConvTranspose | Window):
            return 0
        channels, made = self.shapes[self.entries[name].reads[0]][1], self.shapes[name][1]
        groups = 1 if isinstance(struct, Window) else struct.groups
        own = per_axis("kernel", struct.kernel, self.axes(name))
        return channels // groups * made * math.prod(own if kernel is None else kernel)

    def positions(self, name: str) -> str:
        """The tensor at whose positions a convolution's weights are multiplied: its own, or what it spreads."""
        entry = self.entries[name]
        return entry.reads[0] if isinstance(entry.struct, ConvTranspose) else name

    def run(self, name: str) -> list[str]:
        """A layer and what follows only it, element by element: normalization, activation, dropout."""
        found = [name]
        while len(readers := self.readers[found[-1]]) == 1 and found[-1] not in self.outputs:
            (entry,) = (self.entries[each] for each in readers)
            if entry.op not in FOLLOWING or len(entry.reads) > 1:
                break
            found.append(entry.name)
        return found

    def before(self, name: str) -> set[str]:
        """The layers that ``name`` depends on, and itself."""
        found = {name}
        for each in reversed(self.order):
            if each in found:
                found.update(self.entries[each].reads)
        return found - set(self.inputs)

    # --- edited

    def edited(self, picks: Mapping[str, Option]) -> tuple[Any, dict[str, str]]:
        """The spec with these layers changed, and for each copied layer the layer that it is a copy of."""
        removed: dict[str, str] = {}
        for name, pick in picks.items():
            if pick.copies < 0:
                for each in self.run(name):
                    removed[each] = self.entries[name].reads[0]
        taken = {*self.shapes}
        origin: dict[str, str] = {}
        found: list[tuple[str, Any, tuple[str, ...]]] = []
        for name, entry in self.entries.items():
            if name in removed:
                continue
            reads = tuple(_kept(read, removed) for read in entry.reads)
            raw = entry.raw
            if name in picks:
                raw = self._written(entry, picks[name])
                block = self.run(name)
                for copy in range(1, picks[name].copies + 1):
                    for each in block:
                        new = _fresh(f"{each}.copy{copy}", taken)
                        content = raw if each == name else self.entries[each].raw
                        origin[new] = each
                        found.append((new, content, reads))
                        reads = (new,)
            found.append((name, raw, reads))
        # Copies and other designs are to share nothing with it.
        return plain(self._spec(found)), origin

    def _written(self, entry: Entry, pick: Option) -> Any:
        """The value of a layer in the file, with a pick's numbers."""
        own = self.own(entry.name)
        assert own is not None
        if isinstance(entry.raw, list):
            sides = set(pick.padding) if not isinstance(pick.padding, str) else set()
            numbers = {n for pair in sides for n in pair}
            flat = [*map(set, (pick.kernel, pick.stride, pick.dilation)), numbers]
            if all(len(each) == 1 for each in flat) and flat[2] == {1}:
                return [pick.kernel[0], pick.stride[0], numbers.pop()]
            raw = dict(zip(("kernel", "stride", "padding"), entry.raw, strict=True))
            raw = {"op": "conv", **raw}
        else:
            raw = dict(entry.raw)
        for field in ("kernel", "stride", "dilation"):
            if getattr(pick, field) != getattr(own, field):
                raw[field] = _short(getattr(pick, field), isinstance(raw.get(field), list))
        if pick.padding != own.padding and not isinstance(pick.padding, str):
            each = [begin if begin == end else [begin, end] for begin, end in pick.padding]
            raw["padding"] = _short(each, isinstance(raw.get("padding"), list))
        return raw

    def _spec(self, layers: Iterable[tuple[str, Any, tuple[str, ...]]]) -> Any:
        previous = self.inputs[0]
        done: dict[str, Any] = {}
        for name, raw, reads in layers:
            explicit = isinstance(raw, dict) and "inputs" in raw
            if explicit and _reads(raw, previous) != reads:
                raw = {key: value for key, value in raw.items() if key != "inputs"}
                explicit = False
            if not explicit and reads != (previous,):
                if isinstance(raw, str):
                    raw = {"op": raw}
                elif isinstance(raw, list):
                    raw = dict(zip(("kernel", "stride", "padding"), raw, strict=True))
                    raw = {"op": "conv", **raw}
                raw = {**raw, "inputs": reads[0] if len(reads) == 1 else list(reads)}
            done[name] = raw
            previous = name
        if not self.full:
            return done
        layers = self.spec["layers"]
        if isinstance(layers, list):
            return {
                **self.spec,
                "layers": [
                    {"name": name, **({"op": raw} if isinstance(raw, str) else raw)}
                    for name, raw in done.items()
                ],
            }
        return {**self.spec, "layers": done}


def _local(field: Field) -> Local | Literal["global"] | None:
    canvas = field.canvas
    if field.status != "exact":
        return None
    if canvas is None:
        return GLOBAL if field.is_global else None
    ends = (*canvas.begin, *canvas.end)
    empty = any(b >= e for b, e in zip(canvas.begin, canvas.end, strict=True))
    # Turned round (a flip), of another dim, or without end.
    if field.dim != field.axis or canvas.advance < 1 or empty or not all(map(math.isfinite, ends)):
        return None
    begin, end = (tuple(int(n) for n in side) for side in (canvas.begin, canvas.end))
    return Local(canvas.period, canvas.advance, begin, end)


def _entry(name: str, raw: Any, previous: str) -> Entry:
    if isinstance(raw, list):
        fields = dict(zip(("kernel", "stride", "padding"), raw, strict=True))
        return Entry(name, "window", msgspec.convert(fields, Window), (previous,), raw)
    given = {"op": raw} if isinstance(raw, str) else raw
    fields = {key: value for key, value in given.items() if key not in ("op", "inputs")}
    struct = msgspec.convert(fields, OPERATORS[given["op"]])
    return Entry(name, given["op"], struct, _reads(given, previous), raw)


def _reads(raw: Mapping[str, Any], previous: str) -> tuple[str, ...]:
    given = raw.get("inputs", previous)
    return (given,) if isinstance(given, str) else tuple(given)


def _kept(name: str, removed: Mapping[str, str]) -> str:
    while name in removed:
        name = removed[name]
    return name


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _short(values: Sequence[Any], as_list: bool) -> Any:
    """One value for all axes where they are alike and it was written so; a pair always has its list."""
    alike = all(value == values[0] for value in values) and not isinstance(values[0], list)
    return values[0] if alike and not as_list else list(values)
