"""The findings' own pages, as the wheel or the repository has them."""

from __future__ import annotations

from pathlib import Path

from eyeshot.errors import EyeshotError

__all__ = ["page"]

PACKAGE = Path(__file__).parents[1]
#: In a wheel they lie in the package; an editable install has the repository around it.
PLACES = (PACKAGE / "pages", PACKAGE.parents[1] / "docs" / "findings")


def page(code: str) -> str:
    """The text of ``docs/findings/CODE.md``, Markdown; raises EyeshotError where it is not there."""
    for place in PLACES:
        try:
            return (place / f"{code}.md").read_text(encoding="utf-8")
        except OSError:
            continue
    raise EyeshotError(f"the page of {code} is not installed")
