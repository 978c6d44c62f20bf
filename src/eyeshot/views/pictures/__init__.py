"""Pictures, drawn with matplotlib: every function takes the axes to draw on, and returns them."""

from __future__ import annotations

import importlib
import sys
import types
import typing

from eyeshot.errors import EyeshotError

if typing.TYPE_CHECKING:
    from eyeshot.views.pictures.article import maps, walk
    from eyeshot.views.pictures.centres import centres
    from eyeshot.views.pictures.erf import draw_erf, draw_erfs, save_erf
    from eyeshot.views.pictures.growth import growth
    from eyeshot.views.pictures.save import save
    from eyeshot.views.pictures.style import Theme, theme
    from eyeshot.views.pictures.through import field
    from eyeshot.views.pictures.unit import draw_path, draw_unit

__all__ = [
    "Theme",
    "centres",
    "draw_erf",
    "draw_erfs",
    "draw_path",
    "draw_unit",
    "field",
    "growth",
    "maps",
    "save",
    "save_erf",
    "theme",
    "walk",
]

_LATER = {
    "Theme": "style",
    "centres": "centres",
    "draw_erf": "erf",
    "draw_erfs": "erf",
    "draw_path": "unit",
    "draw_unit": "unit",
    "field": "through",
    "growth": "growth",
    "maps": "article",
    "save": "save",
    "save_erf": "erf",
    "theme": "style",
    "walk": "article",
}
_PACKAGES = ("matplotlib", "PIL")


def __getattr__(name: str) -> object:
    """Matplotlib is loaded when something is drawn."""
    place = _LATER.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{place}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        raise EyeshotError("pictures need matplotlib: pip install 'eyeshot[plot]'") from None


class _Package(types.ModuleType):
    """A package whose functions stay what they are when the modules of the same names are loaded."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _LATER and isinstance(value, types.ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
