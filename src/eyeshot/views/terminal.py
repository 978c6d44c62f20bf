"""The terminal's table.

Numbers are never cut off or folded: the blanks between columns give way first, then names, then every axis gets
a line of its own, and a table that is wider still keeps its long lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from eyeshot.views import table

if TYPE_CHECKING:
    from rich.console import Console

    from eyeshot.analysis.report import Layer, Report

__all__ = ["painter", "render", "to_text"]

#: Blanks between columns: the second where the first is too much.
GAPS = (3, 2)
#: How narrow the columns of names may become: at first, and where that does not suffice.
FOLDED = ({"layer": 20, "op": 8, "axis": 8}, {"layer": 10, "op": 5, "axis": 5})
NAMES = tuple(FOLDED[0])
Paint = Callable[[str, str], str]
#: A row: for every column the texts below each other in it.
Cells = list[list[str]]


def render(
    report: Report,
    layers: Iterable[Layer],
    depth: int | None = None,
    width: int | None = None,
    paint: Paint = lambda text, style: text,
) -> str:
    """The table of ``layers`` as text, in lines of ``width`` cells; None: as wide as it takes."""
    layers = list(layers)
    rows = table.rows(layers, depth)
    headings: tuple[str, ...] = table.HEADINGS
    cells: list[Cells] = [[[_plain(text)] for text in row.cells] for row in rows]
    gap = GAPS[0]
    if width is not None and _total(_columns(headings, cells, None, gap), gap) > width:
        gap = GAPS[1]
    columns = _columns(headings, cells, width, gap)
    several = any(len(x.fields) > 1 for x in layers)
    if width is not None and several and _total(columns, gap) > width:
        longer = ("layer", "op", *table.AXIS_HEADINGS)
        split: list[Cells] = []
        for layer, row in zip(layers, rows, strict=True):
            lines = table.axis_cells(report, layer)
            each = [[_plain(text) for text in column] for column in zip(*lines, strict=True)]
            split.append([[_plain(row.layer)], [_plain(row.op)], *each])
        narrower = _columns(longer, split, width, gap)
        if _total(narrower, gap) < _total(columns, gap):
            headings, cells, columns = longer, split, narrower

    out = [paint(line, "bold") for line in _wrap(_plain(table.header(report)), width)]
    out.append(_line(headings, headings, columns, gap, lambda text, heading: paint(text, "bold")))
    out.append("─" * _total(columns, gap))
    for one, row in zip(cells, rows, strict=True):
        out += _lines(headings, one, columns, gap, paint, row.bound)
    for remark in table.notes(report, rows):
        out += [paint(line, "dim") for line in _wrap(_plain(remark), width)]
    return "\n".join(out) + "\n"


def to_text(report: Report, width: int = 80) -> str:
    """The table as plain text."""
    return render(report, report, width=width).rstrip("\n")


def painter(console: Console) -> Paint:
    """A function that styles text with the escape codes that ``console`` would use, if any."""
    from rich.console import Console
    from rich.text import Text

    out = StringIO()
    like = Console(
        file=out,
        force_terminal=console.is_terminal,
        color_system=console.color_system,  # type: ignore[arg-type]
        no_color=console.no_color,
        legacy_windows=False,
    )
    codes: dict[str, tuple[str, str]] = {}

    def paint(text: str, style: str) -> str:
        if style not in codes:
            out.truncate(out.seek(0))
            like.print(Text("|", style=style), end="")
            before, _, after = out.getvalue().partition("|")
            codes[style] = before, after
        before, after = codes[style]
        return f"{before}{text}{after}" if text else text

    return paint


def _plain(text: str) -> str:
    """Without control characters: a layer's name must not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _cells(text: str) -> int:
    """How many cells of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _columns(
    headings: Sequence[str], rows: Sequence[Cells], width: int | None, gap: int
) -> list[int]:
    """The columns' widths; those of names shrink where ``width`` asks for it."""
    out = [_cells(heading) for heading in headings]
    for row in rows:
        for k, texts in enumerate(row):
            out[k] = max(out[k], *map(_cells, texts))
    widest = list(out)
    if width is not None:
        for least in FOLDED:
            for k, heading in enumerate(headings):
                if heading in least:
                    room = out[k] - max(0, _total(out, gap) - width)
                    out[k] = max(min(out[k], least[heading]), room)
    if out[:2] != widest[:2]:
        _share(rows, out, widest)
    return out


def _share(rows: Sequence[Cells], columns: list[int], widest: Sequence[int]) -> None:
    """Divide the room of the first two columns, layer and op, so that the table has few lines."""
    pairs = Counter((_cells(row[0][0]), _cells(row[1][0])) for row in rows)
    room = columns[0] + columns[1]
    least = [FOLDED[room < sum(FOLDED[0][name] for name in NAMES[:2])][name] for name in NAMES[:2]]
    least = [min(most, need) for most, need in zip(widest, least, strict=False)]
    best = None
    for first in range(room - least[1], least[0] - 1, -1):
        second = room - first
        if first > widest[0] or second > widest[1]:
            continue
        lines = sum(
            count * max(-(-layer // first), -(-op // second))
            for (layer, op), count in pairs.items()
        )
        if best is None or lines < best:
            best = lines
            columns[:2] = first, second


def _total(columns: Sequence[int], gap: int) -> int:
    return sum(columns) + gap * (len(columns) - 1)


def _lines(
    headings: Sequence[str],
    row: Cells,
    columns: Sequence[int],
    gap: int,
    paint: Paint,
    bound: bool,
) -> Iterator[str]:
    """One row, in several lines where it has several axes or a name is folded."""

    def styled(text: str, heading: str) -> str:
        style = {"op": "dim", "size": "bold"}.get(heading, "")
        style = f"yellow {style}".strip() if bound else style
        return paint(text, style) if style else text

    if "axis" in headings:
        # A folded axis takes several lines; its numbers stand in the first.
        k = headings.index("axis")
        folds = [_fold(text, columns[k]) for text in row[k]]
        blanks = [[""] * (len(fold) - 1) for fold in folds]
        row = [
            *row[:k],
            [text for fold in folds for text in fold],
            *(
                [line for text, blank in zip(texts, blanks, strict=True) for line in (text, *blank)]
                for texts in row[k + 1 :]
            ),
        ]
    row = [
        _fold(texts[0], size, "  " if heading == "layer" else "")
        if heading in ("layer", "op")
        else texts
        for heading, texts, size in zip(headings, row, columns, strict=True)
    ]
    for k in range(max(map(len, row))):
        cells = [texts[k] if k < len(texts) else "" for texts in row]
        yield _line(headings, cells, columns, gap, styled)


def _line(
    headings: Sequence[str],
    cells: Sequence[str],
    columns: Sequence[int],
    gap: int,
    styled: Paint,
) -> str:
    out = []
    for heading, text, size in zip(headings, cells, columns, strict=True):
        space = " " * (size - _cells(text))
        text = styled(text, heading) if text else text
        out.append(f"{text}{space}" if heading in NAMES else f"{space}{text}")
    return (" " * gap).join(out).rstrip()


def _fold(text: str, width: int, indent: str = "") -> list[str]:
    """Pieces of at most ``width`` cells, broken after a dot or the like where one is near.

    ``indent`` stands before all but the first, so that they are not taken for a name.
    """
    out = []
    before, start = "", 0
    while (end := _fitting(text, start, width - len(before))) < len(text):
        half = (start + end) // 2
        near = text.rfind(".", start, end) + 1
        if near <= half:
            near = max(text.rfind(mark, start, end) for mark in "/_-: ") + 1
        if near > half:
            end = near
        out.append(before + text[start:end])
        before, start = indent, end
    return [*out, before + text[start:]]


def _fitting(text: str, start: int, width: int) -> int:
    """Where the characters from ``start`` on end that fit into ``width`` cells, at least one."""
    if text.isascii():
        return min(len(text), start + max(1, width))
    total = 0
    for k in range(start, len(text)):
        total += _cells(text[k])
        if total > width:
            return max(start + 1, k)
    return len(text)


def _wrap(text: str, width: int | None) -> list[str]:
    """Lines of whole words."""
    if width is None or _cells(text) <= width:
        return [text]
    out = [""]
    for word in text.split(" "):
        longer = f"{out[-1]} {word}" if out[-1] else word
        if _cells(longer) <= width:
            out[-1] = longer
        else:
            *full, last = _fold(word, width)
            out += [*full, last] if out[-1] else []
            if not out[-1]:
                out[-1:] = [*full, last]
    return out
