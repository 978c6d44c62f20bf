"""A report as the text of the page: its data, the findings, the lesson, and the front end around them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.findings import Check
    from eyeshot.analysis.report import Report

__all__ = ["lesson", "to_html"]

#: The network that explains the page to who opens it for the first time.
LESSON = "example:five-by-five"


def to_html(
    report: Report,
    check: Check | bool = True,
    image: Any = None,
    rate: float | None = None,
    title: str | None = None,
) -> str:
    """As :meth:`eyeshot.Report.to_html`."""
    from eyeshot.views.web.backdrop import backdrop
    from eyeshot.views.web.page import page
    from eyeshot.views.web.single import single_file

    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise EyeshotError(f"rate: expected samples a second, such as 16000, got {rate}")
    behind = None if image is None else backdrop(report, image)
    content = page(report, check=_found(report, check), rate=rate, image=behind)
    if title is not None:
        content["title"] = title
    return single_file(content, lesson())


def lesson() -> dict[str, Any]:
    """The page's data of the network that explains it."""
    from eyeshot.api import analyze
    from eyeshot.views.web.page import page

    return page(analyze(LESSON))


def _found(report: Report, check: Check | bool) -> Check | None:
    """Findings; none of fields relative to a layer, which are no network's."""
    if isinstance(check, bool):
        if not check or _relative(report):
            return None
        from eyeshot.diagnosis import check as look

        return look(report)
    return check


def _relative(report: Report) -> bool:
    """Whether a layer stands in the place of the input."""
    own = set(report._graph.sources)
    return any(source.value not in own for source in report._sources)
