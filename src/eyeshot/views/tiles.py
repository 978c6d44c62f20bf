"""The table of a plan of tiles: a row for each axis, then what the numbers come to, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from eyeshot.analysis.findings.text import axes as axes_text
from eyeshot.analysis.findings.text import listed
from eyeshot.views.table import number
from eyeshot.views.terminal import _cells, _plain, _wrap

if TYPE_CHECKING:
    from eyeshot.tiling.plan import Estimate, Memory, TileAxis, TilePlan

__all__ = ["HEADINGS", "error_text", "render", "to_html", "to_text"]

HEADINGS = (
    "axis",
    "size",
    "out",
    "scale",
    "offset",
    "grid",
    "halo",
    "worst unit",
    "margin",
    "tile",
    "tiles",
)
GAPS = (3, 2)
#: Text is harder to read in longer lines than these, however wide the terminal.
WIDEST = 100
LABEL = 9
#: Narrower than this, names of tools stand above what is said of them.
NARROW = 60
Paint = Callable[[str, str], str]


def render(
    plan: TilePlan,
    width: int | None = None,
    paint: Paint = lambda text, style: text,
) -> str:
    """The plan as text, in lines of ``width`` cells; None: as wide as it takes. Numbers are never cut off."""
    prose = WIDEST if width is None else min(width, WIDEST)
    style = "bold" if plan.exact else "bold yellow"
    out = [paint(line, style) for line in _wrap(_plain(_head(plan)), width)]
    out += _table(_rows(plan), width, paint)
    out.append("")
    for label, text in _figures(plan):
        out += _labelled(label, text, LABEL, prose, paint)
    for note in _notes(plan):
        out += _labelled("note", note, LABEL, prose, paint, "yellow")
    out += ["", paint("in other tools' terms", "bold")]
    told = _terms(plan)
    wide = max(_cells(label) for label, _, _ in told) + 2
    for label, text, note in told:
        if prose < NARROW:  # below each other
            out.append(paint(label, "dim"))
            label, wide = "", 2
        out += _labelled(label, text or note, wide, prose, paint)
        if text and note:
            out += _labelled("", note, wide, prose, paint)
    return "\n".join(out) + "\n"


def to_text(plan: TilePlan, width: int = 80) -> str:
    """The plan as plain text."""
    return render(plan, width).rstrip("\n")


def to_html(plan: TilePlan) -> str:
    """The plan for a notebook."""
    headings, *body = _rows(plan)
    head = "".join(f"<th>{h}</th>" for h in headings)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    said = [*_figures(plan), *(("note", note) for note in _notes(plan))]
    said += [(tool, "; ".join(filter(None, rest))) for tool, *rest in _terms(plan)]
    tail = "".join(f"<li>{escape(label)}: {escape(_plain(text))}</li>" for label, text in said)
    return (
        f"<table><caption>{escape(_plain(_head(plan)))}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table><ul>{tail}</ul>"
    )


# --- words


def _head(plan: TilePlan) -> str:
    told = "exact" if plan.exact else "approximate"
    return (
        f"{plan.title} · {plan.input} {_sizes(plan.shape)} → {plan.output} {_sizes(plan.out_shape)} "
        f"· {told}"
    )


def _rows(plan: TilePlan) -> list[tuple[str, ...]]:
    """The table's cells, the headings first; without ``out`` where it is the size everywhere."""
    rows = [HEADINGS, *map(_row, plan.axes)]
    if all(axis.out == axis.size for axis in plan.axes):
        at = HEADINGS.index("out")
        rows = [(*row[:at], *row[at + 1 :]) for row in rows]
    return rows


def _row(axis: TileAxis) -> tuple[str, ...]:
    return (
        str(axis.axis),
        f"{axis.size:,}",
        f"{axis.out:,}",
        str(axis.scale),
        number(axis.offset) if axis.offset.denominator > 1 else str(axis.offset),
        str(axis.grid),
        _sides(axis.halo),
        _sides(axis.unit_halo),
        _sides(axis.margin),
        f"{axis.tile:,}" if axis.tile else "whole",
        f"{len(axis.spans):,}",
    )


def _sides(pair: tuple[int, int]) -> str:
    """Left and right."""
    return f"{pair[0]}, {pair[1]}"


def _figures(plan: TilePlan) -> list[tuple[str, str]]:
    """What the numbers come to, each with a label."""
    out = [("tiles", _tiles(plan)), ("crops", _crops(plan)), ("overhead", _overhead(plan))]
    if plan.memory is not None:
        out.append(("memory", _memory(plan.memory)))
    if plan.error is not None:
        out.append(("error", error_text(plan.error)))
    return [("sizes", text) for text in _valid(plan)] + out


def _valid(plan: TilePlan) -> list[str]:
    """Which tile sizes there are, once where axes are alike."""
    groups: dict[tuple[int, int], list[int]] = {}
    for axis in plan.axes:
        groups.setdefault((axis.scale.denominator, axis.grid), []).append(axis.axis)
    out = []
    for (step, grid), dims in groups.items():
        where = f" ({axes_text(dims)})" if len(groups) > 1 else ""
        if grid == step:
            said = f"multiples of {grid}" if grid > 1 else "any"
        else:
            some = "any" if step == 1 else f"multiples of {step}"
            said = f"{some}; multiples of {grid} read least"
        out.append(said + where)
    return out


def _tiles(plan: TilePlan) -> str:
    count = len(plan)
    if count == 1:
        return "1, which is the whole"
    along = f" ({_sizes(plan.places)})" if len(plan.axes) > 1 else ""
    many = f", up to {plan.batch} at once" if plan.batch > 1 else ""
    return f"{count:,}{along}{many}"


def _crops(plan: TilePlan) -> str:
    """``at most 1216×1216, 3 shapes``."""
    crop = [axis.crop for axis in plan.axes]
    shapes = math.prod(len({end - begin for (begin, end), _, _ in a.spans}) for a in plan.axes)
    many = f", of {shapes} shapes" if shapes > 1 else ""
    return f"{'at most ' if shapes > 1 else ''}{_sizes(crop)}{many}"


def _overhead(plan: TilePlan) -> str:
    more = plan.overhead - 1
    if len(plan) == 1 or abs(more) < 5e-5:
        return "none: all tiles together read the input once"
    share = f"{100 * more:.0f}" if more >= 0.1 else f"{100 * more:.2g}"
    if more < 0:
        return f"none: all tiles together read {plan.overhead:.3g} times the input's positions"
    return f"{share} %: all tiles together read {plan.overhead:.4g} times the input's positions"


def _memory(memory: Memory) -> str:
    """``1.87 GB predicted of 2 GB, 412 MB of it before the first tile; measured at 112x112 and 496x496``."""
    from eyeshot.tiling.memory import spelled

    where = "" if memory.device == "cpu" else f" on {memory.device}"
    many = f" for {memory.workers} workers" if memory.workers > 1 else ""
    looked = listed([_sizes(m.shape[2:]) for m in memory.measured], 4)
    return (
        f"{spelled(memory.peak)} predicted{many}{where}, of {spelled(memory.budget)}; "
        f"{spelled(memory.base)} of it before the first tile; measured at {looked}"
    )


def error_text(error: Estimate) -> str:
    """``at most 0.012, 3.1 % of the outputs' spread, and 0.0007 on average, at 4 places of the image …``."""
    data = "the image" if error.data == "image" else "random numbers"
    against = "the whole" if error.whole else f"windows of {_sizes(error.window)}"
    spread = f", {100 * error.relative:.2g} % of the outputs' spread," if error.spread else ""
    return (
        f"at most {error.largest:.2g}{spread} and {error.mean:.2g} on average, at {error.samples} "
        f"place{'s' * (error.samples != 1)} of {data}, against {against}"
    )


def _notes(plan: TilePlan) -> list[str]:
    """The plan's own, and which layers see more than a stated halo."""
    if not plan.blockers:
        return [*plan.notes]
    see = "see" if len(plan.blockers) > 1 else "sees"
    return [*plan.notes, f"{listed(plan.blockers)} {see} the whole of some axis"]


def _terms(plan: TilePlan) -> list[tuple[str, str, str]]:
    """The numbers as other tools take them: each tool, its parameters, and what then differs from the whole."""
    from eyeshot.tiling.terms import terms

    out = []
    for tool, held in terms(plan).items():
        values = ", ".join(f"{name}={_value(value)}" for name, value in held["values"].items())
        note = held["note"]
        if values and not held["exact"]:
            note = f"not exact: {note}"
        out.append((_plain(tool), values, note))
    return out


def _value(value: Any) -> str:
    """As it is written in Python, and nearly so elsewhere."""
    return repr(tuple(value)) if isinstance(value, list) else repr(value)


def _sizes(values: Iterable[int]) -> str:
    return "x".join(map(str, values))


# --- lines


def _labelled(
    label: str, text: str, wide: int, width: int, paint: Paint, style: str = "dim"
) -> list[str]:
    """A label and its text, in lines of whole words that stand below each other."""
    room = max(20, width - wide)
    return [
        (paint(f"{label:<{wide}}", style) if k == 0 and label else " " * wide) + line
        for k, line in enumerate(_wrap(_plain(text), room))
    ]


def _table(rows: Sequence[Sequence[str]], width: int | None, paint: Paint) -> list[str]:
    """Columns of numbers; a column for each axis where the terminal is too narrow for rows."""
    gap = GAPS[0] if width is None or _total(rows, GAPS[0]) <= width else GAPS[1]
    if width is not None and _total(rows, gap) > width:
        across = [list(column) for column in zip(*rows, strict=True)]
        if _total(across, gap) < _total(rows, gap):
            rows = across
    sizes = _widths(rows)
    out = []
    for k, row in enumerate(rows):
        cells = []
        for j, (text, size) in enumerate(zip(row, sizes, strict=True)):
            bold = k == 0 or (j == 0 and rows[0][0] != HEADINGS[0])
            space = " " * (size - _cells(text))
            text = paint(text, "bold") if bold else text
            cells.append(f"{text}{space}" if j == 0 else f"{space}{text}")
        out.append((" " * gap).join(cells).rstrip())
        if k == 0:
            out.append("─" * _total(rows, gap))
    return out


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_cells, column)) for column in zip(*rows, strict=True)]


def _total(rows: Sequence[Sequence[str]], gap: int) -> int:
    return sum(_widths(rows)) + gap * (len(rows[0]) - 1)
