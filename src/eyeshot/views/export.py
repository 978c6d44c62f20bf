"""Exports for other programs and documents: CSV, Markdown, HTML, pandas."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from eyeshot.errors import EyeshotError
from eyeshot.views import table

if TYPE_CHECKING:
    from eyeshot.analysis.report import Layer, Report

__all__ = ["to_csv", "to_html", "to_markdown", "to_pandas"]

COLUMNS = "layer op shape input axis dim n size jump start padding global status".split()


def _records(layers: Iterable[Layer]) -> Iterator[dict[str, Any]]:
    for layer in layers:
        shape = "x".join(map(str, layer.shape))
        for field in layer.fields:
            values = field.to_dict()
            del values["canvas"]
            yield {"layer": layer.name, "op": layer.op, "shape": shape, **values}


def to_csv(report: Report, layers: Iterable[Layer] | None = None) -> str:
    """One row per layer and axis; undefined and infinite numbers are empty."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in _records(report if layers is None else layers):
        record["global"] = str(record["global"]).lower()
        writer.writerow(record)
    return out.getvalue()


def to_markdown(
    report: Report, layers: Iterable[Layer] | None = None, depth: int | None = None
) -> str:
    """The terminal's table as a Markdown table."""
    shown = table.rows(report if layers is None else layers, depth)
    lines = [
        f"**{_cell(table.header(report))}**",
        "",
        "| " + " | ".join(table.HEADINGS) + " |",
        "|---|---|" + "---:|" * (len(table.HEADINGS) - 2),
    ]
    for row in shown:
        lines.append("| " + " | ".join(map(_cell, row.cells)) + " |")
    remarks = table.notes(report, shown)
    if remarks:
        lines += ["", *(f"- {_cell(note)}" for note in remarks)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that is nothing but text in Markdown."""
    text = " ".join(text.split())
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    for mark in "\\`*_{}[]<>#|":
        text = text.replace(mark, f"\\{mark}")
    return text


def to_html(report: Report) -> str:
    """The table for a notebook."""
    shown = table.rows(report)
    head = "".join(f"<th>{heading}</th>" for heading in table.HEADINGS)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="text-align:{"left" if k < 2 else "right"}">{escape(cell)}</td>'
            for k, cell in enumerate(row.cells)
        )
        + "</tr>"
        for row in shown
    )
    remarks = "".join(f"<li>{escape(note)}</li>" for note in table.notes(report, shown))
    tail = f"<ul>{remarks}</ul>" if remarks else ""
    return (
        f"<table><caption>{escape(table.header(report))}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{tail}"
    )


def to_pandas(report: Report) -> Any:
    """A DataFrame with one row per layer and axis."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise EyeshotError("to_pandas needs pandas: pip install 'eyeshot[pandas]'") from None
    return pandas.DataFrame(list(_records(report)), columns=list(COLUMNS))
