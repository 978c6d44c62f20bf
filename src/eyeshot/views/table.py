"""The table's cells: one row per layer, the same words in every view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import NamedTuple

from eyeshot.analysis.report import Field, Layer, Report

__all__ = ["AXIS_HEADINGS", "HEADINGS", "Row", "axis_cells", "header", "notes", "rows", "select"]

HEADINGS = ("layer", "op", "n", "size", "jump", "start", "padding")
AXIS_HEADINGS = ("axis", "n", "size", "jump", "start", "padding")
DASH = "–"
#: How many layers a remark names.
MAX_NAMED = 4


class Row(NamedTuple):
    """One layer's cells, as text."""

    layer: str
    op: str
    n: str
    size: str
    jump: str
    start: str
    padding: str

    bound: bool = False
    is_global: bool = False

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts under ``HEADINGS``."""
        return self.layer, self.op, self.n, self.size, self.jump, self.start, self.padding


def number(value: float | Fraction | None) -> str:
    """A number as people write it: 4, 0.5, 1/3; – where there is none, ∞ where it has no end."""
    if value is None:
        return DASH
    if isinstance(value, Fraction):
        # Halves and the like have a short decimal; others are clearer as fractions.
        if 1000 % value.denominator == 0:
            whole, part = divmod(abs(value), 1)
            sign = "-" if value < 0 else ""
            return f"{sign}{whole}.{int(part * 1000):03}".rstrip("0")
        return str(value)
    if math.isinf(value):
        return "∞"
    return str(value)


def cell(fields: Sequence[Field], value: Callable[[Field], str]) -> str:
    """Per-axis values, ``7×5`` only where they differ; inputs are separated by a comma."""
    groups: dict[str, list[str]] = {}
    for field in fields:
        groups.setdefault(field.input, []).append(value(field))
    texts = []
    for values in groups.values():
        texts.append(values[0] if len(set(values)) == 1 else "×".join(values))
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def size_text(field: Field) -> str:
    """The local size; ``+ global`` where the unit also reads the whole axis."""
    if not field.is_global:
        return number(field.size)
    return (
        "global" if field.jump is None and field.dim is None else f"{number(field.size)} + global"
    )


def _numbers(fields: Sequence[Field], bound: bool) -> tuple[str, ...]:
    """The cells from n to padding."""
    size = cell(fields, size_text)
    return (
        cell(fields, lambda f: str(f.n)) if fields else DASH,
        f"≤ {size}" if bound else size,
        cell(fields, lambda f: number(f.jump)),
        cell(fields, lambda f: number(f.start)),
        cell(fields, lambda f: number(f.padding)),
    )


def row(layer: Layer) -> Row:
    """The cells of one layer."""
    fields = layer.fields
    bound = any(field.status == "bound" for field in fields)
    n, size, jump, start, padding = _numbers(fields, bound)
    is_global = any(field.is_global for field in fields)
    return Row(layer.name, layer.op, n, size, jump, start, padding, bound, is_global)


def axis_cells(report: Report, layer: Layer) -> list[tuple[str, ...]]:
    """The cells of one layer under ``AXIS_HEADINGS``, one line for the axes of an input that agree."""
    several = len(report.inputs) > 1
    lines: dict[tuple[str, ...], list[str]] = {}
    for field in layer.fields:
        cells = _numbers([field], field.status == "bound")
        lines.setdefault((field.input, *cells), []).append(str(field.axis))
    return [
        (f"{name} {', '.join(axes)}" if several else ", ".join(axes), *cells)
        for (name, *cells), axes in lines.items()
    ]


def select(report: Report, pattern: str | None = None, depth: int | None = None) -> list[Layer]:
    """The layers whose names match ``pattern`` (a glob), folded to ``depth`` parts, dotted or between slashes.

    A pattern that matches no layer may name modules made of layers. A folded module shows what comes out of it,
    once for each call; names that are no modules' show the last layer run of those that share them.
    """
    layers = list(report)
    modules = report._groups
    if pattern is not None:
        named = [name for name in modules if fnmatchcase(name, pattern)]
        matching = [layer for layer in layers if fnmatchcase(layer.name, pattern)]
        if not matching and not named:
            other = [name for name in report._graph.aliases if fnmatchcase(name, pattern)]
            # Several of the names may be one layer's.
            matching = list(
                {layer.name: layer for layer in map(report.__getitem__, other)}.values()
            )
        if not matching:
            return [report.group(name) for name in named if depth is None or _parts(name) <= depth]
        layers = matching
    if depth is None:
        return layers
    folded: dict[str, Layer] = {}
    for layer in layers:
        key = _first(layer.name, depth)
        folded.pop(key, None)
        folded[key] = layer
    out = []
    for key, layer in folded.items():
        calls = [] if key == layer.name else _calls(report, key)
        out += [report.group(name) for name in calls] or [layer]
    return out


def _ends(name: str) -> list[int]:
    """Where the parts of a name end: at slashes; at dots where no slash comes before them."""
    slash = name.find("/")
    if slash < 0:
        return [k for k, c in enumerate(name) if c == "."]
    return [k for k, c in enumerate(name) if k and (c == "/" or (c == "." and k < slash))]


def _parts(name: str) -> int:
    return len(_ends(name)) + 1


def _first(name: str, depth: int) -> str:
    ends = _ends(name)
    return name[: ends[depth - 1]] if len(ends) >= depth else name


def _calls(report: Report, path: str) -> list[str]:
    """The names of all calls of the module at ``path``; of one that is never called, its last child's."""
    modules = report._groups
    if path not in modules:
        held = [name for name in modules if name.startswith((f"{path}.", f"{path}/"))]
        return [min(reversed(held), key=_parts)] if held else []
    out = [path]
    while (again := f"{path}_{len(out)}") in modules and not any(
        layer.name.startswith((f"{again}.", f"{again}/")) for layer in report
    ):
        out.append(again)
    return out


def rows(layers: Iterable[Layer], depth: int | None = None) -> list[Row]:
    """Rows of these layers; with ``depth`` named by that many parts."""
    out = []
    for layer in layers:
        one = row(layer)
        if depth is not None and _parts(layer.name) > depth:
            one = one._replace(layer=_first(layer.name, depth), op=DASH)
        out.append(one)
    return out


def header(report: Report) -> str:
    """``AlexNet · input 1x3x227x227 · exact``."""
    inputs = ", ".join(f"{s['name']} {'x'.join(map(str, s['shape']))}" for s in report.inputs)
    parts = [report.title, inputs, report.status]
    return " · ".join(part for part in parts if part)


def notes(report: Report, shown: Iterable[Row]) -> list[str]:
    """What the marks in the shown rows mean, and the diagnostics: layers that share one share a line."""
    shown = list(shown)
    out = []
    if any(row.is_global for row in shown):
        out.append("global: the units also read the whole input axis (pooling, attention, norms)")
    if any(row.bound for row in shown):
        out.append("≤: an upper bound")
    places: dict[tuple[str, str], list[str]] = {}
    for d in report.diagnostics:
        places.setdefault((d.message, d.code), []).append(d.layer)
    for (message, code), layers in places.items():
        names = list(dict.fromkeys(filter(None, layers)))
        if len(names) > MAX_NAMED:
            rest = len(names) - MAX_NAMED + 1
            names = [*names[: MAX_NAMED - 1], f"{rest} more layers"]
        where = f"{', '.join(names)}: " if names else ""
        out.append(f"{where}{message} [{code}]")
    return out
