"""The terminal's list of findings: most serious first, each with what it costs and what to change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from eyeshot.analysis.findings.text import axes, listed, percent
from eyeshot.views import table
from eyeshot.views.terminal import Paint, _cells, _fold, _plain, _wrap

if TYPE_CHECKING:
    from eyeshot.analysis.findings import Check, Finding
    from eyeshot.analysis.findings.inputrange import InputRange

__all__ = ["STYLES", "counted", "per_layer", "ranges", "remarks", "render", "to_html", "to_text"]

#: Of a terminal: such as can be read on a light and on a dark ground.
STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
#: How many layers a finding's first line names, and how many rows its table has.
MAX_NAMED = 3
MAX_ROWS = 6
#: Fewer layers' numbers have room in the message.
MIN_ROWS = 3
INDENT = "  "
#: Text is harder to read in longer lines than these, however wide the terminal; a pipe has no width at all.
WIDEST = 100
LABEL = 8  # the width of "remedy" and two blanks


def render(
    check: Check,
    width: int = WIDEST,
    paint: Paint = lambda text, style: text,
) -> str:
    """The findings as text, in lines of at most ``width`` cells."""
    width = min(width, WIDEST)
    out = [paint(line, "bold") for line in _wrap(_plain(table.header(check.report)), width)]
    previous = None
    for finding in check:
        out += ["", *_finding(finding, previous, width, paint)]
        previous = finding
    if len(check):
        out.append("")
        out += [paint(line, "bold") for line in _wrap(counted(check), width)]
    else:
        out += [paint(line, "bold green") for line in _wrap(_nothing(check), width)]
    for remark in remarks(check):
        out += _hanging(_plain(remark), width)
    return "\n".join(out) + "\n"


def to_text(check: Check, width: int = 80) -> str:
    """The findings as plain text."""
    return render(check, width).rstrip("\n")


def _finding(finding: Finding, previous: Finding | None, width: int, paint: Paint) -> Iterator[str]:
    """Its first line (what, where), the message, the cost and the remedy, and numbers per layer.

    What it costs and what to change are not said again where the finding before has the same code and words.
    """
    severity = finding.severity or "note"
    mark = severity if finding.exact else f"possible {severity}"
    names = _plain(listed(finding.layers, MAX_NAMED))
    head = f"{mark}  {finding.code}"
    painted = [paint(mark, STYLES[severity]), paint(finding.code, "bold")]
    if _cells(head) > width:
        yield from painted
        yield from _block(names, width)
    elif names and _cells(f"{head}  {names}") <= width:
        yield "  ".join([*painted, names])
    else:
        yield "  ".join(painted)
        yield from _block(names, width)
    yield from _block(_plain(finding.message), width)
    for label in ("cost", "remedy"):
        text = getattr(finding, label)
        again = (
            previous is not None
            and previous.code == finding.code
            and getattr(previous, label) == text
        )
        if text and not again:
            yield from _labelled(label, _plain(text), width, paint)
    rows = per_layer(finding.evidence)
    if rows:
        yield from (INDENT + line for line in _table(rows, width, paint))


def _block(text: str, width: int) -> Iterator[str]:
    if text:
        room = max(1, width - len(INDENT))
        yield from (INDENT + line for line in _wrap(text, room))


def _labelled(label: str, text: str, width: int, paint: Paint) -> Iterator[str]:
    room = max(1, width - len(INDENT) - LABEL)
    for k, line in enumerate(_wrap(text, room)):
        yield INDENT + (paint(f"{label:<{LABEL}}", "dim") if k == 0 else " " * LABEL) + line


def _hanging(text: str, width: int) -> list[str]:
    """Lines of whole words, indented after the first."""
    room = max(1, width - len(INDENT))
    first, *rest = _wrap(text, room)
    return [first, *(INDENT + line for line in rest)]


# --- evidence


def per_layer(evidence: Mapping[str, Any]) -> list[list[str]]:
    """The numbers per layer in a finding's evidence: rows of texts, the headings first; empty without any.

    They are its first list of objects that name a layer each. Single numbers, and such as are the same for all,
    stand in the message already.
    """
    for value in evidence.values():
        if not isinstance(value, list) or len(value) < MIN_ROWS:
            continue
        if all(isinstance(row, dict) and isinstance(row.get("layer"), str) for row in value):
            keys = dict.fromkeys(key for row in value for key in row)
            shown = [
                key for key in keys if not any(isinstance(row.get(key), dict) for row in value)
            ]
            rows = [[_value(row.get(key), key) for key in shown] for row in value]
            at = shown.index("layer")
            if len({(*row[:at], *row[at + 1 :]) for row in rows}) == 1:
                return []
            return [[_plain(key.replace("_", " ")) for key in shown], *rows]
    return []


def _value(value: Any, key: str = "") -> str:
    """A JSON value as people write it; shares in percent."""
    if value is None:
        return table.DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return percent(value) if "share" in key.split("_") else f"{value:.4g}"
    if isinstance(value, list):
        # One number for all axes, where they are alike.
        texts = list(map(_value, value))
        return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
    return _plain(str(value))


def _table(rows: Sequence[Sequence[str]], width: int, paint: Paint) -> Iterator[str]:
    """Some lines of a table; the columns to the right give way where the terminal is too narrow."""
    head, *body = rows
    more = len(body) - MAX_ROWS
    if more > 1:
        body = body[:MAX_ROWS]
    numbers = [all(_is_number(row[k]) for row in body) for k in range(len(head))]
    sizes = [max(_cells(row[k]) for row in (head, *body)) for k in range(len(head))]
    room = width - len(INDENT)
    shown = len(head)
    while shown > 1 and sum(sizes[:shown]) + 2 * (shown - 1) > room:
        shown -= 1
    for row in (head, *body):
        cells = []
        for k in range(shown):
            text = row[k]
            if shown == 1 and _cells(text) > room:
                text = _fold(text, max(1, room - 1))[0] + "…"
            space = " " * (sizes[k] - _cells(text))
            cells.append(f"{space}{text}" if numbers[k] else f"{text}{space}")
        line = "  ".join(cells).rstrip()
        yield paint(line, "dim") if row is head else line
    if more > 1:
        yield paint(f"and {more} more", "dim")


def _is_number(text: str) -> bool:
    return text == table.DASH or re.fullmatch(r"-?[\d,]+(\.\d+)?(e[+-]\d+)?( %)?", text) is not None


# --- the summary


def counted(check: Check) -> str:
    """``1 error, 2 warnings, 1 possible``."""
    parts = [
        f"{count} {severity}{'s' * (count != 1)}"
        for severity, count in check.counts.items()
        if count
    ]
    possible = sum(not finding.exact for finding in check)
    if possible:
        parts.append(f"{possible} of them only possible")
    return ", ".join(parts) or "nothing found"


def _nothing(check: Check) -> str:
    rules, layers = len(check.looked), len(check.report)
    return (
        f"nothing found: {rules} rule{'s' * (rules != 1)} looked at "
        f"{layers} layer{'s' * (layers != 1)}"
    )


def remarks(check: Check) -> Iterator[str]:
    """The input's range, what ``possible`` means, and what was skipped, each in a sentence."""
    yield from ranges(check.input_range)
    if not all(finding.exact for finding in check):
        yield "possible: a layer concerned is known only as an upper bound"
    reasons: dict[str, list[str]] = {}
    for code, reason in check.skipped:
        reasons.setdefault(reason, []).append(code)
    for reason, codes in reasons.items():
        yield f"not looked for: {', '.join(codes)} ({reason})"


def ranges(each: Iterable[InputRange]) -> Iterator[str]:
    """``every layer is productive at input sizes from 75 on; some unit … (axes 2 and 3; here 224)``."""
    each = list(each)
    several = len({one.input for one in each}) > 1
    groups: dict[tuple[Any, ...], list[int]] = {}
    for one in each:
        key = (one.input, one.smallest, one.largest, one.size)
        groups.setdefault(key, []).append(one.axis)
    for (name, low, high, size), dims in groups.items():
        words = []
        if low is not None and low > 1:
            words.append(f"every layer is productive at input sizes from {low} on")
        if high is not None:
            words.append(f"some unit sees the whole input up to size {high}")
        if words:
            where = f"{name}, {axes(dims)}" if several else axes(dims)
            yield f"{'; '.join(words)} ({where}; here {size})"


def to_html(check: Check) -> str:
    """The findings for a notebook."""
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:left">{escape(_plain(cell))}</td>'
            for cell in (
                f"{'' if f.exact else 'possible '}{f.severity}",
                f.code,
                listed(f.layers, MAX_NAMED),
                f.message,
                f.remedy,
            )
        )
        + "</tr>"
        for f in check
    )
    head = "".join(f"<th>{h}</th>" for h in ("", "finding", "layers", "what", "remedy"))
    body = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>" if rows else ""
    notes = [counted(check) if rows else _nothing(check), *remarks(check)]
    tail = "".join(f"<li>{escape(_plain(note))}</li>" for note in notes)
    return (
        f"<table><caption>{escape(_plain(table.header(check.report)))}</caption>{body}</table>"
        f"<ul>{tail}</ul>"
    )
