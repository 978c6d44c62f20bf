"""The terminal's table."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING, Any

from eyeshot.views import table

if TYPE_CHECKING:
    from rich.console import Console

    from eyeshot.analysis.report import Layer, Report

__all__ = ["show", "to_text"]

NARROWEST = 80


def show(
    report: Report, layers: Iterable[Layer], console: Console, depth: int | None = None
) -> None:
    """Print the table of ``layers`` to ``console``."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    shown = table.rows(layers, depth)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for heading in table.HEADINGS:
        left = heading in ("layer", "op")
        options: dict[str, Any] = {"overflow": "fold"} if left else {"no_wrap": True}
        grid.add_column(heading, justify="left" if left else "right", **options)
    for row in shown:
        style = "yellow" if row.bound else ""
        cells = [Text(_plain(cell)) for cell in row[: len(table.HEADINGS)]]
        cells[1].stylize("dim")
        cells[3].stylize("bold")
        grid.add_row(*cells, style=style)
    console.print(Text(_plain(table.header(report)), style="bold"))
    console.print(grid)
    for note in table.notes(report, shown):
        console.print(escape(_plain(note)), style="dim", highlight=False, soft_wrap=False)


def _plain(text: str) -> str:
    """Without control characters: a layer's name must not steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def to_text(report: Report, width: int = NARROWEST) -> str:
    """The table as plain text."""
    from rich.console import Console

    out = StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False)
    show(report, report, console)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
