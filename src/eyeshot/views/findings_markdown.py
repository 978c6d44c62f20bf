"""Findings for a pull request: a table, and the details of each to open. The same check gives the same text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from eyeshot.views import table
from eyeshot.views.export import _cell
from eyeshot.views.findings import MAX_NAMED, counted, remarks
from eyeshot.views.terminal import _plain

if TYPE_CHECKING:
    from eyeshot.analysis.findings import Check, Finding

__all__ = ["to_markdown"]

#: A comment on GitHub has room for 65536 characters, half of them for the table, half for the details.
ROOM = 30_000
MAX_EVIDENCE = 4000


def to_markdown(check: Check) -> str:
    """A heading with the counts, a table of findings, and details that open."""
    lines = [f"### eyeshot: {counted(check)}", "", _prose(table.header(check.report))]
    if len(check):
        rows = [_row(finding) for finding in check]
        fitting = _fitting(rows)
        lines += ["", "| | finding | layers | what |", "|---|---|---|---|", *rows[:fitting]]
        if fitting < len(rows):
            lines += ["", f"and {len(rows) - fitting} more"]
    notes = [_prose(remark) for remark in remarks(check)]
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    details = ["\n".join(_details(finding)) for finding in check]
    fitting = _fitting(details)
    for text in details[:fitting]:
        lines += ["", text]
    if fitting < len(details):
        lines += ["", f"The details of {len(details) - fitting} are left out."]
    return "\n".join(lines) + "\n"


def _fitting(texts: list[str]) -> int:
    """How many of the first fit into the room."""
    return sum(total <= ROOM for total in accumulate(map(len, texts)))


def _row(finding: Finding) -> str:
    cells = (
        _severity(finding),
        f"`{finding.code}`",
        _names(finding.layers),
        _prose(finding.message),
    )
    return f"| {' | '.join(cells)} |"


def _severity(finding: Finding) -> str:
    return f"{'' if finding.exact else 'possible '}{finding.severity}"


def _details(finding: Finding) -> Iterator[str]:
    where = _html(finding.layers[0]) if finding.layers else ""
    title = f"<code>{finding.code}</code> {_severity(finding)}"
    yield f"<details><summary>{title}{f': <code>{where}</code>' if where else ''}</summary>"
    yield ""
    yield _prose(finding.message)
    for label, text in (("Cost", finding.cost), ("Remedy", finding.remedy)):
        if text:
            yield ""
            yield f"**{label}.** {_prose(text)}"
    if len(finding.layers) > 1:
        yield ""
        yield f"**Layers.** {', '.join(map(_code, finding.layers))}"
    if finding.evidence:
        text = json.dumps(finding.evidence, ensure_ascii=True, allow_nan=False)
        if len(text) > MAX_EVIDENCE:
            text = f"{text[:MAX_EVIDENCE]} …"
        # A fence is longer than any run of backticks inside.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        yield from ("", f"{fence}json", text, fence)
    yield ""
    yield "</details>"


def _names(names: tuple[str, ...]) -> str:
    """The first of some layers' names, in a cell."""
    shown = ", ".join(map(_code, names[:MAX_NAMED]))
    more = len(names) - MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _prose(text: str) -> str:
    """Text that is nothing but text: no marks, no tags, no one is mentioned."""
    return _cell(text.replace("&", "&amp;")).replace("@", "@<!-- -->")


def _code(name: str) -> str:
    """A name as code, in a cell of a table too."""
    name = _plain(" ".join(name.split()))
    return f"<code>{_html(name)}</code>" if set(name) & set("`|\\") or not name else f"`{name}`"


def _html(name: str) -> str:
    """A name inside of a tag: every mark of HTML and Markdown as its number."""
    name = _plain(" ".join(name.split()))
    return "".join(
        c if c.isalnum() or c in " .-/:," or ord(c) > 127 else f"&#{ord(c)};" for c in name
    )
