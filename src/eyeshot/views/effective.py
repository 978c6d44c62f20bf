"""The table of effective receptive fields: of one in full, of several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eyeshot.analysis.erf import SHARES
from eyeshot.views.terminal import _cells, _plain, _wrap

if TYPE_CHECKING:
    from eyeshot.analysis.erf import Erf

__all__ = ["percent", "to_text"]

DASH = "–"
GAPS = (3, 2)
Paint = Callable[[str, str], str]


def to_text(
    erfs: Sequence[Erf],
    width: int | None = None,
    paint: Paint = lambda text, style: text,
) -> str:
    """The table as text: of one its squares and the other figures, of several a row (or a column) for each.

    ``width``: how many cells a line has; None: as many as it takes. Numbers are never cut off.
    """
    lines = _one(erfs[0], width, paint) if len(erfs) == 1 else _several(erfs, width, paint)
    return "\n".join(lines)


def _one(erf: Erf, width: int | None, paint: Paint) -> list[str]:
    head = " · ".join(
        part
        for part in (
            erf.title,
            _unit(erf),
            f"{erf.input} {_sizes(erf.map.shape)}",
            _protocol(erf),
        )
        if part
    )
    out = [paint(line, "bold") for line in _wrap(_plain(head), width)]
    rows = [["share", "side", "of the input", "of the field"]]
    for square in erf.squares:
        ratios = (square.area_ratio, square.of_field)
        rows.append([_share(square.share), str(square.side), *(f"{percent(r)} %" for r in ratios)])
    if len(rows) > 1:
        out += _table(rows, GAPS[0], paint, 0)
    fit = erf.fit
    spread = _numbers(erf.spread)
    if erf.closed_form is not None:
        spread += f" (closed form {_numbers(erf.closed_form)})"
    gaussian = DASH
    if fit is not None:
        gaussian = f"{_numbers(fit.sigma)} about {_places(fit.centre)}, R² {fit.r2:.3f}"
    figures = [
        ("field", _field(erf)),
        ("centre", _places(erf.centre)),
        ("spread", spread),
        ("half maximum", _numbers(erf.fwhm)),
        ("Gaussian", gaussian),
        ("effective", f"{percent(erf.share_of_field)} % of the field"),
    ]
    out += [f"{name:<12}   {text}" for name, text in figures]
    return out + _notes([erf], width, paint)


def _several(erfs: Sequence[Erf], width: int | None, paint: Paint) -> list[str]:
    rows = [
        [
            *("network", "layer", "unit", "field"),
            *(_share(share) for share in SHARES),
            *("spread", "half max", "sigma", "R²", "effective"),
        ]
    ]
    for erf in erfs:
        ratios = [f"{percent(square.area_ratio)} %" for square in erf.squares]
        rows.append(
            [
                erf.title or DASH,
                erf.layer,
                ",".join(map(str, erf.index)) or DASH,
                _sizes(_extents(erf)),
                *(ratios or [DASH] * len(SHARES)),
                _numbers(erf.spread),
                _numbers(erf.fwhm),
                DASH if erf.fit is None else _numbers(erf.fit.sigma),
                DASH if erf.fit is None else f"{erf.fit.r2:.3f}",
                f"{percent(erf.share_of_field)} %",
            ]
        )
    protocols = [_protocol(erf) for erf in erfs]
    if len(set(protocols)) > 1:
        for row, text in zip(rows, ["protocol", *protocols], strict=True):
            row.insert(3, text)
    rows = [[_plain(text) for text in row] for row in rows]
    out = []
    if len(set(protocols)) == 1:
        out.append(paint(f"effective receptive fields · {protocols[0]}", "bold"))
    names = rows[0].index("field")
    if width is not None and _total(rows, GAPS[1]) > width:
        across = [list(column) for column in zip(*rows, strict=True)]
        if _total(across, GAPS[1]) < _total(rows, GAPS[1]):
            rows, names = across, 1
    gap = GAPS[0] if width is None or _total(rows, GAPS[0]) <= width else GAPS[1]
    return out + _table(rows, gap, paint, names) + _notes(erfs, width, paint)


def _table(rows: Sequence[Sequence[str]], gap: int, paint: Paint, names: int) -> list[str]:
    """Lines under a heading; the first ``names`` columns to the left, the others to the right."""
    sizes = _widths(rows)
    out = []
    for k, row in enumerate(rows):
        cells = []
        for j, (text, size) in enumerate(zip(row, sizes, strict=True)):
            space = " " * (size - _cells(text))
            text = paint(text, "bold") if k == 0 and text else text
            cells.append(f"{text}{space}" if j < names else f"{space}{text}")
        out.append((" " * gap).join(cells).rstrip())
        if k == 0:
            out.append("─" * _total(rows, gap))
    return out


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_cells, column)) for column in zip(*rows, strict=True)]


def _total(rows: Sequence[Sequence[str]], gap: int) -> int:
    sizes = _widths(rows)
    return sum(sizes) + gap * (len(sizes) - 1)


def _notes(erfs: Sequence[Erf], width: int | None, paint: Paint) -> list[str]:
    """What was chosen; notes that several share stand once."""
    places: dict[str, list[str]] = {}
    for erf in erfs:
        notes = [*erf.notes]
        if not erf.squares:
            notes.append("the unit gets nothing of the input")
        elif erf.fit is None:
            notes.append("no Gaussian fits")
        for note in notes:
            places.setdefault(note, []).append(erf.title)
    out = []
    for note, titles in places.items():
        where = "" if len(titles) == len(erfs) else f"{', '.join(titles)}: "
        out += [paint(line, "dim") for line in _wrap(_plain(f"{where}{note}"), width)]
    return out


# --- words


def _unit(erf: Erf) -> str:
    at = ",".join(map(str, erf.index))
    return f"{erf.layer} at {at}" if at else erf.layer


def _protocol(erf: Erf) -> str:
    """``mass``, ``mean-abs over 50 images``."""
    over = f" over {erf.samples} image{'s' * (erf.samples != 1)}" if erf.samples else ""
    return f"{erf.protocol}{over}{', interrupted' if erf.interrupted else ''}"


def _extents(erf: Erf) -> list[float]:
    return [end - begin for begin, end in erf.box]


def _field(erf: Erf) -> str:
    """The theoretical field's size, and how much of it is inside the input."""
    size = _sizes(_extents(erf))
    inside = _sizes([end - begin for begin, end in erf.clipped])
    return size if size == inside else f"{size}, {inside} of it inside the input"


def _sizes(values: Sequence[float]) -> str:
    """``224×224``."""
    return "×".join("∞" if value == float("inf") else str(value) for value in values) or DASH


def _numbers(values: Sequence[float] | None) -> str:
    """Per-axis numbers, ``7×5`` only where they differ."""
    if values is None:
        return DASH
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else "×".join(texts)


def _places(values: Sequence[float]) -> str:
    return ", ".join(f"{round(value, 2):g}" for value in values)


def _share(share: float) -> str:
    return f"{100 * share:g} %"


def percent(part: float) -> str:
    """A part in percent, with the digits that tell."""
    value = 100 * part
    if value >= 10 or value == 0:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
